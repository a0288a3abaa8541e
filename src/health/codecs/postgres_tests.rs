//! A server for tests that says what it is told to, or knows SCRAM by another library's means.

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;

use crate::config::check::{Part, PostgresCheck, PostgresLogin, PostgresQuestion, Template};
use crate::config::names::TargetAddress;
use crate::health::codecs::postgres::{Conversation, Do};
use crate::health::fault::FaultKind;
use crate::health::verdict::{Verdict, Word};

const PASSWORD: &str = "hunter2 \"é\"";

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn authentication(kind: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&kind.to_be_bytes()[..], rest].concat())
}

fn admitted() -> Vec<u8> {
    let status = message(b'S', b"server_version\x0015.1\0");
    [authentication(0, b""), status, message(b'Z', b"I")].concat()
}

fn row(value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap();
    message(b'D', &[&[0, 1], &length.to_be_bytes()[..], value].concat())
}

fn answer(rows: &[u8]) -> Vec<u8> {
    let done = [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
    [message(b'T', b"\0\x01x\0"), rows.to_vec(), done].concat()
}

fn error(code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0").as_bytes())
}

fn no_login() -> PostgresCheck {
    PostgresCheck { login: None, question: None }
}

fn login() -> PostgresCheck {
    let password = Template { parts: vec![Part::Secret(PASSWORD.as_bytes().to_vec())] };
    let (user, database) = (Template::literal("app"), Template::literal("postgres"));
    PostgresCheck { login: Some(PostgresLogin { user, password, database }), question: None }
}

fn primary() -> PostgresCheck {
    let query = Template::literal("SELECT pg_is_in_recovery()");
    let question = Some(PostgresQuestion { query, expect: Some(Template::literal("f")) });
    PostgresCheck { question, ..login() }
}

/// What came of a run: the verdict, what was sent, and the notes and sends as people see them.
struct Ran {
    verdict: Verdict,
    sent: Vec<Vec<u8>>,
    left: bool,
    shown: String,
}

/// Runs a check against a server that answers each message with these bytes, cut into reads of
/// these sizes; with nothing more to say it closes.
fn run(check: &PostgresCheck, cuts: &[usize], mut server: impl FnMut(&[u8]) -> Vec<u8>) -> Ran {
    let target = TargetAddress::Ip("127.0.0.1:5432".parse().unwrap());
    let mut conversation = Conversation::new(check, &target);
    let mut cuts = cuts.iter().cycle();
    let (mut said, mut sent, mut shown) = (Vec::new(), Vec::new(), String::new());
    loop {
        let next = conversation.proceed();
        let notes = conversation.take_notes();
        notes.iter().for_each(|note| shown.push_str(&format!("{note:?}\n")));
        match next {
            Do::Send { words, bytes, .. } => {
                shown.push_str(&format!("{words}\n"));
                said.extend(server(&bytes));
                sent.push(bytes);
            }
            Do::Read if said.is_empty() => conversation.closed(),
            Do::Read => {
                let cut = (*cuts.next().unwrap()).min(said.len());
                conversation.received(&said[..cut]);
                said.drain(..cut);
            }
            Do::Prove(challenge) => conversation.solved(challenge.solve()),
            Do::Done { verdict, farewell } => {
                let left = farewell == Some(message(b'X', b""));
                assert!(left || farewell.is_none());
                return Ran { verdict, sent, left, shown };
            }
        }
    }
}

/// The same with a server that says all it has to say at once.
fn said(check: &PostgresCheck, bytes: &[u8], cuts: &[usize]) -> Ran {
    let mut bytes = Some(bytes.to_vec());
    run(check, cuts, |_| bytes.take().unwrap_or_default())
}

fn check(check: &PostgresCheck, bytes: &[u8], expected: &str, word: Word) -> Ran {
    let ran = said(check, bytes, &[usize::MAX]);
    assert_eq!((ran.verdict.to_string(), ran.verdict.word()), (expected.to_owned(), word));
    assert!(!ran.shown.contains("hunter2"), "{}", ran.shown);
    ran
}

#[test]
fn a_primary_passes_and_a_standby_contradicts() {
    let ran = check(&primary(), &[admitted(), answer(&row(b"f"))].concat(), "passed", Word::Leader);
    assert!(ran.left && ran.sent.len() == 2);
    let start = String::from_utf8_lossy(&ran.sent[0]).into_owned();
    assert!(start.contains("user\0app\0database\0postgres\0application_name\0stagedoor\0"));
    assert_eq!(ran.sent[1], message(b'Q', b"SELECT pg_is_in_recovery()\0"));
    let standby = [admitted(), answer(&row(b"t"))].concat();
    let expected = "step 3 expect \"f\": the reply was complete without it (heard \"t\")";
    assert!(check(&primary(), &standby, expected, Word::NotLeader).left, "it takes its leave");
}

#[test]
fn an_answer_without_the_expected_row_contradicts_too() {
    for (rows, heard) in
        [(Vec::new(), "no row"), ([row(b"t"), row(b"f")].concat(), "\"t\""), (row(b"ff"), "\"ff\"")]
    {
        let expected =
            format!("step 3 expect \"f\": the reply was complete without it (heard {heard})");
        check(&primary(), &[admitted(), answer(&rows)].concat(), &expected, Word::NotLeader);
    }
    let half = [admitted(), message(b'T', b"\0\x01x\0"), row(b"t")].concat();
    let expected = "step 2 query \"SELECT pg_is_in_recovery()\": the target closed the connection \
                    first (heard nothing)";
    check(&primary(), &half, expected, Word::Silence);
}

#[test]
fn errors_say_nothing_of_the_role_and_are_told_in_the_servers_words() {
    let wrong = "password authentication failed for user \"app\"";
    let expected = "step 1 log in as \"app\": the reply is an error (heard FATAL 28P01 \
                    \"password authentication failed for user \\\"app\\\"\")";
    check(&primary(), &error("28P01", wrong), expected, Word::Silence);
    let starting = error("57P03", "the database system is starting up");
    let expected = "step 1 log in as \"app\": the reply is an error (heard FATAL 57P03 \"the \
                    database system is starting up\")";
    check(&primary(), &starting, expected, Word::Silence);
    let late = [admitted(), error("57P01", "terminating \x1b hunter2 \"é\"")].concat();
    let expected = "step 2 query \"SELECT pg_is_in_recovery()\": the reply is an error (heard \
                    FATAL 57P01 \"terminating \\x1b ***\")";
    check(&primary(), &late, expected, Word::Silence);
}

#[test]
fn without_a_login_any_server_passes_that_takes_connections() {
    let wants: [&[u8]; 4] = [b"\x03", b"\x05abcd", b"\x0aSCRAM-SHA-256\0\0", b"\x07"];
    for wants in wants {
        let asks = message(b'R', &[&[0, 0, 0], wants].concat());
        let ran = check(&no_login(), &asks, "passed", Word::Leader);
        assert!(!ran.left && ran.sent.len() == 1, "before a login nobody takes leave");
    }
    assert!(check(&no_login(), &admitted(), "passed", Word::Leader).left);
    check(&no_login(), &error("28000", "no pg_hba.conf entry"), "passed", Word::Leader);
    check(&no_login(), &error("53300", "too many clients"), "passed", Word::Leader);
    let expected = "step 1 start up: the reply is an error (heard FATAL 57P03 \"going down\")";
    check(&no_login(), &error("57P03", "going down"), expected, Word::Silence);
    for other in [&b"-ERR unknown command\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let ran = said(&no_login(), other, &[usize::MAX]);
        assert!(matches!(ran.verdict, Verdict::Failed(ref it) if it.kind == FaultKind::Malformed));
    }
}

#[test]
fn md5_is_answered_with_the_salted_hash() {
    let mut check = login();
    let login = check.login.as_mut().unwrap();
    login.user = Template::literal("md5_user");
    login.password = Template::literal("password");
    let asks = authentication(5, &[0x2a, 0x3d, 0x8f, 0xe0]);
    let ran = said(&check, &[asks, admitted()].concat(), &[usize::MAX]);
    assert_eq!(ran.verdict, Verdict::Passed);
    assert_eq!(ran.sent[1], message(b'p', b"md562af4dd09bbb41884907a838a3233294\0"));
    assert!(!ran.shown.contains("62af4dd"), "{}", ran.shown);
}

#[test]
fn what_a_check_cannot_or_must_not_answer_is_told() {
    let told = |asks: &[u8], why: &str| {
        let expected = format!("step 1 log in as \"app\": cannot log in: {why}");
        let ran = check(&login(), asks, &expected, Word::Silence);
        assert_eq!(ran.sent.len(), 1, "nothing is given away");
    };
    let clear = "the server wants the password in clear, and the connection is not encrypted";
    told(&authentication(3, b""), clear);
    told(&authentication(7, b""), "the server wants Kerberos, GSSAPI or SSPI");
    let other = authentication(10, b"SCRAM-SHA-256-PLUS\0\0");
    told(&other, "the server wants another mechanism than SCRAM-SHA-256");
    let mut check = login();
    check.login.as_mut().unwrap().password = Template::default();
    let ran = said(&check, &authentication(10, b"SCRAM-SHA-256\0\0"), &[usize::MAX]);
    let expected = "cannot log in: the server wants a password, and none is given";
    assert!(ran.verdict.to_string().ends_with(expected), "{}", ran.verdict);
}

/// A server that knows a password by SCRAM-SHA-256, and proves that it does, or does not.
struct Scram {
    password: &'static str,
    honest: bool,
    challenge: String,
}

impl Scram {
    fn answer(&mut self, sent: &[u8]) -> Vec<u8> {
        if sent[0] != b'p' {
            return authentication(10, b"SCRAM-SHA-256\0\0");
        }
        let body = String::from_utf8(sent[5..].to_vec()).unwrap();
        if let Some((_, nonce)) = body.split_once("n,,n=,r=") {
            let salt = BASE64.encode("salt");
            self.challenge = format!("n=,r={nonce},r={nonce}server,s={salt},i=64");
            let (_, ours) = self.challenge.split_once(",r=").unwrap().1.split_once(',').unwrap();
            return authentication(11, ours.as_bytes());
        }
        let (unproven, proof) = body.split_once(",p=").unwrap();
        let signed = format!("{},{unproven}", self.challenge);
        let mut salted = [0; 32];
        let times = std::num::NonZeroU32::new(64).unwrap();
        let by = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(by, times, b"salt", self.password.as_bytes(), &mut salted);
        let mac = |key: &[u8], text: &[u8]| {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
            tag.as_ref().to_vec()
        };
        let key = mac(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA256, &key);
        let signature = mac(stored.as_ref(), signed.as_bytes());
        let expected: Vec<u8> = key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        if BASE64.encode(expected) != proof {
            return error("28P01", "password authentication failed");
        }
        let server_key = mac(&salted, if self.honest { b"Server Key" } else { b"Another Key" });
        let proof = format!("v={}", BASE64.encode(mac(&server_key, signed.as_bytes())));
        [authentication(12, proof.as_bytes()), admitted()].concat()
    }
}

fn scram(password: &'static str, honest: bool, cuts: &[usize]) -> Ran {
    let mut server = Scram { password, honest, challenge: String::new() };
    run(&login(), cuts, |sent| server.answer(sent))
}

#[test]
fn scram_proves_both_sides_to_each_other() {
    for cuts in [&[usize::MAX][..], &[1], &[7, 3]] {
        let ran = scram(PASSWORD, true, cuts);
        assert_eq!(ran.verdict, Verdict::Passed, "{}", ran.shown);
        assert!(ran.left && !ran.shown.contains("hunter2") && !ran.shown.contains("p="));
    }
    let ran = scram("another", true, &[usize::MAX]);
    assert!(ran.verdict.to_string().contains("FATAL 28P01"), "{}", ran.verdict);
    let ran = scram(PASSWORD, false, &[usize::MAX]);
    let expected = "cannot log in: the server does not know the password itself";
    assert!(ran.verdict.to_string().ends_with(expected), "{}", ran.verdict);
}

#[test]
fn no_server_is_admitted_past_its_own_proof_or_by_a_bad_challenge() {
    let asks = authentication(10, b"SCRAM-SHA-256\0\0");
    let early = [asks.clone(), authentication(0, b"")].concat();
    let ran = said(&login(), &early, &[usize::MAX]);
    assert!(ran.verdict.to_string().ends_with("the answer is not well-formed"), "{}", ran.verdict);
    for challenge in ["r=x,s=c2FsdA==,i=4096", "r=", "\u{1b}", ""] {
        let bytes = [asks.clone(), authentication(11, challenge.as_bytes())].concat();
        let ran = said(&login(), &bytes, &[usize::MAX]);
        let expected = "cannot log in: its SCRAM challenge is not valid";
        assert!(ran.verdict.to_string().ends_with(expected), "{}", ran.verdict);
    }
}

#[test]
fn a_flood_is_cut_off() {
    let flood = row(&[b'x'; 1_000]).repeat(100);
    let ran = said(&primary(), &[admitted(), flood].concat(), &[8 * 1024]);
    assert!(ran.verdict.to_string().contains("64 KiB came"), "{}", ran.verdict);
    assert_eq!(ran.verdict.word(), Word::Silence);
}

fn any_messages() -> impl Strategy<Value = Vec<u8>> {
    let one = prop::sample::select(vec![
        admitted(),
        authentication(0, b""),
        authentication(3, b""),
        authentication(5, b"salt"),
        authentication(10, b"SCRAM-SHA-256\0\0"),
        authentication(11, b"r=x,s=c2FsdA==,i=4096"),
        authentication(12, b"v=x"),
        answer(&row(b"f")),
        answer(&row(b"t")),
        row(b"t"),
        message(b'N', b"SNOTICE\0\0"),
        message(b'Z', b"I"),
        error("57P03", "not now"),
        row(&[b'x'; 30_000]),
        b"R\0\0".to_vec(),
        b"\xff".to_vec(),
    ]);
    prop::collection::vec(one, 0..6).prop_map(|messages| messages.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_verdict_does_not_depend_on_segmentation(
        bytes in any_messages(), which in 0..3_usize,
        cuts in prop::collection::vec(1_usize..9, 1..9),
    ) {
        let check = [no_login(), login(), primary()][which].clone();
        let whole = said(&check, &bytes, &[usize::MAX]);
        for cuts in [&[1][..], &cuts] {
            let cut_up = said(&check, &bytes, cuts);
            prop_assert_eq!(&cut_up.verdict.word(), &whole.verdict.word());
            let kind = |ran: &Ran| match &ran.verdict {
                Verdict::Failed(fault) => Some((fault.kind.clone(), fault.step.clone())),
                Verdict::Passed | Verdict::CouldNotRun(_) => None,
            };
            prop_assert_eq!(kind(&cut_up), kind(&whole));
            prop_assert_eq!(&cut_up.sent[0], &whole.sent[0]);
            prop_assert_eq!(cut_up.sent.len(), whole.sent.len());
        }
    }

    #[test]
    fn hostile_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), good in any_messages(), which in 0..3_usize,
    ) {
        let check = [no_login(), login(), primary()][which].clone();
        drop(said(&check, &[good, bytes].concat(), &[3]));
    }
}
