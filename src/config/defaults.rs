//! The built-in layer: what holds where nobody wrote anything.
//!
//! The numbers are those of the model's `Default`s; only what depends on the machine is made here.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::environment::Environment;
use crate::config::model::{LogFormat, Node, SessionLimits};
use crate::config::thresholds::Thresholds;

/// The built-in node settings.
pub fn settings(env: &Environment) -> Value {
    let node = Node::default();
    let upgrade_timeout = node.upgrade_timeout.map_or(json!(0), |limit| json!(text(limit)));
    json!({
        "workers": node.workers,
        "state_dir": state_folder(env),
        "state_max_age": text(node.state_max_age),
        "certificates": { "folder": node.store.folder() },
        "admin": { "socket": control_socket(env) },
        "log": { "level": node.log.level, "format": format(node.log.format) },
        "limits": { "max_connections": 0 },
        "shutdown": {
            "timeout": text(node.shutdown_timeout),
            "upgrade_timeout": upgrade_timeout,
        },
        "supervision": {
            "intensity": node.supervision.intensity,
            "window": text(node.supervision.window),
            "hang": text(node.supervision.hang),
        },
    })
}

/// The built-in settings of every service, to be shown: where a service writes nothing, and some
/// of them differ with a leader, they are filled in when it is read.
pub fn service() -> Value {
    let limits = SessionLimits::default();
    let checks = Thresholds::default();
    let optional = |limit: Option<Duration>| limit.map_or(json!(0), |limit| json!(text(limit)));
    json!({
        "limits": {
            "max_connections": 0,
            "max_connections_per_ip": 0,
            "connection_rate_per_ip": 0,
            "handshake_timeout": text(limits.handshake_timeout),
            "idle_timeout": optional(limits.idle_timeout),
            "half_close_timeout": optional(limits.half_close_timeout),
            "max_session_age": optional(limits.max_session_age),
            "keep_alive": {
                "idle": text(limits.keep_alive.idle),
                "interval": text(limits.keep_alive.interval),
                "count": limits.keep_alive.count,
            },
            "tcp_user_timeout": optional(limits.tcp_user_timeout),
        },
        "proxy": {
            "enable_load_balancing": false,
            "check_host_against_uptime_tests": false,
            "balance": "round_robin",
            "connect_timeout": "3s",
            "retries": 2,
            "hold": 0,
            "hold_limit": 1000,
            "on_removed": "drain:30s",
            "transport": {
                "ssl_insecure_skip_verify": false,
                "ssl_min_version": "1.2",
                "ssl_max_version": "1.3",
            },
            "close_spread": 0,
        },
        "uptime_tests": {
            "disabled": false,
            "config": {
                "interval": text(checks.interval),
                "fast_interval": text(checks.fast_interval),
                "timeout": "1s",
                "rise": checks.rise,
                "fall": checks.fall,
                "fall_refused": checks.fall_refused,
                "fall_rejected": checks.fall_rejected,
            },
        },
    })
}

/// A duration as people write it.
pub fn text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}

fn control_socket(env: &Environment) -> PathBuf {
    let user = rustix::process::getuid();
    match env.path("XDG_RUNTIME_DIR") {
        Some(folder) => folder.join("stagedoor.sock"),
        None if user.is_root() => PathBuf::from("/run/stagedoor.sock"),
        None => {
            let folder = env.path("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"));
            folder.join(format!("stagedoor-{}.sock", user.as_raw()))
        }
    }
}

/// Where systemd says, or where state of a user's programs belongs; without a home nowhere.
fn state_folder(env: &Environment) -> String {
    let from_systemd = env.path("STATE_DIRECTORY").and_then(|list| {
        // Several, where the unit names several.
        list.to_str()?.split(':').next().map(PathBuf::from)
    });
    let folder = from_systemd
        .or_else(|| env.path("XDG_STATE_HOME").map(|folder| folder.join("stagedoor")))
        .filter(|folder| folder.is_absolute())
        .or_else(|| env.path("HOME").map(|home| home.join(".local/state/stagedoor")))
        .filter(|folder| folder.is_absolute());
    folder
        .and_then(|folder| folder.to_str().map(str::to_owned))
        .unwrap_or_else(|| "none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_kept_where_systemd_says_or_at_home() {
        let check = |variables: &[(&str, &str)], expected: &str| {
            let env = Environment::from_pairs(variables.iter().copied());
            assert_eq!(state_folder(&env), expected, "{variables:?}");
        };
        let home = ("HOME", "/home/a");
        check(&[home, ("XDG_STATE_HOME", "/s"), ("STATE_DIRECTORY", "/d:/e")], "/d");
        check(&[home, ("XDG_STATE_HOME", "/s")], "/s/stagedoor");
        check(&[home, ("XDG_STATE_HOME", "relative")], "/home/a/.local/state/stagedoor");
        check(&[home, ("STATE_DIRECTORY", "")], "/home/a/.local/state/stagedoor");
        check(&[("HOME", "")], "none");
        check(&[], "none");
    }
}
