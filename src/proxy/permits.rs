//! Permits: how many sessions there may be, in the process and in a service.
//!
//! Exact under concurrency: a permit is taken before its session exists and returned by `Drop`.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A bound on how many permits are out at once. Cheap to clone; clones share the count.
#[derive(Debug, Clone)]
pub struct Permits(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    out: AtomicUsize,
    limit: AtomicUsize,
    returned: Notify,
}

/// One session's permit.
#[derive(Debug)]
pub struct Permit(Permits);

// === impl Permits ===

impl Permits {
    /// At most `limit` permits; `None`: as many as are asked for.
    pub fn new(limit: Option<NonZeroUsize>) -> Self {
        let permits = Self(Arc::default());
        permits.set_limit(limit);
        permits
    }

    /// Changes the limit. Permits that are out stay out.
    pub fn set_limit(&self, limit: Option<NonZeroUsize>) {
        self.0.limit.store(limit.map_or(usize::MAX, NonZeroUsize::get), Ordering::Relaxed);
        self.0.returned.notify_waiters();
    }

    /// A permit, if one is left.
    pub fn try_take(&self) -> Option<Permit> {
        let limit = self.0.limit.load(Ordering::Relaxed);
        self.0
            .out
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |out| {
                (out < limit).then_some(out + 1)
            })
            .ok()
            .map(|_| Permit(self.clone()))
    }

    /// A permit, as soon as one is left. Takers are not served in any order.
    pub async fn take(&self) -> Permit {
        loop {
            let returned = self.0.returned.notified();
            if let Some(permit) = self.try_take() {
                // Permits that came back together may have woken only one of those who wait.
                if self.out() < self.0.limit.load(Ordering::Relaxed) {
                    self.0.returned.notify_one();
                }
                return permit;
            }
            returned.await;
        }
    }

    /// Permits that are out now.
    pub fn out(&self) -> usize {
        self.0.out.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.out.fetch_sub(1, Ordering::AcqRel);
        self.0.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_permit_that_comes_back_lets_the_next_one_in() {
        let permits = Permits::new(NonZeroUsize::new(2));
        let (first, second) = (permits.take().await, permits.take().await);
        assert!(permits.try_take().is_none());
        let waiting = tokio::spawn({
            let permits = permits.clone();
            async move { drop(permits.take().await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap();
        drop(second);
        assert_eq!(permits.out(), 0);
    }

    #[tokio::test]
    async fn one_wake_for_two_permits_that_came_back_lets_two_in() {
        let permits = Permits::new(NonZeroUsize::new(2));
        let (first, second) = (permits.take().await, permits.take().await);
        let waiting = || {
            let permits = permits.clone();
            tokio::spawn(async move { permits.take().await })
        };
        let (one, other) = (waiting(), waiting());
        tokio::task::yield_now().await;
        // As if both had come back while nobody was waiting yet: one wake is all that is kept.
        permits.0.out.fetch_sub(1, Ordering::AcqRel);
        std::mem::forget(first);
        drop(second);
        let _in = (one.await.unwrap(), other.await.unwrap());
        assert_eq!(permits.out(), 2);
    }

    #[test]
    fn a_lowered_limit_takes_nothing_back_and_gives_nothing_more() {
        let permits = Permits::new(None);
        let _out = [permits.try_take().unwrap(), permits.try_take().unwrap()];
        permits.set_limit(NonZeroUsize::new(1));
        assert!(permits.try_take().is_none());
        assert_eq!(permits.out(), 2);
    }
}
