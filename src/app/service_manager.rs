//! The service manager that has started us, systemd as a rule: it is told how we are (sd_notify(3)),
//! and hears from us regularly if it asks to (`WatchdogSec=`).
//!
//! It may be slow, or gone: whoever tells it something never waits, and what it does not take is lost.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, io};

use rustix::time::{ClockId, clock_gettime};

/// What it is told, if there is one.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager(Option<Arc<Ear>>);

/// Where it listens.
#[derive(Debug)]
struct Ear {
    socket: UnixDatagram,
    address: SocketAddr,
    /// Another process tells it how it is.
    is_left: AtomicBool,
}

// === impl ServiceManager ===

impl ServiceManager {
    /// The one that the environment names (`NOTIFY_SOCKET`).
    pub fn of_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match Ear::at(&name) {
            Ok(ear) => Self(Some(Arc::new(ear))),
            Err(error) => {
                log::warn!("the service manager at NOTIFY_SOCKET cannot be told anything: {error}");
                Self::default()
            }
        }
    }

    /// It has started, or a reload has ended; `words` say what is so now.
    pub fn ready(&self, words: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", in_one_line(words)));
    }

    /// A reload has begun.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The process with this id serves from now on; of this one it hears nothing any more.
    pub fn leave_to(&self, process: u32) {
        self.tell(&format!("MAINPID={process}"));
        if let Some(ear) = &self.0 {
            ear.is_left.store(true, Ordering::Relaxed);
        }
    }

    /// It stops, and may take this long.
    pub fn stopping(&self, within: Duration) {
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", within.as_micros()));
    }

    /// Tells it that this thread runs, as often as it wants to hear that; ends at once if it does
    /// not. Whether the other parts run is judged by their supervisors, and they by this thread.
    pub async fn keep_alive(self) {
        let Some(limit) = watchdog() else { return };
        // In time though one comes late.
        let mut beat = tokio::time::interval(limit / 2);
        loop {
            beat.tick().await;
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, words: &str) {
        let Some(ear) = self.0.as_ref().filter(|ear| !ear.is_left.load(Ordering::Relaxed)) else {
            return;
        };
        if let Err(error) = ear.socket.send_to_addr(words.as_bytes(), &ear.address) {
            let about = words.split('=').next().unwrap_or_default();
            log::warn!("the service manager does not hear {about}: {error}");
        }
    }
}

// === impl Ear ===

impl Ear {
    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                let words = format!("{} is neither a path nor an abstract name", name.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address, is_left: AtomicBool::new(false) })
    }
}

/// After so long a silence we are taken for hung (`WATCHDOG_USEC`), if it is meant for us.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let limit = number("WATCHDOG_USEC").filter(|micros| *micros > 0)?;
    let is_ours = env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(std::process::id().into());
    is_ours.then(|| Duration::from_micros(limit))
}

fn in_one_line(words: &str) -> String {
    words.replace(char::is_control, " ")
}
