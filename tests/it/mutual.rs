//! Mutual TLS: who is served, who is refused and with which words, and every way around it.

use std::io::Read;

use rcgen::{ExtendedKeyUsagePurpose, SerialNumber, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::harness::certificates::{Authority, Issued};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

/// Who signs servers, and who signs clients.
struct World {
    servers: Authority,
    clients: Authority,
    target: Target,
    listen: u16,
}

impl World {
    fn new() -> Self {
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        Self { servers, clients, target: Target::echo(), listen: free_port() }
    }

    fn definition(&self, name: &str) -> Value {
        json!({
            "name": name, "listen_port": self.listen, "listen_address": "127.0.0.1",
            "protocol": "tls", "domain": name, "certificates": self.servers.issue(&[name]).path,
            "proxy": { "target_url": self.target.address().to_string() },
        })
    }

    /// One that serves whom `good` names.
    fn guarded(&self, name: &str, good: Value) -> Value {
        let mut definition = self.definition(name);
        definition["use_mutual_tls_auth"] = json!(true);
        definition["client_certificates"] = good;
        definition
    }

    fn check_served(&self, trust: &Trust, name: &str) {
        let mut tls = trust.connect(self.listen, name).unwrap();
        assert_eq!(echoed(&mut tls, b"hello"), b"hello");
    }

    /// Refused, in both versions, before the target has heard of it.
    fn check_refused(&self, show: impl Fn(Trust) -> Trust, name: &str, words: &str) {
        let before = self.target.accepted();
        for versions in [&[&TLS12][..], &[&TLS13]] {
            let trust = show(Trust::in_versions(&self.servers, versions));
            let refused = trust.refused(self.listen, name);
            assert!(refused.contains("alert"), "{words}: the client is told: {refused}");
        }
        assert_eq!(self.target.accepted(), before, "{words}");
    }
}

#[test]
fn only_whom_the_authority_signed_for_clients_and_in_time_is_served() {
    let world = World::new();
    let clients = &world.clients;
    let mut definition = world.guarded("m.test", json!(clients.path()));
    let list = clients.folder().join("revoked.pem");
    std::fs::write(&list, clients.revoke(&[66])).unwrap();
    definition["client_crl"] = json!(list);
    let stagedoor = Stagedoor::run(&definition);
    let good = clients.issue(&["good"]);
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let trust = Trust::in_versions(&world.servers, versions).showing(&good);
        world.check_served(&trust, "m.test");
    }
    let stranger = Authority::new("clients");
    let cases: [(&str, Issued); 5] = [
        (
            "certificate expired",
            clients.issue_as(&["old"], |params| params.not_after = date_time_ymd(2020, 1, 1)),
        ),
        (
            "not valid yet",
            clients.issue_as(&["new"], |params| params.not_before = date_time_ymd(2090, 1, 1)),
        ),
        ("UnknownIssuer", stranger.issue(&["stranger"])),
        (
            "extended key usage",
            clients.issue_as(&["server"], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        (
            "Revoked",
            clients.issue_as(&["revoked"], |params| {
                params.serial_number = Some(SerialNumber::from(66_u64));
            }),
        ),
    ];
    for (words, issued) in &cases {
        world.check_refused(|trust| trust.showing(issued), "m.test", words);
        // A stranger of the same name is told by its signature.
        let says = |line: &String| {
            line.contains(words) || *words == "UnknownIssuer" && line.contains("BadSignature")
        };
        eventually(&format!("the log says {words} for either version"), || {
            (stagedoor.log().iter().filter(|line| says(line)).count() == 2).then_some(())
        });
    }
    world.check_refused(|trust| trust, "m.test", "no certificate");
    let status = stagedoor.json(&["status"]);
    assert_eq!(status["services"][0]["failed_handshakes"], 12, "{status}");
}

#[test]
fn a_listed_certificate_is_matched_exactly_and_signs_nobody() {
    let world = World::new();
    let (listed, other) = (world.clients.issue(&["listed"]), world.clients.issue(&["other"]));
    let expired =
        world.clients.issue_as(&["expired"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let good = json!([listed.certificate, expired.certificate]);
    let stagedoor = Stagedoor::run(&world.guarded("m.test", good));
    world.check_served(&Trust::of(&world.servers).showing(&listed), "m.test");
    world.check_refused(|trust| trust.showing(&other), "m.test", "not listed");
    world.check_refused(|trust| trust.showing(&expired), "m.test", "listed and expired");
    stagedoor.logged("certificate expired");
    world.check_refused(|trust| trust, "m.test", "no certificate");
}

#[test]
fn no_name_no_spelling_and_no_ticket_leads_around_it() {
    let world = World::new();
    let open = world.definition("open.test");
    let guarded = world.guarded("guarded.test", json!(world.clients.path()));
    let stagedoor = Stagedoor::run_under(&[], &[&open, &guarded], &[]);
    for name in ["guarded.test", "GUARDED.test", "Guarded.Test"] {
        world.check_refused(|trust| trust, name, name);
    }
    // Without a name nobody answers, as the port has no default.
    world.check_refused(Trust::nameless, "guarded.test", "nameless");
    // A session with the open service does not open the other one, whatever is asked for.
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let trust = Trust::in_versions(&world.servers, versions);
        world.check_served(&trust, "open.test");
        let resumed = trust.connect(world.listen, "open.test").unwrap();
        assert_eq!(resumed.conn.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
        let refused = trust.refused(world.listen, "guarded.test");
        assert!(refused.contains("alert"), "{refused}");
    }
    drop(stagedoor);
}

#[test]
fn what_was_agreed_on_under_looser_rules_ends_with_them() {
    let world = World::new();
    let (stays, goes) = (world.clients.issue(&["stays"]), world.clients.issue(&["goes"]));
    let good = json!([stays.certificate, goes.certificate]);
    let stagedoor = Stagedoor::run(&world.guarded("m.test", good));
    let mut trusts = Vec::new();
    for versions in [&[&TLS12][..], &[&TLS13]] {
        for issued in [&stays, &goes] {
            let trust = Trust::in_versions(&world.servers, versions).showing(issued);
            world.check_served(&trust, "m.test");
            let mut again = trust.connect(world.listen, "m.test").unwrap();
            assert_eq!(again.conn.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
            assert_eq!(echoed(&mut again, b"x"), b"x");
            trusts.push((trust, again));
        }
    }
    // One of the two is taken off the list: its tickets are worth nothing from then on.
    let tightened = world.guarded("m.test", json!([stays.certificate]));
    std::fs::write(stagedoor.file(), tightened.to_string()).unwrap();
    assert!(stagedoor.command(&["reload"]).status.success());
    for pair in trusts.chunks_mut(2) {
        let [(stays, _), (goes, session)] = pair else { panic!("two of each version") };
        world.check_served(stays, "m.test");
        let refused = goes.refused(world.listen, "m.test");
        assert!(refused.contains("alert"), "{refused}");
        // What was let in stays in, until a person closes it.
        assert_eq!(echoed(session, b"live"), b"live");
    }
}

#[test]
fn a_ticket_outlives_no_certificate_that_is_revoked_or_expired_meanwhile() {
    let world = World::new();
    let goes = world.clients.issue_as(&["goes"], |params| {
        params.serial_number = Some(SerialNumber::from(66_u64));
    });
    let list = world.clients.folder().join("revoked.pem");
    std::fs::write(&list, world.clients.revoke(&[1])).unwrap();
    let mut definition = world.guarded("m.test", json!(world.clients.path()));
    definition["client_crl"] = json!(list);
    let stagedoor = Stagedoor::run(&definition);
    let trust = Trust::of(&world.servers).showing(&goes);
    world.check_served(&trust, "m.test");
    std::fs::write(&list, world.clients.revoke(&[66])).unwrap();
    assert!(stagedoor.command(&["reload"]).status.success());
    let refused = trust.refused(world.listen, "m.test");
    assert!(refused.contains("alert"), "{refused}");
    stagedoor.logged("Revoked");
}

#[test]
fn a_definition_that_would_not_lock_is_refused() {
    let world = World::new();
    let refused = |definitions: &[Value], expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        for (index, definition) in definitions.iter().enumerate() {
            let file = folder.path().join(format!("{index}.json"));
            std::fs::write(file, serde_json::to_vec_pretty(definition).unwrap()).unwrap();
        }
        let output = crate::harness::stagedoor::stagedoor(&["validate", "."], folder.path());
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    };
    let guarded = |good| world.guarded("m.test", good);
    refused(&[guarded(json!([]))], "no client certificate would be good");
    refused(&[guarded(json!("missing.pem"))], "cannot be read");
    refused(&[guarded(json!("0".repeat(64)))], "there is no certificate 0000");
    let mut tcp = guarded(json!(world.clients.path()));
    tcp["protocol"] = json!("tcp");
    refused(&[tcp], "needs TLS");
    let mut through = guarded(json!(world.clients.path()));
    through["protocol"] = json!("tls_passthrough");
    refused(&[through], "sees no certificates");
    let mut no_list = guarded(json!(world.clients.path()));
    no_list["client_crl"] = json!(world.clients.pem());
    refused(&[no_list], "no revocation list in it");
    let mut h2 = guarded(json!(world.clients.path()));
    h2["alpn"] = json!(["h2"]);
    let mut open = world.definition("m.test");
    open["name"] = json!("open");
    refused(&[h2, open.clone()], "only one of them asks for client certificates");
    let mut twice = open.clone();
    twice["name"] = json!("twice");
    refused(&[open.clone(), twice], "would both answer m.test");
    let mut tcp = open.clone();
    tcp["protocol"] = json!("tcp");
    tcp["name"] = json!("tcp");
    for key in ["domain", "certificates"] {
        tcp.as_object_mut().unwrap().remove(key);
    }
    refused(&[open, tcp], "would both listen on");
    // The key of another certificate, shown inline: the message shows no key.
    let (one, other) = (world.servers.issue(&["one"]), world.servers.issue(&["other"]));
    let mut mixed = world.definition("m.test");
    mixed["certificates"] = json!(format!("{}{}", one.certificate, other.key));
    refused(&[mixed], "does not belong to its first certificate");
}

#[test]
fn a_client_that_is_refused_has_sent_nothing_to_anybody() {
    let world = World::new();
    let _stagedoor = Stagedoor::run(&world.guarded("m.test", json!(world.clients.path())));
    // In TLS 1.3 the client believes that it is through, and sends at once.
    let trust = Trust::in_versions(&world.servers, &[&TLS13]);
    let mut tls = trust.connect(world.listen, "m.test").unwrap();
    drop(std::io::Write::write_all(&mut tls, b"let me in"));
    assert!(tls.read(&mut [0]).is_err());
    assert_eq!(world.target.accepted(), 0);
}
