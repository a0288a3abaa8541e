//! What a script makes of what a target says.

use std::time::Duration;

use crate::config::check::{Action, Framing, Operator, Part, Script, Template};
use crate::config::names::TargetAddress;
use crate::health::fault::FaultKind;
use crate::health::script::{Do, Expired, Interpreter};
use crate::health::script_harness::{
    Peer, compare, expect, expect_regex, reject, run, says, script, send, the_pages_script,
};
use crate::health::verdict::{OwnTrouble, Verdict, Word};
use crate::health::wait::UNREAD_LIMIT;

/// The verdict must be `expected`, whether all comes at once or byte by byte.
fn check(script: &Script, peer: &[Peer], expected: &str) -> Word {
    let (verdict, ..) = run(script, peer, &[usize::MAX]);
    assert_eq!(verdict.to_string(), expected, "{peer:?}");
    assert_eq!(run(script, peer, &[1]).0, verdict, "byte by byte: {peer:?}");
    verdict.word()
}

const SLAVE: &str = "$44\r\n# Replication\r\nrole:slave\r\nmaster_host:::1\r\n\r\n";

#[test]
fn the_pages_script_passes_on_a_master_and_then_says_goodbye() {
    let peer = [says("+PONG\r\n$34\r\n# Replication\r\nrole:master\r\nslaves:0\r\n")];
    assert_eq!(check(&the_pages_script(), &peer, "passed"), Word::Leader);
    let (_, sent, farewell) = run(&the_pages_script(), &peer, &[7]);
    assert_eq!(sent, [b"PING\r\n".to_vec(), b"info  replication\r\n".to_vec()]);
    assert_eq!(farewell, [b"QUIT\r\n".to_vec(), b"+OK".to_vec()]);
}

#[test]
fn the_pages_script_learns_of_a_replica_in_one_round_trip() {
    let word = check(
        &the_pages_script(),
        &[says("+PONG\r\n"), says(SLAVE)],
        r##"step 4 expect "role:master": the reply was complete without it (heard "# Replication\r\nrole:slave\r\nmaster_host:::1\r\n\r\n")"##,
    );
    assert_eq!(word, Word::NotLeader);
}

#[test]
fn an_expected_close_after_the_question_fails_the_check_and_decides_nothing() {
    let closing = script(vec![
        send("INFO replication\r\n"),
        expect("role:master"),
        send("QUIT\r\n"),
        Action::ExpectClose,
    ]);
    let master = says("$11\r\nrole:master\r\n");
    assert_eq!(check(&closing, &[master.clone(), Peer::Closes], "passed"), Word::Leader);
    let word = check(
        &closing,
        &[says("$10\r\nrole:slave\r\n")],
        r#"step 2 expect "role:master": the reply was complete without it (heard "role:slave\r\n")"#,
    );
    assert_eq!(word, Word::NotLeader);
    let word = check(&closing, &[master], "step 4 expect_close: not in time (heard nothing)");
    assert_eq!(word, Word::Silence, "it claimed the lead and did not say goodbye");
}

#[test]
fn an_error_reply_fails_the_check_and_is_no_word() {
    for reply in ["-LOADING Redis is loading", "-NOAUTH x", "-BUSY x", "-ERR max number of clients"]
    {
        let heard = format!("{reply}\\r\\n");
        let word = check(
            &the_pages_script(),
            &[says("+PONG\r\n"), says(&format!("{reply}\r\n"))],
            &format!(r#"step 4 expect "role:master": the reply is an error (heard "{heard}")"#),
        );
        assert_eq!(word, Word::Silence);
        let word = check(
            &the_pages_script(),
            &[says(&format!("{reply}\r\n"))],
            &format!(r#"step 2 expect "+PONG": the reply is an error (heard "{heard}")"#),
        );
        assert_eq!(word, Word::Silence);
    }
}

#[test]
fn a_wrong_answer_at_an_earlier_step_is_no_word() {
    let word = check(
        &the_pages_script(),
        &[says("+WHAT\r\n")],
        r#"step 2 expect "+PONG": the reply was complete without it (heard "+WHAT\r\n")"#,
    );
    assert_eq!(word, Word::Silence);
}

#[test]
fn a_close_in_mid_answer_is_no_word_and_a_reset_wipes() {
    let mid = says("+PONG\r\n$44\r\n# Replication\r\nrole:sl");
    let heard = r##"(heard "# Replication\r\nrole:sl")"##;
    for (end, what, expected) in [
        (Peer::Closes, "the target closed the connection first", Word::Silence),
        (Peer::Resets, "connection reset by the target", Word::Wipe),
    ] {
        let text = format!(r#"step 4 expect "role:master": {what} {heard}"#);
        assert_eq!(check(&the_pages_script(), &[mid.clone(), end], &text), expected);
    }
    let word = check(
        &the_pages_script(),
        &[mid],
        &format!(r#"step 4 expect "role:master": not in time {heard}"#),
    );
    assert_eq!(word, Word::Silence);
}

#[test]
fn an_answer_counts_even_if_a_reset_follows_it() {
    let master = says("+PONG\r\n$11\r\nrole:master\r\n");
    assert_eq!(check(&the_pages_script(), &[master, Peer::Resets], "passed"), Word::Leader);
}

#[test]
fn without_framing_it_waits_for_its_deadline() {
    let forced = Script { framing: Framing::None, ..the_pages_script() };
    let word = check(
        &forced,
        &[says("+PONG\r\n$10\r\nrole:slave\r\n")],
        r#"step 4 expect "role:master": not in time (heard "role:slave\r\n")"#,
    );
    assert_eq!(word, Word::Silence);
    let smtp = script(vec![send("EHLO x\r\n"), expect("250 OK")]);
    check(
        &smtp,
        &[says("250-no\r\n")],
        r#"step 2 expect "250 OK": not in time (heard "250-no\r\n")"#,
    );
}

#[test]
fn where_resp_is_forced_anything_else_is_malformed() {
    let forced = Script { framing: Framing::Resp, ..the_pages_script() };
    let word = check(
        &forced,
        &[says("HTTP/1.1 400 Bad Request\r\n")],
        r#"step 2 expect "+PONG": the answer is not well-formed (heard "H")"#,
    );
    assert_eq!(word, Word::Silence);
    assert_eq!(
        check(
            &forced,
            &[says("+PONG\r\n"), says(SLAVE)].clone(),
            &run(&forced, &[says("+PONG\r\n"), says(SLAVE)], &[3]).0.to_string()
        ),
        Word::NotLeader
    );
}

#[test]
fn an_expect_consumes_its_match_and_leaves_the_rest() {
    let twice = script(vec![expect("ab"), expect("ab")]);
    check(&twice, &[says("xabyab")], "passed");
    check(&twice, &[says("xab")], r#"step 2 expect "ab": not in time (heard nothing)"#);
    let overlapping = script(vec![expect("aba"), expect("aba")]);
    check(&overlapping, &[says("ababa")], r#"step 2 expect "aba": not in time (heard "ba")"#);
}

#[test]
fn of_a_reject_and_an_expect_the_one_that_is_heard_first_wins() {
    let both = script(vec![send("x\r\n"), reject("role:slave"), expect("role:master")]);
    assert_eq!(check(&both, &[says("role:master role:slave")], "passed"), Word::Leader);
    let word = check(
        &both,
        &[says("# x\r\nrole:slave role:master")],
        r##"step 2 reject "role:slave": was heard (in "# x\r\nrole:slave")"##,
    );
    assert_eq!(word, Word::NotLeader);
    let same_byte = script(vec![reject("role:slave"), expect("slave")]);
    check(
        &same_byte,
        &[says("role:slave")],
        r#"step 1 reject "role:slave": was heard (in "role:slave")"#,
    );
}

#[test]
fn a_reject_is_over_once_its_expect_is_met() {
    let steps = script(vec![reject("no"), expect("a"), expect("b")]);
    check(&steps, &[says("a no b")], "passed");
    let early = script(vec![reject("no"), expect("a"), expect("b")]);
    let word = check(&early, &[says("no a b")], r#"step 1 reject "no": was heard (in "no")"#);
    assert_eq!(word, Word::Silence, "it is not the deciding step");
}

#[test]
fn a_last_reject_watches_until_the_reply_or_the_connection_ends() {
    let last = script(vec![send("INFO\r\n"), reject("role:slave")]);
    assert_eq!(check(&last, &[says("$11\r\nrole:master\r\n")], "passed"), Word::Leader);
    let word = check(
        &last,
        &[says("$10\r\nrole:slave\r\n")],
        r#"step 2 reject "role:slave": was heard (in "role:slave")"#,
    );
    assert_eq!(word, Word::NotLeader);
    check(&last, &[says("anything"), Peer::Closes], "passed");
    check(
        &last,
        &[Peer::Closes],
        r#"step 2 reject "role:slave": the target closed the connection first (heard nothing)"#,
    );
    check(&last, &[says("hm")], r#"step 2 reject "role:slave": not in time (heard "hm")"#);
    check(
        &last,
        &[says("-LOADING x\r\n")],
        r#"step 2 reject "role:slave": the reply is an error (heard "-LOADING x\r\n")"#,
    );
}

#[test]
fn a_regex_captures_all_that_it_can_match() {
    let lag = |right| {
        script(vec![
            send("INFO\r\n"),
            expect_regex(r"lag:(?<lag>\d+)"),
            compare("lag", Operator::Less, right),
        ])
    };
    assert_eq!(check(&lag("16"), &[says("$8\r\nlag:15\r\n\r\n")], "passed"), Word::Leader);
    let word = check(
        &lag("15"),
        &[says("$8\r\nlag:15\r\n\r\n")],
        r#"step 3 compare ${capture.lag} < 15: does not hold ("15" < "15")"#,
    );
    assert_eq!(word, Word::NotLeader);
}

#[test]
fn a_regex_that_could_still_grow_is_decided_by_the_end_of_the_reply_or_the_stream() {
    let greedy = script(vec![send("x\r\n"), expect_regex("(?s)role:master.*")]);
    check(&greedy, &[says("$12\r\nrole:master!\r\n")], "passed");
    check(&greedy, &[says("220 role:master!"), Peer::Closes], "passed");
    let word = check(
        &greedy,
        &[says("220 role:master!")],
        r#"step 2 expect_regex "(?s)role:master.*": what came matches, but more of it could follow; let the pattern say what ends it (heard "220 role:master!")"#,
    );
    assert_eq!(word, Word::Silence);
}

#[test]
fn a_capture_fills_what_is_sent() {
    let steps = script(vec![
        expect_regex(r"nonce=(?<nonce>\w+);"),
        Action::Send(Template {
            parts: vec![
                Part::Bytes(b"hi ".to_vec()),
                Part::Capture("nonce".into()),
                Part::Bytes(b" from ".to_vec()),
                Part::TargetHost,
            ],
        }),
        expect("ok"),
    ]);
    let (verdict, sent, _) = run(&steps, &[says("nonce=abc;"), says("ok")], &[2]);
    assert_eq!((verdict, sent), (Verdict::Passed, vec![b"hi abc from 127.0.0.1".to_vec()]));
    let missing = script(vec![expect_regex(r"(?<n>\d)|x"), compare("n", Operator::NotEqual, "1")]);
    let text = "step 2 compare ${capture.n} != 1: nothing was captured as ${capture.n}";
    assert_eq!(check(&missing, &[says("x")], text), Word::Silence);
}

#[test]
fn expect_close_waits_for_the_target_to_close() {
    let steps = script(vec![send("QUIT\r\n"), Action::ExpectClose]);
    check(&steps, &[says("+OK\r\n"), Peer::Closes], "passed");
    check(&steps, &[says("+OK\r\n")], r#"step 2 expect_close: not in time (heard "+OK\r\n")"#);
    let word = check(
        &steps,
        &[Peer::Resets],
        "step 2 expect_close: connection reset by the target (heard nothing)",
    );
    assert_eq!(word, Word::Wipe);
    let guarded = script(vec![reject("-ERR"), Action::ExpectClose]);
    check(
        &guarded,
        &[says("-ERR"), Peer::Closes],
        r#"step 1 reject "-ERR": was heard (in "-ERR")"#,
    );
}

#[test]
fn a_script_without_a_question_passes_once_it_is_connected() {
    assert_eq!(run(&script(vec![]), &[], &[1]).0, Verdict::Passed);
    let (verdict, sent, farewell) = run(&script(vec![send("a"), send("b")]), &[], &[1]);
    assert_eq!((verdict, sent.len()), (Verdict::Passed, 0));
    assert_eq!(farewell, [b"a".to_vec(), b"b".to_vec()]);
}

#[test]
fn more_unread_than_is_kept_fails_even_if_the_words_come_later() {
    let steps = script(vec![expect("words")]);
    let fits = "x".repeat(UNREAD_LIMIT - 5) + "words";
    assert_eq!(run(&steps, &[says(&fits)], &[8192]).0, Verdict::Passed);
    for cuts in [&[1][..], &[8192], &[usize::MAX]] {
        let Verdict::Failed(fault) = run(&steps, &[says(&format!("xxx{fits} and more"))], cuts).0
        else {
            panic!("it passed");
        };
        assert_eq!(fault.kind, FaultKind::Limit);
    }
}

#[test]
fn a_step_has_its_own_deadline_and_a_last_reject_passes_by_it() {
    let mut steps = script(vec![send("x"), reject("no")]);
    steps.steps[1].timeout = Some(Duration::from_millis(50));
    let target = TargetAddress::Ip("127.0.0.1:1".parse().unwrap());
    let mut interpreter = Interpreter::new(&steps, &target);
    assert!(matches!(interpreter.proceed(), Do::Send { .. }));
    let within = Some(Duration::from_millis(50));
    assert_eq!(interpreter.proceed(), Do::Read { step: 1, within });
    interpreter.expired(Expired::Step);
    assert!(matches!(interpreter.proceed(), Do::Done { verdict: Verdict::Passed, .. }));
}

#[test]
fn a_failed_send_does_not_hide_what_the_target_said_before() {
    let steps = the_pages_script();
    let target = TargetAddress::Ip("127.0.0.1:1".parse().unwrap());
    for (heard, expected) in [
        (
            &b"-ERR max number of clients reached\r\n"[..],
            r#"step 2 expect "+PONG": the reply is an error (heard "-ERR max number of clients reached\r\n")"#,
        ),
        (b"", r#"step 1 send "PING\r\n": connection reset by the target (heard nothing)"#),
    ] {
        let mut interpreter = Interpreter::new(&steps, &target);
        assert!(matches!(interpreter.proceed(), Do::Send { .. }));
        interpreter.send_failed(Ok(FaultKind::Reset));
        assert!(matches!(interpreter.proceed(), Do::Read { .. }));
        interpreter.received(heard);
        interpreter.closed();
        let Do::Done { verdict, .. } = interpreter.proceed() else { panic!("it goes on") };
        assert_eq!(verdict.to_string(), expected);
    }
}

#[test]
fn trouble_of_our_own_is_no_verdict_on_the_target() {
    let steps = the_pages_script();
    let target = TargetAddress::Ip("127.0.0.1:1".parse().unwrap());
    let mut interpreter = Interpreter::new(&steps, &target);
    interpreter.send_failed(Err(OwnTrouble::Memory));
    let Do::Done { verdict, .. } = interpreter.proceed() else { panic!("it goes on") };
    assert_eq!(verdict, Verdict::CouldNotRun(OwnTrouble::Memory));
}

#[test]
fn secrets_are_masked_in_a_fault_even_when_they_are_echoed() {
    let auth = vec![
        Part::Bytes(b"AUTH ".to_vec()),
        Part::Secret(b"hunter2".to_vec()),
        Part::Bytes(b"\r\n".to_vec()),
    ];
    let steps = script(vec![Action::Send(Template { parts: auth }), expect("+OK")]);
    check(
        &steps,
        &[says("-ERR wrong: hunter2\r\n")],
        r#"step 2 expect "+OK": the reply is an error (heard "-ERR wrong: ***\r\n")"#,
    );
}
