//! The page's own definition, "TCP proxy" of Tyk, with only addresses changed.

use std::net::SocketAddrV4;

use serde_json::{Value, json};

/// Redis behind a port of the proxy.
pub(crate) fn definition(listen: u16, targets: &[SocketAddrV4]) -> Value {
    let url = |target: &SocketAddrV4| target.to_string();
    let check = |target: &SocketAddrV4| {
        json!({ "url": url(target), "commands": [
            { "name": "send", "message": "PING\r\n" },
            { "name": "expect", "message": "+PONG" },
            { "name": "send", "message": "info  replication\r\n" },
            { "name": "expect", "message": "role:master" },
            { "name": "send", "message": "QUIT\r\n" },
            { "name": "send", "message": "+OK" },
        ] })
    };
    json!({
        "name": "Redis Sentinel",
        "listen_port": listen,
        "protocol": "tcp",
        "enable_load_balancing": true,
        "proxy": { "target_list": targets.iter().map(url).collect::<Vec<_>>() },
        "check_host_against_uptime_tests": true,
        "uptime_tests": { "check_list": targets.iter().map(check).collect::<Vec<_>>() },
    })
}
