//! Handles that outlive what they lead to: `Ref<A>` to a component, `Recipient<M>` to a listener.
//!
//! A `Ref` is made vacant, before its actor exists, so that actors can be wired to each other when
//! they are made. It stays good through every restart, on whatever arbiter, and is vacant again
//! once the component is stopped for good. Who runs the actor is left to `child` and `cell`.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use actix::dev::channel::AddressSender;
use actix::dev::{SendError, ToEnvelope};
use actix::{Actor, Addr, Context, Handler, MailboxError, Message};
use arc_swap::ArcSwapOption;

/// The name of a component in the tree, such as `router/0` or `checker/redis/127.0.0.1:7001`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentName(Arc<str>);

/// A stable handle on a supervised actor.
///
/// Whoever holds an `Addr` instead holds one incarnation: `ctx.address()` dies with it.
pub struct Ref<A: Actor<Context = Context<A>>> {
    inner: Arc<Inner<A>>,
}

struct Inner<A: Actor<Context = Context<A>>> {
    name: ComponentName,
    sender: ArcSwapOption<AddressSender<A>>,
}

/// Whoever hears `M`: a component that may be restarted meanwhile, or a closure.
///
/// Sending says `false` if nobody is there to hear it.
pub struct Recipient<M>(Arc<dyn Fn(M) -> bool + Send + Sync>);

// === impl Ref ===

impl<A: Actor<Context = Context<A>>> Ref<A> {
    /// A handle that leads nowhere until a supervisor starts a child with it.
    pub fn vacant(name: impl Into<ComponentName>) -> Self {
        Self { inner: Arc::new(Inner { name: name.into(), sender: ArcSwapOption::empty() }) }
    }

    /// Starts an actor on this arbiter that nobody restarts, under a handle: for tests of an actor
    /// alone.
    #[cfg(test)]
    pub(crate) fn unsupervised(
        name: impl Into<ComponentName>,
        make: impl FnOnce(&mut Context<A>) -> A,
    ) -> Self {
        let handle = Self::vacant(name);
        let (sender, receiver) = actix::dev::channel::channel(1024);
        let mut ctx = Context::with_receiver(receiver);
        let actor = make(&mut ctx);
        ctx.run(actor);
        handle.occupy(sender);
        handle
    }

    /// The component's name.
    pub fn name(&self) -> &ComponentName {
        &self.inner.name
    }

    /// Nobody hears: not started yet, or stopped for good. While it restarts it is *not* vacant:
    /// what is sent then waits in its mailbox.
    pub fn is_vacant(&self) -> bool {
        self.inner.sender.load().is_none()
    }

    /// Sends without waiting and without bound: for control. `false`: vacant, the message is gone.
    pub fn tell<M>(&self, message: M) -> bool
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        self.inner.sender.load().as_ref().is_some_and(|sender| sender.do_send(message).is_ok())
    }

    /// Sends if the mailbox has room: where load can pile up. The error gives the message back.
    pub fn offer<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        match self.inner.sender.load().as_ref() {
            Some(sender) => sender.try_send(message, true),
            None => Err(SendError::Closed(message)),
        }
    }

    /// Asks and waits for the answer. `Closed`: vacant, or the actor crashed over this message.
    ///
    /// The question is on its way when this returns; the future only waits, and borrows nothing.
    pub fn ask<M>(
        &self,
        message: M,
    ) -> impl Future<Output = Result<M::Result, MailboxError>> + use<A, M>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let sender = self.inner.sender.load();
        let request =
            sender.as_ref().map(|sender| Addr::new(AddressSender::clone(sender)).send(message));
        async move {
            match request {
                Some(request) => request.await,
                None => Err(MailboxError::Closed),
            }
        }
    }

    /// This component as somebody who hears `M`; follows it through restarts.
    pub fn recipient<M>(&self) -> Recipient<M>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let handle = self.clone();
        Recipient::from_fn(move |message| handle.tell(message))
    }

    /// Makes the handle lead to `sender`'s mailbox.
    pub(super) fn occupy(&self, sender: AddressSender<A>) {
        self.inner.sender.store(Some(Arc::new(sender)));
    }

    /// Makes the handle lead nowhere.
    pub(super) fn vacate(&self) {
        self.inner.sender.store(None);
    }
}

impl<A: Actor<Context = Context<A>>> Clone for Ref<A> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for Ref<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({})", self.inner.name)
    }
}

// === impl Recipient ===

impl<M> Recipient<M> {
    /// Whoever this closure is: for tests, and for listeners that are no actors. It runs on the
    /// sender's thread, and says whether the message was taken.
    pub fn from_fn(hear: impl Fn(M) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    /// Sends without waiting. `false`: nobody is there.
    pub fn tell(&self, message: M) -> bool {
        (self.0)(message)
    }
}

impl<M> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Recipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient")
    }
}

// === impl ComponentName ===

impl ComponentName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ComponentName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for ComponentName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<&Self> for ComponentName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

impl fmt::Display for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}
