//! How `stagedoor status` looks on a terminal: a block a service, a line a target.

use std::fmt::{Result, Write as _};
use std::time::Duration;

use crate::admin::view::{
    CertificateView, CheckView, DiscoveryView, RefusedView, ServiceView, StatusView, TargetView,
    WebhookView,
};
use crate::telemetry::escape::Escaped;
use crate::wire::expiry::{date, time_left};

/// Writes the status of a process.
pub fn status(out: &mut String, view: &StatusView) -> Result {
    let StatusView { version, pid, sessions, generation, .. } = view;
    let up = rough(Duration::from_secs(view.up_seconds));
    let plural = if *sessions == 1 { "" } else { "s" };
    writeln!(
        out,
        "stagedoor {version} · process {pid} · up {up} · {sessions} live session{plural} · configuration {generation}"
    )?;
    view.services.iter().try_for_each(|view| service(out, view))
}

fn service(out: &mut String, view: &ServiceView) -> Result {
    let ServiceView { name, listen, balance, live, accepted, refused, cut, failed_dials, .. } =
        view;
    let inferred = if view.inferred { " (inferred from the checks)" } else { "" };
    let by = refused_by(&view.refused_by);
    let balance = match view.targets.len() {
        1 => "one target".to_owned(),
        _ => format!("balance {balance}{inferred}"),
    };
    writeln!(out, "\n{name} on {listen} · {balance}")?;
    for alarm in &view.alarms {
        writeln!(out, "  ALARM: {alarm}")?;
    }
    writeln!(
        out,
        "  sessions: {live} live of {accepted}, {refused} refused{by}, {cut} cut · failed dials: \
         {failed_dials} · {} to targets, {} to clients",
        size(view.bytes_to_target),
        size(view.bytes_to_client)
    )?;
    if let Some(view) = &view.discovery {
        writeln!(out, "  {}", discovery(view))?;
    }
    let heading = ["target", "health", "sessions", "last check"].map(str::to_owned);
    let rows: Vec<[String; 4]> =
        view.targets.iter().map(|target| row(target, view.leader.as_ref())).collect();
    table(out, &[&[heading], &rows[..]].concat())?;
    if let Some(last) = view.failovers.first() {
        let ago = rough(Duration::from_millis(last.ago_ms));
        writeln!(out, "  last failover {ago} ago: {}", last.summary)?;
    }
    view.certificates.iter().try_for_each(|view| certificate(out, view))?;
    for view in &view.webhooks {
        writeln!(out, "  {}", webhook(view))?;
    }
    for check in &view.stray_checks {
        writeln!(out, "  a check of {}, which is no target: {}", check.address, last(check))?;
    }
    Ok(())
}

/// How its targets are found, and whether they still are.
fn discovery(view: &DiscoveryView) -> String {
    let ago = |millis: u64| rough(Duration::from_millis(millis));
    let listed = match (view.listed, view.good_ms) {
        (Some(count), Some(good)) => {
            let plural = if count == 1 { "" } else { "s" };
            let kept = if view.kept { ", kept from before the start" } else { "" };
            format!("{count} target{plural}, {} ago{kept}", ago(good))
        }
        (Some(_), None) | (None, _) => "no list yet".to_owned(),
    };
    let mut shown = format!("found by {}: {listed}", view.directory);
    if let Some(left_out) = &view.left_out {
        shown.push_str(&format!("; {left_out}"));
    }
    if let Some(stale) = view.stale_ms {
        let why = match &view.fault {
            Some(fault) => format!(" ({} tries): {fault}", view.failures),
            None => ": no answer yet".to_owned(),
        };
        shown.push_str(&format!("; STALE for {}{why}", ago(stale)));
    }
    shown
}

/// What became of the events that a webhook was to be told of.
fn webhook(view: &WebhookView) -> String {
    let counts = [
        (view.failed, "failed"),
        (view.dropped, "dropped"),
        (view.skipped, "skipped"),
        (view.waiting as u64, "waiting"),
        (view.held as u64, "held by event_timeout"),
    ];
    let mut shown = format!("{} to {}: {} delivered", view.event, view.webhook, view.delivered);
    for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
        shown.push_str(&format!(", {count} {what}"));
    }
    if let (Some(failure), Some(ago)) = (&view.failure, view.failure_ms) {
        let ago = rough(Duration::from_millis(ago));
        shown.push_str(&format!("; last failure {ago} ago: {failure}"));
    }
    shown
}

/// Why they were refused: ` (2 by access lists)`.
fn refused_by(view: &RefusedView) -> String {
    let reasons = [
        (view.access, "by access lists"),
        (view.connection_rate_per_ip, "over connection_rate_per_ip"),
        (view.max_connections_per_ip, "over max_connections_per_ip"),
        (view.max_connections, "over max_connections"),
        (view.proxy_protocol_from, "not in proxy_protocol_from"),
        (view.unchecked, "with no target checked yet"),
        (view.all_down, "with every target down"),
        (view.no_leader, "with no leader"),
        (view.all_tried, "by every target that was up"),
        (view.removed, "as the service was removed"),
        (view.unreachable, "with no target reached"),
        (view.own_side, "for faults on our own side"),
    ];
    let shown = reasons.iter().filter(|(count, _)| *count > 0);
    let shown: Vec<String> = shown.map(|(count, why)| format!("{count} {why}")).collect();
    if shown.is_empty() { String::new() } else { format!(" ({})", shown.join(", ")) }
}

fn certificate(out: &mut String, view: &CertificateView) -> Result {
    let names = match &view.names[..] {
        [] => view.subject.clone().unwrap_or_default(),
        names => names.join(", "),
    };
    let name = Escaped(names.as_bytes()).to_string();
    let name = [view.what.as_str(), &name].join(" ");
    let good = view
        .not_after
        .zip(view.days_left)
        .map(|(not_after, days)| format!("{}, until {}", time_left(days), date(not_after)));
    let fingerprint = view.fingerprint.as_ref().map(|all| all.chars().take(12).collect());
    let file = Some(view.file.clone().unwrap_or_else(|| "in the definition".to_owned()));
    let rest: Vec<String> = [good, fingerprint, file].into_iter().flatten().collect();
    writeln!(out, "  {}: {}", name.trim_end(), rest.join(" · "))?;
    match &view.fault {
        Some(why) => {
            writeln!(out, "    ALARM: the file was changed since, and is not taken: {why}")
        }
        None => Ok(()),
    }
}

fn row(target: &TargetView, leader: Option<&String>) -> [String; 4] {
    let TargetView { name, address, health, live, total, .. } = target;
    let shown = if name == address { name.clone() } else { format!("{name} ({address})") };
    let leads = if leader == Some(name) { ", leads" } else { "" };
    let since = target.since_ms.map(|ms| format!(" for {}", rough(Duration::from_millis(ms))));
    let since = since.unwrap_or_default();
    let insecure = if target.insecure { ", insecure" } else { "" };
    let rank = target.rank.as_ref().map(|rank| format!(", rank {rank}")).unwrap_or_default();
    let agree = target.witnesses.iter().filter(|witness| witness.agrees).count();
    let witnesses = match target.witnesses.len() {
        0 => String::new(),
        all => format!(", {agree} of {all} witnesses"),
    };
    // Of several checks the one that speaks against the target is the news.
    let passed = |check: &&CheckView| check.verdict.as_deref() == Some("passed");
    let check = target.checks.iter().min_by_key(passed).map(last).unwrap_or_default();
    [
        shown,
        format!("{health}{since}{leads}{rank}{witnesses}{insecure}"),
        format!("{live} live of {total}"),
        check,
    ]
}

fn last(check: &CheckView) -> String {
    match (&check.verdict, check.ago_ms) {
        (Some(verdict), Some(ago)) => {
            format!("{} ago: {verdict}", rough(Duration::from_millis(ago)))
        }
        (None, _) | (_, None) => "the first one runs".to_owned(),
    }
}

/// Columns as wide as what is in them; the last one is left ragged.
fn table(out: &mut String, rows: &[[String; 4]]) -> Result {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths = [0, 1, 2].map(width);
    for [first, second, third, last] in rows {
        let [one, two, three] = widths;
        let line = format!("  {first:<one$}  {second:<two$}  {third:<three$}  {last}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A time in as many words as a person wants: `120ms`, `4s`, `3m 2s`, `2days 4h`.
fn rough(time: Duration) -> String {
    const MINUTE: u64 = 60;
    const DAY: u64 = 24 * 60 * MINUTE;
    let seconds = time.as_secs();
    let kept = match seconds {
        0 => Duration::from_millis(u64::from(time.subsec_millis())),
        _ if seconds < DAY => Duration::from_secs(seconds),
        _ => Duration::from_secs(seconds - seconds % (60 * MINUTE)),
    };
    humantime::format_duration(kept).to_string()
}

/// Bytes in the largest unit that leaves something before the point.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut left, mut unit) = (bytes as f64, "bytes");
    for next in UNITS {
        if left < 1024.0 {
            break;
        }
        (left, unit) = (left / 1024.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{left:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::FailoverView;

    fn check(verdict: &str, ago_ms: u64) -> CheckView {
        CheckView {
            address: "127.0.0.1:7001".to_owned(),
            verdict: Some(verdict.to_owned()),
            ago_ms: Some(ago_ms),
            took_ms: Some(1),
            transcript: None,
            changed_by: None,
        }
    }

    fn target(name: &str, health: &str, checks: Vec<CheckView>) -> TargetView {
        TargetView {
            name: name.to_owned(),
            address: name.to_owned(),
            health: health.to_owned(),
            since_ms: (health != "unchecked").then_some(183_000),
            insecure: name == "c",
            rank: None,
            live: 1,
            total: 12,
            checks,
            witnesses: Vec::new(),
        }
    }

    fn a_webhook() -> WebhookView {
        WebhookView {
            event: "HostDown".to_owned(),
            webhook: "https://hooks.test/…".to_owned(),
            delivered: 3,
            failed: 1,
            waiting: 2,
            failure: Some("it answered with status 404".to_owned()),
            failure_ms: Some(4_000),
            ..WebhookView::default()
        }
    }

    fn a_service() -> ServiceView {
        ServiceView {
            name: "redis".to_owned(),
            listen: "0.0.0.0:6379".to_owned(),
            balance: "leader".to_owned(),
            inferred: true,
            witnesses_needed: None,
            leader: Some("127.0.0.1:7001".to_owned()),
            live: 1,
            accepted: 12,
            refused: 2,
            refused_by: RefusedView { access: 1, max_connections: 1, ..RefusedView::default() },
            failed_handshakes: 0,
            failed_dials: 0,
            cut: 3,
            held: 0,
            bytes_to_target: 900,
            bytes_to_client: 3_500_000,
            alarms: vec!["a and b claim the lead together".to_owned()],
            discovery: Some(DiscoveryView {
                directory: "http://consul:8500/v1/catalog".to_owned(),
                listed: Some(3),
                kept: false,
                good_ms: Some(61_000),
                left_out: None,
                fault: Some("the answer is empty".to_owned()),
                failures: 4,
                stale_ms: Some(15_000),
            }),
            targets: vec![
                target("127.0.0.1:7001", "up", vec![check("passed", 120)]),
                target("b", "down", vec![check("passed", 1), check("connection refused", 4_000)]),
                target("c", "unchecked", Vec::new()),
            ],
            certificates: vec![
                CertificateView {
                    what: "certificate".to_owned(),
                    file: Some("/etc/a.pem".to_owned()),
                    names: vec!["a.test".to_owned(), "b.test".to_owned()],
                    fingerprint: Some("3fa9c1d2e4f5aaaa".to_owned()),
                    not_after: Some(1_798_761_600),
                    days_left: Some(29),
                    ..CertificateView::default()
                },
                CertificateView {
                    what: "revocation list".to_owned(),
                    file: Some("/etc/crl.pem".to_owned()),
                    fault: Some("it cannot be read: there is no such file".to_owned()),
                    ..CertificateView::default()
                },
            ],
            webhooks: vec![a_webhook()],
            stray_checks: vec![check("connection refused", 40)],
            failovers: vec![FailoverView {
                ago_ms: 61_000,
                summary: "from b to 127.0.0.1:7001".to_owned(),
                ..FailoverView::default()
            }],
        }
    }

    #[test]
    fn a_service_is_a_block_that_a_stranger_can_read() {
        let mut out = String::new();
        service(&mut out, &a_service()).unwrap();
        assert_eq!(
            out,
            "
redis on 0.0.0.0:6379 · balance leader (inferred from the checks)
  ALARM: a and b claim the lead together
  sessions: 1 live of 12, 2 refused (1 by access lists, 1 over max_connections), 3 cut · failed dials: 0 · 900 bytes to targets, 3.3 MiB to clients
  found by http://consul:8500/v1/catalog: 3 targets, 1m 1s ago; STALE for 15s (4 tries): the answer is empty
  target          health               sessions      last check
  127.0.0.1:7001  up for 3m 3s, leads  1 live of 12  120ms ago: passed
  b               down for 3m 3s       1 live of 12  4s ago: connection refused
  c               unchecked, insecure  1 live of 12
  last failover 1m 1s ago: from b to 127.0.0.1:7001
  certificate a.test, b.test: good for 29 days, until 2027-01-01 · 3fa9c1d2e4f5 · /etc/a.pem
  revocation list: /etc/crl.pem
    ALARM: the file was changed since, and is not taken: it cannot be read: there is no such file
  HostDown to https://hooks.test/…: 3 delivered, 1 failed, 2 waiting; last failure 4s ago: it answered with status 404
  a check of 127.0.0.1:7001, which is no target: 40ms ago: connection refused
"
        );
    }

    #[test]
    fn times_and_sizes_have_as_many_digits_as_a_person_wants() {
        let day = 24 * 3600;
        for (millis, expected) in
            [(7, "7ms"), (4_321, "4s"), (3_723_000, "1h 2m 3s"), (2 * day * 1000 + 1, "2days")]
        {
            assert_eq!(rough(Duration::from_millis(millis)), expected);
        }
        for (bytes, expected) in [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB")] {
            assert_eq!(size(bytes), expected);
        }
    }
}
