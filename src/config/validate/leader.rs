//! Who leads: when `leader` is meant though nobody wrote it, and what a leader needs.

use std::sync::Arc;

use crate::config::check::{Action, Check, CheckKind, Matcher, Script};
use crate::config::model::{Balance, Pool};
use crate::config::mould::CommonCheck;
use crate::config::place::KeyPath;
use crate::config::replies::{Ends, ends};
use crate::config::validate::report::Report;
use crate::config::validate::script::literal;

/// The answer of a Redis master to `INFO replication`.
const MASTER: &[u8] = b"role:master";

/// What a leader is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The checks of the targets that are written.
    pub checks: &'a [Arc<Check>],
    /// The check of every target, where there is one.
    pub for_all: Option<&'a CommonCheck>,
    /// Where targets are found: how many there can be.
    pub found: Option<Many>,
}

/// How many targets there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Many {
    /// One at a time.
    One,
    /// Any number.
    Several,
}

/// Decides the balance where none was written, and tells of what a leader lacks.
pub fn settle(pool: &mut Pool, asked: Asked<'_>, written: bool, report: &mut Report<'_>) {
    let at = KeyPath::dotted("proxy.balance");
    let Asked { checks, for_all, found } = asked;
    let may_be_several = pool.targets.len() >= 2 || found == Some(Many::Several);
    let all_expect_master = match (found, for_all) {
        (Some(_), Some(common)) => asks_for_master(&common.kind),
        (Some(_), None) => false,
        (None, _) => all_expect_master(pool, checks),
    };
    if !written && pool.check_health && may_be_several && all_expect_master {
        pool.balance = Balance::Leader;
        pool.balance_inferred = true;
        let what = "balance = \"leader\", because every check expects role:master: one target \
                    at a time gets connections";
        report.notice(&at, what, "write balance = \"round_robin\" to use every target that passes");
    }
    if pool.balance == Balance::Leader {
        if found.is_some() && for_all.is_none() {
            let what = "nobody can know whether a target that is found leads: no check is for all \
                        of them";
            let right = "write the check as uptime_tests.check, or as uptime_tests.commands";
            report.error(&at, what, right);
        }
        needs(pool, checks, &at, report);
    }
}

/// Does every target have a check that asks whether it is a Redis master?
fn all_expect_master(pool: &Pool, checks: &[Arc<Check>]) -> bool {
    pool.targets.iter().all(|target| {
        let mut own = checks.iter().filter(|check| check.target.as_ref() == Some(&target.key));
        own.any(|check| asks_for_master(&check.kind))
    })
}

fn asks_for_master(kind: &CheckKind) -> bool {
    match kind {
        CheckKind::Script(script) => script.steps.iter().any(|step| match &step.action {
            Action::Expect(Matcher::Bytes(template)) => literal(template)
                .is_some_and(|bytes| bytes.windows(MASTER.len()).any(|window| window == MASTER)),
            Action::Expect(Matcher::Regex(_))
            | Action::Send(_)
            | Action::SendResp(_)
            | Action::Reject(_)
            | Action::ExpectClose
            | Action::Compare(_)
            | Action::Wait(_)
            | Action::Starttls(_) => false,
        }),
        CheckKind::Http(_) | CheckKind::Postgres(_) => false,
    }
}

fn needs(pool: &Pool, checks: &[Arc<Check>], at: &KeyPath, report: &mut Report<'_>) {
    if !pool.check_health {
        let what =
            "a leader needs `check_host_against_uptime_tests`: only checks can tell who leads";
        report.error(at, what, "set proxy.check_host_against_uptime_tests = true");
    }
    let checks_at = KeyPath::dotted("uptime_tests");
    if !report.is_tainted(&checks_at) && !report.is_tainted(&KeyPath::dotted("proxy.target_list")) {
        for target in &pool.targets {
            if !checks.iter().any(|check| check.target.as_ref() == Some(&target.key)) {
                let what =
                    format!("{} has no check, so nobody can know whether it leads", target.name);
                report.error(at, what, "give every target a check, or use another balance");
            }
        }
    }
    if !pool.close_spread.is_zero() {
        let what = "`close_spread` does nothing with a leader: sessions of one that lost the lead \
                    are always closed at once";
        report.warning(&KeyPath::dotted("proxy.close_spread"), what, "remove it");
    }
    let mute = |check: &&Arc<Check>| match &check.kind {
        CheckKind::Script(script) => check.target.is_some() && never_says_no(script),
        CheckKind::Http(_) => false,
        CheckKind::Postgres(asked) => {
            let answer = asked.question.as_ref().and_then(|question| question.expect.as_ref());
            check.target.is_some() && answer.is_none()
        }
    };
    if let Some(check) = checks.iter().find(mute) {
        let what =
            format!("the check of {} can say \"leader\" but never \"not leader\"", check.address);
        let (why, right) = match &check.kind {
            CheckKind::Script(_) | CheckKind::Http(_) => (
                ": where the end of a reply cannot be known, only a `reject` can",
                "add a `reject` with what a follower answers",
            ),
            CheckKind::Postgres(_) => {
                (": it asks for no role", "use postgres-primary, or a query with an `expect`")
            }
        };
        report.warning(&checks_at, format!("{what}{why}"), right);
    }
}

/// Is this script one whose wrong answer is seen only by waiting? So it is without a `reject`,
/// unless the replies are RESP.
pub fn never_says_no(script: &Script) -> bool {
    let rejects = script.steps.iter().any(|step| matches!(step.action, Action::Reject(_)));
    !rejects && ends(script) == Ends::Unknown
}
