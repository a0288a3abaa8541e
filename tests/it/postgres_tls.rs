//! PostgreSQL's clients at ports that speak TLS: they ask for it first, and are answered.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::certificates::{Authority, Issued};
use crate::harness::client::{Ended, connect, in_single_bytes, read_to_end};
use crate::harness::port::free_port;
use crate::harness::postgres::{Postgres, begins_tls_at_once, client};
use crate::harness::service::ending_tls;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
const START_UP: &[u8] = b"\0\0\0\x15\0\x03\0\0user\0nobody\0\0";
const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02";
const TLS_ONLY: &str = "this port speaks TLS only; use sslmode=require or better";

/// A service that ends TLS.
fn ending(listen: u16, issued: &Issued, target: &str) -> Value {
    ending_tls("ended", listen, issued, target)
}

/// One that passes it through to the first target that takes it.
fn passing(listen: u16, name: &str, targets: &[String]) -> Value {
    json!({
        "name": name, "listen_port": listen, "listen_address": "127.0.0.1",
        "protocol": "tls_passthrough", "domain": name,
        "proxy": { "target_list": targets, "enable_load_balancing": true, "balance": "first" },
    })
}

/// psql asks for TLS like this, of a server of this name.
struct Psql<'a> {
    listen: u16,
    name: &'a str,
    mode: &'a str,
    trusted: &'a Path,
    shown: Option<&'a Issued>,
}

impl Psql<'_> {
    /// What it prints, or why it fails.
    fn asks(&self, statement: &str) -> Result<String, String> {
        self.asks_with("", statement)
    }

    fn asks_with(&self, settings: &str, statement: &str) -> Result<String, String> {
        let mut psql = client("psql", self.listen);
        psql.env("PGHOST", self.name).env("PGHOSTADDR", "127.0.0.1").env("PGSSLMODE", self.mode);
        psql.env("PGSSLROOTCERT", self.trusted).env("PGSSLCERT", "none").env("PGSSLKEY", "none");
        if let Some(shown) = self.shown {
            std::fs::set_permissions(&shown.path, Permissions::from_mode(0o600)).unwrap();
            psql.env("PGSSLCERT", &shown.path).env("PGSSLKEY", &shown.path);
        }
        psql.args(["--no-psqlrc", "-At", "--command", statement]).arg(settings);
        let output = psql.output().expect("psql is installed: `make test` does that");
        let said = |bytes| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }
}

#[test]
fn psql_believes_a_port_that_ends_tls_before_a_server_without_it() {
    let (authority, server, listen) = (Authority::new("ca"), Postgres::primary(), free_port());
    let issued = authority.issue(&["a.test"]);
    let mut definition = ending(listen, &issued, &server.address());
    definition["alpn"] = json!(["postgresql"]);
    let stagedoor = Stagedoor::run(&definition);
    let trusted = authority.path();
    let psql = |name, mode| Psql { listen, name, mode, trusted: &trusted, shown: None };
    for mode in ["prefer", "require", "verify-ca", "verify-full"] {
        assert_eq!(psql("a.test", mode).asks("SHOW port"), Ok(server.port().to_string()), "{mode}");
    }
    if begins_tls_at_once() {
        for way in ["sslnegotiation=direct", "sslnegotiation=postgres"] {
            let said = psql("a.test", "verify-full").asks_with(way, "SHOW port");
            assert_eq!(said, Ok(server.port().to_string()), "{way}");
        }
    }
    let wrong = psql("b.test", "verify-full").asks("SELECT 1").unwrap_err();
    assert!(wrong.contains("\"a.test\" does not match host name \"b.test\""), "{wrong}");
    let clear = psql("a.test", "disable").asks("SELECT 1").unwrap_err();
    assert!(clear.contains(&format!("FATAL:  {TLS_ONLY}")), "{clear}");
    stagedoor.logged("a PostgreSQL client began without TLS");
    let openssl = Command::new("openssl")
        .args(["s_client", "-starttls", "postgres", "-verify_return_error", "-brief"])
        .args(["-servername", "a.test", "-connect", &format!("127.0.0.1:{listen}"), "-CAfile"])
        .arg(&trusted)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed: `make test` does that");
    let said = String::from_utf8_lossy(&openssl.stderr);
    assert!(openssl.status.success() && said.contains("Verification: OK"), "{said}");
}

#[test]
fn psql_reaches_the_server_of_its_name_through_a_port_that_passes_tls_on() {
    let (authority, listen) = (Authority::new("ca"), free_port());
    let names = ["a.test", "b.test"];
    let servers = names.map(|name| {
        let issued = authority.issue(&[name]);
        Postgres::secured(&format!("{}{}", issued.certificate, issued.key))
    });
    let definitions: Vec<Value> = names
        .iter()
        .zip(&servers)
        .map(|(name, server)| passing(listen, name, &[server.address()]))
        .collect();
    let definitions: Vec<&Value> = definitions.iter().collect();
    let stagedoor = Stagedoor::run_under(&[], &definitions, &[]);
    let trusted = authority.path();
    let psql = |name, mode| Psql { listen, name, mode, trusted: &trusted, shown: None };
    for (name, server) in names.iter().zip(&servers) {
        for mode in ["require", "verify-full"] {
            let said =
                psql(name, mode).asks("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
            assert_eq!(said, Ok("t".to_owned()), "{name} {mode}");
            let port = psql(name, mode).asks("SHOW port");
            assert_eq!(port, Ok(server.port().to_string()), "{name} {mode}");
        }
    }
    let unknown = psql("c.test", "require").asks("SELECT 1").unwrap_err();
    assert!(unknown.contains("unrecognized name"), "{unknown}");
    stagedoor.logged("no service answers this name");
    let clear = psql("a.test", "disable").asks("SELECT 1").unwrap_err();
    assert!(clear.contains(TLS_ONLY), "{clear}");
}

#[test]
fn psql_shows_its_certificate_where_one_is_asked_for() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (server, listen) = (Postgres::primary(), free_port());
    let mut definition = ending(listen, &authority.issue(&["a.test"]), &server.address());
    definition["use_mutual_tls_auth"] = json!(true);
    definition["client_certificates"] = json!(clients.path());
    let _stagedoor = Stagedoor::run(&definition);
    let (trusted, mode) = (authority.path(), "verify-full");
    let ask =
        |shown| Psql { listen, name: "a.test", mode, trusted: &trusted, shown }.asks("SELECT 1");
    let (good, others) = (clients.issue(&["good"]), Authority::new("clients"));
    let stranger = others.issue(&["stranger"]);
    assert_eq!(ask(Some(&good)), Ok("1".to_owned()));
    let nothing = ask(None).unwrap_err();
    assert!(nothing.contains("certificate required"), "{nothing}");
    let stranger = ask(Some(&stranger)).unwrap_err();
    assert!(stranger.contains("alert"), "{stranger}");
}

#[test]
fn requests_are_answered_however_they_are_cut_and_also_after_one_for_gssapi() {
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let issued = authority.issue(&["a.test"]);
    let _stagedoor = Stagedoor::run(&ending(listen, &issued, &target.address()));
    let trust = Trust::of(&authority);
    let answered = |stream: &mut std::net::TcpStream, request: &[u8]| {
        stream.write_all(request).unwrap();
        let mut answer = [0];
        stream.read_exact(&mut answer).unwrap();
        answer[0]
    };
    for open in [connect, in_single_bytes] {
        let mut stream = open(listen);
        assert_eq!(answered(&mut stream, &SSL_REQUEST), b'S');
        assert_eq!(echoed(&mut trust.over(stream, "a.test").unwrap(), b"x"), b"x");
        let mut stream = open(listen);
        assert_eq!(answered(&mut stream, &GSS_REQUEST), b'N');
        assert_eq!(answered(&mut stream, &SSL_REQUEST), b'S');
        assert_eq!(echoed(&mut trust.over(stream, "a.test").unwrap(), b"x"), b"x");
        // And without any, as ever.
        assert_eq!(echoed(&mut trust.over(open(listen), "a.test").unwrap(), b"x"), b"x");
    }
}

#[test]
fn what_comes_in_the_clear_or_glued_to_a_request_is_refused_in_postgresqls_words() {
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let issued = authority.issue(&["a.test"]);
    let stagedoor = Stagedoor::run(&ending(listen, &issued, &target.address()));
    let glued = [&SSL_REQUEST[..], &[22]].concat();
    let injected = [&SSL_REQUEST[..], START_UP].concat();
    let after = [&GSS_REQUEST[..], &SSL_REQUEST].concat();
    for (said, code, words) in [
        (START_UP, "C28000\0", TLS_ONLY),
        (CANCEL, "C28000\0", TLS_ONLY),
        (&glued, "C08P01\0", "unencrypted data"),
        (&injected, "C08P01\0", "unencrypted data"),
        (&after, "C08P01\0", "unencrypted data"),
    ] {
        let mut stream = connect(listen);
        stream.write_all(said).unwrap();
        let (answer, ended) = read_to_end(&mut stream);
        let text = String::from_utf8(answer).unwrap();
        let is_right = text.starts_with('E') && text.contains(code) && text.contains(words);
        assert!(is_right && ended == Ended::Cleanly, "{text:?} {ended:?}");
    }
    // The same for one that comes in pieces: it is heard out first.
    let mut stream = in_single_bytes(listen);
    stream.write_all(START_UP).unwrap();
    assert_eq!(read_to_end(&mut stream).0.first(), Some(&b'E'));
    // For nothing is it asked twice; and what was promised to be TLS has to be it.
    let mut stream = connect(listen);
    stream.write_all(&GSS_REQUEST).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream.write_all(&GSS_REQUEST).unwrap();
    assert!(read_to_end(&mut stream).0.ends_with(b"asked for already\0\0"));
    let mut stream = connect(listen);
    stream.write_all(&SSL_REQUEST).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream.write_all(START_UP).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    read_to_end(&mut stream);
    stagedoor.logged("is no TLS hello");
    assert_eq!(target.accepted(), 0);
}

#[test]
fn a_client_that_is_answered_and_then_silent_is_cut_by_the_same_deadline() {
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let mut definition = ending(listen, &authority.issue(&["a.test"]), &target.address());
    definition["limits"] = json!({ "handshake_timeout": "1s" });
    let stagedoor = Stagedoor::run(&definition);
    for said in [&SSL_REQUEST[..], &SSL_REQUEST[..5], &START_UP[..12]] {
        let mark = stagedoor.mark();
        let mut stream = connect(listen);
        stream.write_all(said).unwrap();
        read_to_end(&mut stream);
        stagedoor.logged_after(mark, "longer than handshake_timeout");
    }
    assert_eq!(target.accepted(), 0);
}
