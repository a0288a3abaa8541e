//! Counts of one service: how many sessions, how they ended, how many bytes.
//!
//! Plain atomics behind an `Arc` that outlives listeners, routers and reloads.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted of a service. Every gauge is back at 0 after the last close.
#[derive(Debug, Default)]
pub struct ServiceCounts {
    /// Sessions alive now.
    pub live: Count,
    /// Sessions ever accepted.
    pub accepted: Count,
    /// Sessions that reached a target.
    pub connected: Count,
    /// Sessions that were turned away: not served, over a limit, or no target to give.
    pub refused: Count,
    /// Of these: their addresses are not served.
    pub refused_by_access: Count,
    /// Of these: their addresses came too often.
    pub refused_by_rate: Count,
    /// Of these: their addresses had as many sessions as they may have.
    pub refused_by_source: Count,
    /// Of these: the service had as many sessions as it may have.
    pub refused_by_service: Count,
    /// Of these: a PROXY header is required, and not believed from where they came.
    pub refused_by_header: Count,
    /// Of these: no target had been checked yet.
    pub refused_unchecked: Count,
    /// Of these: every target was down.
    pub refused_all_down: Count,
    /// Of these: no target led.
    pub refused_no_leader: Count,
    /// Of these: every target that was up refused.
    pub refused_all_tried: Count,
    /// Of these: the service was removed while they waited.
    pub refused_removed: Count,
    /// Of these: no target could be reached.
    pub refused_unreachable: Count,
    /// Of these: not dialled, for want of something of our own.
    pub refused_hindered: Count,
    /// Sessions that had to wait for a target, whatever became of them.
    pub held: Count,
    /// Sessions that ended before TLS had come about.
    pub failed_handshakes: Count,
    /// Dials that failed, retries included.
    pub failed_dials: Count,
    /// Sessions that stagedoor itself cut: health, reload, a person, a limit of time.
    pub cut: Count,
    /// Bytes from clients to targets, of sessions that have ended.
    pub bytes_to_target: Count,
    /// Bytes from targets to clients, of sessions that have ended.
    pub bytes_to_client: Count,
}

/// One number that anybody may raise, and whoever raised a gauge lowers again.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn raise(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes one away.
    pub fn lower(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
