//! However a target's words are cut into reads, a script makes the same of them.

use proptest::prelude::*;

use crate::config::check::{Action, Framing, Operator, Script};
use crate::health::script_harness::{
    Peer, compare, expect, expect_regex, reject, run, says, script, send, the_pages_script,
};

/// Steps and answers that have to do with each other, so that all outcomes come up.
fn any_action() -> impl Strategy<Value = Action> {
    let texts = prop::sample::select(vec!["+PONG", "role:master", "role:", "ter", "\r\n", "OK"]);
    let patterns = prop::sample::select(vec![
        r"role:(?<r>\w+)",
        r"\+\w+\r\n",
        r"(?s)m.*r",
        "a|ab",
        "r$",
        r"\d+",
        "(?m)^role",
    ]);
    prop_oneof![
        Just(send("PING\r\n")),
        Just(send("INFO\r\nPING\r\n")),
        Just(send("PI")),
        texts.clone().prop_map(expect),
        texts.prop_map(reject),
        patterns.prop_map(expect_regex),
        Just(compare("r", Operator::Equal, "master")),
        Just(Action::ExpectClose),
    ]
}

fn any_peer() -> impl Strategy<Value = Vec<Peer>> {
    let texts = prop::sample::select(vec![
        "+PONG\r\n",
        "$11\r\nrole:master\r\n",
        "$10\r\nrole:slave\r\n",
        "-LOADING x\r\n",
        ":42\r\n",
        ">1\r\n+hi\r\n",
        "220 hi\r\n",
        "role:",
        "+OK",
        "master",
    ]);
    let ends = prop_oneof![Just(vec![]), Just(vec![Peer::Closes]), Just(vec![Peer::Resets])];
    (prop::collection::vec(texts, 0..6), ends).prop_map(|(texts, end)| {
        let whole = says(&texts.concat());
        [vec![whole], end].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_verdict_does_not_depend_on_segmentation(
        actions in prop::collection::vec(any_action(), 0..7),
        framing in prop::sample::select(vec![Framing::Detect, Framing::Resp, Framing::None]),
        peer in any_peer(),
        cuts in prop::collection::vec(1_usize..9, 1..9),
    ) {
        let script = Script { framing, ..script(actions) };
        let whole = run(&script, &peer, &[usize::MAX]);
        prop_assert_eq!(&run(&script, &peer, &[1]), &whole);
        prop_assert_eq!(&run(&script, &peer, &cuts), &whole);
    }
}

#[test]
fn every_segmentation_of_the_pages_exchange_gives_the_same() {
    let (pong, role) = ("+PONG\r\n", "$10\r\nrole:slave\r\n");
    let whole = [pong, role].concat();
    let expected = run(&the_pages_script(), &[says(&whole)], &[usize::MAX]);
    for first in 1..whole.len() {
        for second in 1..=whole.len() - first {
            let cuts = [first, second, usize::MAX];
            assert_eq!(run(&the_pages_script(), &[says(&whole)], &cuts), expected);
        }
    }
}
