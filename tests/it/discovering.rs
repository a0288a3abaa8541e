//! Discovery: targets come from a directory or a file, follow it, and outlast its troubles.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::client::{Ended, connect, echoed, exchange, read_to_end};
use crate::harness::directory::{Directory, list, ok, say};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

/// A service that finds its targets at this URL, in a plain list.
fn definition(name: &str, listen: u16, url: &str) -> Value {
    json!({
        "name": name, "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": {
            "enable_load_balancing": true, "on_removed": "close",
            "service_discovery": {
                "use_discovery_service": true, "query_endpoint": url, "endpoint_returns_list": true,
                "use_target_list": true, "cache_timeout": "1s",
            },
        },
    })
}

fn served(listen: u16) -> Vec<u8> {
    exchange(listen, b"").0
}

#[test]
fn the_targets_follow_the_directory_and_sessions_of_one_that_leaves_end() {
    let (first, second, listen) = (Target::echo(), Target::numbered(2), free_port());
    let directory = Directory::new();
    directory.lists("/redis", &[first.address()]);
    let stagedoor = Stagedoor::run(&definition("redis", listen, &directory.url("/redis")));
    let mut living = connect(listen);
    assert_eq!(echoed(&mut living, b"before"), b"before");
    directory.lists("/redis", &[second.address()]);
    eventually("the second serves", || (served(listen) == b"2").then_some(()));
    assert_eq!(read_to_end(&mut living), (Vec::new(), Ended::Reset));
    stagedoor.logged("discovery: 1 target, +1, -1");
    assert_eq!(stagedoor.status()["generation"], 1, "nothing was loaded anew");
}

#[test]
fn tyks_definition_for_consul_finds_its_targets() {
    let (one, two, listen) = (Target::numbered(1), Target::numbered(2), free_port());
    let directory = Directory::new();
    let entry = |target: &Target| json!({ "Address": "127.0.0.1", "ServicePort": target.port() });
    let body = json!([entry(&one), entry(&two)]).to_string();
    directory.answers("/v1/catalog/service/redis", move |stream, _| say(stream, &ok(&body)));
    let url = directory.url("/v1/catalog/service/redis?token=hunter2");
    let mut consul = definition("redis", listen, &url);
    consul["proxy"]["service_discovery"]["data_path"] = json!("Address");
    consul["proxy"]["service_discovery"]["port_data_path"] = json!("ServicePort");
    consul["proxy"]["service_discovery"]["headers"] = json!({ "X-Consul-Token": "hunter3" });
    let stagedoor = Stagedoor::run(&consul);
    assert_eq!(stagedoor.targets("redis"), [one.address(), two.address()]);
    let heard = directory.heard();
    assert!(heard.contains("token=hunter2") && heard.contains("hunter3"), "{heard}");
    let found = stagedoor.service("redis")["discovery"].clone();
    assert_eq!((&found["listed"], &found["fault"]), (&json!(2), &Value::Null));
    directory.answers("/v1/catalog/service/redis", |stream, _| say(stream, b"no"));
    stagedoor.logged("its answer is no HTTP");
    let said = stagedoor.log().join("\n") + &stagedoor.status().to_string();
    assert!(!said.contains("hunter"), "{said}");
}

/// Every kind of answer that is no list, and what is said of it.
const NONSENSE: [(&str, &str); 13] = [
    ("/500", "it answered with status 500"),
    ("/html", "the answer is no JSON"),
    ("/blank", "the answer is empty"),
    ("/cut", "its answer broke off"),
    ("/half", "the answer is no JSON"),
    ("/endless", "its answer is longer than 1024 KiB"),
    ("/huge", "its answer is longer than 1024 KiB"),
    ("/packed", "its answer is packed"),
    ("/redirect", "no redirect is followed"),
    ("/silent", "no answer within"),
    ("/empty", "the list is empty"),
    ("/many", "the answer lists more than 1000 targets"),
    ("/zero", "1 of 1 entries left out"),
];

fn nonsense(path: &str, stream: &mut TcpStream) {
    match path {
        "/500" => say(stream, b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n[]"),
        "/html" => say(stream, &ok("<html>503 Service Unavailable</html>")),
        "/blank" => say(stream, &ok("")),
        "/cut" => say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[]"),
        "/half" => say(stream, &ok("[\"127.0.0.1:1\", \"127.0")),
        "/endless" => {
            say(stream, b"HTTP/1.1 200 OK\r\n\r\n[");
            while stream.write_all(&[b' '; 4096]).is_ok() {}
        }
        "/huge" => say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 3000000000\r\n\r\n["),
        "/packed" => {
            say(
                stream,
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]",
            );
        }
        "/redirect" => {
            let away = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n";
            say(stream, away);
        }
        "/silent" => drop(std::io::copy(stream, &mut std::io::sink())),
        "/empty" => say(stream, &ok("[]")),
        "/many" => say(stream, &ok(&list(&vec!["127.0.0.1:1".to_owned(); 5_000]))),
        "/zero" => say(stream, &ok("[\"127.0.0.1:0\"]")),
        other => panic!("{other}"),
    }
}

#[test]
fn whatever_is_no_list_leaves_the_last_good_one_in_force() {
    let target = Target::numbered(1);
    let directory = Directory::new();
    let services = NONSENSE.map(|(path, said)| {
        let good = ok(&list(&[target.address()]));
        directory.answers(path, move |stream, nth| match nth {
            1 => say(stream, &good),
            _ => nonsense(path, stream),
        });
        let listen = free_port();
        let mut service = definition(path, listen, &directory.url(path));
        service["proxy"]["service_discovery"]["timeout"] = json!("500ms");
        (path, said, listen, service)
    });
    let definitions = services.each_ref().map(|(.., definition)| definition);
    let stagedoor = Stagedoor::run_under(&[], &definitions, &[]);
    for (path, said, listen, _) in &services {
        let found = eventually(&format!("{path} is told"), || {
            let found = stagedoor.service(path)["discovery"].clone();
            found["fault"].is_string().then_some(found)
        });
        assert!(found["fault"].as_str().unwrap().contains(said), "{path}: {found}");
        assert_eq!(found["listed"], 1, "{path}");
        assert_eq!(served(*listen), b"1", "{path}");
    }
}

#[test]
fn an_endpoint_whose_every_second_answer_is_broken_never_empties_the_pool() {
    let (one, two, listen) = (Target::numbered(1), Target::numbered(1), free_port());
    let directory = Directory::new();
    let good = ok(&list(&[one.address(), two.address()]));
    directory.answers("/flapping", move |stream, nth| match nth % 4 {
        1 | 3 => say(stream, &good),
        2 => say(stream, &ok("<html>")),
        _ => say(stream, &ok("[]")),
    });
    let stagedoor = Stagedoor::run(&definition("redis", listen, &directory.url("/flapping")));
    eventually("it has flapped", || {
        assert_eq!(served(listen), b"1");
        assert_eq!(stagedoor.targets("redis").len(), 2);
        (directory.asked("/flapping") > 6).then_some(())
    });
    let changes = stagedoor.log().into_iter().filter(|line| line.contains("targets, +"));
    assert_eq!(changes.count(), 1, "only the first list changed anything");
}

#[test]
fn an_empty_list_empties_the_pool_only_with_leave() {
    let (target, listen) = (Target::numbered(1), free_port());
    let directory = Directory::new();
    directory.lists("/redis", &[target.address()]);
    let mut may_be_empty = definition("redis", listen, &directory.url("/redis"));
    may_be_empty["proxy"]["service_discovery"]["allow_empty"] = json!(true);
    let stagedoor = Stagedoor::run(&may_be_empty);
    assert_eq!(served(listen), b"1");
    directory.lists("/redis", &[]);
    eventually("nobody is left", || stagedoor.targets("redis").is_empty().then_some(()));
    assert_eq!(served(listen), b"", "the client is refused");
    directory.lists("/redis", &[target.address()]);
    eventually("it is back", || (served(listen) == b"1").then_some(()));
}

#[test]
fn what_is_written_serves_until_the_first_good_answer() {
    let (written, found, listen) = (Target::numbered(1), Target::numbered(2), free_port());
    let directory = Directory::new();
    directory.answers("/redis", |stream, _| say(stream, &ok("null")));
    let mut both = definition("redis", listen, &directory.url("/redis"));
    both["proxy"]["target_list"] = json!([written.address()]);
    let stagedoor = Stagedoor::run(&both);
    assert_eq!(served(listen), b"1");
    stagedoor.logged("there has been no list yet");
    directory.lists("/redis", &[found.address()]);
    eventually("the found one serves", || (served(listen) == b"2").then_some(()));
    directory.answers("/redis", |stream, _| say(stream, &ok("null")));
    stagedoor.logged("the 1 target of the last good list stays");
    assert_eq!(served(listen), b"2");
}

#[test]
fn a_service_is_never_its_own_target() {
    let (target, listen) = (Target::numbered(1), free_port());
    let directory = Directory::new();
    let own = format!("127.0.0.1:{listen}");
    directory.lists("/redis", &[own.clone(), target.address(), target.address()]);
    let stagedoor = Stagedoor::run(&definition("redis", listen, &directory.url("/redis")));
    assert_eq!(stagedoor.targets("redis"), [target.address()]);
    stagedoor.logged(&format!("1 of 3 entries left out: {own} is this service itself"));
    assert_eq!(served(listen), b"1");
}

#[test]
fn a_reload_keeps_what_was_found_though_the_directory_is_silent() {
    let (target, listen) = (Target::numbered(1), free_port());
    let directory = Directory::new();
    directory.lists("/redis", &[target.address()]);
    let mut service = definition("redis", listen, &directory.url("/redis"));
    let stagedoor = Stagedoor::run(&service);
    assert_eq!(served(listen), b"1");
    directory.answers("/redis", |stream, _| drop(std::io::copy(stream, &mut std::io::sink())));
    service["proxy"]["retries"] = json!(7);
    service["proxy"]["service_discovery"]["cache_timeout"] = json!("2s");
    std::fs::write(stagedoor.file(), service.to_string()).unwrap();
    assert_eq!(stagedoor.json(&["reload"])["generation"], 2);
    assert_eq!(stagedoor.targets("redis"), [target.address()]);
    assert_eq!(served(listen), b"1");
    let unchanged = stagedoor.json(&["reload"]);
    assert_eq!(unchanged["changes"], json!([]), "what was found is no change of the file");
    service["proxy"].as_object_mut().unwrap().remove("service_discovery");
    service["proxy"]["target_url"] = json!(Target::numbered(2).address());
    service["proxy"]["enable_load_balancing"] = json!(false);
    std::fs::write(stagedoor.file(), service.to_string()).unwrap();
    stagedoor.json(&["reload"]);
    assert_eq!(served(listen), b"2");
    let tree = stagedoor.tree();
    assert!(!tree.iter().any(|one| one.name == "discovery/redis"), "{tree:?}");
}

#[test]
fn a_reload_that_is_refused_leaves_what_was_found_in_force() {
    let (target, other, listen) = (Target::numbered(1), Target::numbered(2), free_port());
    let directory = Directory::new();
    directory.lists("/one", &[target.address()]);
    directory.lists("/two", &[other.address()]);
    let stagedoor = Stagedoor::run(&definition("redis", listen, &directory.url("/one")));
    let taken = Target::numbered(3);
    let moved = definition("redis", taken.port(), &directory.url("/two"));
    std::fs::write(stagedoor.file(), moved.to_string()).unwrap();
    assert_eq!(stagedoor.command(&["reload"]).status.code(), Some(1));
    let asked = directory.asked("/one");
    eventually("the old one is asked again", || {
        (directory.asked("/one") > asked + 1).then_some(())
    });
    assert_eq!(stagedoor.targets("redis"), [target.address()]);
    assert_eq!(served(listen), b"1");
}

#[test]
fn a_file_lists_targets_and_outlives_being_broken() {
    let (one, two, listen) = (Target::numbered(1), Target::numbered(2), free_port());
    let mut service = definition("redis", listen, "");
    service["proxy"]["service_discovery"] = json!({ "file": "targets.json" });
    service["proxy"]["target_list"] = json!([one.address()]);
    let stagedoor = Stagedoor::run(&service);
    let file = stagedoor.file().with_file_name("targets.json");
    stagedoor.logged("there is no such file; there has been no list yet");
    assert_eq!(served(listen), b"1");
    std::fs::write(&file, list(&[two.address()])).unwrap();
    eventually("the file's target serves", || (served(listen) == b"2").then_some(()));
    std::fs::write(&file, "[\n\"127.0.0.1\"\n]").unwrap();
    stagedoor.logged("line 2: the port is missing; the 1 target of the last good list stays");
    std::fs::remove_file(&file).unwrap();
    stagedoor.logged("there is no such file; the 1 target of the last good list stays");
    assert_eq!(served(listen), b"2");
    let weighted = json!({ "target_list": [{ "url": one.address(), "weight": 2, "name": "uno" }] });
    std::fs::write(&file, weighted.to_string()).unwrap();
    eventually("it is read again", || (served(listen) == b"1").then_some(()));
    assert_eq!(stagedoor.service("redis")["targets"][0]["name"], "uno");
}

#[test]
fn every_address_of_a_name_is_a_target() {
    let (target, listen) = (Target::numbered(1), free_port());
    let mut service = definition("redis", listen, "");
    let name = format!("localhost:{}", target.port());
    service["proxy"]["service_discovery"] = json!({ "dns": name, "cache_timeout": "1s" });
    let stagedoor = Stagedoor::run(&service);
    assert!(stagedoor.targets("redis").contains(&target.address()));
    assert_eq!(served(listen), b"1");
}

#[cfg(feature = "chaos")]
#[test]
fn a_discoverer_that_falls_keeps_what_it_found_and_asks_on() {
    let (one, two, listen) = (Target::numbered(1), Target::numbered(2), free_port());
    let directory = Directory::new();
    directory.lists("/redis", &[one.address()]);
    let stagedoor = Stagedoor::run(&definition("redis", listen, &directory.url("/redis")));
    for (component, fault) in
        [("discovery/redis", "panic"), ("discovery/redis", "wedge"), ("rediscoverer", "panic")]
    {
        let before = stagedoor.component(component).restarts;
        eventually("it is hit", || stagedoor.hit(component, fault).then_some(()));
        eventually("it is restarted", || {
            assert_eq!(served(listen), b"1");
            (stagedoor.component(component).restarts > before).then_some(())
        });
    }
    directory.lists("/redis", &[two.address()]);
    eventually("it asks on", || (served(listen) == b"2").then_some(()));
}
