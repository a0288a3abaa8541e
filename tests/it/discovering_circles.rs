//! Services that find each other: no session runs in a circle, and everything else is in force.

use serde_json::{Value, json};

use crate::harness::client::exchange;
use crate::harness::directory::Directory;
use crate::harness::eventually::eventually;
use crate::harness::network::in_own_network;
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

fn definition(name: &str, listen: u16, directory: &Directory) -> Value {
    json!({
        "name": name, "listen_port": listen, "protocol": "tcp",
        "proxy": {
            "enable_load_balancing": true, "on_removed": "close",
            "service_discovery": {
                "use_discovery_service": true, "query_endpoint": directory.url(&format!("/{name}")),
                "endpoint_returns_list": true, "use_target_list": true, "cache_timeout": "1s",
            },
        },
    })
}

fn served(listen: u16) -> Vec<u8> {
    exchange(listen, b"").0
}

#[test]
fn of_two_services_that_find_each_other_one_leaves_the_other_out() {
    let (directory, target) = (Directory::new(), Target::numbered(1));
    let (one, two) = (free_port(), free_port());
    let at = |host: &str, port: u16| format!("{host}:{port}");
    directory.lists("/a", &[at("127.0.0.1", two)]);
    directory.lists("/b", &[at("127.0.0.1", one), target.address()]);
    let definitions = [definition("a", one, &directory), definition("b", two, &directory)];
    let stagedoor = Stagedoor::run_under(&[], &[&definitions[0], &definitions[1]], &[]);
    let words = format!("127.0.0.1:{one} leads through service \"a\" back to this one");
    stagedoor.logged(&format!("left out, a connection would run in a circle: {words}"));
    assert_eq!(stagedoor.targets("a"), [at("127.0.0.1", two)]);
    assert_eq!(stagedoor.targets("b"), [target.address()]);
    assert_eq!(stagedoor.service("b")["discovery"]["left_out"], json!(words));
    for _ in 0..4 {
        assert_eq!(served(one), b"1", "through both to the target");
    }

    // By a name, and with nobody else to go to: refused, not sent round and round.
    directory.lists("/b", &[at("localhost", one)]);
    eventually("the target has left", || stagedoor.targets("b").is_empty().then_some(()));
    assert_eq!((served(one), served(two)), (Vec::new(), Vec::new()));
    let accepted = stagedoor.service("b")["accepted"].as_u64().unwrap();
    assert_eq!(accepted, 4 + 2, "each client came to it once");

    // Whoever is in force stays, and is back when the circle is open elsewhere.
    directory.lists("/a", &[target.address()]);
    eventually("it is in force", || {
        (stagedoor.targets("b") == [at("localhost", one)]).then_some(())
    });
    assert_eq!(served(two), b"1");
    assert_eq!(stagedoor.service("b")["discovery"]["left_out"], Value::Null);
    directory.lists("/a", &[at("127.0.0.1", two), target.address()]);
    stagedoor.logged("through service \"b\" back to this one");
    assert_eq!(stagedoor.targets("a"), [target.address()]);
    assert_eq!(stagedoor.targets("b"), [at("localhost", one)]);
    let told = |words: &str| stagedoor.log().iter().filter(|line| line.contains(words)).count();
    assert_eq!(told(&words), 1, "{:?}", stagedoor.log());
}

#[test]
fn a_name_that_comes_to_stand_for_this_machine_is_left_out_then() {
    in_own_network(|| {
        let (directory, target, listen) = (Directory::new(), Target::numbered(1), free_port());
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts");
        std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
        let bind = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        let wrapper = ["unshare", "-m", "sh", "-c", bind, hosts.to_str().unwrap()];
        let moving = format!("moving.test:{listen}");
        directory.lists("/a", &[moving.clone(), target.address()]);
        let definition = definition("a", listen, &directory);
        let stagedoor = Stagedoor::run_under(&wrapper, &[&definition], &[]);
        assert_eq!(stagedoor.targets("a"), [moving.clone(), target.address()]);
        std::fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.2 moving.test\n").unwrap();
        eventually("it is left out", || {
            (stagedoor.targets("a") == [target.address()]).then_some(())
        });
        stagedoor.logged(&format!("{moving} is this service itself"));
        assert_eq!(served(listen), b"1");
    });
}

#[test]
fn a_circle_of_written_targets_through_several_services_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [free_port(), free_port(), free_port()];
    for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
        let next = format!("127.0.0.1:{}", ports[(index + 1) % 3]);
        let text = json!({
            "name": name, "listen_port": ports[index], "proxy": { "target_url": next },
        });
        std::fs::write(folder.path().join(format!("{name}.json")), text.to_string()).unwrap();
    }
    let files = ["validate", "a.json", "b.json", "c.json"];
    let output = crate::harness::stagedoor::stagedoor(&files, folder.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("a sends to b, whose connections come back to a"), "{said}");
}
