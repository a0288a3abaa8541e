//! Scripts and peers for tests.

use crate::config::byte_pattern::BytePattern;
use crate::config::check::{
    Action, Comparison, Framing, Matcher, Operator, Part, Script, Step, Template,
};
use crate::config::names::TargetAddress;
use crate::health::fault::FaultKind;
use crate::health::script::{Do, Expired, Interpreter};
use crate::health::verdict::Verdict;

pub(crate) fn send(text: &str) -> Action {
    Action::Send(Template::literal(text))
}

pub(crate) fn expect(text: &str) -> Action {
    Action::Expect(Matcher::Bytes(Template::literal(text)))
}

pub(crate) fn expect_regex(source: &str) -> Action {
    let pattern = BytePattern::new(regex::bytes::Regex::new(source).unwrap());
    Action::Expect(Matcher::Regex(pattern))
}

pub(crate) fn reject(text: &str) -> Action {
    Action::Reject(Matcher::Bytes(Template::literal(text)))
}

pub(crate) fn compare(name: &str, operator: Operator, right: &str) -> Action {
    let left = Template { parts: vec![Part::Capture(name.into())] };
    Action::Compare(Comparison { left, operator, right: Template::literal(right) })
}

pub(crate) fn script(actions: Vec<Action>) -> Script {
    let steps = actions.into_iter().map(|action| Step { action, timeout: None }).collect();
    Script { steps, framing: Framing::Detect, rank: None }
}

/// The page's own example.
pub(crate) fn the_pages_script() -> Script {
    script(vec![
        send("PING\r\n"),
        expect("+PONG"),
        send("info  replication\r\n"),
        expect("role:master"),
        send("QUIT\r\n"),
        send("+OK"),
    ])
}

/// What a peer does, in order.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    Says(Vec<u8>),
    Closes,
    Resets,
}

pub(crate) fn says(text: &str) -> Peer {
    Peer::Says(text.as_bytes().to_vec())
}

/// Runs a script against a peer whose words are cut into reads of these sizes, in turn: the verdict,
/// what was sent, and the farewell. When the peer has no more to say, the deadline passes.
pub(crate) fn run(
    script: &Script,
    peer: &[Peer],
    cuts: &[usize],
) -> (Verdict, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let target = TargetAddress::Ip("127.0.0.1:7001".parse().unwrap());
    let mut interpreter = Interpreter::new(script, &target);
    let mut cuts = cuts.iter().cycle();
    let mut pieces = peer.iter().flat_map(|act| match act {
        Peer::Says(bytes) => {
            let (mut rest, mut cut_up) = (&bytes[..], Vec::new());
            while !rest.is_empty() {
                let cut = (*cuts.next().unwrap()).min(rest.len());
                cut_up.push(Peer::Says(rest[..cut].to_vec()));
                rest = &rest[cut..];
            }
            cut_up
        }
        Peer::Closes | Peer::Resets => vec![act.clone()],
    });
    let mut sent = Vec::new();
    loop {
        match interpreter.proceed() {
            Do::Send { bytes, .. } => sent.push(bytes),
            Do::Wait { .. } => {}
            Do::Upgrade { .. } => interpreter.upgraded(),
            Do::Read { .. } => match pieces.next() {
                Some(Peer::Says(bytes)) => interpreter.received(&bytes),
                Some(Peer::Closes) => interpreter.closed(),
                Some(Peer::Resets) => interpreter.read_failed(Ok(FaultKind::Reset)),
                None => interpreter.expired(Expired::Check),
            },
            Do::Done { verdict, farewell } => {
                return (verdict, sent, farewell.into_iter().map(|(_, bytes)| bytes).collect());
            }
        }
    }
}
