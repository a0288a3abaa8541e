//! `rank`: which of several that claim the lead has it, on the real binary.

use serde_json::{Value, json};

use crate::definitions::refused;
use crate::harness::port::free_port;
use crate::harness::speaker::Actor;
use crate::harness::stagedoor::{Stagedoor, stagedoor};

/// The answer of a master at this offset.
fn at_offset(offset: &str) -> String {
    let body = format!("# Replication\r\nrole:master\r\nmaster_repl_offset:{offset}\r\n");
    format!("${}\r\n{body}\r\n", body.len())
}

fn definition(listen: u16, targets: &[&Actor]) -> Value {
    let addresses: Vec<String> = targets.iter().map(|target| target.address()).collect();
    json!({
        "name": "ranked",
        "listen_port": listen,
        "enable_load_balancing": true,
        "check_host_against_uptime_tests": true,
        "proxy": { "target_list": addresses, "balance": "leader" },
        "uptime_tests": {
            "commands": [
                { "name": "send", "message": "INFO replication\r\n" },
                { "name": "expect", "message": "role:master" },
                { "name": "expect_regex", "message": "master_repl_offset:(?<offset>[^\\r]*)\\r" },
            ],
            "rank": "${capture.offset}",
        },
    })
}

fn validate(running: &Stagedoor) -> String {
    let file = running.file();
    let output = stagedoor(&["validate", file.to_str().unwrap()], file.parent().unwrap());
    String::from_utf8(output.stdout).unwrap()
}

fn alarm(stagedoor: &Stagedoor) -> Value {
    stagedoor.json(&["status"])["services"][0]["alarms"][0].clone()
}

#[test]
fn of_two_claimants_at_the_start_the_one_with_the_higher_rank_leads() {
    let (one, two, listen) = (Actor::playing("master"), Actor::playing("master"), free_port());
    // As floating-point numbers, and as texts, these two would be told apart wrongly.
    one.says(at_offset("9007199254740993").as_bytes());
    two.says(at_offset("9007199254740992").as_bytes());
    let stagedoor = Stagedoor::run(&definition(listen, &[&one, &two]));
    let line = stagedoor.logged(&format!("target {} leads", one.address()));
    assert!(line.contains("it has the highest rank of those that claim the lead"), "{line}");
    let service = &stagedoor.json(&["status"])["services"][0];
    assert_eq!(service["targets"][0]["rank"], "9007199254740993");
    let text = String::from_utf8(stagedoor.command(&["status"]).stdout).unwrap();
    assert!(text.contains("leads, rank 9007199254740993"), "{text}");
    let validated = validate(&stagedoor);
    assert!(validated.contains("  rank       ${capture.offset}\n"), "{validated}");
    // The other one passes it, and waits all the same.
    two.says(at_offset("9007199254740994").as_bytes());
    stagedoor.ranked(1, "9007199254740994");
    assert_eq!(stagedoor.json(&["status"])["services"][0]["leader"], one.address());
}

#[test]
fn equal_ranks_are_nobody_with_an_alarm_until_one_moves_on() {
    let (one, two, listen) = (Actor::playing("master"), Actor::playing("master"), free_port());
    one.says(at_offset("77").as_bytes());
    two.says(at_offset("77").as_bytes());
    let stagedoor = Stagedoor::run(&definition(listen, &[&one, &two]));
    let line = stagedoor.logged("all claim the lead and several have the highest rank, 77");
    assert!(line.contains("error"), "{line}");
    let shown = alarm(&stagedoor);
    assert!(shown.as_str().unwrap().contains("several have the highest rank, 77"), "{shown}");
    two.says(at_offset("no number").as_bytes());
    stagedoor.ranked(1, "");
    let shown = alarm(&stagedoor);
    assert!(
        shown.as_str().unwrap().contains(&format!("{} gave no rank", two.address())),
        "{shown}"
    );
    two.says(at_offset("78").as_bytes());
    stagedoor.logged(&format!("target {} leads", two.address()));
    let shown = alarm(&stagedoor);
    assert!(shown.as_str().unwrap().contains("has it and keeps it"), "{shown}");
}

impl Stagedoor {
    /// Waits until `status` shows this rank of a target; an empty one: none.
    #[track_caller]
    fn ranked(&self, target: usize, rank: &str) {
        crate::harness::eventually::eventually(&format!("rank {rank:?}"), || {
            let shown = self.json(&["status"])["services"][0]["targets"][target]["rank"].clone();
            (shown.as_str().unwrap_or_default() == rank).then_some(())
        });
    }
}

#[test]
fn a_rank_is_made_of_what_a_check_captures() {
    let check = |rank: &str, expected: &[&str]| {
        let text = format!(
            "{{ \"listen_port\": 1, \"proxy\": {{ \"target_list\": [\"a:1\", \"b:1\"],\n\
             \"enable_load_balancing\": true, \"check_host_against_uptime_tests\": true,\n\
             \"balance\": \"leader\" }}, \"uptime_tests\": {{ \"commands\": [\n\
             {{ \"name\": \"send\", \"message\": \"INFO\\r\\n\" }},\n\
             {{ \"name\": \"expect_regex\", \"message\": \"at:(?<offset>[0-9]+);\" }} ],\n\
             \"rank\": \"{rank}\" }} }}"
        );
        refused("f.json", &text, &[&["f.json:6:9", "uptime_tests.rank"], expected].concat());
    };
    check("${capture.ofset}", &["no check of a:1 captures `ofset`", "`${capture.offset}`?"]);
    check("${capture.lag}", &["no check of a:1 captures `lag`", "expect_regex"]);
    check("${capture.offset}${capture.lag}", &["captures `lag`"]);
    check("7", &["without a capture every target has the same rank"]);
    check("${target.port}", &["without a capture"]);
    check("", &["without a capture"]);
    check("${env:HOME}${capture.offset}", &["a rank is made of no secret"]);
    check("${capture.offset", &["no `}` after it"]);
}
