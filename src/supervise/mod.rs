//! Floor 1: restarts. Knows nothing of proxies, nor of any other room.
//!
//! actix gives mailboxes and lifecycles; this room gives supervision. What it promises:
//!
//! - **A crash stays where it is.** A panic anywhere in an actor (a handler, a future of its
//!   context, `started`, `stopping`, its making, its drop) ends that incarnation and nothing else:
//!   not the arbiter, not a neighbour, never the process.
//! - **Each incarnation is new.** It is made again by its `ChildSpec`, in a new context: no state,
//!   timer or cancel handle of a broken one is left. `Supervised::restarting` is never called.
//!   What must survive sits behind an `Arc` that the spec hands in.
//! - **The mailbox stays.** A `Ref` leads to a mailbox that belongs to the component, not to an
//!   incarnation or a thread. What was not yet taken is heard by the next incarnation, in order,
//!   on whatever arbiter. Only the message in hand is lost: whoever asked it gets `Closed`; if its
//!   arbiter hangs, the answer comes when that wakes, or never: bound every `ask` by a deadline.
//!   `ctx.address()` is another, private mailbox, which dies with the incarnation: good for what a
//!   future of the actor reports back to it.
//! - **No storm.** Restarts back off from 10 ms to 5 s. Past its intensity a child is parked (and
//!   tried further), or its group restarted, or the supervisor above told, up to the process.
//! - **No silence.** An actor that hears nothing for `hang` while its arbiter is well is restarted;
//!   an arbiter that does not answer is replaced with everything on it, and what was detached from
//!   actors (by `tenants::spawn`) lives on if it wakes; the arbiter ends with the last of it.
//!   Lateness of the watcher is held against nobody.
//! - **One at a time.** The next incarnation starts when the last one has been dropped; only one
//!   that does not answer is left behind, and it is fed no more.
//! - **Supervisors fall too**, and their children never notice.
//! - **An end is final.** Children are stopped in reverse order; their handles are then vacant.
//!
//! An actor needs nothing but `Actor<Context = Context<Self>>` to be a child. Two drops of one
//! actor that both panic still abort the process; nothing in Rust can prevent that.
//!
//! Tests of the decisions: `children_*`; of every trap of actix, on real arbiters: `*_tests`.

pub mod arbiters;
#[cfg(test)]
mod arbiters_tests;
pub mod backoff;
mod beat;
mod cell;
#[cfg(test)]
mod cell_tests;
#[cfg(feature = "chaos")]
pub mod chaos;
#[cfg(feature = "chaos")]
#[cfg(test)]
mod chaos_tests;
pub mod child;
mod children;
#[cfg(test)]
mod children_tests;
#[cfg(test)]
mod children_walk;
#[cfg(test)]
mod children_world;
mod effect;
mod entry;
pub mod exit;
mod failing;
pub mod handle;
mod inbox;
pub mod intensity;
pub mod panics;
pub mod policy;
mod residence;
pub mod root;
pub mod slot;
pub mod supervisor;
#[cfg(test)]
mod supervisor_tests;
mod table;
pub mod tenants;
#[cfg(test)]
mod trial;
pub mod view;
