//! Mutual TLS as a table: what a client asks for, what it shows, whether it takes up a session, and in
//! which version; who is served, and that nobody else is.

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::harness::certificates::{Authority, Issued};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

/// What is asked for.
const NAMES: [(&str, Option<&str>); 4] = [
    ("the right name", Some("guarded.test")),
    ("a wrong name", Some("nobody.test")),
    ("no name", None),
    ("another case", Some("GUARDED.Test")),
];

/// One cell: a client, the name it asks for, and the service that it has a session with already.
struct Cell<'a> {
    trust: Trust,
    name: Option<&'a str>,
    before: Option<&'a str>,
    is_right: bool,
}

fn service(name: &str, port: u16, servers: &Authority, target: &Target) -> Value {
    let domain = format!("{name}.test");
    json!({
        "name": name, "listen_port": port, "listen_address": "127.0.0.1", "protocol": "tls",
        "domain": domain,
        // One that is good for every name, so that no client stumbles over that.
        "certificates": servers.issue(&["guarded.test", "other.test", "open.test", "nobody.test"]).path,
        "proxy": { "target_url": target.address() },
    })
}

fn locked(mut definition: Value, clients: &Authority) -> Value {
    definition["use_mutual_tls_auth"] = json!(true);
    definition["client_certificates"] = json!(clients.path());
    definition
}

impl Cell<'_> {
    /// What comes of it: refused, or served, and then how the handshake went.
    fn run(&self, port: u16) -> Option<HandshakeKind> {
        if let Some(before) = self.before {
            let mut tls = self.trust.connect(port, before).unwrap();
            assert_eq!(echoed(&mut tls, b"before"), b"before");
        }
        let connected = match self.name {
            Some(name) => self.trust.connect(port, name),
            None => self.trust.clone().nameless().connect(port, "guarded.test"),
        };
        let mut tls = connected.ok()?;
        // A server of TLS 1.3 judges a client after that one is done.
        let echoed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            echoed(&mut tls, b"hello") == b"hello"
        }));
        echoed.ok().filter(|echoed| *echoed)?;
        tls.conn.handshake_kind()
    }
}

#[test]
fn of_all_cells_those_with_the_right_name_and_certificate_are_served_and_no_other() {
    let (servers, clients, others) =
        (Authority::new("servers"), Authority::new("clients"), Authority::new("others"));
    let (guarded_target, target, port) = (Target::echo(), Target::echo(), free_port());
    let definitions = [
        locked(service("guarded", port, &servers, &guarded_target), &clients),
        locked(service("other", port, &servers, &target), &others),
        service("open", port, &servers, &target),
    ];
    let stagedoor = Stagedoor::run_under(&[], &definitions.each_ref(), &[]);
    let expired = clients.issue_as(&["expired"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    // What is shown, and which service such a client may have a session with.
    let shown: [(&str, Option<Issued>, &str); 5] = [
        ("no certificate", None, "open.test"),
        ("the right certificate", Some(clients.issue(&["right"])), "guarded.test"),
        ("a wrong certificate", Some(Authority::new("clients").issue(&["wrong"])), "open.test"),
        ("an expired certificate", Some(expired), "open.test"),
        ("another service's certificate", Some(others.issue(&["other"])), "other.test"),
    ];
    let mut cells = 0;
    for (version, versions) in [("1.2", [&TLS12]), ("1.3", [&TLS13])] {
        for (certificate, issued, may) in &shown {
            for (asked, name) in NAMES {
                for before in [None, Some(*may)] {
                    let trust = Trust::in_versions(&servers, &versions).confusing_names();
                    let trust = match issued {
                        Some(issued) => trust.showing(issued),
                        None => trust,
                    };
                    let is_right = *may == "guarded.test"
                        && name.is_some_and(|name| name.eq_ignore_ascii_case("guarded.test"));
                    let heard = guarded_target.accepted();
                    let cell = Cell { trust, name, before, is_right };
                    let came = cell.run(port);
                    let said = format!(
                        "{asked}, {certificate}, {}, TLS {version}: {came:?}",
                        if before.is_some() { "resuming" } else { "fresh" }
                    );
                    match (cell.is_right, before) {
                        (true, Some(_)) => assert_eq!(came, Some(HandshakeKind::Resumed), "{said}"),
                        (true, None) => assert!(came.is_some_and(is_fresh), "{said}"),
                        (false, _) => assert_eq!(came, None, "{said}"),
                    }
                    let sessions =
                        usize::from(cell.is_right) + usize::from(before == Some("guarded.test"));
                    assert_eq!(guarded_target.accepted() - heard, sessions, "{said}");
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 2 * 5 * 4 * 2);
    drop(stagedoor);
}

fn is_fresh(kind: HandshakeKind) -> bool {
    matches!(kind, HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
}

#[test]
fn a_service_that_a_reload_adds_to_fifty_is_served_and_touches_no_session() {
    let (servers, target, port) = (Authority::new("servers"), Target::echo(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let add = |index: usize| {
        let (name, domain) = (format!("s{index}"), format!("s{index}.test"));
        let mut definition = service(&name, port, &servers, &target);
        definition["certificates"] = json!(servers.issue(&[&domain]).path);
        std::fs::write(folder.path().join(format!("{name}.json")), definition.to_string()).unwrap();
    };
    (0..50).for_each(add);
    let stagedoor = Stagedoor::run_under(&[], &[], &[folder.path().to_str().unwrap()]);
    let trust = Trust::of(&servers);
    let connect = |index: usize| trust.connect(port, &format!("s{index}.test"));
    let mut sessions: Vec<_> = (0..50).map(|index| connect(index).unwrap()).collect();
    connect(50).map(drop).unwrap_err();
    add(50);
    let changes = stagedoor.json(&["reload"])["changes"].clone();
    assert_eq!(changes.as_array().unwrap().len(), 1, "{changes}");
    for session in &mut sessions {
        assert_eq!(echoed(session, b"still"), b"still");
    }
    assert_eq!(echoed(&mut connect(50).unwrap(), b"new"), b"new");
    // Each presents its own certificate, or the client would not have gone on.
    for index in 0..=50 {
        assert_eq!(echoed(&mut connect(index).unwrap(), b"own"), b"own");
    }
}
