//! `uptime_tests.*` → what is asked of targets, how often, and what counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::address::Spoken;
use crate::config::check::{CheckKind, Framing, Script};
use crate::config::file::scalars::Timeout;
use crate::config::file::uptime::{UptimeConfig, UptimeTests, WrittenCheck, WrittenFraming};
use crate::config::model::Target;
use crate::config::mould::{CommonCheck, ListedCheck};
use crate::config::parameters::Holes;
use crate::config::place::KeyPath;
use crate::config::problem::did_you_mean;
use crate::config::thresholds::Thresholds;
use crate::config::transport::Transport;
use crate::config::validate::asked::{Asked, AskedKind, asked};
use crate::config::validate::http;
use crate::config::validate::limits::at_least;
use crate::config::validate::report::Report;
use crate::config::validate::script;
use crate::config::validate::starttls;
use crate::config::validate::transport::policy;

/// What checks need to know besides what is written.
#[derive(Debug)]
pub struct Around<'a> {
    /// The targets of the service that are written.
    pub targets: &'a [Target],
    /// Others are found when it runs.
    pub are_found: bool,
    /// How it speaks TLS to them.
    pub transport: &'a Transport,
    /// Where messages get their holes filled from.
    pub holes: Holes<'a>,
    /// What `check` keys name.
    pub named: Named,
}

/// The checks that `check` keys name, read already; one that could not be read is not here.
#[derive(Debug, Default)]
pub struct Named {
    /// That of `uptime_tests.check`.
    pub for_all: Option<CheckKind>,
    /// Those of entries of `check_list`, by index.
    pub listed: BTreeMap<usize, CheckKind>,
}

/// Every check that is written: that of all targets, or those of a list.
pub fn checks(
    written: &UptimeTests,
    around: &Around<'_>,
    report: &mut Report<'_>,
) -> (Option<CommonCheck>, Vec<ListedCheck>) {
    let at = KeyPath::dotted("uptime_tests");
    let timeout = whole_timeout(written.config.as_ref(), &at.key("config"), report);
    let list = written.check_list.as_deref().unwrap_or_default();
    let ways = [
        ("check_list", !list.is_empty()),
        ("commands", written.commands.is_some()),
        ("check", written.check.is_some()),
    ];
    let mut used = ways.into_iter().filter(|(_, used)| *used).map(|(key, _)| key);
    if let (Some(one), Some(other)) = (used.next(), used.next()) {
        let right = "a service has a check_list, or one script for every target";
        report.error(&at.key(other), format!("`{other}` stands beside `{one}`"), right);
    }
    let framing = framing(written.config.as_ref().and_then(|config| config.framing));
    let for_all = match &written.commands {
        Some(commands) => {
            let at = at.key("commands");
            let script = script::script(commands, framing, &at, around.holes, report);
            Some(CheckKind::Script(script))
        }
        None => around.named.for_all.clone(),
    };
    if let Some(kind) = for_all {
        let at = at.key(if written.commands.is_some() { "commands" } else { "check" });
        let over_tls = around.targets.iter().find(|target| target.tls.is_some());
        if let Some(one) = over_tls.or(around.targets.first()).filter(|_| kind.begins_tls()) {
            starttls::tell(one.tls.is_some(), around.transport, &one.address, &at, report);
        }
        return (Some(CommonCheck { kind, timeout }), Vec::new());
    }
    let mut one = OneCheck { around, framing, timeout, report };
    let list = list.iter().enumerate();
    let at = at.key("check_list");
    let checks = list.filter_map(|(index, check)| {
        let named = around.named.listed.get(&index);
        one.check(check, named, &at.index(index))
    });
    (None, checks.collect())
}

/// How the end of a reply is known.
pub fn framing(written: Option<WrittenFraming>) -> Framing {
    match written {
        None => Framing::Detect,
        Some(WrittenFraming::Resp) => Framing::Resp,
        Some(WrittenFraming::None) => Framing::None,
    }
}

/// Times and counts, which differ with a leader.
pub fn thresholds(
    written: Option<&UptimeConfig>,
    leader: bool,
    report: &mut Report<'_>,
) -> Thresholds {
    let at = KeyPath::dotted("uptime_tests.config");
    let written = written.cloned().unwrap_or_default();
    let default = Thresholds::default();
    let usual = if leader { Duration::from_millis(250) } else { default.interval };
    let interval = at_least(written.interval, usual, &at.key("interval"), report);
    let fast_at = at.key("fast_interval");
    let fast = at_least(written.fast_interval, default.fast_interval, &fast_at, report);
    if fast > interval && written.fast_interval.is_some() {
        let what = format!("it is longer than the interval, {interval:?}, which is used instead");
        report.warning(&fast_at, what, "");
    }
    Thresholds {
        interval,
        fast_interval: fast.min(interval),
        down_interval: at_least(written.down_interval, interval, &at.key("down_interval"), report),
        rise: written.rise.unwrap_or(default.rise),
        fall: written.fall.unwrap_or(default.fall),
        fall_refused: written.fall_refused.unwrap_or(if leader { 1 } else { default.fall_refused }),
        fall_rejected: written.fall_rejected.unwrap_or(default.fall_rejected),
    }
}

/// The deadline of a check that has none of its own.
pub fn whole_timeout(
    config: Option<&UptimeConfig>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(1);
    let timeout = config.and_then(|config| config.timeout);
    own_timeout(timeout, &at.key("timeout"), report).unwrap_or(DEFAULT)
}

/// A timeout of a check. A bare 0 is Tyk's way to write nothing; `"0s"` was meant, and is wrong.
pub fn own_timeout(
    written: Option<Timeout>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<Duration> {
    script::warn_of_nanoseconds(at, report);
    let timeout = written?.0;
    if timeout.is_zero() && report.number(at).is_none() {
        report.error(at, "a check cannot have no time at all", "write a duration such as \"2s\"");
    }
    Some(timeout).filter(|timeout| !timeout.is_zero())
}

struct OneCheck<'a, 'b, 'c> {
    around: &'a Around<'b>,
    framing: Framing,
    timeout: Duration,
    report: &'a mut Report<'c>,
}

impl OneCheck<'_, '_, '_> {
    fn check(
        &mut self,
        written: &WrittenCheck,
        named: Option<&CheckKind>,
        at: &KeyPath,
    ) -> Option<ListedCheck> {
        self.one_way(written, at);
        let asked = written.url.as_deref().map(|url| asked(url, written.protocol.as_deref()));
        let asked = asked.and_then(|asked| match asked {
            Ok(asked) => Some(asked),
            Err((key, complaint)) => {
                self.report.complain(&at.key(key), complaint);
                None
            }
        });
        let timeout = own_timeout(written.timeout, &at.key("timeout"), self.report);
        // The script is read in any case: all its problems belong into one report.
        let script = self.script(written, at);
        let Asked { spoken, address, kind } = asked?;
        let kind = match kind {
            AskedKind::Http { host, path } => {
                CheckKind::Http(http::request(written, (&host, &path), at, self.report))
            }
            AskedKind::Script => {
                http::refuse_in_tcp(written, at, self.report);
                named.cloned().unwrap_or(CheckKind::Script(script))
            }
        };
        let names = written.target.as_deref().map(str::trim).filter(|named| !named.is_empty());
        let timeout = timeout.unwrap_or(self.timeout);
        let announced = written.enable_proxy_protocol;
        let names = names.map(Arc::from);
        let listed = ListedCheck { address, spoken, names, announced, kind, timeout };
        let target = listed.target(self.around.targets);
        if target.is_none() && !self.around.are_found {
            self.tell_of_no_target(&listed, at);
        }
        self.tell_of_tls(&listed, target, at);
        Some(listed)
    }

    /// Where nothing is written of TLS, it asks as sessions speak to its target.
    fn tell_of_tls(&mut self, listed: &ListedCheck, target: Option<&Target>, at: &KeyPath) {
        if listed.kind.begins_tls() {
            let over_tls = listed.is_over_tls(target);
            let (transport, at) = (self.around.transport, at.key("url"));
            return starttls::tell(over_tls, transport, &listed.address, &at, self.report);
        }
        let to_target = target.is_some_and(|target| target.tls.is_some());
        if listed.spoken == Some(Spoken::Tcp) && to_target {
            let what = "its target is spoken to over TLS, and this check asks in the clear";
            self.report.warning(at, what, "write its URL as tls://host:port");
        }
        if listed.is_over_tls(target) {
            // Only what is wrong with it counts here: it is made again with the check.
            drop(policy(self.around.transport, &listed.address, &at.key("url"), self.report));
        }
    }

    fn script(&mut self, written: &WrittenCheck, at: &KeyPath) -> Script {
        let commands = written.commands.as_deref().unwrap_or_default();
        let at = at.key("commands");
        script::script(commands, self.framing, &at, self.around.holes, self.report)
    }

    /// A check is written in one way.
    fn one_way(&mut self, written: &WrittenCheck, at: &KeyPath) {
        let commands = written.commands.as_ref().is_some_and(|commands| !commands.is_empty());
        if commands && written.check.is_some() {
            let right = "a check has commands, or names a preset or a file";
            self.report.error(&at.key("check"), "`check` stands beside `commands`", right);
        }
    }

    /// The target that a check speaks for is not there.
    fn tell_of_no_target(&mut self, listed: &ListedCheck, at: &KeyPath) {
        let targets = self.around.targets;
        if targets.is_empty() {
            // What is wrong with them has been told.
            return;
        }
        let Some(named) = &listed.names else {
            let what =
                format!("no target is at {}: the check runs, and decides nothing", listed.address);
            let right = "name its target: \"target\": \"host:port\"";
            return self.report.warning(&at.key("url"), what, right);
        };
        let known = targets.iter().map(|target| &*target.name);
        let right = match did_you_mean(named, known.clone()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the targets are {}", known.take(8).collect::<Vec<_>>().join(", ")),
        };
        let what =
            format!("{} is no target of this service", self.report.quoted(&at.key("target")));
        self.report.error(&at.key("target"), what, right);
    }
}
