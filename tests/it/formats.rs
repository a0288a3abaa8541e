//! Where definitions come from: JSON, TOML and Tyk spell one model.

use stagedoor::config::load::{Loaded, Sources, load};

/// Loads one definition from a file of this name.
fn loaded(name: &str, text: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    load(&Sources { paths: vec![path], ..Sources::default() })
}

#[test]
fn a_definition_exported_from_tyk_loads_with_one_warning() {
    let exported = r#"{
      "id": "5d8b", "api_id": "x", "org_id": "1", "slug": "redis", "use_keyless": true,
      "auth": { "auth_header_name": "Authorization" }, "definition": { "location": "header" },
      "version_data": { "not_versioned": true, "versions": {} }, "CORS": { "enable": false },
      "name": "redis", "listen_port": 6379, "protocol": "tcp", "domain": "", "active": true,
      "certificates": null, "client_certificates": [], "upstream_certificates": null,
      "pinned_public_keys": {}, "enable_proxy_protocol": false, "allowed_ips": [],
      "event_handlers": { "events": {} }, "use_mutual_tls_auth": false,
      "proxy": {
        "preserve_host_header": false, "listen_path": "/", "target_url": "tcp://10.0.0.1:6379",
        "strip_listen_path": true, "enable_load_balancing": true,
        "target_list": ["tcp://10.0.0.1:6379", "tcp://10.0.0.2:6379", "tcp://10.0.0.2:6379"],
        "check_host_against_uptime_tests": true,
        "transport": { "ssl_insecure_skip_verify": false, "ssl_ciphers": [], "proxy_url": "" },
        "service_discovery": { "use_discovery_service": false, "cache_timeout": 60 }
      },
      "uptime_tests": {
        "check_list": [
          { "url": "tcp://10.0.0.1:6379", "protocol": "tcp", "timeout": 2000000000,
            "method": "", "headers": {}, "body": "", "enable_proxy_protocol": false },
          { "url": "tcp://10.0.0.2:6379", "protocol": "tcp", "timeout": 0, "commands": null }
        ],
        "config": { "expire_utime_after": 0, "recheck_wait": 0, "service_discovery": {} }
      }
    }"#;
    let loaded = loaded("t.json", exported);
    let said: Vec<_> = loaded.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].contains("auth, definition, version_data, CORS"), "{said:#?}");
    assert!(said[1].contains("read as nanoseconds"), "{said:#?}");
    let model = loaded.model.unwrap();
    let service = model.services.values().next().unwrap();
    let weights: Vec<_> = service.pool.targets.iter().map(|it| it.weight.get()).collect();
    assert_eq!(weights, [1, 2]);
    let timeouts: Vec<_> =
        service.health.as_ref().unwrap().checks.iter().map(|it| it.timeout.as_secs()).collect();
    assert_eq!(timeouts, [2, 1]);
}

#[test]
fn json_and_toml_spell_one_model() {
    let json = std::fs::read_to_string("examples/redis-sentinel/redis.json").unwrap();
    let toml = r#"
name = "Redis Sentinel"
listen_port = 6379
[proxy]
enable_load_balancing = true
check_host_against_uptime_tests = true
target_list = ["127.0.0.1:7001", "tcp://127.0.0.1:7002"]
[uptime_tests]
commands = [
  { name = "send", message = 'PING\r\n' },
  { name = "expect", message = "+PONG" },
  { name = "send", message = "info  replication\r\n" },
  { name = "expect", message = "role:master" },
  { name = "send", message = "QUIT\r\n" },
  { name = "send", message = "+OK" },
]
"#;
    let service = |name: &str, text: &str| {
        let model = loaded(name, text).model.unwrap();
        let service = model.services.into_values().next().unwrap();
        (service.listen.clone(), service.pool.clone(), service.health.clone())
    };
    assert_eq!(service("f.json", &json), service("f.toml", toml));
}
