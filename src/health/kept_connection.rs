//! A kept connection: what a check that was answered leaves open until its next run. Its end is news: the
//! process behind it may have died, and may be back before the next run, remembering nothing.
//!
//! The end itself says nothing of the target, which may close the connections of a promoted server
//! or those that are idle; it is a reason to ask at once, where a dead one refuses. One that always
//! ends them so is not asked all the time: its ends count again once a connection has lasted.

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a target may say to nobody before it is listened to no more.
const MOST: u64 = 64 * 1024;

/// Is the end of the connection that is kept now a reason to ask?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    count: bool,
}

// === impl Ends ===

impl Ends {
    /// Of a target of which nothing is known.
    pub fn new() -> Self {
        Self { count: true }
    }

    /// Do they count?
    pub fn count(self) -> bool {
        self.count
    }

    /// A connection has lasted until the next run.
    pub fn lasted(&mut self) {
        self.count = true;
    }

    /// One has ended, and the target was asked for it. It answers: then it ends them by itself.
    pub fn asked(&mut self, answers: bool) {
        self.count = !answers;
    }
}

impl Default for Ends {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits for the end. What is still said is not looked at; who says too much is left alone.
pub async fn end(connection: impl AsyncRead + Unpin) {
    let mut rest = connection.take(MOST);
    let mut buffer = [0; 512];
    while rest.limit() > 0 {
        match rest.read(&mut buffer).await {
            Ok(0) | Err(_) if rest.limit() > 0 => return,
            Ok(_) | Err(_) => {}
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn the_ends_of_a_target_that_lives_on_count_again_once_one_has_lasted() {
        let mut ends = Ends::new();
        assert!(ends.count());
        ends.asked(false);
        assert!(ends.count(), "it was down: the next end is news again");
        ends.asked(true);
        assert!(!ends.count(), "it ends them by itself");
        ends.lasted();
        assert!(ends.count());
    }

    #[tokio::test]
    async fn what_is_said_is_no_end_and_who_says_too_much_is_left_alone() {
        let (mut target, connection) = tokio::io::duplex(1024);
        let mut ended = Box::pin(end(connection));
        target.write_all(b"the rest of an answer").await.unwrap();
        assert!(ended.as_mut().now_or_never().is_none());
        drop(target);
        ended.await;
        let (mut target, connection) = tokio::io::duplex(128 * 1024);
        let mut ended = Box::pin(end(connection));
        target.write_all(&[7; 100 * 1024]).await.unwrap();
        drop(target);
        for _ in 0..1000 {
            assert!(ended.as_mut().now_or_never().is_none());
        }
    }
}
