//! `stagedoor validate`: all problems of everything that is written, and what it means.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::sources::RunArgs;
use crate::cli::{output, show_detection, show_tls};
use crate::config::check::{Action, Check, CheckKind, HealthSpec, Witnesses};
use crate::config::defaults::text;
use crate::config::discovery::Discovery;
use crate::config::load::{self, Loaded};
use crate::config::model::{Balance, Closing, Service, Target};
use crate::config::references::{Pinned, References};
use crate::config::render;
use crate::health::fill;

/// `validate`.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    /// What to check.
    #[command(flatten)]
    pub run: RunArgs,
    /// Print for machines.
    #[arg(long)]
    pub json: bool,
}

/// Checks; exit 0 if it would run, else 2.
pub fn main(args: &ValidateArgs) -> ExitCode {
    let loaded = load::load(&args.run.sources(0));
    if args.json {
        output::print_json(&as_json(&loaded));
    } else {
        output::tell(&loaded.problems);
        output::print(&summary(&loaded));
    }
    if loaded.model.is_some() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

fn as_json(loaded: &Loaded) -> Value {
    let services = loaded.model.iter().flat_map(|model| model.services.values());
    json!({
        "valid": loaded.model.is_some(),
        "problems": loaded.problems.iter().map(render::json).collect::<Value>(),
        "services": services
            .map(|service| service_json(service, pins(&loaded.references, service)))
            .collect::<Value>(),
    })
}

/// What the pins of a service mean.
fn pins<'a>(references: &'a [(Arc<Service>, References)], service: &Service) -> &'a [Pinned] {
    let own = references.iter().find(|(of, _)| of.source == service.source);
    own.map_or(&[], |(_, references)| &references.pins)
}

fn service_json(service: &Service, pins: &[Pinned]) -> Value {
    let pool = &service.pool;
    let target = |target: &Target| {
        json!({
            "name": target.name,
            "address": target.address.to_string(),
            "weight": target.weight,
            "backup": target.backup,
        })
    };
    json!({
        "name": service.name.as_str(),
        "source": service.source,
        "listen": service.listen.to_string(),
        "balance": pool.balance.to_string(),
        "balance_inferred": pool.balance_inferred,
        "check_host_against_uptime_tests": pool.check_health,
        "targets": pool.targets.iter().map(target).collect::<Value>(),
        "discovery": service.discovery.as_ref().map(|it| json!({
            "directory": it.directory.to_string(),
            "interval": text(it.interval),
            "timeout": text(it.timeout),
            "allow_empty": it.allow_empty,
            "first_only": it.first_only,
        })),
        "checks": service.health.iter().flat_map(|health| health.checks.iter().map(|check| json!({
            "address": check.address.to_string(),
            "target": check.target.as_ref().map(ToString::to_string),
            "asks": asks(check),
            "timeout": text(check.timeout),
            "worst_case_ms": show_detection::json(service, health, check),
        }))).collect::<Value>(),
        "witness": service.health.iter().filter_map(|health| health.witness.as_ref()).map(|witness| {
            let addresses = witness.checks.iter().map(|check| check.address.to_string());
            let addresses: BTreeSet<String> = addresses.collect();
            json!({ "agree": witness.agree, "addresses": addresses })
        }).next(),
        "pins": pins.iter().map(|pin| json!({
            "at": pin.at.to_string(),
            "key": pin.key.to_string(),
            "stored": pin.stored.map(|id| id.to_string()),
        })).collect::<Value>(),
        "rank": service.health.as_deref().and_then(rank),
    })
}

fn summary(loaded: &Loaded) -> String {
    let mut shown = String::new();
    let Some(model) = &loaded.model else { return shown };
    for service in model.services.values() {
        describe(service, pins(&loaded.references, service), &mut shown);
    }
    for service in &loaded.inactive {
        shown.push_str(&format!("{} ({}) is not active\n", service.name, service.source.display()));
    }
    let count = model.services.len();
    let plural = if count == 1 { "" } else { "s" };
    shown.push_str(&format!("valid: {count} service{plural} would run\n"));
    shown
}

fn describe(service: &Service, pins: &[Pinned], shown: &mut String) {
    let pool = &service.pool;
    let inferred = if pool.balance_inferred { " (inferred from the checks)" } else { "" };
    let single = pool.targets.len() == 1;
    let balance = if single { "one target".to_owned() } else { pool.balance.to_string() };
    let lines = [
        ("listens on", service.listen.to_string()),
        ("clients", show_tls::clients(service)),
        ("targets", pool.targets.iter().map(target).collect::<Vec<_>>().join(", ")),
        ("found by", service.discovery.as_deref().map_or(String::new(), found_by)),
        ("pins", show_tls::pins(pins)),
        ("told first", pool.sending.map_or(String::new(), |sending| sending.to_string())),
        ("balance", format!("{balance}{inferred}")),
        ("when down", when_down(service)),
        ("checks", service.health.as_ref().map_or("none".to_owned(), |health| checks(health))),
        ("notices", notices(service)),
    ];
    let health = service.health.as_deref();
    let ranks = health.and_then(rank).map(|rank| ("rank", rank));
    let agree = health.and_then(|health| health.witness.as_ref()).map(witnesses);
    let lines = lines.into_iter().chain(ranks).chain(agree.map(|agree| ("witnesses", agree)));
    let mut block = format!("{} ({})\n", service.name, service.source.display());
    for (what, value) in lines.filter(|(_, value)| !value.is_empty()) {
        block.push_str(&format!("  {what:<11}{value}\n"));
    }
    shown.push_str(&block);
    shown.push('\n');
}

/// Who would be asked: nobody is now.
fn found_by(discovery: &Discovery) -> String {
    let Discovery {
        directory,
        interval,
        by_ttl,
        name_servers,
        timeout,
        first_only,
        allow_empty,
        mould: _,
    } = discovery;
    let first = if *first_only { "the first target of " } else { "" };
    let empty = if *allow_empty { ", which may be empty" } else { "" };
    let often = match by_ttl {
        true => "as often as its records say,".to_owned(),
        false => format!("each {}", text(*interval)),
    };
    let servers: Vec<String> = name_servers.iter().map(ToString::to_string).collect();
    let of = if servers.is_empty() { "" } else { " of " };
    let of = format!("{of}{}", servers.join(", "));
    format!("{first}{directory}{empty}, asked{of} {often} for {}", text(*timeout))
}

fn target(target: &Target) -> String {
    let mut shown = target.address.to_string();
    if *target.name != *shown {
        shown = format!("{} = {shown}", target.name);
    }
    if target.weight.get() > 1 {
        shown = format!("{shown} × {}", target.weight);
    }
    if target.backup { format!("{shown} (backup)") } else { shown }
}

fn when_down(service: &Service) -> String {
    if service.health.is_none() {
        return "never known: nothing is checked".to_owned();
    }
    if !service.pool.check_health {
        return "connections go on: check_host_against_uptime_tests is off".to_owned();
    }
    let sessions = match service.pool.on_down {
        Closing::Close => format!("sessions are closed{}", spread(service)),
        Closing::Drain(time) => {
            format!("sessions may go on for {}, then are closed{}", text(time), spread(service))
        }
        Closing::Keep => "sessions go on".to_owned(),
    };
    format!("no new connections, {sessions}")
}

fn spread(service: &Service) -> String {
    let spread = service.pool.close_spread;
    let is_spread = !spread.is_zero() && service.pool.balance != Balance::Leader;
    if is_spread { format!(" over {}", text(spread)) } else { String::new() }
}

fn checks(health: &HealthSpec) -> String {
    let times = &health.thresholds;
    let every = format!(
        "every {} ({} while a state is changing)",
        text(times.interval),
        text(times.fast_interval)
    );
    let mut lines = vec![every];
    for check in &health.checks {
        let speaks = match &check.target {
            Some(target) if target.as_str() == check.address.to_string() => String::new(),
            Some(target) => format!(", for {target}"),
            None => ", for no target".to_owned(),
        };
        let timeout = text(check.timeout);
        lines.push(format!("{}: {}, within {timeout}{speaks}", check.address, asks(check)));
    }
    lines.join(&format!("\n{:13}", ""))
}

/// Whose agreement a leader needs.
fn witnesses(witness: &Witnesses) -> String {
    let lead =
        format!("{} of {} must agree before a target may lead", witness.agree, witness.count);
    let mut lines = vec![lead];
    for check in &witness.checks {
        let line = format!("{}: {}, within {}", check.address, asks(check), text(check.timeout));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join(&format!("\n{:13}", ""))
}

/// How several claimants are told apart, if the checks say so.
fn rank(health: &HealthSpec) -> Option<String> {
    health.checks.iter().find_map(|check| match &check.kind {
        CheckKind::Script(script) => Some(fill::shown(script.rank.as_ref()?, script)),
        CheckKind::Http(_) | CheckKind::Postgres(_) => None,
    })
}

/// How fast, at worst; nothing where nothing is checked.
fn notices(service: &Service) -> String {
    let lines = service.health.as_ref().map(|health| show_detection::lines(service, health));
    lines.unwrap_or_default().join(&format!("\n{:13}", ""))
}

fn asks(check: &Check) -> String {
    let first = if check.header.is_some() { "PROXY header, " } else { "" };
    format!("{first}{}", asked(&check.kind))
}

fn asked(kind: &CheckKind) -> String {
    match kind {
        CheckKind::Http(request) => format!("HTTP {}", request.method),
        CheckKind::Postgres(asked) => match (&asked.login, &asked.question) {
            (None, _) => "PostgreSQL start-up".to_owned(),
            (Some(_), None) => "PostgreSQL login".to_owned(),
            (Some(_), Some(_)) => "PostgreSQL login and query".to_owned(),
        },
        CheckKind::Script(script) if script.steps.is_empty() => "connect".to_owned(),
        CheckKind::Script(script) => {
            let verb = |action: &Action| match action {
                Action::Send(_) => "send",
                Action::SendResp(_) => "send_resp",
                Action::Expect(_) => "expect",
                Action::Reject(_) => "reject",
                Action::ExpectClose => "expect_close",
                Action::Compare(_) => "compare",
                Action::Wait(_) => "wait",
                Action::Starttls(_) => "starttls",
            };
            let verbs: Vec<_> =
                script.steps.iter().take(8).map(|step| verb(&step.action)).collect();
            let more = if script.steps.len() > 8 { ", …" } else { "" };
            format!("{}{more}", verbs.join(", "))
        }
    }
}
