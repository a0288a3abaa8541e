//! Signals: TERM and INT drain, a second one ends now; HUP reloads; USR2
//! upgrades.
//!
//! Others whose default would kill are caught and named, so that none ends the process by accident.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// HUP.
    Reload,
    /// TERM or INT; the first drains, the second ends at once.
    Stop,
    /// USR2.
    Upgrade,
    /// One that this release has no use for.
    Nothing(&'static str),
}

/// Starts to catch signals; what they ask for comes out of the channel, in order.
///
/// # Errors
/// If a handler cannot be installed.
pub fn catch() -> io::Result<mpsc::UnboundedReceiver<Asked>> {
    let (asked, heard) = mpsc::unbounded_channel();
    for (kind, what) in [
        (SignalKind::hangup(), Asked::Reload),
        (SignalKind::terminate(), Asked::Stop),
        (SignalKind::interrupt(), Asked::Stop),
        (SignalKind::user_defined1(), Asked::Nothing("USR1")),
        (SignalKind::user_defined2(), Asked::Upgrade),
        (SignalKind::quit(), Asked::Stop),
    ] {
        actix_rt::spawn(forward(signal(kind)?, what, asked.clone()));
    }
    Ok(heard)
}

async fn forward(mut signal: Signal, what: Asked, asked: mpsc::UnboundedSender<Asked>) {
    while signal.recv().await.is_some() {
        if asked.send(what).is_err() {
            return;
        }
    }
}
