//! The terminal: a picture drawn over the one before, and everything put back in the end.

use std::io::IsTerminal;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::cli::demo::paint::Line;
use crate::cli::output;

/// Where a terminal does not say how large it is.
const USUAL: (usize, usize) = (80, 24);
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
/// A terminal that knows these shows what is between them at once; others ignore them.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const CLEAR_ALL: &str = "\x1b[2J\x1b[H";

/// The screen while a picture is on it.
pub struct Screen {
    colour: bool,
    /// Lines of the last picture: the cursor stands below them.
    drawn: usize,
    size: (usize, usize),
    /// The terminal as it was: keys that are pressed are not shown meanwhile.
    before: Option<Termios>,
}

/// Columns and rows of the terminal at standard output.
pub fn size() -> (usize, usize) {
    match tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        Ok(_) | Err(_) => USUAL,
    }
}

// === impl Screen ===

impl Screen {
    /// Takes the terminal.
    pub fn take(colour: bool) -> Self {
        drop(output::try_print(HIDE_CURSOR));
        Self { colour, drawn: 0, size: size(), before: silence() }
    }

    /// Draws what `picture` makes for the room there is, over what is there.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub fn draw(&mut self, picture: impl FnOnce(usize, usize) -> Vec<Line>) -> std::io::Result<()> {
        let size = size();
        let mut text = BEGIN.to_owned();
        if size == self.size {
            text.push_str(&self.back());
        } else {
            // Where the old lines are now, only the terminal knows.
            text.push_str(CLEAR_ALL);
            self.size = size;
        }
        let (width, height) = size;
        // A character in the last column, or a line break in the last row, moves everything.
        let lines = picture(width.saturating_sub(1), height.saturating_sub(1));
        for line in &lines {
            text.push_str(&line.render(width.saturating_sub(1), self.colour));
            text.push_str(CLEAR_LINE);
            text.push_str("\r\n");
        }
        text.push_str(CLEAR_BELOW);
        text.push_str(END);
        self.drawn = lines.len();
        output::try_print(&text)
    }

    /// To where the last picture begins.
    fn back(&self) -> String {
        match self.drawn {
            0 => "\r".to_owned(),
            lines => format!("\r\x1b[{lines}A"),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        drop(output::try_print(&format!("{}{CLEAR_BELOW}{SHOW_CURSOR}", self.back())));
        if let Some(before) = &self.before {
            tcsetattr(std::io::stdin(), OptionalActions::Now, before).ok();
        }
    }
}

/// Has the terminal not show what is typed; how it was before.
fn silence() -> Option<Termios> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let before = tcgetattr(std::io::stdin()).ok()?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(std::io::stdin(), OptionalActions::Now, &quiet).ok()?;
    Some(before)
}
