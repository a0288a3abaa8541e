//! Lines for a terminal: pieces of text, each in a style, cut to a width. Pure.

use crate::cli::demo::side::Side;

/// How a piece looks; without colour all look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As everything else.
    Plain,
    /// What matters most.
    Bold,
    /// What matters least.
    Dim,
    /// As it should be.
    Good,
    /// Worth a look.
    Odd,
    /// As it should not be.
    Bad,
    /// Belongs to a server.
    Of(Side),
}

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line(Vec<(Style, String)>);

const END: &str = "\x1b[0m";

// === impl Line ===

impl Line {
    /// A line of one piece.
    pub fn of(style: Style, text: impl Into<String>) -> Self {
        Self::default().and(style, text)
    }

    /// With one more piece.
    pub fn and(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// With all of another one.
    pub fn followed_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Its width in columns: everything shown here is one column a character.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Filled up with blanks.
    pub fn padded(self, width: usize) -> Self {
        let missing = width.saturating_sub(self.width());
        self.and(Style::Plain, " ".repeat(missing))
    }

    /// At most this wide; an ellipsis stands for what is cut off.
    pub fn render(&self, width: usize, colour: bool) -> String {
        let fits = self.width() <= width;
        let mut room = if fits { width } else { width.saturating_sub(1) };
        let mut shown = String::new();
        for (style, text) in &self.0 {
            let text: String = text.chars().take(room).collect();
            room -= text.chars().count();
            let start = style.start().filter(|_| colour && !text.is_empty());
            match start {
                Some(start) => shown.push_str(&format!("{start}{text}{END}")),
                None => shown.push_str(&text),
            }
        }
        if !fits && width > 0 {
            shown.push('…');
        }
        let kept = shown.trim_end().len();
        shown.truncate(kept);
        shown
    }
}

// === impl Style ===

impl Style {
    fn start(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("\x1b[1m"),
            Self::Dim => Some("\x1b[2m"),
            Self::Good => Some("\x1b[32m"),
            Self::Odd => Some("\x1b[33m"),
            Self::Bad => Some("\x1b[1;31m"),
            Self::Of(Side::A) => Some("\x1b[36m"),
            Self::Of(Side::B) => Some("\x1b[35m"),
        }
    }
}

/// A number with its thousands apart: `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_its_width_and_coloured_only_on_request() {
        let line = Line::of(Style::Bold, "héllo").and(Style::Plain, " world");
        assert_eq!(line.render(11, false), "héllo world");
        assert_eq!(line.render(7, false), "héllo …");
        assert_eq!(line.render(3, true), "\x1b[1mhé\x1b[0m…");
        assert_eq!(line.render(0, false), "");
        assert_eq!(Line::of(Style::Plain, "a").padded(9).render(80, true), "a");
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(grouped(number), shown);
        }
    }
}
