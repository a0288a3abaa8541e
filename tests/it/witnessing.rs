//! `witness`: nobody leads without the agreement of enough of them, on the real binary; with real
//! Sentinels, and with scripted ones that can be made to say anything.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::definitions::refused;
use crate::harness::eventually::eventually;
use crate::harness::page;
use crate::harness::port::free_port;
use crate::harness::redis::{Client, Redis};
use crate::harness::sentinel::{Haste, MASTER, Sentinels};
use crate::harness::speaker::{Actor, Then, say, speaker};
use crate::harness::stagedoor::{Stagedoor, stagedoor};
use crate::harness::target::Target;

/// The page's definition, and these witnesses, of which two must agree.
fn definition(listen: u16, targets: &[String], witnesses: &[String]) -> Value {
    let targets: Vec<_> = targets.iter().map(|target| target.parse().unwrap()).collect();
    let mut definition = page::definition(listen, &targets);
    let each: Vec<Value> = witnesses.iter().map(|address| json!({ "url": address })).collect();
    definition["uptime_tests"]["witness"] = json!({
        "agree": 2,
        "check_list": each,
        "commands": [
            { "name": "send", "message": format!("SENTINEL get-master-addr-by-name {MASTER}\r\n") },
            { "name": "expect", "message": "\r\n${target.host}\r\n" },
            { "name": "expect", "message": "\r\n${target.port}\r\n" },
        ],
    });
    definition
}

/// A witness that speaks as a Sentinel, and names whom it is told to; nobody: it says nothing.
struct Scripted {
    target: Target,
    names: Arc<Mutex<Option<String>>>,
}

impl Scripted {
    fn naming(whom: &Actor) -> Self {
        let names = Arc::new(Mutex::new(Some(whom.address())));
        let told = Arc::clone(&names);
        let target = speaker(move |stream, _| {
            let named = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(named) = named else { return Then::Listen };
            let (host, port) = named.rsplit_once(':').unwrap();
            let answer =
                format!("*2\r\n${}\r\n{host}\r\n${}\r\n{port}\r\n", host.len(), port.len());
            say(stream, answer.as_bytes())
        });
        Self { target, names }
    }

    fn names(&self, whom: Option<&Actor>) {
        let whom = whom.map(Actor::address);
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = whom;
    }
}

fn started(listen: u16, targets: [&Actor; 2], witnesses: &[Scripted; 3]) -> Stagedoor {
    let witnesses = witnesses.each_ref().map(|one| one.target.address());
    Stagedoor::run(&definition(listen, &targets.map(Actor::address), &witnesses))
}

fn service(stagedoor: &Stagedoor) -> Value {
    stagedoor.json(&["status"])["services"][0].clone()
}

/// Waits for a standing alarm that holds this text.
#[track_caller]
fn alarmed(stagedoor: &Stagedoor, text: &str) {
    eventually(&format!("an alarm says {text:?}"), || {
        let alarms = service(stagedoor)["alarms"].clone();
        let alarms = alarms.as_array().unwrap().clone();
        alarms.iter().any(|alarm| alarm.as_str().unwrap().contains(text)).then_some(())
    });
}

#[test]
fn two_claimants_at_the_start_are_told_apart_by_their_witnesses() {
    let (one, two, listen) = (Actor::playing("master"), Actor::playing("master"), free_port());
    let witnesses = [&two, &one, &two].map(Scripted::naming);
    let stagedoor = started(listen, [&one, &two], &witnesses);
    let line = stagedoor.logged(&format!("target {} leads", two.address()));
    assert!(line.contains("its witnesses agree about it alone"), "{line}");
    let shown = service(&stagedoor);
    assert_eq!((&shown["leader"], &shown["witnesses_needed"]), (&json!(two.address()), &json!(2)));
    let of_two = &shown["targets"][1]["witnesses"];
    assert_eq!((&of_two[0]["says"], &of_two[1]["says"]), (&json!("agrees"), &json!("disagrees")));
    assert_eq!(of_two[1]["address"], witnesses[1].target.address());
    let text = String::from_utf8(stagedoor.command(&["status"]).stdout).unwrap();
    assert!(text.contains("leads, 2 of 3 witnesses"), "{text}");
    let tree = String::from_utf8(stagedoor.command(&["tree"]).stdout).unwrap();
    let checker = format!("/{} for {}", witnesses[0].target.address(), two.address());
    assert!(tree.contains(&checker), "{tree}");
}

#[test]
fn a_promoted_target_waits_until_enough_witnesses_name_it_and_then_takes_over() {
    let (old, new, listen) = (Actor::playing("master"), Actor::playing("slave"), free_port());
    let witnesses = [&old, &old, &old].map(Scripted::naming);
    let stagedoor = started(listen, [&old, &new], &witnesses);
    stagedoor.logged(&format!("target {} leads", old.address()));
    new.plays("master");
    stagedoor.logged(&format!("target {} is up", new.address()));
    witnesses[0].names(Some(&new));
    alarmed(&stagedoor, &format!("{} was promoted, and waits: only 1 of the 2", new.address()));
    assert_eq!(service(&stagedoor)["leader"], old.address());
    witnesses[1].names(Some(&new));
    let line = stagedoor.logged(&format!("target {} leads", new.address()));
    assert!(line.contains("leads: ") && !stagedoor.log().join("\n").contains("panicked"), "{line}");
}

#[test]
fn a_leader_that_too_few_witnesses_stand_for_leads_no_more_until_they_are_back() {
    let (old, new, listen) = (Actor::playing("master"), Actor::playing("slave"), free_port());
    let witnesses = [&old, &old, &old].map(Scripted::naming);
    let stagedoor = started(listen, [&old, &new], &witnesses);
    let mut client = {
        stagedoor.logged(&format!("target {} leads", old.address()));
        Client::connect(listen)
    };
    assert_eq!(client.call("PING"), "+PONG");
    // Cut off together with the old leader: it answers, most of the others do not.
    witnesses[0].names(None);
    witnesses[1].names(None);
    let line = stagedoor.logged("nobody leads: too few witnesses agree about the one before");
    assert!(line.contains("error"), "{line}");
    assert!(client.is_closed(), "its sessions are cut");
    alarmed(&stagedoor, "nobody leads: ");
    let mark = stagedoor.mark();
    witnesses[1].names(Some(&old));
    stagedoor.logged_after(mark, &format!("target {} leads", old.address()));
    // Divided, each about another.
    witnesses[1].names(Some(&new));
    alarmed(&stagedoor, "the witnesses disagree, each about another");
}

#[test]
fn probe_and_validate_show_the_witnesses() {
    let (one, two) = (Actor::playing("master"), Actor::playing("slave"));
    let witness = Scripted::naming(&one);
    let mut written =
        definition(free_port(), &[one.address(), two.address()], &[witness.target.address()]);
    written["uptime_tests"]["witness"]["agree"] = json!(1);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f.json"), written.to_string()).unwrap();
    let output = stagedoor(&["validate", "f.json"], folder.path());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("witnesses  1 of 1 must agree before a target may lead\n"), "{said}");
    let output = stagedoor(&["probe", "f.json", "--target", &one.address()], folder.path());
    let said = String::from_utf8(output.stdout).unwrap();
    let asked = format!("{} about {}", witness.target.address(), one.address());
    assert!(output.status.success() && said.contains(&asked), "{said}");
    let output =
        stagedoor(&["probe", "f.json", "--json", "--target", &two.address()], folder.path());
    let said = String::from_utf8(output.stdout).unwrap();
    let run: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((&run["witness"], &run["verdict"]), (&json!(true), &json!("failed")), "{said}");
}

/// A master, its replica, three Sentinels that watch them, and a proxy that asks them.
struct Real {
    old: Redis,
    new: Redis,
    sentinels: Sentinels,
    stagedoor: Stagedoor,
    listen: u16,
}

impl Real {
    fn start() -> Self {
        let (old, listen) = (Redis::master(), free_port());
        let new = Redis::replica_of(&old);
        let period = Some(Duration::from_millis(500));
        let sentinels =
            Sentinels::watching(&old, Haste { down_after: Duration::from_secs(60), period });
        let targets = [&old, &new].map(|redis| redis.address().to_string());
        let witnesses: Vec<String> =
            sentinels.addresses().iter().map(ToString::to_string).collect();
        let stagedoor = Stagedoor::run(&definition(listen, &targets, &witnesses));
        stagedoor.logged(&format!("target {} leads", old.address()));
        eventually("all three agree", || {
            let text = String::from_utf8(stagedoor.command(&["status"]).stdout).unwrap();
            text.contains("leads, 3 of 3 witnesses").then_some(())
        });
        Self { old, new, sentinels, stagedoor, listen }
    }
}

#[test]
fn real_sentinels_confirm_a_failover() {
    let real = Real::start();
    real.sentinels.fail_over();
    real.stagedoor.logged(&format!("target {} leads", real.new.address()));
    let named = real.sentinels.believe();
    assert!(named.iter().filter(|one| **one == real.new.address()).count() >= 2, "{named:?}");
    let mut client = Client::connect(real.listen);
    assert_eq!(client.call("SET a b"), "+OK");
    assert_eq!(real.new.call("GET a"), "b");
}

#[test]
fn a_replica_that_calls_itself_a_master_does_not_lead_while_real_sentinels_do_not_say_so() {
    let Real { old, new, stagedoor, .. } = &Real::start();
    let mark = stagedoor.mark();
    // As one does that has lost its memory. After a while the Sentinels make it a replica again.
    new.promote();
    stagedoor.logged_after(mark, &format!("target {} is up", new.address()));
    alarmed(stagedoor, &format!("{} was promoted, and waits: only 0 of the 2", new.address()));
    stagedoor.logged_after(mark, &format!("target {} is down", new.address()));
    assert_eq!(service(stagedoor)["leader"], old.address().to_string());
    assert!(!stagedoor.log().join("\n").contains(&format!("target {} leads", new.address())));
}

#[test]
fn witnesses_are_asked_about_targets_and_can_agree() {
    let check = |witness: &str, expected: &[&str]| {
        let text = format!(
            "{{ \"listen_port\": 1, \"proxy\": {{ \"target_list\": [\"a:1\", \"b:1\"],\n\
             \"enable_load_balancing\": true, \"check_host_against_uptime_tests\": true,\n\
             \"balance\": \"leader\" }}, \"uptime_tests\": {{ \"commands\": [\n\
             {{ \"name\": \"send\", \"message\": \"ROLE\\r\\n\" }},\n\
             {{ \"name\": \"expect\", \"message\": \"master\" }} ],\n\
             \"witness\": {witness} }} }}"
        );
        refused("f.json", &text, &[&["f.json:6:", "uptime_tests.witness"], expected].concat());
    };
    let one =
        r#"{ "url": "w:1", "commands": [{ "name": "expect", "message": "${target.host}" }] }"#;
    let other = one.replace("w:1", "v:1");
    check("{}", &["check_list"]);
    check("{ \"check_list\": [] }", &["witness.check_list", "there is no witness"]);
    let listed = |agree: u32| format!("{{ \"agree\": {agree}, \"check_list\": [{one}, {other}] }}");
    check(&listed(3), &["witness.agree", "3 of 2 witnesses can never agree", "write 2"]);
    check(&listed(0), &["witness.agree"]);
    check(
        &format!("{{ \"check_list\": [{one}, {one}] }}"),
        &["check_list[1].url", "w:1 is a witness already, and has one voice"],
    );
    check(
        "{ \"check_list\": [{ \"url\": \"w:1\" }] }",
        &["check_list[0]", "the witness has no script: it would agree with everybody"],
    );
    check(
        "{ \"check_list\": [{ \"url\": \"http://w:1/\", \"commands\": [] }] }",
        &["check_list[0].url"],
    );
    check(
        "{ \"commands\": [{ \"name\": \"expect\", \"message\": \"${capture.x}\" }], \"check_list\": [{ \"url\": \"w:1\" }] }",
        &["witness.commands[0].message", "nothing before this captures `x`"],
    );
}
