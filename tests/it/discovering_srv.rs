//! Discovery by SRV records: ports, shares and who stands by, and what outlasts nonsense.

use serde_json::json;

use crate::discovering_names::{
    LOOPBACK, NONSENSE, definition, nonsense, outlast, run, served, service, targets,
};
use crate::harness::client::exchange;
use crate::harness::eventually::eventually;
use crate::harness::identity::{Asks, Authority, server_config};
use crate::harness::name_server::{NO_ERROR, NameServer, SRV, offer};
use crate::harness::port::free_port;
use crate::harness::speaker::Actor;
use crate::harness::target::Target;
use crate::harness::tls_target::TlsTarget;

#[test]
fn whatever_is_no_list_of_offers_leaves_the_last_good_one_in_force() {
    let (target, server) = (Target::numbered(1), NameServer::new());
    server.has("node.test", 0, &[LOOPBACK]);
    let port = target.port();
    let services = NONSENSE.map(|(what, _, said)| {
        let name = format!("{what}.test");
        let good = vec![offer(&name, 0, [1, 1, port], "node.test")];
        server.answers(&name, SRV, move |asked| match asked.nth {
            1 => vec![asked.answer(NO_ERROR, &good)],
            _ => nonsense(what, SRV, asked),
        });
        let listen = free_port();
        (what, said, listen, definition(what, listen, json!({ "srv": name, "timeout": "500ms" })))
    });
    outlast(&server, &services);
}

#[test]
fn srv_records_give_ports_shares_and_who_stands_by() {
    let (one, two, spare) = (Target::numbered(1), Target::numbered(2), Target::numbered(3));
    let (server, listen) = (NameServer::new(), free_port());
    let name = "_redis._tcp.test";
    for host in ["a.test", "b.test", "spare.test"] {
        server.has(host, 0, &[LOOPBACK]);
    }
    let offers = |records: &[(u16, u16, &Target, &str)]| {
        let records = records.iter().map(|(priority, weight, target, host)| {
            offer(name, 0, [*priority, *weight, target.port()], host)
        });
        records.collect::<Vec<_>>()
    };
    let all = [(9, 7, &spare, "spare.test"), (1, 0, &two, "b.test"), (1, 3, &one, "a.test")];
    server.says(name, SRV, offers(&all));
    let stagedoor = run(&server, &[&definition("redis", listen, json!({ "srv": name }))]);
    let called = |host: &str, target: &Target| format!("{host}:{}", target.port());
    let names = [called("a.test", &one), called("b.test", &two), called("spare.test", &spare)];
    assert_eq!(targets(&stagedoor, "redis", "name"), names);
    let mut answers: Vec<Vec<u8>> = (0..8).map(|_| served(listen)).collect();
    answers.sort();
    assert_eq!(answers.concat(), b"11111122", "three quarters, a quarter, and nobody stands in");
    // One that has no address any more is left out; the others count.
    server.has("b.test", 0, &[]);
    server.says(name, SRV, offers(&all[..2]));
    eventually("the other one stands in", || (served(listen) == b"3").then_some(()));
    let left_out = service(&stagedoor, "redis")["discovery"]["left_out"].clone();
    assert_eq!(left_out, "1 of 2 entries left out: `b.test` has no address");
    assert_eq!(service(&stagedoor, "redis")["discovery"]["directory"], format!("srv:{name}"));
}

#[test]
fn that_a_service_is_decidedly_not_there_empties_the_pool_only_with_leave() {
    let (target, server) = (Target::numbered(1), NameServer::new());
    server.has("node.test", 0, &[LOOPBACK]);
    let name = "_redis._tcp.test";
    server.says(name, SRV, vec![offer(name, 0, [0, 0, target.port()], "node.test")]);
    let (kept, emptied) = (free_port(), free_port());
    let services = [
        definition("kept", kept, json!({ "srv": name })),
        definition("emptied", emptied, json!({ "srv": name, "allow_empty": true })),
    ];
    let stagedoor = run(&server, &services.each_ref());
    assert_eq!((served(kept), served(emptied)), (b"1".to_vec(), b"1".to_vec()));
    server.says(name, SRV, vec![offer(name, 0, [0, 0, 0], ".")]);
    eventually("one is empty", || targets(&stagedoor, "emptied", "name").is_empty().then_some(()));
    eventually("the other is told", || {
        service(&stagedoor, "kept")["discovery"]["fault"].is_string().then_some(())
    });
    assert_eq!((served(kept), served(emptied)), (b"1".to_vec(), Vec::new()));
}

#[test]
fn without_load_balancing_the_first_of_the_records_serves() {
    let (first, other, listen) = (Target::numbered(1), Target::numbered(2), free_port());
    let server = NameServer::new();
    server.has("a.test", 0, &[LOOPBACK]);
    let name = "_redis._tcp.test";
    let record = |priority, weight, target: &Target| {
        offer(name, 0, [priority, weight, target.port()], "a.test")
    };
    server.says(name, SRV, vec![record(2, 9, &other), record(1, 1, &other), record(1, 2, &first)]);
    let mut service = definition("redis", listen, json!({ "srv": name }));
    service["proxy"]["enable_load_balancing"] = json!(false);
    let stagedoor = run(&server, &[&service]);
    assert_eq!(targets(&stagedoor, "redis", "name"), [format!("a.test:{}", first.port())]);
    assert_eq!((served(listen), served(listen)), (b"1".to_vec(), b"1".to_vec()));
}

#[test]
fn over_tls_targets_prove_the_name_that_is_written_and_not_the_one_that_a_record_gives() {
    let (authority, listen) = (Authority::new(), [free_port(), free_port()]);
    let echo = |name: &str| TlsTarget::echo(server_config(&authority.sign(&[name]), Asks::Nothing));
    let (real, liar) = (echo("redis.test"), echo("node.test"));
    let server = NameServer::new();
    server.has("node.test", 60, &[LOOPBACK]);
    let of = |service: &str, port, listen| {
        let name = format!("_{service}._tcp.test");
        server.says(&name, SRV, vec![offer(&name, 60, [0, 1, port], "node.test")]);
        let mut definition = definition(service, listen, json!({ "srv": format!("tls://{name}") }));
        definition["proxy"]["transport"] =
            json!({ "ssl_ca": authority.file(), "ssl_server_name": "redis.test" });
        definition
    };
    let services = [of("real", real.port(), listen[0]), of("liar", liar.port(), listen[1])];
    let stagedoor = run(&server, &services.each_ref());
    assert_eq!(exchange(listen[0], b"hello").0, b"hello");
    assert_eq!(exchange(listen[1], b"hello").0, b"");
    stagedoor.logged("its certificate is not for redis.test, but for node.test");
    let names: Vec<_> = real.seen().into_iter().map(|seen| seen.name).collect();
    assert_eq!(names, [Some("redis.test".to_owned())]);
}

#[test]
fn the_leader_is_found_among_the_hosts_of_records() {
    let (master, replica) = (Actor::playing("master"), Actor::playing("slave"));
    let (server, listen) = (NameServer::new(), free_port());
    server.has("node.test", 0, &[LOOPBACK]);
    let name = "_redis._tcp.test";
    let record = |actor: &Actor| {
        let port = actor.address().rsplit(':').next().unwrap().parse().unwrap();
        offer(name, 0, [1, 1, port], "node.test")
    };
    server.says(name, SRV, vec![record(&replica)]);
    let mut service = definition("redis", listen, json!({ "srv": name }));
    service["proxy"]["check_host_against_uptime_tests"] = json!(true);
    service["uptime_tests"] = json!({ "commands": [
        { "name": "send", "message": "INFO replication\\r\\n" },
        { "name": "expect", "message": "role:master" },
    ] });
    let stagedoor = run(&server, &[&service]);
    assert_eq!(self::service(&stagedoor, "redis")["balance"], "leader");
    server.says(name, SRV, vec![record(&master), record(&replica)]);
    eventually("the one that joined leads", || {
        let led_by = self::service(&stagedoor, "redis")["leader"].clone();
        (led_by == master.address().replace("127.0.0.1", "node.test")).then_some(())
    });
}
