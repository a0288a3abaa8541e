//! The PROXY protocol with those that invented it and those that everybody runs: HAProxy and nginx
//! in front of us and behind us.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::harness::balancer::Balancer;
use crate::harness::certificates::Authority;
use crate::harness::client::{connect, connect_from, read_to_end};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

/// A service that believes the loopback.
fn behind(listen: u16, target: &str) -> Value {
    json!({
        "name": "behind", "listen_port": listen, "listen_address": "127.0.0.1",
        "enable_proxy_protocol": true, "proxy_protocol_from": ["127.0.0.1", "::1"],
        "proxy": { "target_url": target },
    })
}

/// A service that tells its target of clients.
fn telling(listen: u16, target: &str, version: &str) -> Value {
    json!({
        "name": "telling", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": { "target_url": target, "send_proxy_protocol": version },
    })
}

fn over_tls(mut definition: Value, authority: &Authority) -> Value {
    definition["protocol"] = json!("tls");
    definition["domain"] = json!("a.test");
    definition["certificates"] = json!(authority.issue(&["a.test"]).path);
    definition
}

/// Is there an IPv6 loopback? Says so if not.
fn has_ipv6() -> bool {
    let is_there = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !is_there {
        eprintln!("skipped: this machine has no ::1");
    }
    is_there
}

/// Says `hello` through `port` from 127.0.0.42 and hears it again; what the log says of it.
#[track_caller]
fn check_through(stagedoor: &Stagedoor, port: u16, told: &[&str]) {
    let mark = stagedoor.mark();
    let mut client = connect_from("127.0.0.42", port);
    let address = client.local_addr().unwrap();
    assert_eq!(crate::harness::client::echoed(&mut client, b"hello"), b"hello");
    drop(client);
    let line = stagedoor.logged_after(mark, &format!("client={address} "));
    for told in ["via=127.0.0.1:"].iter().chain(told) {
        assert!(line.contains(told), "{told}: {line}");
    }
}

#[test]
fn haproxy_in_front_tells_us_of_its_clients() {
    let (target, listen) = (Target::echo(), free_port());
    let stagedoor = Stagedoor::run(&behind(listen, &target.address()));
    for (how, told) in [
        ("send-proxy", &[][..]),
        ("send-proxy-v2", &[]),
        ("send-proxy-v2 proxy-v2-options crc32c", &[]),
        ("send-proxy-v2 proxy-v2-options unique-id,crc32c", &["unique_id=id-127.0.0.42"]),
    ] {
        let port = free_port();
        let sections = format!(
            "frontend f\n  mode tcp\n  bind 127.0.0.1:{port}\n  unique-id-format id-%[src]\n  \
             default_backend b\nbackend b\n  mode tcp\n  server s 127.0.0.1:{listen} {how}\n"
        );
        let _haproxy = Balancer::haproxy(&sections, port);
        check_through(&stagedoor, port, told);
    }
}

#[test]
fn haproxy_that_ends_tls_tells_us_of_it() {
    let ((target, listen), port) = ((Target::echo(), free_port()), free_port());
    let authority = Authority::new("ca");
    let stagedoor = Stagedoor::run(&behind(listen, &target.address()));
    let sections = format!(
        "frontend f\n  mode tcp\n  bind 127.0.0.1:{port} ssl crt {}\n  default_backend b\n\
         backend b\n  mode tcp\n  server s 127.0.0.1:{listen} send-proxy-v2 proxy-v2-options \
         ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c\n",
        authority.issue(&["a.test"]).path.display()
    );
    let _haproxy = Balancer::haproxy(&sections, port);
    let mut tls = Trust::of(&authority).connect(port, "a.test").unwrap();
    assert_eq!(echoed(&mut tls, b"hello"), b"hello");
    let client = tls.sock.local_addr().unwrap();
    drop(tls);
    let line = stagedoor.logged(&format!("client={client} "));
    assert!(line.contains("authority=a.test"), "{line}");
}

#[test]
fn haproxy_passes_tls_on_to_us_behind_its_header() {
    let (target, listen, port) = (Target::echo(), free_port(), free_port());
    let authority = Authority::new("ca");
    let stagedoor = Stagedoor::run(&over_tls(behind(listen, &target.address()), &authority));
    let sections = format!(
        "frontend f\n  mode tcp\n  bind 127.0.0.1:{port}\n  default_backend b\nbackend b\n  \
         mode tcp\n  server s 127.0.0.1:{listen} send-proxy-v2\n"
    );
    let _haproxy = Balancer::haproxy(&sections, port);
    let mut tls = Trust::of(&authority).connect(port, "a.test").unwrap();
    assert_eq!(echoed(&mut tls, b"hello"), b"hello");
    let client = tls.sock.local_addr().unwrap();
    drop(tls);
    let line = stagedoor.logged(&format!("client={client} "));
    assert!(line.contains("name=a.test"), "{line}");
}

#[test]
fn checks_of_haproxy_are_connections_of_its_own() {
    let (target, listen, port) = (Target::echo(), free_port(), free_port());
    let stagedoor = Stagedoor::run(&behind(listen, &target.address()));
    let sections = format!(
        "frontend f\n  mode tcp\n  bind 127.0.0.1:{port}\n  default_backend b\nbackend b\n  \
         mode tcp\n  option tcp-check\n  tcp-check send hello\n  tcp-check expect string hello\n  \
         server s 127.0.0.1:{listen} check inter 100ms send-proxy-v2\n"
    );
    let _haproxy = Balancer::haproxy(&sections, port);
    let line = stagedoor.logged("to_target=5");
    assert!(line.contains("client=127.0.0.1:") && !line.contains("via="), "{line}");
    check_through(&stagedoor, port, &[]);
}

#[test]
fn nginx_in_front_tells_us_of_its_clients() {
    let (target, listen, port) = (Target::echo(), free_port(), free_port());
    let stagedoor = Stagedoor::run(&behind(listen, &target.address()));
    let servers = format!(
        "server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{listen}; proxy_protocol on; }}"
    );
    let _nginx = Balancer::nginx(&servers, port);
    check_through(&stagedoor, port, &[]);
}

/// HAProxy that answers each request with what it has been told of the client.
fn haproxy_behind(bind: &str, port: u16) -> Balancer {
    let told = "%[src]:%[src_port] %[dst]:%[dst_port] [%[fc_pp_authority]] [%[fc_pp_unique_id]]";
    Balancer::haproxy(
        &format!(
            "frontend f\n  mode http\n  bind {bind} accept-proxy\n  http-request return status 200 \
             content-type text/plain lf-string \"{told}\"\n"
        ),
        port,
    )
}

/// What HAProxy answers to a request.
fn asked(client: &mut (impl Read + Write)) -> String {
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // Not everybody says goodbye in TLS.
    client.read_to_end(&mut answer).ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}

#[test]
fn haproxy_behind_us_knows_our_clients() {
    let port = free_port();
    let _haproxy = haproxy_behind(&format!("127.0.0.1:{port}"), port);
    for version in ["v1", "v2"] {
        let listen = free_port();
        let _stagedoor = Stagedoor::run(&telling(listen, &format!("127.0.0.1:{port}"), version));
        let mut client = connect_from("127.0.0.42", listen);
        let address = client.local_addr().unwrap();
        let expected = format!("{address} 127.0.0.1:{listen} [] []");
        assert_eq!(asked(&mut client), expected, "{version}");
    }
}

#[test]
fn haproxy_behind_us_understands_what_we_add() {
    let (port, listen, authority) = (free_port(), free_port(), Authority::new("ca"));
    let _haproxy = haproxy_behind(&format!("127.0.0.1:{port}"), port);
    let mut tls = over_tls(telling(listen, &format!("127.0.0.1:{port}"), "v2"), &authority);
    tls["proxy"]["proxy_protocol_tlvs"] = json!(["sni", "alpn", "tls", "unique_id"]);
    let stagedoor = Stagedoor::run(&tls);
    let mut client = Trust::of(&authority).connect(listen, "a.test").unwrap();
    let address = client.sock.local_addr().unwrap();
    let told = asked(&mut client);
    let expected = format!("{address} 127.0.0.1:{listen} [a.test] [");
    let id = told.strip_prefix(&expected).unwrap_or_else(|| panic!("{told}"));
    drop(client);
    let line = stagedoor.logged("session ended");
    assert!(line.contains(&format!("unique_id={}", id.trim_end_matches(']'))), "{id}: {line}");
}

#[test]
fn checks_of_a_haproxy_that_expects_a_header_pass() {
    let (port, listen) = (free_port(), free_port());
    let _haproxy = haproxy_behind(&format!("127.0.0.1:{port}"), port);
    for version in ["v1", "v2"] {
        let mut checked = telling(listen, &format!("127.0.0.1:{port}"), version);
        checked["proxy"]["check_host_against_uptime_tests"] = json!(true);
        let url = format!("http://127.0.0.1:{port}/");
        checked["uptime_tests"] = json!({ "check_list": [{ "url": url }] });
        let stagedoor = Stagedoor::run(&checked);
        stagedoor.logged("is up");
        assert!(asked(&mut connect(listen)).starts_with("127.0.0.1:"), "{version}");
    }
}

#[test]
fn nginx_behind_us_knows_our_clients_with_tls_and_without() {
    let (port, secure, authority) = (free_port(), free_port(), Authority::new("ca"));
    let issued = authority.issue(&["127.0.0.1"]);
    let told = "return \"$proxy_protocol_addr:$proxy_protocol_port \
                $proxy_protocol_server_addr:$proxy_protocol_server_port\";";
    let path = issued.path.display();
    let servers = format!(
        "server {{ listen 127.0.0.1:{port} proxy_protocol; {told} }}\n\
         server {{ listen 127.0.0.1:{secure} ssl proxy_protocol; ssl_certificate {path}; \
         ssl_certificate_key {path}; {told} }}"
    );
    let _nginx = Balancer::nginx(&servers, port);
    for version in ["v1", "v2"] {
        for target in [format!("127.0.0.1:{port}"), format!("tls://127.0.0.1:{secure}")] {
            let listen = free_port();
            let mut definition = telling(listen, &target, version);
            definition["proxy"]["transport"] = json!({ "ssl_ca": authority.path() });
            let _stagedoor = Stagedoor::run(&definition);
            let mut client = connect_from("127.0.0.42", listen);
            let address = client.local_addr().unwrap();
            let expected = format!("{address} 127.0.0.1:{listen}");
            assert_eq!(String::from_utf8_lossy(&read_to_end(&mut client).0), expected, "{target}");
        }
    }
}

#[test]
fn addresses_of_ipv6_go_both_ways() {
    if !has_ipv6() {
        return;
    }
    let (first, second, last) = (free_port(), free_port(), free_port());
    // Client → HAProxy → us → us → HAProxy, which tells what has come of the address.
    let _haproxy = haproxy_behind(&format!("[::1]:{last}"), last);
    for (send, version) in [("send-proxy", "v1"), ("send-proxy-v2", "v2")] {
        let listen = free_port();
        let mut definition = behind(listen, &format!("[::1]:{last}"));
        definition["listen_address"] = json!("::1");
        definition["proxy"]["send_proxy_protocol"] = json!(version);
        let stagedoor = Stagedoor::run(&definition);
        let port = if version == "v1" { first } else { second };
        let sections = format!(
            "frontend f\n  mode tcp\n  bind [::1]:{port}\n  default_backend b\nbackend b\n  \
             mode tcp\n  server s [::1]:{listen} {send}\n"
        );
        let _front = Balancer::haproxy(&sections, port);
        let mut client = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        let address = client.local_addr().unwrap();
        let told = asked(&mut client);
        let (ip, local) = (address.ip(), address.port());
        assert_eq!(told, format!("{ip}:{local} ::1:{port} [] []"), "{version}");
        drop(client);
        let line = stagedoor.logged(&format!("client={address} "));
        assert!(line.contains("via=[::1]:"), "{line}");
    }
}
