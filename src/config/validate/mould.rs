//! `uptime_tests.*` and how targets are spoken to → what a service makes of each of them.

use std::sync::Arc;

use crate::config::check::{Check, CheckKind, HealthSpec};
use crate::config::discovery::Discovery;
use crate::config::file::uptime::UptimeTests;
use crate::config::model::{Balance, Pool};
use crate::config::mould::Mould;
use crate::config::place::KeyPath;
use crate::config::validate::checks::{self, Around};
use crate::config::validate::leader::{self, Asked, Many};
use crate::config::validate::report::Report;
use crate::config::validate::{rank, transport, witness};

/// What is written of how targets are judged, and around it.
#[derive(Debug, Clone, Copy)]
pub struct Judging<'a> {
    /// `uptime_tests`.
    pub uptime: &'a UptimeTests,
    /// The rest.
    pub around: &'a Around<'a>,
    /// `balance` is written, and not to be inferred.
    pub is_balance_written: bool,
}

/// Reads the mould; and decides the balance of the pool, where checks decide it.
pub fn mould(
    judging: &Judging<'_>,
    pool: &mut Pool,
    found: Option<&Discovery>,
    report: &mut Report<'_>,
) -> Mould {
    let Judging { uptime, around, is_balance_written } = *judging;
    // Switched off checks are read all the same: they are meant to be switched on again.
    let unchecked = uptime.disabled.unwrap_or(false);
    let (for_all, listed) = checks::checks(uptime, around, report);
    let header = pool.sending.map(|sending| sending.version);
    let transport = Arc::new(around.transport.clone());
    let mut mould = Mould { transport, header, for_all, listed, unchecked, ..Mould::default() };
    let list = if unchecked { Vec::new() } else { mould.checks(&pool.targets) };
    let asked = Asked {
        checks: &list,
        for_all: mould.for_all.as_ref().filter(|_| !unchecked),
        found: found.map(|found| if found.first_only { Many::One } else { Many::Several }),
    };
    leader::settle(pool, asked, is_balance_written, report);
    let led = pool.balance == Balance::Leader;
    mould.witnesses = witness::settle(uptime, pool, around.transport, around.holes, report);
    mould.rank = rank::settle(uptime.rank.as_ref(), pool, &list, around.holes, report);
    mould.thresholds = checks::thresholds(uptime.config.as_ref(), led, report);
    mould.keep_open = keep_open(uptime, &mould, report);
    tell_of_unchecked(pool, &mould, report);
    if !around.are_found {
        let health = mould.health(&pool.targets);
        let asked: Vec<Arc<Check>> =
            health.iter().flat_map(HealthSpec::all_checks).cloned().collect();
        transport::tell_of_idle(around.transport, &pool.targets, &asked, report);
    }
    mould
}

fn keep_open(uptime: &UptimeTests, mould: &Mould, report: &mut Report<'_>) -> bool {
    let is_written = uptime.config.as_ref().and_then(|config| config.keep_open).unwrap_or(false);
    let mut kinds =
        mould.for_all.iter().map(|one| &one.kind).chain(mould.listed.iter().map(|one| &one.kind));
    let is_asked = mould.for_all.is_some() || !mould.listed.is_empty();
    if is_written && is_asked && !kinds.any(CheckKind::can_stay_open) {
        let at = KeyPath::dotted("uptime_tests.config.keep_open");
        let what = "the connection of every check here ends with its answer: this does nothing";
        report.warning(&at, what, "take it out, or write a check as commands");
    }
    is_written
}

fn tell_of_unchecked(pool: &Pool, mould: &Mould, report: &mut Report<'_>) {
    let at = KeyPath::dotted("uptime_tests");
    let flag_at = KeyPath::dotted("proxy.check_host_against_uptime_tests");
    if !pool.check_health || pool.balance == Balance::Leader {
        return;
    }
    if mould.unchecked || mould.for_all.is_none() && mould.listed.is_empty() {
        let what = "there is no check that runs, so every target is taken to be up";
        report.warning(&flag_at, what, "write uptime_tests.check_list, or uptime_tests.commands");
        return;
    }
    let checks = mould.checks(&pool.targets);
    for target in &pool.targets {
        if !checks.iter().any(|check| check.target.as_ref() == Some(&target.key)) {
            let what =
                format!("{} has no check: it gets connections whatever becomes of it", target.name);
            report.warning(&at, what, "give every target a check");
        }
    }
}
