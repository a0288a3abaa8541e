//! nginx, as users have it behind a proxy: a server of HTTPS that is checked, and TLS to it.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::harness::balancer::Balancer;
use crate::harness::certificates;
use crate::harness::client::{connect, read_to_end};
use crate::harness::eventually::eventually;
use crate::harness::identity::Authority;
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::tls::Trust;

const REQUEST: &[u8] = b"GET /well HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

/// nginx with a certificate for localhost: `/well` is well and says by which name it was asked,
/// `/ill` is not well.
fn nginx(authority: &Authority, port: u16) -> Balancer {
    let file = authority.sign(&["localhost"]).file_in(authority.folder(), "nginx.pem");
    let file = file.display();
    let server = format!(
        "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {file}; ssl_certificate_key {file}; \
         location /well {{ return 200 \"asked for $ssl_server_name\"; }} \
         location /ill {{ return 503; }} }}"
    );
    Balancer::nginx_http(&server, port)
}

fn definition(listen: u16, target: u16, authority: &Authority, path: &str) -> Value {
    json!({
        "name": path, "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": {
            "target_url": format!("tls://localhost:{target}"),
            "check_host_against_uptime_tests": true,
            "transport": { "ssl_ca": authority.file() },
        },
        "uptime_tests": {
            "check_list": [{ "url": format!("https://localhost:{target}{path}") }],
            "config": { "interval": "50ms", "rise": 1, "fall": 1 },
        },
    })
}

#[track_caller]
fn becomes(stagedoor: &Stagedoor, health: &str) -> String {
    eventually(&format!("the target is {health}"), || {
        let target = stagedoor.json(&["status"])["services"][0]["targets"][0].clone();
        (target["health"] == health).then(|| target.to_string())
    })
}

#[test]
fn nginx_is_checked_by_https() {
    let (authority, port) = (Authority::new(), free_port());
    let nginx = nginx(&authority, port);
    let ill = Stagedoor::run(&definition(free_port(), port, &authority, "/ill"));
    let shown = becomes(&ill, "down");
    assert!(shown.contains("answered with status 503"), "{shown}");
    let well = Stagedoor::run(&definition(free_port(), port, &authority, "/well"));
    becomes(&well, "up");
    drop(nginx);
    becomes(&well, "down");
}

#[test]
fn nginx_serves_sessions_inside_tls() {
    let (authority, ours) = (Authority::new(), certificates::Authority::new("ca"));
    let [port, plain, ended] = [free_port(), free_port(), free_port()];
    let _nginx = nginx(&authority, port);
    let clear = definition(plain, port, &authority, "/well");
    let mut anew = definition(ended, port, &authority, "/well");
    anew["name"] = json!("anew");
    anew["protocol"] = json!("tls");
    anew["certificate"] = json!([ours.issue(&["a.test"]).path]);
    let stagedoor = Stagedoor::run_under(&[], &[&clear, &anew], &[]);
    becomes(&stagedoor, "up");
    stagedoor.logged("ready");
    let expected = "asked for localhost";
    let mut client = connect(plain);
    client.write_all(REQUEST).unwrap();
    let (answer, _) = read_to_end(&mut client);
    assert!(String::from_utf8_lossy(&answer).ends_with(expected), "{answer:?}");
    eventually("it is served by the other one, too", || {
        let mut tls = Trust::of(&ours).connect(ended, "a.test").ok()?;
        tls.write_all(REQUEST).ok()?;
        let mut answer = String::new();
        tls.read_to_string(&mut answer).ok()?;
        answer.ends_with(expected).then_some(())
    });
}
