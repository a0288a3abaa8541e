//! The limits of the process: descriptors, and how many sessions they are enough for.

use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are never given to sessions: listeners, checks, the control socket, reloads.
const RESERVED: u64 = 64;
/// The pipes of one data arbiter, while many of its sessions move bulk.
const PIPES: u64 = 128;
/// A session holds two sockets.
const PER_SESSION: u64 = 2;

/// Raises the limit of open descriptors as far as the system lets it.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::warn!("the limit of open descriptors cannot be raised: {error}");
    }
}

/// As many sessions as the descriptors of this process are enough for; `None`: no bound is known.
pub fn most_sessions(workers: usize) -> Option<NonZeroUsize> {
    let descriptors = getrlimit(Resource::Nofile).current?;
    // A process that may have few descriptors does without most of its pipes: it copies then.
    let pipes = (PIPES * workers as u64).min(descriptors / 4);
    let sessions = descriptors.saturating_sub(RESERVED + pipes) / PER_SESSION;
    NonZeroUsize::new(usize::try_from(sessions.max(1)).unwrap_or(usize::MAX))
}
