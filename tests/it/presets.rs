//! The presets on the real servers: right and wrong role, right and wrong password.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::redis::{Client, Redis};
use crate::harness::stagedoor::{Stagedoor, stagedoor};

/// Awkward for whoever joins words with blanks, and for whoever quotes them.
const PASSWORD: &str = "a b\"c'\\r\\n ${x}";

/// Probes a preset; the secret is in a file, and never in what is printed.
fn probe(preset: &str, port: u16, with: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
    let target = format!("127.0.0.1:{port}");
    let mut arguments = vec!["probe", preset, "--target", &target];
    arguments.extend(with.iter().flat_map(|parameter| ["--with", parameter]));
    let output = stagedoor(&arguments, folder.path());
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!said.contains("a b\\\"c") && !said.contains(PASSWORD), "{said}");
    (output.status.code(), said)
}

#[track_caller]
fn check(preset: &str, port: u16, with: &[&str], expected: &str) {
    let (code, said) = probe(preset, port, with);
    let verdict = said.lines().rfind(|line| line.contains("passed") || line.contains("failed"));
    let verdict = verdict.unwrap_or_else(|| panic!("no verdict: {said}"));
    assert!(verdict.contains(expected), "misses {expected:?} in:\n{said}");
    assert_eq!(code, Some(i32::from(expected != "passed")), "{said}");
}

/// A running Sentinel that watches `master` as `mymaster`; killed when dropped.
struct Sentinel {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Sentinel {
    fn of(master: &Redis, settings: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let file = folder.path().join("sentinel.conf");
        let watched = format!("sentinel monitor mymaster 127.0.0.1 {} 1", master.port());
        let text = format!("bind 127.0.0.1\nport {port}\n{watched}\n{settings}\n");
        std::fs::write(&file, text).unwrap();
        let child = Command::new("redis-server")
            .arg(file)
            .arg("--sentinel")
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: `make test` does that");
        eventually("the sentinel answers", || Client::try_connect(port)?.try_call("PING"));
        Self { child, port, _folder: folder }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be awaited");
    }
}

#[test]
fn redis_without_a_password() {
    let master = Redis::master();
    let replica = Redis::replica_of(&master);
    check("redis", master.port(), &[], "passed");
    check("redis", replica.port(), &[], "passed");
    check("redis-master", master.port(), &[], "passed");
    check("redis-master", replica.port(), &[], "role:slave");
    check("redis-sentinel", master.port(), &["master=mymaster"], "-ERR unknown command");
    let uncalled_for = "the reply is an error (heard \"-ERR AUTH <password> called without any";
    check("redis", master.port(), &["password=x"], uncalled_for);
}

#[test]
fn redis_with_a_password() {
    let master = Redis::with(&["--requirepass", PASSWORD]);
    let to_master = ["--replicaof", "127.0.0.1", &master.port().to_string()].map(str::to_owned);
    let guarded = ["--masterauth", PASSWORD, "--requirepass", PASSWORD].map(str::to_owned);
    let arguments = [&to_master[..], &guarded].concat();
    let replica = Redis::with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    for right in
        [&["password=${file:password}"][..], &["user=default", "password=${file:password}"]]
    {
        check("redis", replica.port(), right, "passed");
        check("redis-master", master.port(), right, "passed");
        check("redis-master", replica.port(), right, "role:slave");
    }
    check("redis", master.port(), &[], "step 2 expect \"+PONG\": the reply is an error");
    check("redis-master", master.port(), &[], "-NOAUTH Authentication required");
    check("redis-master", master.port(), &["password=wrong"], "step 2 expect \"+OK\": the reply");
    check("redis-master", master.port(), &["password=wrong"], "-WRONGPASS");
}

#[test]
fn redis_with_users() {
    let rights = ["--user", "checker", "on", &format!(">{PASSWORD}"), "+ping"].map(str::to_owned);
    let rights: Vec<_> = rights.iter().map(String::as_str).collect();
    let server = Redis::with(&rights);
    let checker = ["user=checker", "password=${file:password}"];
    check("redis", server.port(), &checker, "passed");
    check("redis-master", server.port(), &checker, "-NOPERM");
    check("redis", server.port(), &["user=checker", "password=wrong"], "-WRONGPASS");
    check("redis", server.port(), &["user=nobody", "password=wrong"], "-WRONGPASS");
    assert_eq!(server.call("ACL SETUSER checker +info"), "+OK");
    check("redis-master", server.port(), &checker, "passed");
}

#[test]
fn redis_sentinel() {
    let master = Redis::master();
    let open = Sentinel::of(&master, "");
    check("redis-sentinel", open.port, &["master=mymaster"], "passed");
    check("redis-sentinel", open.port, &["master=other"], "without it (heard \"*-1\\r\\n\")");
    let guarded = Sentinel::of(&master, "requirepass secret");
    check("redis-sentinel", guarded.port, &["master=mymaster", "password=secret"], "passed");
    check("redis-sentinel", guarded.port, &["master=mymaster", "password=no"], "-WRONGPASS");
    check("redis-sentinel", guarded.port, &["master=mymaster"], "-NOAUTH");
}

#[test]
fn a_leader_is_followed_by_a_preset_and_a_wrong_password_is_silence() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).unwrap();
    let guard = ["--requirepass", PASSWORD, "--masterauth", PASSWORD];
    let (one, two) = (Redis::with(&guard), Redis::with(&guard));
    let call = |redis: &Redis, command: &str| {
        let mut client = Client::connect(redis.port());
        let password = format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{PASSWORD}", PASSWORD.len());
        assert_eq!(client.call(&password), "+OK");
        client.call(command)
    };
    assert_eq!(call(&two, &format!("REPLICAOF 127.0.0.1 {}", one.port())), "+OK");
    let (at, listen) = (|redis: &Redis| format!("127.0.0.1:{}", redis.port()), free_port());
    let password = format!("${{file:{}}}", folder.path().join("password").display());
    let definition = |password: &str| {
        json!({
            "name": "guarded", "listen_port": listen,
            "proxy": {
                "target_list": [at(&one), at(&two)], "enable_load_balancing": true,
                "check_host_against_uptime_tests": true, "balance": "leader",
            },
            "uptime_tests": { "check": "redis-master", "with": { "password": password } },
        })
    };
    let stagedoor = Stagedoor::run(&definition(&password));
    stagedoor.logged(&format!("target {} leads", at(&one)));
    let mark = stagedoor.mark();
    assert_eq!(call(&two, "REPLICAOF NO ONE"), "+OK");
    stagedoor.logged_after(mark, &format!("target {} leads: it was promoted", at(&two)));
    assert_eq!(call(&one, &format!("REPLICAOF 127.0.0.1 {}", two.port())), "+OK");
    stagedoor.logged_after(mark, "role:slave");
    let reload = |password: &str| {
        std::fs::write(stagedoor.file(), definition(password).to_string()).unwrap();
        let mark = stagedoor.mark();
        stagedoor.json(&["reload"]);
        mark
    };
    let mark = reload("wrong");
    stagedoor.logged_after(mark, "-WRONGPASS");
    stagedoor.logged_after(mark, "nobody leads");
    let mark = reload(&password);
    stagedoor.logged_after(mark, &format!("target {} leads", at(&two)));
    let shown = stagedoor.json(&["status"]).to_string();
    assert!(!shown.contains("a b\\\\\\\"c") && !stagedoor.log().join("\n").contains("a b\\\"c"));
}

#[test]
fn what_ships_as_a_file_is_the_preset() {
    let master = Redis::master();
    for preset in ["redis", "redis-master"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("conf/checks/{preset}.toml"));
        check(file.to_str().unwrap(), master.port(), &[], "passed");
    }
}
