//! Waiting for a condition instead of sleeping.

use std::time::Duration;

/// Nothing in these tests takes longer on a healthy machine, however busy.
const DEADLINE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(5);

/// Waits until `probe` gives something; panics with `what` if it never does.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, probe).unwrap_or_else(|| panic!("not within {DEADLINE:?}: {what}"))
}

/// The same, but not longer than `limit`: for what others may never do.
pub(crate) fn within<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if waited >= limit {
            return None;
        }
        std::thread::park_timeout(STEP);
        waited += STEP;
    }
}
