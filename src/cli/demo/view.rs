//! Who shows the demo: a live picture on a terminal, lines for people, or objects for machines.
//!
//! Whatever is printed is printed by a thread of its own: a reader that reads slowly, or not at
//! all for a while, must not slow down servers and clients, or their waiting would be blamed on
//! the proxy.

use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cli::demo::frame;
use crate::cli::demo::scene::Scene;
use crate::cli::demo::screen::{self, Screen};
use crate::cli::demo::stage::News;
use crate::cli::demo::told::{self, Summary};
use crate::cli::output;

/// Lines that are not for a terminal are as wide as they are.
const NO_LIMIT: usize = 100;

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// A picture that moves.
    Live,
    /// A line whenever something happens.
    Lines,
    /// An object a failover, and one at the end.
    Json,
}

/// The view, and the thread that prints it.
pub struct View {
    manner: Manner,
    printing: Option<Printing>,
    thread: Option<JoinHandle<()>>,
}

enum Printing {
    /// A scene that comes before the last one is drawn is left out.
    Scenes(SyncSender<Box<Scene>>),
    Text(Sender<String>),
}

/// Nobody reads any more.
#[derive(Debug)]
pub struct Unread;

// === impl View ===

impl View {
    /// Begins to show.
    pub fn open(manner: Manner) -> Self {
        let (printing, thread) = match manner {
            Manner::Live => {
                let (scenes, shown) = sync_channel(1);
                (Printing::Scenes(scenes), std::thread::spawn(move || draw(&shown)))
            }
            Manner::Lines | Manner::Json => {
                let (text, shown) = channel();
                (Printing::Text(text), std::thread::spawn(move || print(&shown)))
            }
        };
        Self { manner, printing: Some(printing), thread: Some(thread) }
    }

    /// Is it a picture?
    pub fn is_live(&self) -> bool {
        self.manner == Manner::Live
    }

    /// Shows a moment.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub fn show(&self, scene: Scene) -> Result<(), Unread> {
        match &self.printing {
            Some(Printing::Scenes(scenes)) => match scenes.try_send(Box::new(scene)) {
                Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
                Err(TrySendError::Disconnected(_)) => Err(Unread),
            },
            Some(Printing::Text(_)) | None => Ok(()),
        }
    }

    /// Tells what happens, and when since the start.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub fn tell(&self, news: &News, when: Duration, of: usize) -> Result<(), Unread> {
        let text = match self.manner {
            // It is in the scenes.
            Manner::Live => None,
            Manner::Lines => Some(lines(news, when, of)),
            Manner::Json => match news {
                News::Over(report) => Some(format!("{}\n", told::json(report))),
                News::Begins { .. } | News::Happens(_) | News::Leads(_) => None,
            },
        };
        text.map_or(Ok(()), |text| self.print(text))
    }

    /// Says something before it begins.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub fn say(&self, text: &str) -> Result<(), Unread> {
        match self.manner {
            Manner::Lines => self.print(format!("{text}\n")),
            Manner::Live | Manner::Json => Ok(()),
        }
    }

    /// Prints the summary and returns when it is read.
    pub fn close(mut self, summary: &Summary) {
        self.finish();
        let text = match self.manner {
            Manner::Json => format!("{}\n", summary.json()),
            Manner::Lines => in_lines(summary, NO_LIMIT, false),
            Manner::Live => in_lines(summary, screen::size().0, output::in_colour()),
        };
        output::print(&text);
    }

    /// Prints what is left, and gives the terminal back.
    fn finish(&mut self) {
        drop(self.printing.take());
        // A panic of the thread has been told already, and nothing else depends on it.
        drop(self.thread.take().map(JoinHandle::join));
    }

    fn print(&self, text: String) -> Result<(), Unread> {
        match &self.printing {
            Some(Printing::Text(lines)) => lines.send(text).map_err(|_| Unread),
            Some(Printing::Scenes(_)) | None => Ok(()),
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.finish();
    }
}

fn in_lines(summary: &Summary, width: usize, colour: bool) -> String {
    let lines = summary.lines(width);
    format!("\n{}", lines.iter().map(|line| line.render(width, colour) + "\n").collect::<String>())
}

fn draw(scenes: &Receiver<Box<Scene>>) {
    let mut screen = Screen::take(output::in_colour());
    while let Ok(scene) = scenes.recv() {
        if screen.draw(|width, height| frame::draw(&scene, width, height)).is_err() {
            return;
        }
    }
}

fn print(lines: &Receiver<String>) {
    while let Ok(line) = lines.recv() {
        if output::try_print(&line).is_err() {
            return;
        }
    }
}

fn lines(news: &News, when: Duration, of: usize) -> String {
    let when = format!("{:>6.2} s", when.as_secs_f64());
    match news {
        News::Begins { number, kind } => {
            format!("\n{when}  failover {number} of {of}: {}\n", kind.name())
        }
        News::Happens(_) | News::Leads(_) => format!("{when}    {}\n", in_words(news)),
        News::Over(report) => {
            let mut said = told::verdict(report);
            let met = told::troubles(report.troubles);
            let met = if met.is_empty() { String::new() } else { format!("; {met}") };
            said.push(format!(
                "the longest wait for a write was {}{met}",
                told::seconds(report.longest)
            ));
            said.extend(
                report.proxy_says.as_ref().map(|own| format!("stagedoor's own report: {own}")),
            );
            said.iter().map(|line| format!("{when}  = {line}\n")).collect()
        }
    }
}

/// What happens, in a sentence.
pub fn in_words(news: &News) -> String {
    match news {
        News::Begins { kind, .. } => kind.name().to_owned(),
        News::Happens(what) => what.clone(),
        News::Leads(Some(side)) => format!("stagedoor leads everybody to {side}"),
        News::Leads(None) => "stagedoor leads to nobody: clients wait".to_owned(),
        News::Over(report) => told::verdict(report).join("; "),
    }
}
