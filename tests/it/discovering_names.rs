//! Discovery by name: `dns` and `srv` follow their name server, whatever that says outlasts it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use serde_json::{Value, json};

use crate::harness::client::exchange;
use crate::harness::eventually::eventually;
use crate::harness::name_server::{
    A, AAAA, Asked, NO_ERROR, NXDOMAIN, NameServer, SERVFAIL, SRV, TRUNCATED, address, alias,
    offer, record,
};
use crate::harness::network::in_own_network;
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

/// Where the targets are.
pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Never listens.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 9, 9, 9));

/// A service that finds its targets in this way.
pub(crate) fn definition(name: &str, listen: u16, discovery: Value) -> Value {
    json!({
        "name": name, "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": {
            "enable_load_balancing": true, "on_removed": "close", "service_discovery": discovery,
        },
    })
}

/// Runs them with this name server.
pub(crate) fn run(server: &NameServer, definitions: &[&Value]) -> Stagedoor {
    Stagedoor::run_under(&[], definitions, &["--set", &server.setting(), "--set", "workers=1"])
}

/// What `status` says of a service.
pub(crate) fn service(stagedoor: &Stagedoor, name: &str) -> Value {
    let status = stagedoor.status();
    let services = status["services"].as_array().unwrap();
    services.iter().find(|service| service["name"] == name).unwrap().clone()
}

/// What each target of a service is called, or this of it.
pub(crate) fn targets(stagedoor: &Stagedoor, name: &str, key: &str) -> Vec<String> {
    let service = service(stagedoor, name);
    let targets = service["targets"].as_array().unwrap();
    targets.iter().map(|target| target[key].as_str().unwrap().to_owned()).collect()
}

/// What its target says.
pub(crate) fn served(listen: u16) -> Vec<u8> {
    exchange(listen, b"").0
}

#[test]
fn the_targets_are_the_addresses_of_the_name_as_long_as_they_hold() {
    let (target, listen) = (Target::numbered(1), free_port());
    let (server, port) = (NameServer::new(), target.port());
    server.says("redis.test", AAAA, Vec::new());
    let chain = |ttl| {
        vec![
            address("bank.test", 0, ELSEWHERE),
            address("db.test", ttl, LOOPBACK),
            alias("redis.test", 3600, "db.test"),
        ]
    };
    server.says("redis.test", A, chain(0));
    let dns = definition("redis", listen, json!({ "dns": format!("redis.test:{port}") }));
    let stagedoor = run(&server, &[&dns]);
    assert_eq!(targets(&stagedoor, "redis", "address"), [target.address()]);
    assert_eq!(served(listen), b"1");
    server.has("redis.test", 1, &["127.0.0.2".parse().unwrap(), "::1".parse().unwrap()]);
    let both = [format!("127.0.0.2:{port}"), format!("[::1]:{port}")];
    eventually("it follows", || (targets(&stagedoor, "redis", "address") == both).then_some(()));
    let found = service(&stagedoor, "redis")["discovery"].clone();
    assert_eq!(found["directory"], format!("dns:redis.test:{port}"));
    assert_eq!((&found["listed"], &found["fault"]), (&json!(2), &Value::Null));
}

#[test]
fn records_that_hold_for_long_are_not_asked_for_again_and_a_written_interval_wins() {
    let server = NameServer::new();
    let ten_years = 315_360_000;
    for (name, ttl) in [("long.test", ten_years), ("none.test", 0), ("written.test", 0)] {
        server.has(name, ttl, &[LOOPBACK]);
    }
    server.has("often.test", ten_years, &[LOOPBACK]);
    let of = |name: &str, cache_timeout: Value| {
        let dns = format!("{name}.test:1");
        definition(name, free_port(), json!({ "dns": dns, "cache_timeout": cache_timeout }))
    };
    let services = [
        of("long", json!(0)),
        of("none", json!(0)),
        of("written", json!("1h")),
        of("often", json!("1s")),
    ];
    let _stagedoor = run(&server, &services.each_ref());
    eventually("those are asked for again", || {
        (server.asked("none.test", A) > 2 && server.asked("often.test", A) > 2).then_some(())
    });
    for once in ["long.test", "written.test"] {
        assert_eq!((server.asked(once, A), server.asked(once, AAAA)), (1, 1), "{once}");
    }
}

/// Every kind of answer that is no list, and what is said of it for `dns`, and for `srv`.
pub(crate) const NONSENSE: [(&str, &str, &str); 11] = [
    ("nxdomain", "there is no name `nxdomain.test`", "has no SRV records"),
    ("empty", "`empty.test` has no address", "has no SRV records"),
    ("servfail", "it says SERVFAIL", "it says SERVFAIL"),
    ("refused", "it says REFUSED", "it says REFUSED"),
    ("silent", "it does not answer", "it does not answer"),
    ("circle", "its aliases (CNAME) lead nowhere", "its aliases (CNAME) lead nowhere"),
    ("other", "`other.test` has no address", "has no SRV records"),
    ("broken", "its answer is broken", "its answer is broken"),
    ("cut", "its whole answer, over TCP", "its whole answer, over TCP"),
    ("cut_twice", "cut short even over TCP", "cut short even over TCP"),
    ("forged", "it does not answer", "it does not answer"),
];

/// What a name server answers that is not well.
pub(crate) fn nonsense(what: &str, kind: u16, asked: &Asked) -> Vec<Vec<u8>> {
    let name = format!("{what}.test");
    let about = |name: &str| match kind {
        SRV => offer(name, 1, [1, 1, 1], "bank.test"),
        A => address(name, 1, ELSEWHERE),
        _ => address(name, 1, "::9".parse().unwrap()),
    };
    let answer = |flags, records: &[Vec<u8>]| vec![asked.answer(flags, records)];
    match what {
        "nxdomain" => answer(NXDOMAIN, &[]),
        "empty" => answer(NO_ERROR, &[]),
        "servfail" => answer(SERVFAIL, &[]),
        "refused" => answer(0x8185, &[]),
        "circle" => answer(NO_ERROR, &[alias(&name, 1, "b.test"), alias("b.test", 1, &name)]),
        "other" => answer(NO_ERROR, &[about("bank.test"), alias("bank.test", 1, &name)]),
        "broken" => answer(NO_ERROR, &[record(&name, kind, 1, b"?")]),
        "cut" if asked.is_tcp => Vec::new(),
        "cut" | "cut_twice" => answer(TRUNCATED, &[]),
        "forged" => {
            let mut other_number = asked.answer(NO_ERROR, &[about(&name)]);
            other_number[1] ^= 1;
            let mut other_name = asked.answer(NO_ERROR, &[about(&name)]);
            other_name[13] = b'x';
            let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
            let answer = asked.answer(NO_ERROR, &[about(&name)]);
            drop(stranger.send_to(&answer, asked.from));
            vec![other_number, other_name, b"?".to_vec(), Vec::new(), asked.bytes.clone()]
        }
        _ => Vec::new(),
    }
}

#[test]
fn whatever_is_no_list_of_addresses_leaves_the_last_good_one_in_force() {
    let (target, server) = (Target::numbered(1), NameServer::new());
    let services = NONSENSE.map(|(what, said, _)| {
        let name = format!("{what}.test");
        for kind in [A, AAAA] {
            let good = vec![address(&name, 0, LOOPBACK)];
            server.answers(&name, kind, move |asked| match (asked.nth, kind) {
                (1, A) => vec![asked.answer(NO_ERROR, &good)],
                (1, _) => vec![asked.answer(NO_ERROR, &[])],
                _ => nonsense(what, kind, asked),
            });
        }
        let dns = json!({ "dns": format!("{name}:{}", target.port()), "timeout": "500ms" });
        let listen = free_port();
        (what, said, listen, definition(what, listen, dns))
    });
    outlast(&server, &services);
}

/// Each of these is told, and changes nothing.
pub(crate) fn outlast(server: &NameServer, services: &[(&str, &str, u16, Value)]) {
    let definitions: Vec<&Value> = services.iter().map(|(.., definition)| definition).collect();
    let stagedoor = run(server, &definitions);
    for (what, said, listen, _) in services {
        let found = eventually(&format!("{what} is told"), || {
            let found = service(&stagedoor, what)["discovery"].clone();
            found["fault"].is_string().then_some(found)
        });
        assert!(found["fault"].as_str().unwrap().contains(said), "{what}: {found}");
        assert_eq!(found["listed"], 1, "{what}");
        assert_eq!(served(*listen), b"1", "{what}");
    }
}

#[test]
fn forged_answers_are_not_heard_and_the_real_one_counts() {
    let (target, listen) = (Target::numbered(1), free_port());
    let server = NameServer::new();
    for kind in [A, AAAA] {
        server.answers("forged.test", kind, move |asked| {
            let mut all = nonsense("forged", kind, asked);
            let real = [address("forged.test", 0, LOOPBACK)];
            all.push(asked.answer(NO_ERROR, if kind == A { &real } else { &[] }));
            all
        });
    }
    let dns = json!({ "dns": format!("forged.test:{}", target.port()) });
    let stagedoor = run(&server, &[&definition("redis", listen, dns)]);
    eventually("it has been asked for some times", || {
        assert_eq!(targets(&stagedoor, "redis", "address"), [target.address()]);
        (server.asked("forged.test", AAAA) > 3).then_some(())
    });
    let found = service(&stagedoor, "redis")["discovery"].clone();
    assert_eq!((&found["listed"], &found["failures"]), (&json!(1), &json!(0)));
    let heard = server.heard();
    let differing = |of: fn(&(u16, u16)) -> u16| {
        let mut all: Vec<u16> = heard.iter().map(of).collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    };
    assert!(differing(|it| it.0) > heard.len() / 2, "numbers that can be guessed: {heard:?}");
    assert!(differing(|it| it.1) > heard.len() / 2, "ports that can be guessed: {heard:?}");
}

#[test]
fn many_addresses_come_over_tcp_and_so_many_count() {
    let server = NameServer::new();
    let all: Vec<Vec<u8>> = (0..300_u16)
        .map(|n| IpAddr::from([127, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]))
        .map(|ip| address("many.test", 1, ip))
        .collect();
    server.says("many.test", AAAA, Vec::new());
    server.answers("many.test", A, move |asked| {
        let mut all = all.clone();
        all.rotate_left(asked.nth * 7);
        match asked.is_tcp {
            true => vec![asked.answer(NO_ERROR, &all)],
            false => vec![asked.answer(TRUNCATED, &all[..3])],
        }
    });
    let stagedoor =
        run(&server, &[&definition("redis", free_port(), json!({ "dns": "many.test:1" }))]);
    eventually("it has turned", || (server.asked("many.test", A) > 5).then_some(()));
    let found = targets(&stagedoor, "redis", "address");
    assert_eq!((found.len(), &*found[0], &*found[63]), (64, "127.1.0.0:1", "127.1.0.63:1"));
    stagedoor.logged("236 of 300 entries left out: 127.1.0.64:1 is one more than 64");
    let told = stagedoor.log().into_iter().filter(|line| line.contains("left out"));
    assert_eq!(told.count(), 1);
    let changes = stagedoor.log().into_iter().filter(|line| line.contains("targets, +"));
    assert_eq!(changes.count(), 1);
}

#[test]
fn one_kind_of_address_that_fails_takes_nothing_away() {
    let server = NameServer::new();
    let fails = |name: &'static str, from: usize| {
        server.has(name, 0, &[LOOPBACK]);
        server.answers(name, AAAA, move |asked| {
            let v6 = [address(name, 0, "::1".parse().unwrap())];
            match asked.nth < from {
                true => vec![asked.answer(NO_ERROR, &v6)],
                false => vec![asked.answer(SERVFAIL, &[])],
            }
        });
    };
    fails("later.test", 2);
    fails("always.test", 0);
    let of = |name: &str| definition(name, free_port(), json!({ "dns": format!("{name}.test:1") }));
    let stagedoor = run(&server, &[&of("later"), &of("always")]);
    let fault = format!(
        "IPv6 addresses of `later.test`: name server {}: it says SERVFAIL",
        server.address(),
    );
    let found = eventually("it fails", || {
        let found = service(&stagedoor, "later")["discovery"].clone();
        (found["fault"] == json!(fault)).then_some(found)
    });
    assert_eq!(found["listed"], 2);
    assert_eq!(targets(&stagedoor, "later", "address"), ["127.0.0.1:1", "[::1]:1"]);
    // Where that kind never was, the other counts.
    assert_eq!(targets(&stagedoor, "always", "address"), ["127.0.0.1:1"]);
    let left_out = service(&stagedoor, "always")["discovery"]["left_out"].clone();
    assert!(left_out.as_str().unwrap().contains("IPv6 addresses of `always.test`"), "{left_out}");
}

#[test]
fn a_name_server_that_is_down_or_silent_is_stepped_over() {
    let (server, listen) = (NameServer::new(), free_port());
    let target = Target::numbered(1);
    server.has("redis.test", 0, &[LOOPBACK]);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broken = NameServer::new();
    for kind in [A, AAAA] {
        broken.answers("redis.test", kind, |asked| vec![asked.answer(SERVFAIL, &[])]);
    }
    let all = [dead, silent.local_addr().unwrap(), broken.address(), server.address()];
    let all: Vec<String> = all.iter().map(SocketAddr::to_string).collect();
    let dns = json!({ "dns": format!("redis.test:{}", target.port()), "timeout": "2s" });
    let setting = format!("discovery.name_servers={}", json!(all));
    let stagedoor = Stagedoor::run_with(&definition("redis", listen, dns), &["--set", &setting]);
    eventually("it serves", || (served(listen) == b"1").then_some(()));
    let found = service(&stagedoor, "redis")["discovery"].clone();
    assert_eq!((&found["listed"], &found["failures"]), (&json!(1), &json!(0)));
}

#[test]
fn other_name_servers_are_asked_after_a_reload_and_what_was_found_stays_meanwhile() {
    let (target, listen) = (Target::numbered(1), free_port());
    let (good, silent) = (NameServer::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    good.has("redis.test", 3600, &[LOOPBACK]);
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("stagedoor.toml");
    let asks = |address: SocketAddr| {
        let text = format!("[discovery]\nname_servers = [\"{address}\"]\n");
        std::fs::write(&settings, text).unwrap();
    };
    asks(good.address());
    let dns = json!({ "dns": format!("redis.test:{}", target.port()), "timeout": "1s" });
    let arguments = ["--config", settings.to_str().unwrap()];
    let stagedoor = Stagedoor::run_with(&definition("redis", listen, dns), &arguments);
    assert_eq!(served(listen), b"1");
    // Nobody answers datagrams there.
    asks(silent.local_addr().unwrap());
    let said = stagedoor.json(&["reload"]).to_string();
    assert!(said.contains("discovery.name_servers"), "{said}");
    stagedoor.logged("the 1 target of the last good list stays");
    assert_eq!(served(listen), b"1");
}

#[test]
fn a_datagram_that_is_lost_is_sent_again() {
    let (target, server, listen) = (Target::numbered(1), NameServer::new(), free_port());
    for kind in [A, AAAA] {
        let all = if kind == A { vec![address("redis.test", 3600, LOOPBACK)] } else { Vec::new() };
        server.answers("redis.test", kind, move |asked| match asked.nth {
            1 => Vec::new(),
            _ => vec![asked.answer(NO_ERROR, &all)],
        });
    }
    let dns = json!({ "dns": format!("redis.test:{}", target.port()), "timeout": "1s" });
    let stagedoor = run(&server, &[&definition("redis", listen, dns)]);
    assert_eq!(served(listen), b"1");
    assert!(stagedoor.complaints().is_empty(), "{:?}", stagedoor.complaints());
    assert_eq!(server.asked("redis.test", A), 2);
}

#[test]
fn this_machines_own_files_say_who_is_asked_and_what_is_not() {
    in_own_network(|| {
        let (target, server) =
            (Target::numbered(1), NameServer::at("127.0.0.1:53".parse().unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let [conf, hosts] = ["resolv.conf", "hosts"].map(|name| folder.path().join(name));
        std::fs::write(&conf, "search example.test\nnameserver 127.0.0.1\n").unwrap();
        std::fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.1 known\n").unwrap();
        let bind = "mount --bind \"$0\" /etc/resolv.conf && mount --bind \"$1\" /etc/hosts && \
                    shift && exec \"$@\"";
        let [conf, hosts_file] = [&conf, &hosts].map(|path| path.to_str().unwrap());
        let wrapper = ["unshare", "-m", "sh", "-c", bind, conf, hosts_file];
        server.has("redis.example.test", 0, &[LOOPBACK]);
        let listen = [free_port(), free_port(), free_port()];
        let of = |name: &str, listen| {
            let dns = json!({ "dns": format!("{name}:{}", target.port()), "timeout": "2s" });
            definition(name, listen, dns)
        };
        let services = [of("redis", listen[0]), of("known", listen[1]), of("nobody", listen[2])];
        let stagedoor = Stagedoor::run_under(&wrapper, &services.each_ref(), &[]);
        assert_eq!((served(listen[0]), served(listen[1])), (b"1".to_vec(), b"1".to_vec()));
        let asked =
            ["redis", "known", "nobody.example.test", "nobody"].map(|it| server.asked(it, A));
        assert!(asked[0] == 0 && asked[1] == 0 && asked[2] > 0 && asked[3] > 0, "{asked:?}");
        stagedoor.logged("there is no name `nobody`");
        // Both are read anew each time.
        std::fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.2 redis\n").unwrap();
        eventually("the hosts file wins", || {
            let found = targets(&stagedoor, "redis", "address");
            (found == [format!("127.0.0.2:{}", target.port())]).then_some(())
        });
    });
}
