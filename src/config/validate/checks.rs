//! `uptime_tests.*` → what is asked of targets, how often, and what counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::address::{self, Url};
use crate::config::check::{Check, CheckKind, Framing, Script, Thresholds};
use crate::config::file::scalars::Timeout;
use crate::config::file::uptime::{UptimeConfig, UptimeTests, WrittenCheck, WrittenFraming};
use crate::config::model::Target;
use crate::config::names::{TargetAddress, TargetKey};
use crate::config::parameters::Holes;
use crate::config::place::KeyPath;
use crate::config::problem::{Complaint, did_you_mean};
use crate::config::validate::http;
use crate::config::validate::limits::at_least;
use crate::config::validate::report::Report;
use crate::config::validate::script;

/// What checks need to know besides what is written.
#[derive(Debug)]
pub struct Around<'a> {
    /// The targets of the service.
    pub targets: &'a [Target],
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

/// Every check that runs.
pub fn checks(
    written: &UptimeTests,
    around: &Around<'_>,
    report: &mut Report<'_>,
) -> Vec<Arc<Check>> {
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
        let check = |target: &Target| Check {
            target: Some(target.key.clone()),
            address: target.address.clone(),
            kind: kind.clone(),
            timeout,
        };
        return around.targets.iter().map(check).map(Arc::new).collect();
    }
    let mut one = OneCheck { around, framing, timeout, report };
    let list = list.iter().enumerate();
    let at = at.key("check_list");
    let checks = list.filter_map(|(index, check)| {
        let named = around.named.listed.get(&index);
        one.check(check, named, &at.index(index)).map(Arc::new)
    });
    checks.collect()
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

fn whole_timeout(config: Option<&UptimeConfig>, at: &KeyPath, report: &mut Report<'_>) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(1);
    let timeout = config.and_then(|config| config.timeout);
    own_timeout(timeout, &at.key("timeout"), report).unwrap_or(DEFAULT)
}

/// A timeout of a check. A bare 0 is Tyk's way to write nothing; `"0s"` was meant, and is wrong.
fn own_timeout(
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

/// What a check's URL asks for.
enum Asked {
    Script(TargetAddress),
    Http { address: TargetAddress, host: String, path: String },
}

impl OneCheck<'_, '_, '_> {
    fn check(
        &mut self,
        written: &WrittenCheck,
        named: Option<&CheckKind>,
        at: &KeyPath,
    ) -> Option<Check> {
        self.one_way(written, at);
        let asked =
            written.url.as_deref().map(|url| asked(url.trim(), written.protocol.as_deref()));
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
        let (address, kind) = match asked? {
            Asked::Http { address, host, path } => {
                let request = http::request(written, (&host, &path), at, self.report);
                (address, CheckKind::Http(request))
            }
            Asked::Script(address) => {
                http::refuse_in_tcp(written, at, self.report);
                (address, named.cloned().unwrap_or(CheckKind::Script(script)))
            }
        };
        let target = self.target(written, &address, at);
        Some(Check { target, address, kind, timeout: timeout.unwrap_or(self.timeout) })
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

    /// The target that a check speaks for.
    fn target(
        &mut self,
        written: &WrittenCheck,
        address: &TargetAddress,
        at: &KeyPath,
    ) -> Option<TargetKey> {
        let targets = self.around.targets;
        let named = written.target.as_deref().map(str::trim).filter(|named| !named.is_empty());
        let Some(named) = named else {
            let key = TargetKey::of(address);
            let found = targets.iter().find(|target| target.key == key);
            if found.is_none() && !targets.is_empty() {
                let what = format!("no target is at {key}: the check runs, and decides nothing");
                let right = "name its target: \"target\": \"host:port\"";
                self.report.warning(&at.key("url"), what, right);
            }
            return found.map(|target| target.key.clone());
        };
        let key = address::target(named).ok().map(|address| TargetKey::of(&address));
        let found = targets.iter().find(|it| Some(&it.key) == key.as_ref() || &*it.name == named);
        if found.is_none() && !targets.is_empty() {
            let known = targets.iter().map(|target| &*target.name);
            let right = match did_you_mean(named, known.clone()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("the targets are {}", known.take(8).collect::<Vec<_>>().join(", ")),
            };
            let what =
                format!("{} is no target of this service", self.report.quoted(&at.key("target")));
            self.report.error(&at.key("target"), what, right);
        }
        found.map(|target| target.key.clone())
    }
}

/// What a check's URL and protocol ask for, or which of the two is wrong, and why.
fn asked(text: &str, protocol: Option<&str>) -> Result<Asked, (&'static str, Complaint)> {
    let in_url = |complaint| ("url", complaint);
    let later = |what: &str| {
        Complaint::new(format!("`{what}` is not in this release"), "check without TLS for now")
    };
    let protocol = protocol.map(str::trim).filter(|protocol| !protocol.is_empty());
    if let Some(path) = address::unix(text) {
        return path.map(|path| Asked::Script(TargetAddress::Unix(path))).map_err(in_url);
    }
    let url = address::split(text);
    if let Some(scheme @ ("tls" | "https")) = url.scheme {
        return Err(in_url(later(&format!("{scheme}://"))));
    }
    let scheme = match (url.scheme, protocol) {
        (_, Some(tls @ ("tls" | "https"))) => return Err(("protocol", later(tls))),
        (Some(scheme @ ("tcp" | "http")), None) => scheme,
        (None, Some(protocol @ ("tcp" | "http"))) => protocol,
        (None, None) => "tcp",
        (Some(scheme), Some(protocol)) if scheme == protocol => scheme,
        (Some("tcp" | "http") | None, Some(protocol)) => {
            let what = match url.scheme {
                Some(scheme) => format!("the URL says {scheme}, the protocol says {protocol}"),
                None => format!("there are no {protocol} checks"),
            };
            return Err(("protocol", Complaint::new(what, "write tcp or http")));
        }
        (Some(scheme), _) => {
            let what = format!("there are no {scheme}:// checks");
            let right = "write host:port, tcp://host:port or http://host:port/path";
            return Err(in_url(Complaint::new(what, right)));
        }
    };
    if scheme == "tcp" {
        let address = address::target(&format!("tcp://{}{}", url.authority, url.path));
        return address.map(Asked::Script).map_err(in_url);
    }
    let Url { authority, path, .. } = url;
    let address = address::host_and_port(authority, Some(80)).map_err(in_url)?;
    Ok(Asked::Http { address, host: authority.to_owned(), path: path.to_owned() })
}
