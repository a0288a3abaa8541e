//! The turnstile: the handshakes of a thread take their steps one by one, and between two of them
//! everybody else on that thread gets a turn.
//!
//! A step signs, agrees on keys or verifies: it takes a hundred times as long as a turn of a relay.
//! A flood of hellos would be answered in one go, with every session of the thread waiting for the
//! last of them. Here they stand in line instead. Nobody keeps the turnstile while it waits for the
//! network, and whoever has begun goes before those who have not, so that a crowd does not make
//! everybody late. Deadlines are for the caller: dropping the handshake leaves the line.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::{Notify, Semaphore};
use tokio::task::yield_now;

thread_local! {
    static HERE: Rc<Turnstile> = Rc::new(Turnstile::default());
}

/// One thread's.
#[derive(Debug)]
struct Turnstile {
    /// Of those who have not begun, one at a time stands before `steps`.
    entrance: Semaphore,
    steps: Semaphore,
}

/// Something has happened that a handshake waited for.
#[derive(Debug, Default)]
struct Woken(Notify);

/// Performs a handshake, its steps in turns with all others on this thread.
pub async fn in_turns<T>(handshake: impl Future<Output = T>) -> T {
    let turnstile = HERE.with(Rc::clone);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut handshake = pin!(handshake);
    let mut beginning = Some(turnstile.entrance.acquire().await);
    loop {
        let step = turnstile.steps.acquire().await;
        let taken = handshake.as_mut().poll(&mut Context::from_waker(&waker));
        // Each comes back when the network has been looked at; from the first, perhaps before others
        // that yielded with it.
        yield_now().await;
        yield_now().await;
        drop((step, beginning.take()));
        match taken {
            Poll::Ready(done) => return done,
            Poll::Pending => woken.0.notified().await,
        }
    }
}

// === impl Turnstile ===

impl Default for Turnstile {
    fn default() -> Self {
        Self { entrance: Semaphore::new(1), steps: Semaphore::new(1) }
    }
}

// === impl Woken ===

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{pending, poll_fn};
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::task::{LocalSet, spawn_local};
    use tokio::time::timeout;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Did {
        Step(usize),
        Relay,
    }

    type Diary = Rc<RefCell<Vec<Did>>>;

    /// Notes each of its steps; between two of them it waits for nothing.
    async fn handshake(who: usize, steps: usize, diary: Diary) {
        for step in 0..steps {
            diary.borrow_mut().push(Did::Step(who));
            if step + 1 < steps {
                yield_now().await;
            }
        }
    }

    /// Always has something to do.
    async fn relay(diary: Diary) {
        loop {
            diary.borrow_mut().push(Did::Relay);
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn between_two_steps_everybody_else_has_a_turn() {
        let diary = Diary::default();
        let flood = async {
            let relay = spawn_local(relay(Rc::clone(&diary)));
            let handshakes: Vec<_> = (0..100)
                .map(|who| spawn_local(in_turns(handshake(who, 3, Rc::clone(&diary)))))
                .collect();
            for handshake in handshakes {
                handshake.await.unwrap();
            }
            relay.abort();
        };
        LocalSet::new().run_until(flood).await;
        let diary = diary.borrow();
        assert_eq!(diary.iter().filter(|did| matches!(did, Did::Step(_))).count(), 300);
        let in_a_row = |pair: &&[Did]| matches!(pair, [Did::Step(_), Did::Step(_)]);
        assert_eq!(diary.windows(2).find(in_a_row), None);
    }

    #[tokio::test]
    async fn whoever_waits_for_the_network_holds_up_nobody() {
        let waits = async {
            let _waiting: Vec<_> =
                (0..10).map(|_| spawn_local(in_turns(pending::<()>()))).collect();
            // A handshake that is given up leaves the line.
            drop(timeout(Duration::ZERO, in_turns(pending::<()>())).await);
            let (say, said) = oneshot::channel();
            let slow = spawn_local(in_turns(said));
            assert_eq!(in_turns(async { 7 }).await, 7);
            say.send(8).unwrap();
            assert_eq!(slow.await.unwrap(), Ok(8));
        };
        let tasks = LocalSet::new();
        timeout(Duration::from_secs(10), tasks.run_until(waits)).await.unwrap();
    }

    #[tokio::test]
    async fn whoever_has_begun_goes_before_those_who_have_not() {
        let diary = Diary::default();
        let flood = async {
            let crowd: Vec<_> = (0..50)
                .map(|who| spawn_local(in_turns(handshake(who, 2, Rc::clone(&diary)))))
                .collect();
            for one in crowd {
                one.await.unwrap();
            }
        };
        LocalSet::new().run_until(flood).await;
        let diary = diary.borrow();
        let last = diary.iter().rposition(|did| *did == Did::Step(0)).unwrap();
        assert!(last < 5, "the first is done long before the last has begun: {diary:?}");
    }

    #[tokio::test]
    async fn a_step_that_panics_lets_the_next_one_in() {
        let falls = async {
            let fallen = spawn_local(in_turns(poll_fn(|_| -> Poll<()> { panic!("as asked") })));
            assert!(fallen.await.is_err());
            in_turns(async {}).await;
        };
        let tasks = LocalSet::new();
        timeout(Duration::from_secs(10), tasks.run_until(falls)).await.unwrap();
    }
}
