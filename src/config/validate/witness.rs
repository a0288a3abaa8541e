//! `uptime_tests.witness` → whose agreement a target needs to lead.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config::address::{self, Spoken};
use crate::config::check::{Framing, Script, Template};
use crate::config::file::uptime::{UptimeTests, WitnessCheck, WrittenWitness};
use crate::config::model::{Balance, Pool};
use crate::config::mould::{Witness, WitnessList};
use crate::config::parameters::Holes;
use crate::config::place::KeyPath;
use crate::config::transport::Transport;
use crate::config::validate::checks::{own_timeout, whole_timeout};
use crate::config::validate::leader::never_says_no;
use crate::config::validate::report::Report;
use crate::config::validate::script;
use crate::config::validate::starttls;
use crate::config::validate::transport::policy;

/// Reads the witnesses; `None` where there are none, or where nobody leads.
pub fn settle(
    written: &UptimeTests,
    pool: &Pool,
    transport: &Transport,
    holes: Holes<'_>,
    report: &mut Report<'_>,
) -> Option<WitnessList> {
    let witness = written.witness.as_ref()?;
    let at = KeyPath::dotted("uptime_tests.witness");
    let config_at = KeyPath::dotted("uptime_tests.config");
    let timeout = whole_timeout(written.config.as_ref(), &config_at, report);
    let witnesses = read(witness, timeout, transport, holes, report);
    let agree = agree(witness, &at, report);
    if pool.balance != Balance::Leader {
        let what = "witnesses do nothing here: only a leader needs any";
        report.warning(&at, what, "write proxy.balance = \"leader\", or take them out");
        return None;
    }
    Some(WitnessList { agree, each: witnesses })
}

/// How many must agree.
fn agree(written: &WrittenWitness, at: &KeyPath, report: &mut Report<'_>) -> u32 {
    let count = written.check_list.as_ref().map_or(0, Vec::len);
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let majority = count / 2 + 1;
    let agree = written.agree.unwrap_or(majority);
    let at = at.key("agree");
    if count > 0 && agree > count {
        let what = format!("{agree} of {count} witnesses can never agree");
        report.error(&at, what, format!("write {majority}, more than half of them"));
    } else if count > 0 && agree < majority {
        let what = format!(
            "two targets can have the agreement of {agree} of {count} witnesses at one time"
        );
        report.warning(&at, what, format!("write {majority}, more than half of them"));
    }
    agree
}

fn read(
    written: &WrittenWitness,
    timeout: Duration,
    transport: &Transport,
    holes: Holes<'_>,
    report: &mut Report<'_>,
) -> Vec<Witness> {
    let at = KeyPath::dotted("uptime_tests.witness");
    let list = written.check_list.as_deref().unwrap_or_default();
    let list_at = at.key("check_list");
    if list.is_empty() && !report.is_tainted(&list_at) {
        report.error(&list_at, "there is no witness", "list them: check_list = [{ url = … }]");
    }
    let shared = written.commands.as_deref().map(|commands| {
        let at = at.key("commands");
        let script = script::script(commands, Framing::Detect, &at, holes, report);
        asks_about_the_target(&script, &at, report);
        script
    });
    let mut known = BTreeSet::new();
    let mut witnesses = Vec::with_capacity(list.len());
    for (index, one) in list.iter().enumerate() {
        let at = list_at.index(index);
        let timeout = own_timeout(one.timeout, &at.key("timeout"), report).unwrap_or(timeout);
        let script = own_script(one, shared.as_ref(), &at, holes, report);
        let url_at = at.key("url");
        let address = one.url.as_deref().map(|url| address::target(url.trim()));
        let address = address.and_then(|address| report.keep(&url_at, address));
        if let Some((_, address)) = &address
            && !known.insert(address.to_string())
        {
            let what = format!("{address} is a witness already, and has one voice");
            report.error(&url_at, what, "take one of the two out");
        }
        if let (Some((spoken, address)), Some(script)) = (address, script) {
            let begins_tls = script.starttls().is_some();
            if begins_tls && spoken == Spoken::Tls {
                starttls::tell(true, transport, &address, &url_at, report);
            }
            let tls = match spoken {
                Spoken::Tcp if !begins_tls => None,
                Spoken::Tcp | Spoken::Tls => policy(transport, &address, &url_at, report)
                    .map(|policy| Arc::new(Arc::unwrap_or_clone(policy).at_once())),
            };
            witnesses.push(Witness { address, tls, script, timeout });
        }
    }
    witnesses
}

fn own_script(
    one: &WitnessCheck,
    shared: Option<&Script>,
    at: &KeyPath,
    holes: Holes<'_>,
    report: &mut Report<'_>,
) -> Option<Script> {
    match (&one.commands, shared) {
        (Some(commands), _) => {
            let at = at.key("commands");
            let script = script::script(commands, Framing::Detect, &at, holes, report);
            asks_about_the_target(&script, &at, report);
            Some(script)
        }
        (None, Some(shared)) => Some(shared.clone()),
        (None, None) => {
            let what = "the witness has no script: it would agree with everybody";
            report.error(at, what, "write its `commands`, or those of all of them beside the list");
            None
        }
    }
}

/// A witness agrees about one target and not about another.
fn asks_about_the_target(script: &Script, at: &KeyPath, report: &mut Report<'_>) {
    let mut templates = script.steps.iter().flat_map(|step| step.action.templates());
    if !templates.any(Template::names_target) {
        let what = "the script never names the target: the witness says the same of all of them";
        report.warning(at, what, "expect ${target.host} and ${target.port}");
    } else if never_says_no(script) {
        let what = "the witness can agree but never disagree: where the end of a reply cannot be \
                    known, only a `reject` can";
        report.warning(at, what, "without one its other answers count as silence, by `fall`");
    }
}
