//! The board of one service: what is known of its targets and who leads. Pure: `now` comes in,
//! effects go out, in the order in which they must be performed.
//!
//! A value to clone and replace whole, so that a crash never leaves it half-changed.

mod adopting;
mod witnessing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::check::Check;
use crate::config::model::{Service, Target};
use crate::config::names::{ServiceName, TargetKey};
use crate::config::thresholds::Thresholds;
use crate::health::claims::{Claims, alarm_text};
use crate::health::doubts::Doubts;
use crate::health::effect::{Effect, Finished, changed, trouble};
use crate::health::leader::remembered::Remembered;
use crate::health::leader::{LeaderRule, Ruling};
use crate::health::record::{CheckRecord, TargetRecord};
use crate::health::snapshot::{Health, Leadership, ServiceHealth};
use crate::health::suspicion::Failure;
use crate::health::verdict::Verdict;
use crate::health::witness::Panel;

/// After the lead is lost, all targets are asked at the fast pace for this long.
const SEARCHING: Duration = Duration::from_secs(30);

/// What is known of one service.
#[derive(Debug, Clone)]
pub struct ServiceBoard {
    service: ServiceName,
    thresholds: Thresholds,
    /// Shared with the board before: what one verdict does not touch is not copied for it.
    targets: BTreeMap<TargetKey, Arc<TargetRecord>>,
    /// Targets that nothing checks: served as if they were up.
    unchecked: Vec<TargetKey>,
    /// Checks that belong to no target: they run and are shown, and decide nothing.
    strays: Vec<CheckRecord>,
    /// Only where at most one may lead.
    leader: Option<LeaderRule>,
    /// Only where a leader needs witnesses.
    panel: Option<Panel>,
    claims: Claims,
    doubts: Doubts,
    lead_lost: Option<Instant>,
    published: Arc<ServiceHealth>,
}

impl ServiceBoard {
    /// The board of a service that starts: nothing is known.
    pub fn new(service: &Service, now: Instant) -> Self {
        let mut board = Self {
            service: service.name.clone(),
            thresholds: Thresholds::default(),
            targets: BTreeMap::new(),
            unchecked: Vec::new(),
            strays: Vec::new(),
            leader: None,
            panel: None,
            claims: Claims::default(),
            doubts: Doubts::default(),
            lead_lost: None,
            published: Arc::default(),
        };
        // There is nothing yet that anybody could lose: the first health is simply there.
        board.adopt(service, now);
        board.published = Arc::new(board.current());
        board
    }

    /// What was remembered of it before this process was started.
    pub fn remember(&mut self, remembered: &Remembered) {
        if let Some(rule) = &mut self.leader {
            rule.remember(remembered);
        }
    }

    /// The board of a service whose last one cannot be used: what was published of it is all that
    /// is known. Whoever leads goes on leading, and what each target said before is forgotten.
    pub fn restored(
        service: &Service,
        published: Arc<ServiceHealth>,
        now: Instant,
    ) -> (Self, Vec<Effect>) {
        let mut board = Self::new(service, now);
        for record in board.targets.values_mut() {
            let health = published.targets.get(&record.target).copied().unwrap_or_default();
            Arc::make_mut(record).resume(health);
        }
        if let (Some(rule), Leadership::Leader(leader)) = (&mut board.leader, &published.leadership)
        {
            rule.resume(leader);
        }
        board.published = published;
        let mut effects = Vec::new();
        board.publish(board.current(), &mut effects);
        (board, effects)
    }

    /// Its service has been published differently since, by somebody who fell over the next board:
    /// what this one knows holds again, and whoever gained by the other loses it.
    pub fn republish(&mut self, seen: Arc<ServiceHealth>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.published = seen;
        self.publish(self.current(), &mut effects);
        effects
    }

    /// Whose board it is.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The service has been redefined. What is known of targets that stay is kept.
    pub fn reconfigure(&mut self, service: &Service, now: Instant) -> Vec<Effect> {
        let ruling = self.adopt(service, now);
        let mut effects = Vec::new();
        self.obey(ruling, None, now, &mut effects);
        effects
    }

    /// Somebody else may be where some targets were: these leave, with all that is known of them
    /// and their traffic, and are there again as unknown ones.
    pub fn forget(
        &mut self,
        service: &Service,
        is_other: impl Fn(&Target) -> bool,
        now: Instant,
    ) -> Vec<Effect> {
        let mut without = service.clone();
        without.pool.targets.retain(|target| !is_other(target));
        let before = Arc::clone(&self.published);
        let mut effects = self.reconfigure(&without, now);
        // No reload removed them, so that it falls to us to say what they have lost.
        let others = service.pool.targets.iter().filter(|target| is_other(target));
        for Target { key, .. } in others {
            let lost = Effect::Lost(key.clone());
            if before.is_eligible(key) && !effects.contains(&lost) {
                effects.push(lost);
            }
        }
        effects.extend(self.reconfigure(service, now));
        effects
    }

    /// A run is over.
    pub fn record(&mut self, finished: &Finished, now: Instant) -> Vec<Effect> {
        let Finished { check, transcript } = finished;
        if check.about.is_some() {
            return self.hear_witness(finished, now);
        }
        let target = check.target.as_ref();
        let record = target.and_then(|target| self.targets.get_mut(target));
        let Some(record) = record.map(Arc::make_mut) else {
            if let Some(run) = self.strays.iter_mut().find(|run| run.check == *check) {
                run.saw(transcript, &self.thresholds, now);
            }
            return Vec::new();
        };
        let (from, had) = (record.health(), record.trouble(check).cloned());
        let Some(run) = record.checks.iter_mut().find(|run| run.check == *check) else {
            return Vec::new();
        };
        run.saw(transcript, &self.thresholds, now);
        let mut effects = Vec::from_iter(trouble(record, had.as_ref(), transcript));
        if matches!(transcript.verdict, Verdict::CouldNotRun(_)) {
            return effects;
        }
        let news = changed(record, from, check, transcript, now);
        let (word, up) = (record.word(&transcript.verdict), record.health() == Health::Up);
        let heard = record.health() != Health::Unknown;
        let was_awaited = heard && record.awaited_until.take().is_some();
        let ruling = match &mut self.leader {
            Some(leader) if heard => {
                leader.ranked(&record.target, record.rank());
                leader.heard(&record.target, word, up, now)
            }
            Some(_) | None => Ruling::default(),
        };
        if news.is_none() && !was_awaited && ruling == Ruling::default() {
            // The usual case, and cheap: nothing to publish.
            effects.extend(self.look_at_claims(now));
        } else {
            self.obey(ruling, news, now, &mut effects);
        }
        effects
    }

    /// Time has passed: call it at `next_deadline`.
    pub fn tick(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut overdue = Vec::new();
        for record in self.targets.values_mut() {
            if record.awaited_until.is_some_and(|until| until <= now) {
                Arc::make_mut(record).awaited_until = None;
                overdue.push(record.target.clone());
            }
        }
        for target in overdue {
            let leader = self.leader.as_mut();
            let ruling = leader.map(|leader| leader.first_probe_overdue(&target));
            self.obey(ruling.unwrap_or_default(), None, now, &mut effects);
        }
        let ruling = self.tick_witnesses(now);
        self.obey(ruling, None, now, &mut effects);
        effects
    }

    /// When `tick` is due next, if nothing is recorded before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let awaited = self.targets.values().filter_map(|record| record.awaited_until);
        let witnesses = self.panel.as_ref().and_then(Panel::next_deadline);
        let told = self.claims.next_deadline().into_iter().chain(self.doubts.next_deadline());
        awaited.chain(witnesses).chain(told).min()
    }

    /// Nobody ran us for so long: whoever is waited for has that much longer.
    pub fn overslept(&mut self, pause: Duration) {
        let waited_for = |record: &&mut Arc<TargetRecord>| record.awaited_until.is_some();
        for record in self.targets.values_mut().filter(waited_for) {
            let record = Arc::make_mut(record);
            record.awaited_until = record.awaited_until.map(|until| until + pause);
        }
        if let Some(panel) = &mut self.panel {
            panel.overslept(pause);
        }
    }

    /// What is published of the service.
    pub fn health(&self) -> &Arc<ServiceHealth> {
        &self.published
    }

    /// How long until a check's next run, before jitter.
    pub fn pace(&self, check: &Check, now: Instant) -> Duration {
        let searching = self.lead_lost.is_some_and(|lost| now.duration_since(lost) < SEARCHING);
        if searching && check.target.is_some() {
            return self.thresholds.fast_interval;
        }
        if check.about.is_some() {
            let panel = self.panel.as_ref();
            let pace = panel.and_then(|panel| panel.pace(check, &self.thresholds));
            return pace.unwrap_or(self.thresholds.interval);
        }
        let records = check.target.as_ref().and_then(|target| self.targets.get(target));
        let records = records.map_or(&self.strays, |record| &record.checks);
        let record = records.iter().find(|record| *record.check == *check);
        record.map_or(self.thresholds.interval, |record| record.standing.pace(&self.thresholds))
    }

    /// A session failed on `target`: should it be checked now?
    pub fn note_failure(&mut self, target: &TargetKey, failure: Failure, now: Instant) -> bool {
        let Some(record) = self.targets.get_mut(target) else { return false };
        let fast = self.thresholds.fast_interval;
        Arc::make_mut(record).suspicions.note(failure, fast, now)
    }

    /// Would a failed session change nothing? Asked first, since failures may come by thousands.
    pub fn is_deaf_to(&self, target: &TargetKey, now: Instant) -> bool {
        let fast = self.thresholds.fast_interval;
        self.targets.get(target).is_none_or(|record| record.suspicions.is_quiet(fast, now))
    }

    /// Everything that is kept, target by target, for people.
    pub fn targets(&self) -> impl Iterator<Item = &TargetRecord> {
        self.targets.values().map(|record| &**record)
    }

    /// The checks that belong to no target.
    pub fn strays(&self) -> &[CheckRecord] {
        &self.strays
    }

    /// The leader rule, where at most one may lead.
    pub fn leader(&self) -> Option<&LeaderRule> {
        self.leader.as_ref()
    }

    /// Does what the leader rule says, and publishes what has changed. Only then is it told: what
    /// people read is in force.
    fn obey(
        &mut self,
        ruling: Ruling,
        news: Option<Effect>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(change) = &ruling.change {
            self.lead_lost = change.to.is_none().then_some(now);
        }
        self.publish(self.current(), effects);
        let published = effects.iter().position(|effect| matches!(effect, Effect::Publish(_)));
        let after = published.map_or(effects.len(), |index| index + 1);
        effects.splice(after..after, news);
        if let Some(change) = ruling.change {
            let from = change.from.as_ref().and_then(|from| self.targets.get(from));
            let lapse = from.map(|record| record.lapse()).unwrap_or_default();
            effects.push(Effect::LeaderChanged(change, lapse));
        }
        let alarm = ruling
            .alarm
            .map(|alarm| alarm_text(&alarm, self.leader.as_ref(), self.claims.inferred));
        effects.extend(alarm.map(Effect::Alarm));
        effects.extend(self.look_at_claims(now));
    }

    /// Has several targets claimed the lead for long?
    fn look_at_claims(&mut self, now: Instant) -> Vec<Effect> {
        let mut alarms = self.look_at_doubts(now);
        let told = self.leader.as_ref().and_then(|rule| self.claims.look(rule, now));
        alarms.extend(told.map(Effect::Alarm));
        alarms
    }

    /// Publishes `next` by way of nobody if another leads then: first the old leader's sessions
    /// end, and only then the new one leads.
    fn publish(&mut self, next: ServiceHealth, effects: &mut Vec<Effect>) {
        if let (Leadership::Leader(from), Leadership::Leader(to)) =
            (&self.published.leadership, &next.leadership)
            && from != to
        {
            let between = ServiceHealth { leadership: Leadership::Nobody, ..next.clone() };
            self.publish_step(between, effects);
        }
        self.publish_step(next, effects);
    }

    /// Publishes `next` if it is news, and says who gets no traffic any more. What becomes of a
    /// target that has left the pool is for `on_removed` to say, unless it led.
    fn publish_step(&mut self, next: ServiceHealth, effects: &mut Vec<Effect>) {
        if next == *self.published {
            return;
        }
        let before = std::mem::replace(&mut self.published, Arc::new(next));
        effects.push(Effect::Publish(self.published.clone()));
        let led = matches!(before.leadership, Leadership::Leader(_));
        let mut lost: Vec<&TargetKey> = before.targets.keys().collect();
        lost.retain(|key| led || self.published.targets.contains_key(*key));
        lost.retain(|key| before.is_eligible(key) && !self.published.is_eligible(key));
        lost.sort();
        effects.extend(lost.into_iter().cloned().map(Effect::Lost));
    }

    /// What there is to publish now.
    fn current(&self) -> ServiceHealth {
        let leadership = match &self.leader {
            None => Leadership::NotLed,
            Some(rule) => rule.leader().cloned().map_or(Leadership::Nobody, Leadership::Leader),
        };
        let checked = self.targets.iter().map(|(key, record)| (key.clone(), record.health()));
        let unchecked = self.unchecked.iter().map(|key| (key.clone(), Health::Up));
        let healths = checked.chain(unchecked);
        let awaiting_first = self.targets.values().any(|record| record.awaited_until.is_some())
            || self.panel.as_ref().is_some_and(|panel| panel.next_deadline().is_some());
        ServiceHealth { targets: healths.collect(), leadership, awaiting_first }
    }
}
