//! Breaking any component on purpose, without its cooperation, so that tests can prove of the real
//! binary that it heals. Compiled with the feature `chaos` only.

use std::time::Duration;

use actix::Message;

use crate::supervise::handle::ComponentName;

/// Break the component of this name, wherever in the tree it is. Answers whether there is one that
/// runs.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "bool")]
pub struct Inject {
    /// Whom.
    pub component: ComponentName,
    /// How.
    pub fault: Fault,
}

/// Ways to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A panic, where the actor's own would be.
    Panic,
    /// The actor is polled no more, as if it waited for something that never comes.
    Wedge,
    /// The thread of its arbiter is blocked for this long.
    Hang(Duration),
    /// `ctx.stop()`.
    Stop,
}

/// Strikes an actor in its cell. `true`: it must not be polled now.
pub(super) fn strike(fault: &mut Option<Fault>, stop: impl FnOnce()) -> bool {
    match fault.take() {
        None => false,
        Some(Fault::Panic) => panic!("injected"),
        Some(Fault::Wedge) => {
            *fault = Some(Fault::Wedge);
            true
        }
        Some(Fault::Hang(duration)) => {
            block(duration);
            false
        }
        Some(Fault::Stop) => {
            stop();
            false
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "blocking an arbiter is the point of it")]
fn block(duration: Duration) {
    std::thread::sleep(duration);
}
