//! `uptime_tests.rank` → the number that a pass gives its target.

use std::sync::Arc;

use crate::config::check::{Check, CheckKind, Part, Template};
use crate::config::escape;
use crate::config::file::scalars::Message;
use crate::config::model::{Balance, Pool};
use crate::config::parameters::Holes;
use crate::config::place::KeyPath;
use crate::config::problem::{Complaint, did_you_mean};
use crate::config::validate::report::Report;

/// The rank that is written; each target's is given by its first check that makes all of its
/// captures.
pub fn settle(
    written: Option<&Message>,
    pool: &Pool,
    checks: &[Arc<Check>],
    holes: Holes<'_>,
    report: &mut Report<'_>,
) -> Option<Template> {
    let at = KeyPath::dotted("uptime_tests.rank");
    let rank = report.keep_message(&at, template(&written?.0, holes))?;
    if pool.balance != Balance::Leader {
        let what = "a rank does nothing here: only a leader is told apart by it";
        report.warning(&at, what, "write proxy.balance = \"leader\", or take the rank out");
        return None;
    }
    let is_tainted = report.is_tainted(&KeyPath::dotted("uptime_tests"));
    for target in &pool.targets {
        let is_own = |check: &&Arc<Check>| check.target.as_ref() == Some(&target.key);
        let own: Vec<&Arc<Check>> = checks.iter().filter(is_own).collect();
        if own.iter().any(|check| lacks(&rank, check).is_none()) {
            continue;
        }
        // Whatever keeps a check from being read keeps its captures from being known, and that a
        // target has no check is told already.
        let Some(lacking) = own.first().and_then(|check| lacks(&rank, check)) else { continue };
        if !is_tainted {
            let captures = own.iter().flat_map(|check| captures(check));
            let right = match did_you_mean(&lacking, captures) {
                Some(meant) => format!("did you mean `${{capture.{meant}}}`?"),
                None => format!("capture it in its check: expect_regex \"…(?<{lacking}>…)\""),
            };
            let what = format!("no check of {} captures `{lacking}`", target.name);
            report.error(&at, what, right);
            return None;
        }
    }
    Some(rank)
}

fn template(written: &str, holes: Holes<'_>) -> Result<Template, Complaint> {
    let template = escape::template(written, holes)?;
    if template.parts.iter().any(|part| matches!(part, Part::Secret(_))) {
        let right = "write ${capture.NAME}; `status` shows what a rank is";
        return Err(Complaint::new("a rank is made of no secret", right));
    }
    if template.captures().next().is_none() {
        let right = "write ${capture.NAME}, with what an expect_regex captures";
        return Err(Complaint::new("without a capture every target has the same rank", right));
    }
    Ok(template)
}

/// The first capture of a rank that a check does not make.
fn lacks(rank: &Template, check: &Check) -> Option<Arc<str>> {
    rank.captures().find(|name| captures(check).all(|made| *made != ***name)).cloned()
}

fn captures(check: &Check) -> impl Iterator<Item = &str> {
    let script = match &check.kind {
        CheckKind::Script(script) => Some(script),
        CheckKind::Http(_) | CheckKind::Postgres(_) => None,
    };
    script.into_iter().flat_map(|script| script.captures())
}
