//! The checker: one a target and check. Probes, reports, and is told when to probe next.
//!
//! It holds nothing that matters, but perhaps a connection that its last probe has left open, whose
//! end makes it probe at once: restarted, it does so too. No checker waits for another, and
//! the next probe is armed by the end of the one before, never beside it.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture,
};
use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::check::Check;
use crate::config::names::ServiceName;
use crate::health::dialled::{Probed, probe};
use crate::health::effect::Finished;
use crate::health::kept_connection::{Ends, end};
use crate::net::connectors::Connectors;
use crate::net::dial::Destination;
use crate::net::names::{NameBook, Unresolved};
use crate::net::peer::Peer;
use crate::supervise::handle::Recipient;

/// The health supervisor answers in microseconds; it may be being restarted.
const ANSWER: Duration = Duration::from_secs(1);

/// What a checker works with.
#[derive(Clone)]
pub struct CheckerArgs {
    /// The service it checks for.
    pub service: ServiceName,
    /// The check.
    pub check: Arc<Check>,
    /// The interval while nobody says otherwise.
    pub interval: Duration,
    /// The addresses of target names.
    pub names: Arc<ArcSwap<NameBook>>,
    /// What TLS handshakes need.
    pub connectors: Connectors,
    /// Who judges.
    pub reports: Recipient<CheckFinished>,
}

/// The actor.
pub struct Checker {
    args: CheckerArgs,
    is_probing: bool,
    /// Somebody asked for a probe while one was running.
    again: bool,
    /// Waits for the end of the connection that the last probe has left open.
    watch: Option<SpawnHandle>,
    ends: Ends,
    /// Numbers the armed ticks, so that one that has been overtaken does nothing.
    armed: u64,
}

/// A check has run.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct CheckFinished {
    /// The service it ran for.
    pub service: ServiceName,
    /// The check, by which a report from before a reload is known, and how it went.
    pub finished: Finished,
    /// Where its address led while it ran.
    pub at: Result<Destination, Unresolved>,
    /// Hears the interval until the next run.
    pub next: oneshot::Sender<Duration>,
}

/// Probe now, or as soon as the probe that runs has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CheckNow;

#[derive(Message)]
#[rtype(result = "()")]
struct Tick(u64);

// === impl Checker ===

impl Checker {
    /// A checker with these means.
    pub fn new(args: CheckerArgs) -> Self {
        let (is_probing, again, armed) = (false, false, 0);
        Self { args, is_probing, again, watch: None, ends: Ends::new(), armed }
    }

    fn begin(&mut self, why: Why, ctx: &mut Context<Self>) {
        self.is_probing = true;
        if let Some(watch) = self.watch.take() {
            ctx.cancel_future(watch);
            self.ends.lasted();
        }
        let probing = probe_and_report(self.args.clone()).into_actor(self);
        ctx.spawn(probing.map(move |run, checker, ctx| {
            if why == Why::ConnectionEnded {
                checker.ends.asked(run.left_open.is_some());
            }
            checker.finish(run, ctx);
        }));
    }

    fn finish(&mut self, run: ProbeRun, ctx: &mut Context<Self>) {
        self.is_probing = false;
        if std::mem::take(&mut self.again) {
            return self.begin(Why::ItIsTime, ctx);
        }
        if let Some(connection) = run.left_open {
            let ended = end(connection).into_actor(self);
            let watch = ended.map(|(), checker, ctx| checker.connection_ended(ctx));
            self.watch = Some(ctx.spawn(watch));
        }
        self.armed += 1;
        ctx.notify_later(Tick(self.armed), run.pause);
    }

    fn connection_ended(&mut self, ctx: &mut Context<Self>) {
        self.watch = None;
        if self.ends.count() {
            self.begin(Why::ConnectionEnded, ctx);
        }
    }
}

impl Actor for Checker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin(Why::ItIsTime, ctx);
    }
}

impl Handler<Tick> for Checker {
    type Result = ();

    fn handle(&mut self, tick: Tick, ctx: &mut Self::Context) {
        if tick.0 == self.armed && !self.is_probing {
            self.begin(Why::ItIsTime, ctx);
        }
    }
}

impl Handler<CheckNow> for Checker {
    type Result = ();

    fn handle(&mut self, _: CheckNow, ctx: &mut Self::Context) {
        if self.is_probing {
            self.again = true;
        } else {
            self.begin(Why::ItIsTime, ctx);
        }
    }
}

/// Why a probe begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    ItIsTime,
    ConnectionEnded,
}

/// A probe that has been reported.
struct ProbeRun {
    left_open: Option<Peer>,
    /// How long to pause before the next.
    pause: Duration,
}

/// One probe and its report.
async fn probe_and_report(args: CheckerArgs) -> ProbeRun {
    let started = Instant::now();
    let (Probed { transcript, left_open }, at) = probe_where_it_is(&args).await;
    let finished = Finished { check: Arc::clone(&args.check), transcript: Arc::new(transcript) };
    let (next, answer) = oneshot::channel();
    args.reports.tell(CheckFinished { service: args.service.clone(), finished, at, next });
    let interval = match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(interval)) => interval,
        Ok(Err(_)) | Err(_) => args.interval,
    };
    let pause = pause(interval, started.elapsed(), fastrand::f64());
    ProbeRun { left_open, pause }
}

/// A probe of whoever is there now: if the name has come to stand for another address meanwhile,
/// what was heard says nothing of who is there, and must not be counted. Also says where it was.
async fn probe_where_it_is(args: &CheckerArgs) -> (Probed, Result<Destination, Unresolved>) {
    loop {
        let names = args.names.load_full();
        let probed = probe(&args.check, &names, &args.connectors).await;
        let (address, now) = (&args.check.address, args.names.load_full());
        let at = names.resolve(address);
        if now.resolve(address) == at {
            return (probed, at);
        }
    }
}

/// From one start to the next it is `interval` ±10 %, but some pause there is always: a target
/// that takes its whole timeout must not be probed without end.
pub fn pause(interval: Duration, took: Duration, chance: f64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * chance).saturating_sub(took).max(interval / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_an_interval_apart_with_some_jitter_and_never_back_to_back() {
        let second = Duration::from_secs(1);
        let check = |took_ms, chance, expected_ms| {
            let pause = pause(second, Duration::from_millis(took_ms), chance);
            assert_eq!(pause.as_millis(), expected_ms, "took {took_ms}");
        };
        check(0, 0.5, 1000);
        check(0, 0.0, 900);
        check(300, 0.5, 700);
        check(2000, 0.5, 100);
    }
}
