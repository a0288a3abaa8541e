//! `proxy.*` → the targets of a service, and what becomes of sessions.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::address::{self, Spoken};
use crate::config::file::proxy::{DetailedTarget, Proxy, TargetEntry, WrittenBalance};
use crate::config::file::scalars::Period;
use crate::config::model::{Balance, Closing, Pool, Target};
use crate::config::names::{TargetAddress, TargetKey};
use crate::config::place::KeyPath;
use crate::config::problem::{Complaint, did_you_mean};
use crate::config::transport::Transport;
use crate::config::validate::limits::at_least;
use crate::config::validate::report::Report;
use crate::config::validate::transport::policy;
use crate::config::validate::{discovery, proxy_protocol};

const CLOSING_FORM: &str = "write \"close\", \"keep\" or \"drain:30s\"";
const DRAIN: Duration = Duration::from_secs(30);

/// The targets that count: with load balancing the list, without it one.
pub fn targets(proxy: &Proxy, transport: &Transport, report: &mut Report<'_>) -> Vec<Target> {
    let at = KeyPath::dotted("proxy");
    let (list_at, url_at) = (at.key("target_list"), at.key("target_url"));
    let list = proxy.target_list.as_deref().unwrap_or_default();
    let url = proxy.target_url.as_deref().filter(|url| !url.trim().is_empty());
    let balanced = proxy.enable_load_balancing.unwrap_or(false);
    if report.is_tainted(&list_at) || report.is_tainted(&url_at) {
        return Vec::new();
    }
    // Every entry is read, so that a wrong one is told even where it would not count.
    let listed = listed(list, transport, &list_at, report);
    let single = url.and_then(|url| target(url, transport, &url_at, report));
    match (url, list) {
        (Some(_), []) => single.into_iter().collect(),
        (Some(_), [_, ..]) if !balanced => single.into_iter().collect(),
        (_, [_, ..]) if balanced => listed,
        (_, [first, rest @ ..]) => {
            if !rest.is_empty() && listed.len() > 1 {
                let what = "only the first target of the list gets connections";
                let right = "set enable_load_balancing = true to use all of them";
                report.warning(&list_at, what, right);
            }
            let url = target_of(first).url.unwrap_or_default();
            let key = address::target(&url).map(key);
            let first = listed.into_iter().find(|it| key.as_ref() == Ok(&it.key));
            first.map(|first| Target { weight: NonZeroU32::MIN, ..first }).into_iter().collect()
        }
        // Until the first good answer there is none.
        (None, []) if discovery::is_on(proxy) => Vec::new(),
        (None, []) => {
            let (at, what) = if report.is_written(&list_at) {
                (list_at, "the list of targets is empty")
            } else {
                (url_at, "the service has no target")
            };
            report.error(
                &at,
                what,
                "write proxy.target_url, or proxy.target_list with at least one",
            );
            Vec::new()
        }
    }
}

/// The target that a URL, which is written at `at`, names.
fn target(
    url: &str,
    transport: &Transport,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<Target> {
    match report.keep(at, address::target(url))? {
        (Spoken::Tcp, address) => Some(Target::at(address)),
        (Spoken::Tls, address) => {
            let policy = policy(transport, &address, at, report)?;
            Some(Target::over_tls(address, policy))
        }
    }
}

fn key((spoken, address): (Spoken, TargetAddress)) -> TargetKey {
    match spoken {
        Spoken::Tcp => TargetKey::of(&address),
        Spoken::Tls => TargetKey::over_tls(&address),
    }
}

/// Everything of a pool but its targets and its balance.
pub fn pool(proxy: &Proxy, targets: Vec<Target>, report: &mut Report<'_>) -> Pool {
    let at = KeyPath::dotted("proxy");
    let check_health = proxy.check_host_against_uptime_tests.unwrap_or(false);
    let on_down = if check_health { Closing::Close } else { Closing::Keep };
    Pool {
        targets,
        balance: proxy.balance.map_or(Balance::RoundRobin, balance),
        balance_inferred: false,
        sending: proxy_protocol::sending(proxy, report),
        check_health,
        connect_timeout: at_least(
            proxy.connect_timeout,
            Duration::from_secs(3),
            &at.key("connect_timeout"),
            report,
        ),
        retries: proxy.retries.unwrap_or(2),
        hold: proxy.hold.map_or(Duration::ZERO, |hold| hold.0),
        hold_limit: proxy.hold_limit.unwrap_or(1_000),
        on_down: closing(proxy.on_down.as_deref(), on_down, &at.key("on_down"), report),
        on_removed: closing(
            proxy.on_removed.as_deref(),
            Closing::Drain(DRAIN),
            &at.key("on_removed"),
            report,
        ),
        close_spread: proxy.close_spread.map_or(Duration::ZERO, |spread| spread.0),
    }
}

fn balance(written: WrittenBalance) -> Balance {
    match written {
        WrittenBalance::RoundRobin => Balance::RoundRobin,
        WrittenBalance::LeastConnections => Balance::LeastConnections,
        WrittenBalance::RandomTwo => Balance::RandomTwo,
        WrittenBalance::SourceHash => Balance::SourceHash,
        WrittenBalance::First => Balance::First,
        WrittenBalance::Leader => Balance::Leader,
    }
}

fn target_of(entry: &TargetEntry) -> DetailedTarget {
    match entry {
        TargetEntry::Url(url) => DetailedTarget { url: Some(url.clone()), ..Default::default() },
        TargetEntry::Detailed(detailed) => detailed.clone(),
    }
}

/// The list, with repeated entries folded into weights.
fn listed(
    list: &[TargetEntry],
    transport: &Transport,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::with_capacity(list.len());
    let mut seen: HashMap<TargetKey, usize> = HashMap::with_capacity(list.len());
    for (index, entry) in list.iter().enumerate() {
        let entry_at = at.index(index);
        let url_at = match entry {
            TargetEntry::Url(_) => entry_at.clone(),
            TargetEntry::Detailed(_) => entry_at.key("url"),
        };
        let detailed = target_of(entry);
        let Some(url) = &detailed.url else { continue };
        let Some(mut target) = target(url, transport, &url_at, report) else { continue };
        target.weight = detailed.weight.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        target.backup = detailed.backup.unwrap_or(false);
        if let Some(name) = detailed.name.as_deref().map(str::trim).filter(|it| !it.is_empty()) {
            target.name = name.into();
        }
        match seen.get(&target.key) {
            None => {
                seen.insert(target.key.clone(), targets.len());
                targets.push(target);
            }
            Some(&earlier) => {
                let earlier = &mut targets[earlier];
                if earlier.name != target.name || earlier.backup != target.backup {
                    let what = format!("{} is listed twice, in two ways", target.key);
                    let right = "a repeated entry adds weight; its name and backup are the same";
                    report.error(&entry_at, what, right);
                }
                earlier.weight = earlier.weight.saturating_add(target.weight.get());
            }
        }
    }
    one_name_each(&targets, at, report);
    targets
}

fn one_name_each(targets: &[Target], at: &KeyPath, report: &mut Report<'_>) {
    let mut seen = HashMap::with_capacity(targets.len());
    for target in targets {
        if let Some(other) = seen.insert(&target.name, &target.key) {
            let what = format!("{other} and {} are both named {}", target.key, target.name);
            report.error(at, what, "give each target a name of its own");
        }
    }
}

fn closing(
    written: Option<&str>,
    default: Closing,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Closing {
    let Some(written) = written else { return default };
    let complaint = match written.trim().split_once(':') {
        None => match written.trim() {
            "close" => return Closing::Close,
            "keep" => return Closing::Keep,
            "drain" => Complaint::new("`drain` needs to know how long", CLOSING_FORM),
            other => {
                let right = match did_you_mean(other, ["close", "keep"]) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => CLOSING_FORM.to_owned(),
                };
                Complaint::new(format!("{} is unknown here", report.quoted(at)), right)
            }
        },
        Some(("drain", time)) => match Period::parse(time) {
            Ok(Period(time)) => return Closing::Drain(time),
            Err(what) => Complaint::new(what, CLOSING_FORM),
        },
        Some(_) => Complaint::new(format!("{} is unknown here", report.quoted(at)), CLOSING_FORM),
    };
    report.complain(at, complaint);
    default
}
