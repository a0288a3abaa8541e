//! What a user writes about event handlers: every mistake is named with its place.

use crate::definitions::{Files, TARGET, refused};

/// A definition with this `event_handlers.events`, refused with all of this.
#[track_caller]
fn events_refused(events: &str, expected: &[&str]) {
    let text = format!(
        "{{ \"listen_port\": 1, {TARGET}, \"event_handlers\": {{ \"events\": {{\n{events}\n}} }} }}"
    );
    refused("f.json", &text, expected);
}

/// A webhook with this `handler_meta`, refused with all of this.
#[track_caller]
fn webhook_refused(meta: &str, expected: &[&str]) {
    let head = "\"HostDown\": [{ \"handler_name\": \"eh_web_hook_handler\", \"handler_meta\": {";
    events_refused(&format!("{head}\n{meta}\n}} }}]"), expected);
}

const URL: &str = r#""target_path": "http://a.test/x""#;

#[test]
fn events_handlers_and_keys_that_are_not_there_are_told_what_was_meant() {
    events_refused(r#""HostDwon": []"#, &["f.json:2:1", "`HostDwon`", "did you mean `HostDown`?"]);
    events_refused(r#""Other": []"#, &["the keys here are HostDown, HostUp, LeaderChanged"]);
    events_refused(r#""HostUp": [{}]"#, &["f.json:2", "`handler_name` is missing"]);
    let log = r#""HostUp": [{ "handler_name": "eh_log_handlr" }]"#;
    events_refused(log, &["f.json:2", "did you mean `eh_log_handler`?"]);
    webhook_refused(r#""target_pat": "http://a""#, &["f.json:3:1", "did you mean `target_path`?"]);
    webhook_refused(&format!(r#"{URL}, "prefix": "x""#), &["`prefix` belongs to eh_log_handler"]);
    let log = r#""HostUp": [{ "handler_name": "eh_log_handler", "handler_meta": {
        "prefix": "x", "method": "POST" } }]"#;
    events_refused(log, &["f.json:3", "`method` belongs to eh_web_hook_handler"]);
}

#[test]
fn urls_methods_headers_and_times_are_looked_at() {
    webhook_refused("", &["nobody is named to send the event to", "http://host:port/path"]);
    for url in ["a.test/x", "ftp://a.test/", "tcp://a.test:1"] {
        let meta = format!(r#""target_path": "{url}""#);
        webhook_refused(&meta, &["f.json:3", "this is no URL of a webhook"]);
    }
    webhook_refused(r#""target_path": "http://a.test/a b""#, &["a URL holds no such character"]);
    let method = format!(r#"{URL}, "method": "PSOT""#);
    webhook_refused(&method, &["a webhook is sent by no such method", "did you mean `POST`?"]);
    let header = format!(r#"{URL}, "header_map": {{ "X Y": "1" }}"#);
    webhook_refused(&header, &["this is no name of a header"]);
    let header = format!(r#"{URL}, "header_map": {{ "content-length": "1" }}"#);
    webhook_refused(&header, &["a request says this by itself"]);
    webhook_refused(&format!(r#"{URL}, "timeout": 0"#), &["it cannot be 0"]);
    webhook_refused(&format!(r#"{URL}, "event_timeout": -1"#), &["f.json:3", "event_timeout"]);
}

#[test]
fn templates_are_read_and_tried_when_they_are_loaded() {
    let check = |template: &str, further: &str, expected: &[&str]| {
        let files = Files::new();
        let text = format!(
            "{{ \"listen_port\": 1, {TARGET}, \"event_handlers\": {{ \"events\": {{ \"HostUp\": [{{\n\
             \"handler_name\": \"eh_web_hook_handler\", \"handler_meta\": {{ {URL}, {further}\n\
             \"template_path\": \"t.txt\" }} }}] }} }} }}"
        );
        let output = files.write("t.txt", template).write("f.json", text).validate(&["f.json"]);
        let said = String::from_utf8(output.stderr).unwrap();
        let code = if expected.is_empty() { 0 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{template}: {said}");
        for expected in expected {
            assert!(said.contains(expected), "{template} misses {expected:?} in:\n{said}");
        }
    };
    let go = ["f.json:3", "t.txt cannot be used: it is a template of Go", "write ${event}"];
    check(r#"{ "event": "{{.Type}}" }"#, "", &go);
    check(r#"{ "a": "${reson}" }"#, "", &["did you mean `${reason}`?"]);
    check(r#"{ "a": ${reason} }"#, "", &["it is no JSON (line 1"]);
    check(r#"{ "a": "${reason}" }"#, "", &[]);
    let plain = r#""header_map": { "Content-Type": "text/plain" },"#;
    check("${target} is ${to}", plain, &[]);
    let missing = format!(r#"{URL}, "template_path": "none.json""#);
    webhook_refused(&missing, &["none.json cannot be used: there is no such file"]);
}

#[test]
fn what_tyk_has_besides_is_ignored_with_one_warning() {
    let files = Files::new();
    let text = format!(
        "{{ \"listen_port\": 1, {TARGET}, \"event_handlers\": {{ \"events\": {{\n\
         \"QuotaExceeded\": [{{ \"handler_name\": \"eh_dynamic_handler\" }}], \"HostUp\": [] }} }} }}"
    );
    let output = files.write("f.json", text).validate(&["f.json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("are ignored: event_handlers.events.QuotaExceeded"), "{said}");
}
