//! Definitions that several tests begin with.

use serde_json::{Value, json};

use crate::harness::certificates::Issued;
use crate::harness::identity::Authority;
use crate::harness::port::free_port;

/// A service that ends TLS with this certificate, as Tyk's page on TCP proxies writes one.
pub(crate) fn ending_tls(name: &str, listen: u16, issued: &Issued, target: &str) -> Value {
    json!({
        "name": name, "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tls",
        "certificate": [issued.path], "proxy": { "target_url": target },
    })
}

/// A service with one target, which has to prove itself to `authority` and is judged by this.
pub(crate) fn judged(target: &str, uptime: &Value, authority: &Authority) -> Value {
    json!({
        "name": "checked", "listen_port": free_port(), "listen_address": "127.0.0.1",
        "proxy": {
            "target_url": target, "check_host_against_uptime_tests": true,
            "transport": { "ssl_ca": authority.file() },
        },
        "uptime_tests": uptime,
    })
}
