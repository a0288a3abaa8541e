//! `limits.*` of a service → bounds on its sessions. 0 is no limit.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::config::file::limits::{Limits, WrittenKeepAlive, WrittenRate};
use crate::config::file::scalars::Period;
use crate::config::model::{KeepAlive, SessionLimits};
use crate::config::place::KeyPath;
use crate::config::rate::{self, Rate};
use crate::config::validate::report::Report;

/// The limits of a service, with every default filled in.
pub fn limits(written: &Limits, report: &mut Report<'_>) -> SessionLimits {
    let at = KeyPath::dotted("limits");
    let default = SessionLimits::default();
    SessionLimits {
        max_connections: written.max_connections.and_then(NonZeroUsize::new),
        max_connections_per_ip: written.max_connections_per_ip.and_then(NonZeroUsize::new),
        connection_rate_per_ip: connection_rate(
            written.connection_rate_per_ip.as_ref(),
            &at.key("connection_rate_per_ip"),
            report,
        ),
        handshake_timeout: at_least(
            written.handshake_timeout,
            default.handshake_timeout,
            &at.key("handshake_timeout"),
            report,
        ),
        idle_timeout: optional(written.idle_timeout, default.idle_timeout),
        half_close_timeout: optional(written.half_close_timeout, default.half_close_timeout),
        max_session_age: optional(written.max_session_age, default.max_session_age),
        keep_alive: keep_alive(written.keep_alive.as_ref(), &at.key("keep_alive"), report),
        tcp_user_timeout: optional(written.tcp_user_timeout, default.tcp_user_timeout),
    }
}

/// A duration that may not be nothing.
pub fn at_least(
    written: Option<Period>,
    default: Duration,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Duration {
    match written {
        Some(Period(Duration::ZERO)) => {
            report.error(at, "it cannot be 0", "write a duration such as \"2s\"");
            default
        }
        Some(Period(duration)) => duration,
        None => default,
    }
}

fn connection_rate(
    written: Option<&WrittenRate>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<Rate> {
    match written? {
        WrittenRate::Number(count) => NonZeroU32::new(*count).map(Rate::a_second),
        WrittenRate::Text(text) => match Rate::parse(text) {
            Ok(rate) => rate,
            Err(what) => {
                report.error(at, what, rate::FORM);
                None
            }
        },
    }
}

/// Zero is no limit.
pub fn optional(written: Option<Period>, default: Option<Duration>) -> Option<Duration> {
    match written {
        Some(Period(duration)) => Some(duration).filter(|duration| !duration.is_zero()),
        None => default,
    }
}

fn keep_alive(
    written: Option<&WrittenKeepAlive>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> KeepAlive {
    let default = KeepAlive::default();
    let Some(written) = written else { return default };
    let mut seconds = |written: Option<Period>, default: Duration, key: &str| {
        let duration = at_least(written, default, &at.key(key), report);
        // The kernel counts in whole seconds, up to 32,767 of them.
        if duration.subsec_nanos() != 0 || duration > Duration::from_secs(32_767) {
            let right = "the kernel knows whole seconds from 1s to 32767s";
            report.error(&at.key(key), "no kernel can do that", right);
        }
        duration
    };
    KeepAlive {
        idle: seconds(written.idle, default.idle, "idle"),
        interval: seconds(written.interval, default.interval, "interval"),
        count: written.count.unwrap_or(default.count),
    }
}
