//! `stagedoor demo`: starts everything, plays the failovers, and ends with a summary.
//!
//! Exit codes: 0 everything went as the proxy promises, also when Ctrl-C ended it early; 1 a
//! promise was broken, or the demo could not start or go on; 2 the command line is wrong.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cli::demo::clients::{self, Clients};
use crate::cli::demo::frame::MOMENT;
use crate::cli::demo::pair::Condition;
use crate::cli::demo::proxy::{self, Proxy};
use crate::cli::demo::scene::{ClientScene, Says, Scene, ServerScene};
use crate::cli::demo::servers::Servers;
use crate::cli::demo::side::Side;
use crate::cli::demo::stage::{Cast, News, Programme, Stage};
use crate::cli::demo::tally::Report;
use crate::cli::demo::told::Summary;
use crate::cli::demo::view::{Manner, View, in_words};
use crate::cli::output;

/// How often the stage goes on.
const TICK: Duration = Duration::from_millis(20);
/// A picture every so many of them.
const PICTURE: usize = 5;
/// Moments that are kept for the bars.
const PULSE: usize = 240;

/// `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// How many failovers; the four kinds take turns.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub failovers: u16,
    /// Seconds from one failover to the next, at least 3.
    #[arg(long, value_name = "SECONDS", default_value_t = 7, value_parser = clap::value_parser!(u16).range(3..=600))]
    pub every: u16,
    /// Print for machines: an object a failover, and one at the end, each on a line of its own.
    #[arg(long)]
    pub json: bool,
    /// Be the proxy of a demo: for the demo itself.
    #[arg(long, value_name = "FOLDER", hide = true)]
    pub proxy: Option<PathBuf>,
}

/// Plays it.
pub fn main(args: &DemoArgs) -> ExitCode {
    if let Some(folder) = &args.proxy {
        return proxy::be(folder);
    }
    let programme = Programme {
        failovers: args.failovers.into(),
        every: Duration::from_secs(args.every.into()),
    };
    let manner = match (args.json, output::is_terminal()) {
        (true, _) => Manner::Json,
        (false, true) => Manner::Live,
        (false, false) => Manner::Lines,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("stagedoor: cannot start the demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    let played = runtime.block_on(play(programme, manner));
    runtime.shutdown_background();
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("stagedoor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Was everything as promised?
async fn play(programme: Programme, manner: Manner) -> anyhow::Result<bool> {
    let mut stop = Stop::listen()?;
    let servers = Servers::start().context("cannot start the two servers of the demo")?;
    let targets = Side::BOTH.map(|side| servers.address(side));
    let proxy = tokio::select! {
        proxy = Proxy::start(targets) => proxy?,
        () = stop.asked() => return Ok(true),
    };
    let mut demo = Demo::new(programme, manner, servers, proxy);
    let broken = demo.run(&mut stop).await;
    let (summary, view) = demo.end(broken).await;
    let kept = summary.is_kept();
    let closing = tokio::task::spawn_blocking(move || view.close(&summary));
    // Everything is gone already but this: nobody has to wait for a reader that does not read.
    tokio::select! {
        closed = closing => closed?,
        () = stop.asked() => {}
    }
    Ok(kept)
}

/// The signals that end it.
struct Stop([Signal; 3]);

/// Everything that goes on.
struct Demo {
    programme: Programme,
    begun: Instant,
    servers: Servers,
    proxy: Proxy,
    clients: Clients,
    stage: Stage,
    view: View,
    /// What has happened in this failover, and when it began.
    happened: (Instant, Vec<(Duration, String)>),
    title: String,
    reports: Vec<Report>,
    pulse: Pulse,
}

/// Writes that each server took, moment by moment.
struct Pulse {
    counts: [VecDeque<u64>; 2],
    before: [u64; 2],
    since: Instant,
}

// === impl Stop ===

impl Stop {
    fn listen() -> std::io::Result<Self> {
        let [int, term, hup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([int?, term?, hup?]))
    }

    async fn asked(&mut self) {
        let [int, term, hup] = &mut self.0;
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
    }
}

// === impl Demo ===

impl Demo {
    fn new(programme: Programme, manner: Manner, servers: Servers, proxy: Proxy) -> Self {
        let now = Instant::now();
        Self {
            programme,
            begun: now,
            clients: Clients::start(proxy.address()),
            stage: Stage::new(programme, now),
            view: View::open(manner),
            happened: (now, Vec::new()),
            title: "Calm before the first failover: everybody writes to A".to_owned(),
            reports: Vec::new(),
            pulse: Pulse { counts: Default::default(), before: [0, 0], since: now },
            servers,
            proxy,
        }
    }

    /// Until it is over; why, if it broke down.
    async fn run(&mut self, stop: &mut Stop) -> Option<String> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_picture = 0;
        self.greet();
        let mut asked: Pin<Box<dyn Future<Output = ()>>> = Box::pin(stop.asked());
        while !self.stage.is_over() {
            tokio::select! {
                _ = ticks.tick() => {}
                () = &mut asked => return None,
            }
            if let Some(how) = self.proxy.has_ended() {
                return Some(format!("The proxy has ended: {how}{}", self.proxy.last_words()));
            }
            if self.clients.has_ended() {
                return Some("A client of the demo has failed.".to_owned());
            }
            let unread = match self.go_on() {
                Ok(unread) => unread,
                Err(error) => return Some(format!("A server cannot come back: {error}")),
            };
            let now = Instant::now();
            self.pulse.beat(now, &self.servers);
            until_picture = (until_picture + 1) % PICTURE;
            let draws = self.view.is_live() && until_picture == 0;
            if unread || draws && self.view.show(self.scene(now)).is_err() {
                return None;
            }
        }
        None
    }

    fn greet(&self) {
        let [a, b] = Side::BOTH.map(|side| self.servers.address(side));
        let text = format!(
            "Two Redis servers, A at {a} and B at {b}, behind stagedoor at {}; {} clients write.",
            self.proxy.address(),
            clients::COUNT,
        );
        // Whoever does not read this will not read the next line either.
        drop(self.view.say(&text));
    }

    /// Goes on by a tick. Does nobody read any more?
    fn go_on(&mut self) -> std::io::Result<bool> {
        let now = Instant::now();
        let Self { servers, proxy, clients, .. } = self;
        let news = self.stage.go_on(&mut Cast { servers, proxy, clients }, now)?;
        let of = self.programme.failovers;
        let mut unread = false;
        for news in news {
            unread |= self.view.tell(&news, now - self.begun, of).is_err();
            match &news {
                News::Begins { number, kind } => {
                    self.title = format!("Failover {number} of {of}: {}", kind.name());
                    self.happened = (now, Vec::new());
                }
                News::Happens(_) | News::Leads(_) => {
                    let (since, happened) = &mut self.happened;
                    happened.push((now - *since, in_words(&news)));
                }
                News::Over(report) => self.reports.push((**report).clone()),
            }
        }
        Ok(unread)
    }

    fn scene(&self, now: Instant) -> Scene {
        Scene {
            elapsed: now - self.begun,
            listen: self.proxy.address(),
            socket: self.proxy.socket().display().to_string(),
            title: self.title.clone(),
            happened: self.happened.1.clone(),
            servers: Side::BOTH.map(|side| self.server_scene(side)),
            clients: self.client_scene(now),
            reports: self.reports.clone(),
            log: self.proxy.log(3),
        }
    }

    fn server_scene(&self, side: Side) -> ServerScene {
        let address = self.servers.address(side);
        let service = self.proxy.service();
        let targets = service.iter().flat_map(|service| &service.targets);
        let target = targets.into_iter().find(|it| it.address == address.to_string());
        let health = target.map_or("no answer", |target| &target.health).to_owned();
        let pair = self.servers.pair();
        let says = match (pair.condition(side), pair.is_master(side)) {
            (Condition::Running, true) => Says::Master,
            (Condition::Running, false) => Says::Replica,
            (Condition::Frozen, _) => Says::Silent,
            (Condition::Dead, _) => Says::Dead,
        };
        ServerScene {
            side,
            address,
            says,
            health,
            leads: self.proxy.leader() == Some(address),
            taken: pair.taken(side),
            pulse: self.pulse.counts[side.index()].iter().copied().collect(),
        }
    }

    fn client_scene(&self, now: Instant) -> ClientScene {
        let waiting = self.clients.waiting(now);
        let accounts = self.clients.accounts();
        ClientScene {
            count: clients::COUNT,
            acknowledged: accounts.tally.total() as u64,
            waiting: waiting.len(),
            longest: waiting.into_iter().max().unwrap_or_default(),
            troubles: accounts.tally.troubles(),
        }
    }

    /// Ends everything but the view.
    async fn end(self, broken: Option<String>) -> (Summary, View) {
        let Self { programme, begun, servers, proxy, clients, stage, view, reports, .. } = self;
        let elapsed = begun.elapsed();
        let (acknowledged, since) = {
            let tally = &clients.accounts().tally;
            (tally.total() as u64, tally.troubles())
        };
        drop(clients);
        proxy.stop().await;
        drop(servers);
        let wanted = programme.failovers;
        let unfinished = stage.is_playing();
        let summary = Summary { elapsed, acknowledged, since, reports, wanted, unfinished, broken };
        (summary, view)
    }
}

// === impl Pulse ===

impl Pulse {
    /// Notes the moment that has just passed.
    fn beat(&mut self, now: Instant, servers: &Servers) {
        if now < self.since + MOMENT {
            return;
        }
        self.since += MOMENT;
        for side in Side::BOTH {
            let taken = servers.pair().taken(side);
            let (counts, before) = (&mut self.counts[side.index()], &mut self.before[side.index()]);
            counts.push_back(taken - *before);
            *before = taken;
            if counts.len() > PULSE {
                counts.pop_front();
            }
        }
    }
}
