//! Webhooks in trouble: receivers that are away, hang or are not believed, couriers that fall, and
//! what is told of it.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::harness::eventually::eventually;
use crate::harness::identity::{Asks, Authority, server_config};
use crate::harness::port::free_port;
use crate::harness::receiver::{Receiver, SecureReceiver, say};
use crate::harness::stagedoor::Stagedoor;
use crate::telling::{Patient, definition, is, shows, webhook};

fn webhooks(stagedoor: &Stagedoor) -> Value {
    stagedoor.status()["services"][0]["webhooks"].clone()
}

#[test]
fn a_receiver_that_hangs_holds_up_no_other_and_no_check() {
    let (patient, well) = (Patient::new(true), Receiver::new());
    let hangs = Receiver::answering(|stream, _| {
        let mut nothing = [0; 1];
        drop(stream.read(&mut nothing));
    });
    let mut stuck = webhook(&hangs.url("/"));
    stuck["handler_meta"]["timeout"] = json!("200ms");
    let fine = webhook(&well.url("/"));
    let events = json!({ "HostDown": [stuck, fine], "HostUp": [fine] });
    let stagedoor = Stagedoor::run(&definition(&patient, events));
    is(&stagedoor, "up");
    for round in 1..=3 {
        patient.is_well(false);
        assert_eq!(well.bodies(2 * round - 1)[2 * round - 2]["event"], "HostDown");
        patient.is_well(true);
        assert_eq!(well.bodies(2 * round)[2 * round - 1]["event"], "HostUp");
    }
    eventually("its deadline passes", || {
        (webhooks(&stagedoor)[0]["failure"] == "no answer within 200ms").then_some(())
    });
    assert_eq!(webhooks(&stagedoor)[0]["delivered"], 0);
    // One at a time: the second try of the first event comes before the first of the second.
    eventually("a second try", || (hangs.sent().len() >= 2).then_some(()));
    let since = |nth: usize| serde_json::from_str::<Value>(&hangs.sent()[nth].body).unwrap();
    assert_eq!(since(0)["since"], since(1)["since"]);
}

/// It goes down three times, and its webhook does not answer.
fn three_events_wait(patient: &Patient, stagedoor: &Stagedoor) {
    for count in 1..=3 {
        patient.is_well(false);
        shows(stagedoor, 0, "waiting", count);
        patient.is_well(true);
        is(stagedoor, "up");
    }
}

#[test]
fn what_waits_for_a_receiver_that_is_away_comes_in_order_when_it_is_back() {
    let patient = Patient::new(true);
    let receiver = Receiver::answering(|_, _| {});
    let hook = webhook(&receiver.url("/"));
    let stagedoor = Stagedoor::run(&definition(&patient, json!({ "HostDown": [hook] })));
    is(&stagedoor, "up");
    three_events_wait(&patient, &stagedoor);
    let taken = Arc::new(Mutex::new(0));
    receiver.answers({
        let taken = Arc::clone(&taken);
        move |stream, nth| {
            *taken.lock().unwrap_or_else(PoisonError::into_inner) = nth;
            say(stream, 200);
        }
    });
    shows(&stagedoor, 0, "delivered", 3);
    let last = *taken.lock().unwrap_or_else(PoisonError::into_inner);
    let since: Vec<_> =
        receiver.bodies(3)[last - 3..].iter().map(|it| it["since"].clone()).collect();
    assert!(since.is_sorted_by_key(|it| it.to_string()) && since[0] != since[2], "{since:?}");
}

#[test]
fn within_a_cool_down_an_event_is_held_and_skipped_where_it_is_true_no_more() {
    let (patient, receiver) = (Patient::new(true), Receiver::new());
    let mut hook = webhook(&receiver.url("/"));
    hook["handler_meta"]["event_timeout"] = json!(3600);
    let stagedoor = Stagedoor::run(&definition(&patient, json!({ "HostDown": [hook] })));
    is(&stagedoor, "up");
    patient.is_well(false);
    shows(&stagedoor, 0, "delivered", 1);
    patient.is_well(true);
    is(&stagedoor, "up");
    patient.is_well(false);
    shows(&stagedoor, 0, "held", 1);
    patient.is_well(true);
    shows(&stagedoor, 0, "skipped", 1);
    patient.is_well(false);
    shows(&stagedoor, 0, "held", 1);
    assert_eq!(receiver.sent().len(), 1);
    // A shorter one holds from the reload on.
    hook_again(&stagedoor, &patient, &receiver, json!({ "event_timeout": 0 }));
    shows(&stagedoor, 0, "delivered", 2);
}

/// Reloads with another HostDown webhook at the same receiver.
fn hook_again(stagedoor: &Stagedoor, patient: &Patient, receiver: &Receiver, meta: Value) {
    let mut hook = webhook(&receiver.url("/"));
    for (key, value) in meta.as_object().unwrap() {
        hook["handler_meta"][key] = value.clone();
    }
    let mut new = definition(patient, json!({ "HostDown": [hook] }));
    let old: Value =
        serde_json::from_str(&std::fs::read_to_string(stagedoor.file()).unwrap()).unwrap();
    new["listen_port"] = old["listen_port"].clone();
    std::fs::write(stagedoor.file(), new.to_string()).unwrap();
    let changes = stagedoor.json(&["reload"])["changes"].to_string();
    assert!(changes.contains("who is told of events changed"), "{changes}");
}

#[test]
fn a_body_of_ones_own_is_escaped_and_shows_no_secret() {
    let (patient, receiver) = (Patient::new(true), Receiver::new());
    let folder = tempfile::tempdir().unwrap();
    let (template, token) = (folder.path().join("t.json"), folder.path().join("token"));
    std::fs::write(&token, "hunter2\n").unwrap();
    let text = r#"{"text": "${service} ${event}: ${reason}", "key": "${file:token}"}"#;
    std::fs::write(&template, text).unwrap();
    let mut hook = webhook(&receiver.url("/T0/hunter3?x=hunter4"));
    hook["handler_meta"]["template_path"] = json!(template);
    hook["handler_meta"]["method"] = json!("put");
    hook["handler_meta"]["header_map"] =
        json!({ "Authorization": format!("Bearer ${{file:{}}}", token.display()) });
    let stagedoor = Stagedoor::run(&definition(&patient, json!({ "HostDown": [hook] })));
    is(&stagedoor, "up");
    receiver.answers(|stream, _| say(stream, 302));
    patient.is_well(false);
    let body = &receiver.bodies(1)[0];
    let reason = r#"step 2 expect "+PONG": the reply is an error (heard "-SICK\r\n")"#;
    assert_eq!(*body, json!({ "text": format!("redis HostDown: {reason}"), "key": "hunter2" }));
    let head = receiver.sent()[0].head.clone();
    assert!(head.starts_with("PUT /T0/hunter3?x=hunter4 HTTP/1.1\n"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer hunter2"), "{head}");
    stagedoor.logged("it answered with status 302, and no redirect is followed");
    let said = stagedoor.log().join("\n") + &stagedoor.status().to_string();
    assert!(!said.contains("hunter"), "{said}");
}

#[test]
fn a_receiver_of_https_is_told_only_if_it_is_believed() {
    let authority = Authority::new();
    let config = || server_config(&authority.sign(&["127.0.0.1"]), Asks::Nothing);
    let (patient, receiver) = (Patient::new(true), SecureReceiver::new(config()));
    let stranger = SecureReceiver::new(config());
    let mut known = webhook(&receiver.url("127.0.0.1"));
    known["handler_meta"]["transport"] = json!({ "ssl_ca": authority.file() });
    let unknown = webhook(&stranger.url("127.0.0.1"));
    let events = json!({ "HostDown": [known, unknown] });
    let stagedoor = Stagedoor::run(&definition(&patient, events));
    is(&stagedoor, "up");
    patient.is_well(false);
    shows(&stagedoor, 0, "delivered", 1);
    assert!(receiver.sent()[0].body.contains("HostDown"), "{:?}", receiver.sent());
    let failure = eventually("it fails", || {
        let failure = webhooks(&stagedoor)[1]["failure"].clone();
        failure.as_str().map(str::to_owned)
    });
    assert!(failure.contains("whom nobody here trusts"), "{failure}");
    assert!(stranger.sent().is_empty());
}

#[test]
fn another_leader_is_told_of_with_who_led_and_why() {
    let (one, two, receiver) = (Patient::new(true), Patient::new(false), Receiver::new());
    let events = json!({ "LeaderChanged": [webhook(&receiver.url("/"))] });
    let mut led = definition(&one, events);
    let addresses = [one.target.address(), two.target.address()];
    led["listen_port"] = json!(free_port());
    led["proxy"] = json!({ "balance": "leader", "enable_load_balancing": true, "target_list": [
        { "url": addresses[0], "name": "one" }, { "url": addresses[1], "name": "two" },
    ] });
    let commands = led["uptime_tests"]["check_list"][0]["commands"].clone();
    led["uptime_tests"]["check_list"] =
        json!(addresses.each_ref().map(|url| json!({ "url": url, "commands": commands })));
    let stagedoor = Stagedoor::run(&led);
    let leads = |name: Value| {
        eventually("it leads", || {
            (stagedoor.status()["services"][0]["leader"] == name).then_some(())
        });
    };
    leads(json!("one"));
    one.is_well(false);
    leads(Value::Null);
    two.is_well(true);
    leads(json!("two"));
    let bodies = receiver.bodies(2);
    let said =
        |body: &Value| ["event", "message", "from", "to", "target"].map(|key| body[key].clone());
    assert_eq!(said(&bodies[0]), ["LeaderChanged", "Nobody leads", "one", "", ""]);
    assert_eq!(said(&bodies[1]), ["LeaderChanged", "Leader changed", "one", "two", "two"]);
    let reason = bodies[0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("the leader is down and nobody takes its place: step 2"),
        "{reason}"
    );
    assert_eq!(bodies[1]["address"], addresses[1]);
    assert_eq!(receiver.sent().len(), 2, "who led first after the start is no news");
}

#[test]
fn what_waits_at_the_stop_is_still_sent() {
    let patient = Patient::new(true);
    let receiver = Receiver::answering(|stream, nth| say(stream, if nth == 1 { 503 } else { 200 }));
    let hook = webhook(&receiver.url("/"));
    let mut stagedoor = Stagedoor::run(&definition(&patient, json!({ "HostDown": [hook] })));
    is(&stagedoor, "up");
    patient.is_well(false);
    receiver.bodies(1);
    stagedoor.signal(rustix::process::Signal::TERM);
    assert!(stagedoor.ended().success());
    assert_eq!(receiver.sent().len(), 2, "the second try came before the end");
}

#[cfg(feature = "chaos")]
#[test]
fn a_courier_that_falls_loses_nothing_that_waited() {
    let patient = Patient::new(true);
    let receiver = Receiver::answering(|stream, _| say(stream, 503));
    let hook = webhook(&receiver.url("/"));
    let stagedoor = Stagedoor::run(&definition(&patient, json!({ "HostDown": [hook] })));
    is(&stagedoor, "up");
    three_events_wait(&patient, &stagedoor);
    for fault in ["panic", "stop", "wedge"] {
        eventually("it is hit", || stagedoor.hit("courier", fault).then_some(()));
    }
    receiver.answers(|stream, _| say(stream, 200));
    shows(&stagedoor, 0, "delivered", 3);
    assert!(stagedoor.component("courier").restarts >= 2);
}
