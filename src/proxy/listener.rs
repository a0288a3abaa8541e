//! The listener: one a listening socket. Accepts, and hands each connection to the worker with
//! the fewest sessions.
//!
//! It borrows its socket from the socket table, and nothing that it holds matters: restarted, it
//! goes on accepting from the same queue. Accept errors pause it; they never end it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture,
};
use tokio::time::Instant;

use crate::config::names::ListenAddress;
use crate::net::accept::{Accepted, Acceptor, BATCH, Turn, take_queued};
use crate::proxy::live::LiveCell;
use crate::proxy::permits::{Permit, Permits};
use crate::proxy::router::{Router, Wake};
use crate::proxy::sockets::SocketTable;
use crate::proxy::worker::{Incoming, Worker, Workers};
use crate::supervise::handle::Ref;

/// Trouble that lasts is logged this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// What a listener works with.
#[derive(Clone)]
pub struct ListenerArgs {
    /// The address it listens at: its key in the socket table.
    pub listen: Arc<ListenAddress>,
    /// The services in force: which one answers at that address.
    pub live: LiveCell,
    /// Where the socket is.
    pub sockets: SocketTable,
    /// The bound on all sessions of the process.
    pub permits: Permits,
    /// Those for whom there was no permit yet; they outlive the listener that accepted them.
    pub waiting: Arc<Waiting>,
    /// Whom connections are handed to.
    pub workers: Workers,
    /// Their routers, in the same order.
    pub routers: Arc<[Ref<Router>]>,
}

/// Connections that were accepted and have no permit yet, oldest first.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<VecDeque<Accepted>>);

/// The actor.
pub struct Listener {
    args: ListenerArgs,
}

/// Accept everything that waits in the queue now, then nothing more: the way to leave an address
/// without resetting anybody. Answers when the queue is empty.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Retire;

// === impl Listener ===

impl Listener {
    /// A listener with these means.
    pub fn new(args: ListenerArgs) -> Self {
        Self { args }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let args = self.args.clone();
        let accepting = async move { accept_forever(&args).await };
        ctx.spawn(accepting.into_actor(self).map(|error, _, ctx: &mut Context<Self>| {
            // The supervisor tries again, later and later.
            log::error!("listener stopped: {error}");
            actix::ActorContext::stop(ctx);
        }));
    }
}

impl Handler<Retire> for Listener {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Retire, _: &mut Self::Context) -> Self::Result {
        let args = self.args.clone();
        Box::pin(async move {
            if let Err(error) = empty_queue(&args).await {
                log::warn!(listen:% = args.listen; "accept queue not emptied: {error}");
            }
        })
    }
}

impl Waiting {
    /// Every change under this lock is one call of `VecDeque`: sound whatever panicked.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Accepted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts until the socket itself cannot be used, and returns that error.
async fn accept_forever(args: &ListenerArgs) -> io::Error {
    loop {
        args.sockets.turns(true).await;
        let acceptor = match acceptor(args) {
            Ok(acceptor) => acceptor,
            Err(error) => return error,
        };
        tokio::select! {
            biased;
            () = args.sockets.turns(false) => {}
            () = accept(args, &acceptor) => {}
        }
    }
}

/// Never ends. Dropped, it loses nobody whom it has accepted.
async fn accept(args: &ListenerArgs, acceptor: &Acceptor) {
    let (mut accepted, mut pause, mut complained) = (Vec::new(), Pause::default(), None);
    loop {
        // Over the limit of the process the first waits here and the next in the kernel.
        while !args.waiting.lock().is_empty() {
            let permit = args.permits.take().await;
            hand_over_first(args, permit);
        }
        let turn = acceptor.accept(&mut accepted, 1).await;
        for connection in accepted.drain(..) {
            pause.reset();
            match args.permits.try_take() {
                Some(permit) => hand_over(args, connection, permit),
                None => args.waiting.lock().push_back(connection),
            }
        }
        if let Turn::Pause(error) = turn {
            let now = Instant::now();
            if complained.is_none_or(|last| now.duration_since(last) >= COMPLAIN_EVERY) {
                complained = Some(now);
                log::error!(listen:% = args.listen; "cannot accept, trying again: {error}");
            }
            tokio::time::sleep(pause.next()).await;
        }
    }
}

fn acceptor(args: &ListenerArgs) -> io::Result<Acceptor> {
    Acceptor::new(args.sockets.lend(&args.listen)?.lend()?)
}

/// Hands over everybody who waits in the queue, as far as there are permits.
async fn empty_queue(args: &ListenerArgs) -> io::Result<()> {
    let bound = args.sockets.lend(&args.listen)?;
    let mut accepted = Vec::new();
    while !args.sockets.is_open() {
        // A successor accepts from the same queue: whom we cannot serve is left to it.
        while !args.waiting.lock().is_empty() {
            let permit = args.permits.take().await;
            hand_over_first(args, permit);
        }
        let Some(permit) = args.permits.try_take() else { return Ok(()) };
        let taken = take_queued(&*bound, &mut accepted, 1);
        match accepted.pop() {
            Some(connection) => hand_over(args, connection, permit),
            None => return taken.map(drop),
        }
        tokio::task::yield_now().await;
    }
    loop {
        // Not through the acceptor: it knows of those who wait only once the runtime has told it.
        let taken = take_queued(&*bound, &mut accepted, BATCH);
        args.waiting.lock().extend(accepted.drain(..));
        while !args.waiting.lock().is_empty() {
            match args.permits.try_take() {
                Some(permit) => hand_over_first(args, permit),
                None => return Err(io::Error::other("as many sessions as there may be")),
            }
        }
        if !taken? {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

fn hand_over_first(args: &ListenerArgs, permit: Permit) {
    let first = args.waiting.lock().pop_front();
    if let Some(connection) = first {
        hand_over(args, connection, permit);
    }
}

fn hand_over(args: &ListenerArgs, connection: Accepted, permit: Permit) {
    let now = Instant::now();
    let worker = Worker::least_busy(&args.workers, now);
    let index = args.workers.iter().position(|other| Arc::ptr_eq(other, &worker));
    let Some(port) = args.live.load().at(&args.listen).cloned() else {
        log::info!(listen:% = args.listen; "connection closed: its service is gone");
        return;
    };
    let Accepted { fd, peer } = connection;
    let incoming = Incoming { fd, peer, port, permit, seat: worker.seat(), queued: now };
    match (worker.push(incoming), index) {
        (Ok(true), Some(index)) => {
            args.routers[index].tell(Wake);
        }
        (Ok(_), _) => {}
        (Err(_closed), _) => {
            log::error!(listen:% = args.listen; "connection closed: every worker's queue is full");
        }
    }
}

/// 10 ms, 20 ms, … 100 ms.
#[derive(Default)]
struct Pause(u32);

impl Pause {
    fn next(&mut self) -> Duration {
        self.0 = (self.0 + 1).min(10);
        Duration::from_millis(10) * self.0
    }

    fn reset(&mut self) {
        self.0 = 0;
    }
}
