//! For tests: a small house with real arbiters, and an actor that breaks in every way it is told.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use actix::fut::{ready, wrap_future};
use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message,
    ResponseActFuture, Running,
};
use tokio::time::{Instant, sleep};

use crate::supervise::arbiters::Slots;
use crate::supervise::child::ChildSpec;
use crate::supervise::handle::{Recipient, Ref};
use crate::supervise::intensity::Intensity;
use crate::supervise::root::start_root;
use crate::supervise::slot::SlotId;
use crate::supervise::supervisor::{Group, StartChild, Supervisor};
use crate::supervise::view::{ChildView, GaveUp};

/// Short, so that tests are; long enough for a busy machine.
pub(super) const HANG: Duration = Duration::from_millis(400);
pub(super) const DATA: SlotId = SlotId::Data(0);

/// A root, its slots, and what it gave up.
pub(super) struct House {
    pub(super) slots: Arc<Slots>,
    pub(super) group: Arc<Group>,
    pub(super) root: Ref<Supervisor>,
    pub(super) given_up: Arc<Mutex<Vec<GaveUp>>>,
}

/// What a patient does, and what became of its incarnations.
#[derive(Debug, Default)]
pub(super) struct Chart {
    pub(super) makes: AtomicU32,
    pub(super) drops: AtomicU32,
    /// So many incarnations panic when they are made, or in `started`, or stop in `started`.
    pub(super) panics_when_made: AtomicU32,
    pub(super) panics_in_started: AtomicU32,
    pub(super) stops_in_started: AtomicU32,
    /// Drops in the middle of a panic: one more panic there would abort the process.
    pub(super) drops_in_panic: AtomicU32,
    /// Traps that were sprung.
    pub(super) traps: AtomicU32,
    /// The thread of the newest incarnation.
    pub(super) thread: Mutex<Option<ThreadId>>,
}

/// The actor.
pub(super) struct Patient {
    chart: Arc<Chart>,
    heard: u32,
    panics_in_stopping: bool,
    panics_in_drop: bool,
}

/// How many of these has this incarnation heard?
#[derive(Debug, Message)]
#[rtype(result = "u32")]
pub(super) struct Knock;

/// Ways for an actor to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(super) enum Trap {
    PanicInHandler,
    PanicInSpawned,
    PanicInWait,
    PanicInInterval,
    /// Panics while its result is awaited, as `ResponseActFuture` does.
    PanicInStopping,
    PanicInDrop,
    /// In the handler, in `stopping`, and in the drop.
    PanicEverywhere,
    PanicWithPayloadThatPanics,
    Stop,
    Terminate,
    WaitForEver,
    Block(Duration),
}

/// Panics in the future of its answer.
#[derive(Debug, Message)]
#[rtype(result = "u32")]
pub(super) struct AnswerLater;

/// Panics when it is dropped unheard.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Bomb;

impl House {
    /// Runs a test in a house of its own, with two data arbiters.
    pub(super) fn run<F: Future<Output = ()>>(test: impl FnOnce(Self) -> F) {
        actix_rt::System::new().block_on(async {
            let slots = Slots::open([DATA, SlotId::Data(1), SlotId::Control], HANG).unwrap();
            let group = Group::new("root", &slots, Intensity { restarts: 1000, ..PATIENT }, 1);
            let given_up = Arc::new(Mutex::new(Vec::new()));
            let news = Arc::clone(&given_up);
            let root = start_root(
                &group,
                Recipient::from_fn(move |gave_up| {
                    news.lock().unwrap().push(gave_up);
                    true
                }),
            );
            let kept = Arc::clone(&slots);
            test(Self { slots, group, root, given_up }).await;
            // Nobody replaces them any more: the keeper is on this thread, which is done.
            for view in kept.views() {
                kept.arbiter(view.slot).unwrap().stop();
            }
        });
    }

    /// A patient at work.
    pub(super) async fn admit(&self, name: &str) -> (Ref<Patient>, Arc<Chart>) {
        let (handle, chart) = (Ref::vacant(name), Arc::new(Chart::default()));
        assert!(self.root.ask(StartChild(patient(&handle, DATA, &chart))).await.unwrap());
        eventually("it is made", || chart.makes() == 1).await;
        (handle, chart)
    }

    pub(super) fn view(&self, name: &str) -> Option<ChildView> {
        find(&self.group.tree(), name)
    }
}

const PATIENT: Intensity = Intensity { restarts: 1000, window: Duration::from_secs(60) };

/// The spec of a patient that may fall very often.
pub(super) fn patient(handle: &Ref<Patient>, slot: SlotId, chart: &Arc<Chart>) -> ChildSpec {
    let chart = Arc::clone(chart);
    ChildSpec::new(handle, slot, move |_| Patient::make(&chart)).intensity(PATIENT)
}

/// Waits until it holds; a failed test if it never does.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

fn find(views: &[ChildView], name: &str) -> Option<ChildView> {
    views.iter().find_map(|view| {
        if view.name.as_str() == name { Some(view.clone()) } else { find(&view.children, name) }
    })
}

// === impl Patient ===

impl Chart {
    pub(super) fn makes(&self) -> u32 {
        self.makes.load(Ordering::SeqCst)
    }

    pub(super) fn drops(&self) -> u32 {
        self.drops.load(Ordering::SeqCst)
    }
}

fn take_one(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Patient {
    pub(super) fn make(chart: &Arc<Chart>) -> Self {
        assert!(!take_one(&chart.panics_when_made), "trap: panic when made");
        chart.makes.fetch_add(1, Ordering::SeqCst);
        *chart.thread.lock().unwrap() = Some(std::thread::current().id());
        Self {
            chart: Arc::clone(chart),
            heard: 0,
            panics_in_stopping: false,
            panics_in_drop: false,
        }
    }
}

impl Actor for Patient {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        assert!(!take_one(&self.chart.panics_in_started), "trap: panic in started");
        if take_one(&self.chart.stops_in_started) {
            ctx.stop();
        }
    }

    fn stopping(&mut self, _: &mut Context<Self>) -> Running {
        assert!(!self.panics_in_stopping, "trap: panic in stopping");
        Running::Stop
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        self.chart.drops.fetch_add(1, Ordering::SeqCst);
        if std::thread::panicking() {
            self.chart.drops_in_panic.fetch_add(1, Ordering::SeqCst);
        }
        assert!(!self.panics_in_drop, "trap: panic in drop");
    }
}

impl Handler<Knock> for Patient {
    type Result = u32;

    fn handle(&mut self, Knock: Knock, _: &mut Context<Self>) -> u32 {
        self.heard += 1;
        self.heard
    }
}

impl Handler<AnswerLater> for Patient {
    type Result = ResponseActFuture<Self, u32>;

    fn handle(&mut self, AnswerLater: AnswerLater, _: &mut Context<Self>) -> Self::Result {
        Box::pin(ready(()).map(|(), _, _| panic!("trap: panic in ResponseActFuture")))
    }
}

impl Handler<Bomb> for Patient {
    type Result = ();

    fn handle(&mut self, bomb: Bomb, _: &mut Context<Self>) {
        std::mem::forget(bomb);
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("trap: a message that panics when dropped");
    }
}

impl Handler<Trap> for Patient {
    type Result = ();

    fn handle(&mut self, trap: Trap, ctx: &mut Context<Self>) {
        self.chart.traps.fetch_add(1, Ordering::SeqCst);
        match trap {
            Trap::PanicInHandler => panic!("trap: panic in handler"),
            Trap::PanicInSpawned => {
                ctx.spawn(wrap_future(async { panic!("trap: panic in ctx.spawn") }));
            }
            Trap::PanicInWait => ctx.wait(wrap_future(async { panic!("trap: panic in ctx.wait") })),
            Trap::PanicInInterval => {
                ctx.run_interval(Duration::from_millis(1), |_, _| panic!("trap: in interval"));
            }
            Trap::PanicInStopping => {
                self.panics_in_stopping = true;
                ctx.stop();
            }
            Trap::PanicInDrop => {
                self.panics_in_drop = true;
                ctx.stop();
            }
            Trap::PanicEverywhere => {
                self.panics_in_stopping = true;
                self.panics_in_drop = true;
                panic!("trap: panic everywhere");
            }
            Trap::PanicWithPayloadThatPanics => std::panic::panic_any(Bomb),
            Trap::Stop => ctx.stop(),
            Trap::Terminate => ctx.terminate(),
            Trap::WaitForEver => ctx.wait(wrap_future(std::future::pending())),
            Trap::Block(time) => block(time),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a blocked thread is what is tested")]
fn block(time: Duration) {
    std::thread::sleep(time);
}
