//! Event handlers: who is told of a target going down or coming up, of what, and in which order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::receiver::{Receiver, say};
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

/// A target that is well or not, as the test says.
pub(crate) struct Patient {
    pub(crate) target: Target,
    is_well: Arc<AtomicBool>,
}

impl Patient {
    pub(crate) fn new(is_well: bool) -> Self {
        let is_well = Arc::new(AtomicBool::new(is_well));
        Self { target: Target::checked(Arc::clone(&is_well)), is_well }
    }

    pub(crate) fn is_well(&self, is_well: bool) {
        self.is_well.store(is_well, Ordering::Relaxed);
    }
}

/// A webhook at this URL.
pub(crate) fn webhook(url: &str) -> Value {
    json!({ "handler_name": "eh_web_hook_handler", "handler_meta": { "target_path": url } })
}

/// A service whose target answers `PING`, and these handlers.
pub(crate) fn definition(patient: &Patient, events: Value) -> Value {
    let address = patient.target.address();
    json!({
        "name": "redis", "listen_port": free_port(), "listen_address": "127.0.0.1",
        "protocol": "tcp", "api_id": "a1",
        "proxy": { "target_list": [{ "url": address, "name": "redis-1" }] },
        "check_host_against_uptime_tests": true,
        "uptime_tests": {
            "check_list": [{ "url": address, "commands": [
                { "name": "send", "message": "PING\r\n" }, { "name": "expect", "message": "+PONG" },
            ] }],
            "config": { "interval": "20ms", "fast_interval": "20ms", "fall": 1, "rise": 1,
                        "fall_rejected": 1 },
        },
        "event_handlers": { "events": events },
    })
}

/// Waits until the target's health is this.
pub(crate) fn is(stagedoor: &Stagedoor, health: &str) {
    eventually(health, || {
        let shown = stagedoor.status()["services"][0]["targets"][0]["health"].clone();
        (shown == health).then_some(())
    });
}

/// Waits until a field of what `status` says of a webhook is this.
pub(crate) fn shows(stagedoor: &Stagedoor, index: usize, field: &str, expected: u64) {
    eventually(field, || {
        let shown = stagedoor.status()["services"][0]["webhooks"][index][field].clone();
        (shown == expected).then_some(())
    });
}

fn both(receiver: &Receiver) -> Value {
    let hook = webhook(&receiver.url("/hook"));
    json!({ "HostDown": [hook], "HostUp": [hook] })
}

/// Takes the times out, which are RFC 3339 and not before each other.
fn timeless(mut body: Value) -> Value {
    let mut take = |key: &str| {
        let time = body.as_object_mut().unwrap().remove(key).unwrap();
        humantime::parse_rfc3339(time.as_str().unwrap()).unwrap()
    };
    let (since, time) = (take("since"), take("time"));
    assert!(since <= time, "{since:?} {time:?}");
    body
}

#[test]
fn a_target_that_goes_down_and_comes_up_is_told_of_once_each_with_tyks_fields_and_ours() {
    let (patient, receiver) = (Patient::new(true), Receiver::new());
    let stagedoor = Stagedoor::run(&definition(&patient, both(&receiver)));
    is(&stagedoor, "up");
    patient.is_well(false);
    let down = receiver.bodies(1)[0].clone();
    patient.is_well(true);
    let up = receiver.bodies(2)[1].clone();
    let address = patient.target.address();
    let reason = r#"step 2 expect "+PONG": the reply is an error (heard "-SICK\r\n")"#;
    let expected = |event: &str, message: &str, [from, to, reason]: [&str; 3]| {
        json!({
            "event": event, "message": message, "url": format!("tcp://{address}"),
            "response_code": "0", "tcp_error": (to == "down").to_string(), "host": "127.0.0.1",
            "api_id": "a1", "service": "redis", "target": "redis-1", "address": address,
            "from": from, "to": to, "reason": reason,
        })
    };
    let failed = expected("HostDown", "Uptime test failed", ["up", "down", reason]);
    assert_eq!(timeless(down), failed);
    let passed = expected("HostUp", "Uptime test succeeded", ["down", "up", "passed"]);
    assert_eq!(timeless(up), passed);
    let head = receiver.sent()[0].head.to_lowercase();
    assert!(head.starts_with("post /hook http/1.1\n"), "{head}");
    for header in ["content-type: application/json", "user-agent: stagedoor", "connection: close"] {
        assert!(head.contains(header), "{header} in {head}");
    }
    shows(&stagedoor, 0, "delivered", 1);
    shows(&stagedoor, 1, "delivered", 1);
    assert_eq!(receiver.sent().len(), 2, "once each, however many checks have failed");
}

#[test]
fn a_target_that_is_down_at_the_start_is_told_of_and_one_that_is_up_is_not() {
    let (patient, receiver) = (Patient::new(false), Receiver::new());
    let _stagedoor = Stagedoor::run(&definition(&patient, both(&receiver)));
    let down = &receiver.bodies(1)[0];
    assert_eq!((&down["event"], &down["from"]), (&json!("HostDown"), &json!("unknown")));

    let (patient, receiver) = (Patient::new(true), Receiver::new());
    let stagedoor = Stagedoor::run(&definition(&patient, both(&receiver)));
    is(&stagedoor, "up");
    patient.is_well(false);
    assert_eq!(receiver.bodies(1)[0]["event"], "HostDown", "nothing was said before");
}

#[test]
fn the_log_is_told_at_once_with_its_prefix() {
    let patient = Patient::new(true);
    let log = |prefix: &str| json!([{ "handler_name": "eh_log_handler", "handler_meta": { "prefix": prefix } }]);
    let events = json!({ "HostDown": log("pager"), "HostUp": log("") });
    let stagedoor = Stagedoor::run(&definition(&patient, events));
    is(&stagedoor, "up");
    patient.is_well(false);
    let line = stagedoor.logged("pager: HostDown: target redis-1 is down: step 2 expect");
    assert!(line.contains(" warn ") && line.contains("service=redis"), "{line}");
    patient.is_well(true);
    let line = stagedoor.logged(" HostUp: target redis-1 is up: passed");
    assert!(line.contains(" info "), "{line}");
}

#[test]
fn a_receiver_that_fails_is_asked_again_and_what_it_refuses_is_not() {
    let patient = Patient::new(true);
    let receiver = Receiver::answering(|stream, nth| say(stream, if nth == 1 { 500 } else { 200 }));
    let stagedoor = Stagedoor::run(&definition(&patient, both(&receiver)));
    is(&stagedoor, "up");
    patient.is_well(false);
    shows(&stagedoor, 0, "delivered", 1);
    let bodies = receiver.bodies(2);
    assert_eq!(bodies[0]["since"], bodies[1]["since"], "the same event");
    let shown = stagedoor.status()["services"][0]["webhooks"][0].clone();
    assert_eq!((&shown["failed"], &shown["waiting"]), (&json!(0), &json!(0)));
    assert_eq!(shown["failure"], "it answered with status 500");

    receiver.answers(|stream, _| say(stream, 404));
    patient.is_well(true);
    shows(&stagedoor, 1, "failed", 1);
    let line = stagedoor.logged("not delivered after 1 try: it answered with status 404: HostUp");
    assert!(line.contains(" warn ") && !line.contains("/hook"), "{line}");
    assert_eq!(receiver.sent().len(), 3);
}

#[test]
fn a_reload_tells_of_no_target_that_stays_and_of_none_that_leaves() {
    let (patient, receiver) = (Patient::new(false), Receiver::new());
    let mut written = definition(&patient, both(&receiver));
    let stagedoor = Stagedoor::run(&written);
    receiver.bodies(1);
    let reload = |definition: &Value| {
        std::fs::write(stagedoor.file(), definition.to_string()).unwrap();
        stagedoor.json(&["reload"])["generation"].as_u64().unwrap()
    };
    written["uptime_tests"]["config"]["interval"] = json!("30ms");
    assert_eq!(reload(&written), 2);
    is(&stagedoor, "down");
    let other = Patient::new(true);
    let mut moved = definition(&other, both(&receiver));
    moved["listen_port"] = written["listen_port"].clone();
    assert_eq!(reload(&moved), 3);
    is(&stagedoor, "up");
    assert_eq!(reload(&written), 4);
    assert_eq!(receiver.bodies(2)[1]["event"], "HostDown", "it is there anew");
    // Nobody holds it to be down any more.
    written["uptime_tests"] = json!({ "check_list": [] });
    assert_eq!(reload(&written), 5);
    let up = &receiver.bodies(3)[2];
    assert_eq!(
        (&up["event"], &up["from"], &up["to"]),
        (&json!("HostUp"), &json!("down"), &json!("up"))
    );
    assert_eq!(up["reason"], "the check that failed is not made any more");
    assert_eq!(receiver.sent().len(), 3);
}
