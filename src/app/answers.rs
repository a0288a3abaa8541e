//! Answers: carries out what the control socket asks, by asking the components.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::admin::command::{Ask, Command, Reply};
use crate::admin::view::{
    CheckView, DiscoveryView, FailoverView, RefusedView, ServiceView, StatusView, TargetView,
    TreeView, WebhookView, WitnessView,
};
use crate::app::certificates::now;
use crate::app::discovering;
use crate::app::house::House;
use crate::app::reload::{Reload, Reloader};
use crate::app::standing;
use crate::app::upgrade::Upgrades;
use crate::config::model::Service;
use crate::config::names::TargetKey;
use crate::events::failover::Failover;
use crate::events::outbox::Outbox;
use crate::health::recall::{Known, KnownCheck, KnownWitness};
use crate::health::snapshot::{Leadership, Snapshot};
use crate::health::supervisor::Recall;
use crate::health::witness::Says;
use crate::proxy::live::LiveService;
use crate::routing::pool::Member;
use crate::supervise::handle::Ref;
use crate::supervise::tenants;
use crate::telemetry::counts::ServiceCounts;

/// The health supervisor answers in microseconds; it may be being restarted, or hang.
const RECALL: Duration = Duration::from_secs(1);

/// What answers are made from.
#[derive(Clone)]
pub struct AnswererArgs {
    /// The house.
    pub house: House,
    /// Who reloads.
    pub reloader: Ref<Reloader>,
    /// Who has the process upgraded.
    pub upgrades: Upgrades,
    /// The tree of components.
    pub tree: Arc<dyn Tree>,
}

/// The supervision tree, to whoever shows or prods it.
pub trait Tree: Send + Sync {
    /// The whole tree, from the root.
    fn view(&self) -> TreeView;
    /// Restarts a component or an arbiter. `false`: there is none of that name.
    fn restart(&self, component: &str) -> bool;
    /// Hits a component with a fault.
    ///
    /// # Errors
    /// Why it cannot be done.
    fn break_component(&self, component: &str, fault: &str) -> Result<(), String>;
}

/// The actor.
pub struct Answerer {
    args: AnswererArgs,
}

// === impl Answerer ===

impl Answerer {
    /// An answerer with these means.
    pub fn new(args: AnswererArgs) -> Self {
        Self { args }
    }
}

impl Actor for Answerer {
    type Context = Context<Self>;
}

impl Handler<Ask> for Answerer {
    type Result = ();

    fn handle(&mut self, ask: Ask, _: &mut Self::Context) {
        let args = self.args.clone();
        tenants::spawn(async move {
            let reply = carry_out(&args, ask.command).await;
            // The client may have gone away.
            drop(ask.reply.send(reply));
        });
    }
}

async fn carry_out(args: &AnswererArgs, command: Command) -> Reply {
    match command {
        Command::Status => Reply::Status(status(args).await),
        Command::Tree => Reply::Tree(args.tree.view()),
        Command::Reload => reload(args).await,
        Command::Upgrade => match args.upgrades.ask().await {
            Ok(view) => Reply::Upgrade(view),
            Err(why) => Reply::Error(format!("not upgraded, nothing was changed: {why}")),
        },
        Command::Restart { component } if args.tree.restart(&component) => {
            Reply::Ok(format!("restarting {component}"))
        }
        Command::Restart { component } => Reply::Error(format!(
            "no component is called `{component}`: `stagedoor tree` lists them"
        )),
        Command::Chaos { component, fault } => {
            match args.tree.break_component(&component, &fault) {
                Ok(()) => Reply::Ok(format!("{fault} for {component}")),
                Err(why) => Reply::Error(why),
            }
        }
    }
}

async fn reload(args: &AnswererArgs) -> Reply {
    let (reply, result) = oneshot::channel();
    args.reloader.tell(Reload { reply });
    match result.await {
        Ok(Ok(view)) => Reply::Reload(view),
        Ok(Err(problems)) => {
            Reply::Error(format!("reload refused, nothing was changed:\n{problems}"))
        }
        Err(_) => Reply::Error(
            "the reloader fell meanwhile: `stagedoor status` tells the generation that is in \
             force; reload again"
                .to_owned(),
        ),
    }
}

async fn status(args: &AnswererArgs) -> StatusView {
    let house = &args.house;
    // What it last heard is a detail of the answer, and not worth waiting for.
    let recalled = tokio::time::timeout(RECALL, house.health.ask(Recall)).await;
    let known = recalled.unwrap_or(Ok(Known::new())).unwrap_or_default();
    let snapshot = house.snapshot.load_full();
    let live = house.live.load_full();
    let mut services: Vec<ServiceView> =
        live.iter().map(|live| service(house, live, &snapshot, &known)).collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        up_seconds: house.started.elapsed().as_secs(),
        sessions: house.registry.live(),
        snapshot: snapshot.number,
        generation: house.generation.load(Ordering::Relaxed),
        services,
    }
}

fn service(house: &House, live: &LiveService, snapshot: &Snapshot, known: &Known) -> ServiceView {
    let service = live.service();
    let health = snapshot.services.get(&service.name);
    let leader = health.and_then(|health| match &health.leadership {
        Leadership::Leader(key) => Some(key),
        Leadership::NotLed | Leadership::Nobody => None,
    });
    let known = known.get(&service.name).cloned().unwrap_or_default();
    let target = |member: &Member| {
        let target = member.target();
        let recalled = known.targets.get(&target.key);
        // A target without checks counts as up; a person wants to see that nobody looks.
        let checked = health
            .filter(|_| is_checked(service, &target.key))
            .and_then(|health| health.targets.get(&target.key));
        TargetView {
            name: target.name.to_string(),
            address: target.address.to_string(),
            health: checked.map_or_else(|| "unchecked".to_owned(), ToString::to_string),
            since_ms: recalled.map(|recalled| whole_millis(recalled.since)),
            insecure: target.tls.as_ref().is_some_and(|tls| tls.is_insecure()),
            rank: recalled.and_then(|recalled| recalled.rank.map(|rank| rank.to_string())),
            live: member.live(),
            total: member.total(),
            checks: recalled.map_or_else(Vec::new, |one| one.checks.iter().map(check).collect()),
            witnesses: recalled
                .map_or_else(Vec::new, |one| one.witnesses.iter().map(witness).collect()),
        }
    };
    let members = live.table.pool().members();
    let is_leader = |member: &&Arc<Member>| leader == Some(&member.target().key);
    let leader_name = members.iter().find(is_leader).map(|it| it.target().name.to_string());
    let counts = &live.counts;
    let listen = house.sockets.local_address(&service.listen);
    ServiceView {
        name: service.name.to_string(),
        listen: listen.map_or_else(|| service.listen.to_string(), |local| local.to_string()),
        balance: service.pool.balance.to_string(),
        inferred: service.pool.balance_inferred,
        witnesses_needed: known.agree,
        leader: leader_name,
        live: counts.live.get(),
        accepted: counts.accepted.get(),
        refused: counts.refused.get(),
        refused_by: refused_by(counts),
        failed_handshakes: counts.failed_handshakes.get(),
        failed_dials: counts.failed_dials.get(),
        cut: counts.cut.get(),
        held: counts.held.get(),
        bytes_to_target: counts.bytes_to_target.get(),
        bytes_to_client: counts.bytes_to_client.get(),
        alarms: known.alarms.clone(),
        discovery: discovery(house, service),
        targets: members.iter().map(|member| target(member)).collect(),
        certificates: standing::certificates(house, &service.name, now()),
        webhooks: house.herald.outboxes_of(&service.name).iter().map(|it| webhook(it)).collect(),
        stray_checks: known.strays.iter().map(check).collect(),
        failovers: live.failovers.reports().iter().map(|report| failover(report)).collect(),
    }
}

/// What became of the events that a webhook was to be told of.
fn webhook(outbox: &Outbox) -> WebhookView {
    let (webhook, tally) = outbox.tally();
    let failure = tally.failure.as_ref();
    WebhookView {
        event: outbox.id.kind.to_string(),
        webhook: webhook.to_string(),
        delivered: tally.delivered,
        failed: tally.failed,
        dropped: tally.dropped,
        skipped: tally.skipped,
        waiting: tally.waiting,
        held: tally.held,
        failure: failure.map(|(_, why)| why.clone()),
        failure_ms: failure.map(|(at, _)| whole_millis(at.elapsed())),
    }
}

/// How its targets are found.
fn discovery(house: &House, service: &Service) -> Option<DiscoveryView> {
    let directory = service.discovery.as_ref()?.directory.to_string();
    let history = discovering::history(house, &service.name).unwrap_or_default();
    let now = Instant::now();
    let (age, stale) = (history.age(now), history.stale(now));
    let (listed, trouble) = (history.listed, history.trouble);
    let circles = house.circles.load();
    let circles = circles.get(&service.name).into_iter().flatten().cloned();
    let remark = listed.as_ref().and_then(|listed| listed.remark.clone());
    let left_out: Vec<String> = remark.into_iter().chain(circles).collect();
    Some(DiscoveryView {
        directory,
        listed: listed.as_ref().map(|listed| listed.targets.len()),
        kept: history.inherited.is_some(),
        good_ms: age.map(whole_millis),
        left_out: (!left_out.is_empty()).then(|| left_out.join("; ")),
        failures: trouble.as_ref().map_or(0, |trouble| trouble.times),
        stale_ms: stale.map(whole_millis),
        fault: trouble.map(|trouble| trouble.fault.to_string()),
    })
}

/// Why clients were turned away.
fn refused_by(counts: &ServiceCounts) -> RefusedView {
    RefusedView {
        access: counts.refused_by_access.get(),
        connection_rate_per_ip: counts.refused_by_rate.get(),
        max_connections_per_ip: counts.refused_by_source.get(),
        max_connections: counts.refused_by_service.get(),
        proxy_protocol_from: counts.refused_by_header.get(),
        unchecked: counts.refused_unchecked.get(),
        all_down: counts.refused_all_down.get(),
        no_leader: counts.refused_no_leader.get(),
        all_tried: counts.refused_all_tried.get(),
        removed: counts.refused_removed.get(),
        unreachable: counts.refused_unreachable.get(),
        own_side: counts.refused_hindered.get(),
    }
}

fn is_checked(service: &Service, target: &TargetKey) -> bool {
    let checks = service.health.iter().flat_map(|spec| &spec.checks);
    checks.filter_map(|check| check.target.as_ref()).any(|checked| checked == target)
}

fn failover(report: &Failover) -> FailoverView {
    let millis = |time: Duration| (time.as_secs_f64() * 1_000_000.0).round() / 1000.0;
    let grounds = report.grounds.as_ref();
    let before = |at: Instant| millis(report.before(at));
    FailoverView {
        ago_ms: whole_millis(report.lost.elapsed()),
        from: report.from.to_string(),
        to: report.to.as_ref().map(|(to, _)| to.to_string()),
        last_good_ms: grounds.and_then(|grounds| grounds.last_good).map(before),
        first_bad_ms: grounds.and_then(|grounds| grounds.first_bad).map(before),
        verdict: grounds.map(|grounds| grounds.verdict.clone()),
        leaderless_ms: report.gap().map(millis),
        why: report.why.clone(),
        first_byte_ms: report.first_byte.map(|at| millis(report.after(at))),
        cut: report.cut,
        held: report.held,
        refused: report.refused,
        summary: report.to_string(),
    }
}

fn check(known: &KnownCheck) -> CheckView {
    let last = known.last.as_ref();
    CheckView {
        address: known.address.clone(),
        verdict: last.map(|run| run.verdict.clone()),
        ago_ms: last.map(|run| whole_millis(run.ago)),
        took_ms: last.map(|run| whole_millis(run.took)),
        transcript: last.map(|run| run.transcript.clone()),
        changed_by: known.at_transition.clone(),
    }
}

fn witness(known: &KnownWitness) -> WitnessView {
    let agrees = known.says == Says::Agrees;
    WitnessView { says: known.says.to_string(), agrees, check: check(&known.check) }
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
