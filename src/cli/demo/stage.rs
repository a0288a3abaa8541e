//! Plays the failovers on the servers, one after the other, and reports on each when the proxy has
//! come to rest. It is asked to go on every few milliseconds, and waits for nothing itself.

use std::time::Duration;

use tokio::time::Instant;

use crate::cli::demo::clients::Clients;
use crate::cli::demo::pair::Act;
use crate::cli::demo::proxy::Proxy;
use crate::cli::demo::servers::Servers;
use crate::cli::demo::side::Side;
use crate::cli::demo::story::{Kind, Step, due};
use crate::cli::demo::tally::{Failover, Report};

/// Calm before the first failover, and from the end of one to the next, as shares of `every`.
const CALM: f64 = 0.25;
const END: f64 = 0.85;
/// The proxy has this long to come to rest after everything has happened.
const REST: Duration = Duration::from_secs(10);

/// What there is to tell.
#[derive(Debug, Clone)]
pub enum News {
    /// A failover begins.
    Begins {
        /// Counts from 1.
        number: usize,
        /// Which.
        kind: Kind,
    },
    /// Something happens to the servers.
    Happens(String),
    /// The proxy leads to another server, or to none.
    Leads(Option<Side>),
    /// A failover is over.
    Over(Box<Report>),
}

/// How much is played, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Programme {
    /// So many failovers.
    pub failovers: usize,
    /// One so often.
    pub every: Duration,
}

/// What is going on.
pub struct Stage {
    programme: Programme,
    master: Side,
    played: usize,
    leads: Option<Side>,
    phase: Phase,
}

enum Phase {
    Calm { until: Instant },
    Playing(Box<Playing>),
    Over,
}

struct Playing {
    kind: Kind,
    begun: Instant,
    steps: std::vec::IntoIter<Step>,
    next: Option<Step>,
    /// The stamp of the last write before the other one was a master, and when that was.
    promoted: Option<(u64, Instant)>,
    contested_before: Duration,
}

/// Everybody on the stage.
pub struct Cast<'a> {
    /// The servers.
    pub servers: &'a mut Servers,
    /// The proxy.
    pub proxy: &'a Proxy,
    /// The clients.
    pub clients: &'a Clients,
}

// === impl Stage ===

impl Stage {
    /// Begins with a moment of calm.
    pub fn new(programme: Programme, now: Instant) -> Self {
        let until = now + programme.every.mul_f64(CALM);
        let (master, phase) = (Side::A, Phase::Calm { until });
        Self { programme, master, played: 0, leads: Some(master), phase }
    }

    /// Is everything played?
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Is it in the middle of a failover?
    pub fn is_playing(&self) -> bool {
        matches!(self.phase, Phase::Playing(_))
    }

    fn begins(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Calm { until } => now >= until,
            Phase::Playing(_) | Phase::Over => false,
        }
    }

    /// Whatever is due by now.
    ///
    /// # Errors
    /// If a server cannot come back.
    pub fn go_on(&mut self, cast: &mut Cast<'_>, now: Instant) -> std::io::Result<Vec<News>> {
        let mut news = Vec::new();
        let leads = cast.leads();
        if leads != self.leads && cast.proxy.answers() {
            self.leads = leads;
            news.push(News::Leads(leads));
        }
        if self.begins(now) {
            let playing = Playing::begin(Kind::nth(self.played), self.master, cast, now);
            news.push(News::Begins { number: self.played + 1, kind: playing.kind });
            self.phase = Phase::Playing(Box::new(playing));
        }
        let Phase::Playing(playing) = &mut self.phase else { return Ok(news) };
        playing.perform_due((self.programme.every, now), cast, &mut news)?;
        if let Some(settled) = playing.end(self.master, self.programme.every, cast, now) {
            self.played += 1;
            let report = playing.report(self.master, self.played, settled, cast);
            news.push(News::Over(Box::new(report)));
            self.master = self.master.other();
            let until = playing.begun + self.programme.every;
            let is_last = self.played == self.programme.failovers;
            self.phase = if is_last { Phase::Over } else { Phase::Calm { until } };
        }
        Ok(news)
    }
}

// === impl Playing ===

impl Playing {
    fn begin(kind: Kind, old: Side, cast: &Cast<'_>, now: Instant) -> Self {
        let mut steps = kind.steps(old).into_iter();
        let next = steps.next();
        let contested_before = cast.servers.pair().contested(now);
        Self { kind, begun: now, steps, next, promoted: None, contested_before }
    }

    fn perform_due(
        &mut self,
        (every, now): (Duration, Instant),
        cast: &mut Cast<'_>,
        news: &mut Vec<News>,
    ) -> std::io::Result<()> {
        while let Some(step) = self.next.take_if(|step| now >= self.begun + due(step, every)) {
            if matches!(step.act, Act::Swap | Act::Promote(_)) {
                self.promoted = Some((cast.servers.pair().stamp(), now));
            }
            cast.servers.perform(step.act)?;
            news.push(News::Happens(step.says));
            self.next = self.steps.next();
        }
        Ok(())
    }

    /// `Some` once it is over: did the proxy come to rest where it should?
    fn end(&self, old: Side, every: Duration, cast: &Cast<'_>, now: Instant) -> Option<bool> {
        let end = self.begun + every.mul_f64(END);
        if self.next.is_some() || now < end {
            return None;
        }
        let settled = cast.has_settled(old, now) && self.first_write(old, cast).is_some();
        (settled || now >= end + REST).then_some(settled)
    }

    /// From the promotion to the new master's first write.
    fn first_write(&self, old: Side, cast: &Cast<'_>) -> Option<Duration> {
        let (stamp, at) = self.promoted?;
        let first = cast.servers.pair().first_after(old.other(), stamp)?;
        Some(first.at - at)
    }

    fn report(&self, old: Side, number: usize, settled: bool, cast: &Cast<'_>) -> Report {
        let first_write = self.first_write(old, cast);
        let mut pair = cast.servers.pair();
        let failover = Failover {
            number,
            kind: self.kind,
            old,
            promoted: self.promoted.map_or(0, |(stamp, _)| stamp),
            first_write,
            two_masters: pair.contested(Instant::now()) - self.contested_before,
            settled,
        };
        let landed = pair.take_landed();
        let has = |write| pair.has(old.other(), write);
        let waiting = cast.clients.waiting(Instant::now());
        let tally = &mut cast.clients.accounts().tally;
        waiting.into_iter().for_each(|time| tally.waits(time));
        Report { proxy_says: cast.proxy_says(old), ..tally.close(failover, &landed, has) }
    }
}

// === impl Cast ===

impl Cast<'_> {
    /// Whom the proxy leads to, by what it says itself.
    pub fn leads(&self) -> Option<Side> {
        let leader = self.proxy.leader()?;
        Side::BOTH.into_iter().find(|side| self.servers.address(*side) == leader)
    }

    /// The proxy's own report of the last failover, if it is one away from this server.
    fn proxy_says(&self, old: Side) -> Option<String> {
        let service = self.proxy.service()?;
        let last = service.failovers.first()?;
        let name = |said: &str, side: Side| {
            said.replace(&self.servers.address(side).to_string(), &side.to_string())
        };
        let is_this = last.from == self.servers.address(old).to_string();
        is_this.then(|| {
            Side::BOTH.into_iter().fold(last.summary.clone(), |said, side| name(&said, side))
        })
    }

    /// Does it lead to the new master, hold the old one for a replica, and is nobody waiting?
    fn has_settled(&self, old: Side, now: Instant) -> bool {
        let address = self.servers.address(old).to_string();
        let service = self.proxy.service();
        let targets = service.iter().flat_map(|service| &service.targets);
        let is_down = targets.filter(|it| it.address == address).any(|it| it.health == "down");
        self.leads() == Some(old.other()) && is_down && self.clients.waiting(now).is_empty()
    }
}
