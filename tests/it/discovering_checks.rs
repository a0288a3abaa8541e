//! Discovery and checks: every target that is found is judged, and nobody else is.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::client::{connect, echoed};
use crate::harness::directory::Directory;
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::speaker::Actor;
use crate::harness::stagedoor::{Stagedoor, stagedoor};
use crate::harness::target::Target;

fn definition(listen: u16, url: &str, commands: &Value) -> Value {
    json!({
        "name": "redis", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": {
            "enable_load_balancing": true, "check_host_against_uptime_tests": true,
            "on_removed": "keep",
            "service_discovery": {
                "use_discovery_service": true, "query_endpoint": url, "endpoint_returns_list": true,
                "use_target_list": true, "cache_timeout": "1s",
            },
        },
        "uptime_tests": { "commands": commands, "config": { "interval": "1s" } },
    })
}

fn ping() -> Value {
    json!([{ "name": "send", "message": "PING\\r\\n" }, { "name": "expect", "message": "PONG" }])
}

fn role() -> Value {
    json!([
        { "name": "send", "message": "INFO replication\\r\\n" },
        { "name": "expect", "message": "role:master" },
    ])
}

/// `address health` of each target.
fn health(stagedoor: &Stagedoor) -> Vec<String> {
    let status = stagedoor.status();
    let targets = status["services"][0]["targets"].as_array().unwrap().clone();
    let text = |target: &Value, key: &str| target[key].as_str().unwrap().to_owned();
    targets.iter().map(|it| format!("{} {}", text(it, "address"), text(it, "health"))).collect()
}

fn checkers(stagedoor: &Stagedoor) -> usize {
    let tree = stagedoor.tree();
    tree.iter().filter(|component| component.name.starts_with("checker/")).count()
}

#[test]
fn a_target_that_is_found_gets_clients_only_once_its_check_has_passed() {
    let is_well = Arc::new(AtomicBool::new(false));
    let (well, sick) =
        (Target::checked(Arc::new(AtomicBool::new(true))), Target::checked(Arc::clone(&is_well)));
    let (directory, listen) = (Directory::new(), free_port());
    directory.lists("/redis", &[well.address()]);
    let stagedoor = Stagedoor::run(&definition(listen, &directory.url("/redis"), &ping()));
    let up = |target: &Target| format!("{} up", target.address());
    eventually("the first is up", || (health(&stagedoor) == [up(&well)]).then_some(()));
    directory.lists("/redis", &[well.address(), sick.address()]);
    let down = format!("{} down", sick.address());
    eventually("the second is known", || {
        (health(&stagedoor) == [up(&well), down.clone()]).then_some(())
    });
    for _ in 0..4 {
        assert_eq!(echoed(&mut connect(listen), b"hello"), b"hello");
    }
    let total = |index: usize| stagedoor.status()["services"][0]["targets"][index]["total"].clone();
    assert_eq!(total(1), 0, "one that is down gets nobody");
    is_well.store(true, Ordering::Relaxed);
    eventually("the second is up", || (health(&stagedoor) == [up(&well), up(&sick)]).then_some(()));
    directory.lists("/redis", &[sick.address()]);
    eventually("the first is gone", || (health(&stagedoor) == [up(&sick)]).then_some(()));
    eventually("and nobody checks it", || (checkers(&stagedoor) == 1).then_some(()));
}

#[test]
fn the_leader_is_found_among_those_that_are_found() {
    let (master, replica) = (Actor::playing("master"), Actor::playing("slave"));
    let (directory, listen) = (Directory::new(), free_port());
    directory.lists("/redis", &[replica.address()]);
    let stagedoor = Stagedoor::run(&definition(listen, &directory.url("/redis"), &role()));
    assert_eq!(stagedoor.status()["services"][0]["balance"], "leader");
    directory.lists("/redis", &[replica.address(), master.address()]);
    eventually("the one that joined leads", || {
        (stagedoor.status()["services"][0]["leader"] == json!(master.address())).then_some(())
    });
    directory.lists("/redis", &[replica.address()]);
    eventually("it has left, and nobody leads", || {
        stagedoor.status()["services"][0]["leader"].is_null().then_some(())
    });
    replica.plays("master");
    eventually("the other leads", || {
        (stagedoor.status()["services"][0]["leader"] == json!(replica.address())).then_some(())
    });
}

#[test]
fn a_thousand_targets_join_and_leave_with_their_checkers_and_descriptors() {
    // Every address of 127.0.0.0/8 leads to one listener.
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    socket2::SockRef::from(&listener).listen(4096).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let address = |n: usize| format!("127.1.{}.{}:{port}", n / 250, n % 250 + 1);
    let all: Vec<String> = (0..1_000).map(address).collect();
    let (directory, listen) = (Directory::new(), free_port());
    directory.lists("/redis", &all[..1]);
    let definition = definition(listen, &directory.url("/redis"), &json!([]));
    // A build that is not optimised shares the machine with other tests: it is slow, not hung.
    let stagedoor = Stagedoor::run_with(&definition, &["--set", "supervision.hang=60s"]);
    let up = |count: usize| {
        let health = health(&stagedoor);
        (health.len() == count && health.iter().all(|it| it.ends_with(" up"))).then_some(())
    };
    eventually("the first is up", || up(1));
    let before = stagedoor.descriptors();
    for _ in 0..2 {
        directory.lists("/redis", &all);
        eventually("a thousand are up", || up(1_000));
        assert_eq!(checkers(&stagedoor), 1_000);
        directory.lists("/redis", &all[..1]);
        eventually("one is left", || up(1));
        eventually("the other checkers have ended", || (checkers(&stagedoor) == 1).then_some(()));
        // A check of the one that is left, or a question to the directory, may be under way.
        eventually("their descriptors are closed", || {
            (stagedoor.descriptors() <= before + 3).then_some(())
        });
    }
    let blamed = stagedoor.log().into_iter().find(|line| line.contains("is down"));
    assert_eq!(blamed, None, "however busy we are, no target is down");
}

#[test]
fn validate_asks_nobody_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("redis.json");
    let check = |change: &dyn Fn(&mut Value), code: i32, expected: &str| {
        let directory = Directory::new();
        let mut definition = definition(free_port(), &directory.url("/redis"), &ping());
        change(&mut definition);
        std::fs::write(&file, definition.to_string()).unwrap();
        let output = stagedoor(&["validate", "redis.json"], folder.path());
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{expected} in {said}");
        assert_eq!(directory.asked("/redis"), 0);
    };
    let discovery = "service_discovery";
    check(&|_| {}, 0, "found by   http://127.0.0.1:");
    let by_name =
        |name: &'static str| move |it: &mut Value| it["proxy"][discovery] = json!({ "dns": name });
    check(
        &by_name("redis.test:6379"),
        0,
        "dns:redis.test:6379, asked as often as its records say, for 5s",
    );
    check(&by_name("10.0.0.1:6379"), 2, "no name that stands for several");
    check(&by_name("tls://redis.test:6379"), 2, "ssl_server_name = \"redis.test\"");
    let srv = |srv: &'static str| {
        move |it: &mut Value| it["proxy"][discovery] = json!({ "srv": srv, "cache_timeout": "9s" })
    };
    check(&srv("_Redis._tcp.test."), 0, "found by   srv:_redis._tcp.test, asked each 9s for 5s");
    check(&srv("_redis._tcp.test:6379"), 2, "SRV records say the ports themselves");
    check(&srv("10.0.0.1"), 2, "this is an address, and no name");
    check(&srv("_redis._tcp..test"), 2, "`_redis._tcp..test` is no host name");
    check(&srv("http://test"), 2, "`http://` is no scheme");
    check(&srv("tls://_redis._tcp.test"), 2, "ssl_server_name = \"test\"");
    check(&|it| it["proxy"][discovery]["srv"] = json!("x"), 2, "stands beside");
    let change = |it: &mut Value| it["proxy"][discovery]["query_endpoint"] = json!("consul:8500");
    check(&change, 2, "this is no URL of a document");
    let change = |it: &mut Value| it["proxy"][discovery]["query_endpoint"] = Value::Null;
    check(&change, 2, "nobody is named to ask for the targets");
    check(&|it| it["proxy"][discovery]["data_path"] = json!("a..b"), 2, "has an empty step");
    check(&|it| it["proxy"][discovery]["file"] = json!("x.json"), 2, "stands beside");
    check(&|it| it["proxy"][discovery]["use_nested_query"] = json!(true), 2, "needs to know where");
    check(
        &|it| it["proxy"][discovery]["target_path"] = json!("/v1"),
        0,
        "a TCP target has no path",
    );
    check(&|it| it["proxy"][discovery]["cache_disabled"] = json!(true), 0, "nobody waits");
    check(&|it| it["proxy"]["enable_load_balancing"] = json!(false), 0, "only the first target");
    let leader = |it: &mut Value| {
        it["proxy"]["balance"] = json!("leader");
        it["uptime_tests"] = json!({ "check_list": [{ "url": "a:1" }] });
    };
    check(&leader, 2, "no check is for all of them");
}
