//! The step `starttls`: what is said before TLS, and what of the run goes on inside.
//!
//! What was understood of the protocol before counts no more: a count of replies that began in the
//! clear would let whoever is on the way have a say in it.

use crate::health::fault::FaultKind;
use crate::health::framing::Exchange;
use crate::health::script::{Do, Interpreter};
use crate::health::shown::useful;
use crate::health::starttls::{Talk, Turn};
use crate::health::verdict::{OwnTrouble, Verdict};
use crate::health::wait::UNREAD_LIMIT;

// === impl Interpreter ===

impl Interpreter<'_> {
    /// TLS has begun, as the last `Do::Upgrade` said.
    pub fn upgraded(&mut self) {
        self.exchange = Exchange::new(self.script.framing);
        (self.base, self.last_read) = (0, None);
        self.met.push(self.upgrading());
    }

    /// It has not.
    pub fn upgrade_failed(&mut self, why: Result<FaultKind, OwnTrouble>) {
        match why {
            Ok(kind) => self.fail(self.upgrading(), kind, b""),
            Err(trouble) => self.verdict = Some(Verdict::CouldNotRun(trouble)),
        }
    }

    /// Goes on with what is said before TLS.
    pub(super) fn talk_on(&mut self, mut talk: Talk) -> Option<Do> {
        let step = self.upgrading();
        let within = self.script.steps[step].timeout;
        let (used, turn) = talk.next(&self.unread);
        self.unread.drain(..used);
        let failed = match turn {
            Turn::Send(bytes) => {
                self.talk = Some(talk);
                return Some(Do::Send { step, bytes: bytes.to_vec(), within });
            }
            Turn::Begin => return Some(Do::Upgrade { step, within }),
            Turn::Failed { kind, heard } => (kind, heard),
            Turn::Read => match (self.end.clone(), self.unsent.take()) {
                (Some(FaultKind::Closed), Some((_, why))) => (why, self.unread.clone()),
                (Some(end), _) => (end, self.unread.clone()),
                (None, _) if self.unread.len() > UNREAD_LIMIT => {
                    (FaultKind::Limit, self.unread.clone())
                }
                (None, unsent) => {
                    (self.talk, self.unsent) = (Some(talk), unsent);
                    return Some(Do::Read { step, within });
                }
            },
        };
        let (kind, heard) = failed;
        self.fail(step, kind, useful(&heard));
        None
    }

    /// The step that begins TLS, which was taken last.
    fn upgrading(&self) -> usize {
        self.at.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::check::{Action, Asking, Framing, Script, Step};
    use crate::config::names::TargetAddress;
    use crate::health::script::Expired;
    use crate::health::script_harness::{expect, reject, script, send};
    use crate::health::verdict::Word;

    const BEGIN: Action = Action::Starttls(Asking::Nothing);

    /// Runs a script with a target that says the first in the clear and the second inside of TLS.
    fn run(script: &Script, clear: &[u8], inside: &[u8]) -> Verdict {
        let target = TargetAddress::Ip("127.0.0.1:7001".parse().unwrap());
        let mut interpreter = Interpreter::new(script, &target);
        let (mut clear, mut inside) = (Some(clear), Some(inside));
        let mut is_inside = false;
        loop {
            match interpreter.proceed() {
                Do::Send { .. } | Do::Wait { .. } => {}
                Do::Read { .. } => match if is_inside { inside.take() } else { clear.take() } {
                    Some(said) => interpreter.received(said),
                    None => interpreter.expired(Expired::Check),
                },
                Do::Upgrade { .. } => {
                    assert!(!std::mem::replace(&mut is_inside, true), "once");
                    interpreter.upgraded();
                }
                Do::Done { verdict, .. } => return verdict,
            }
        }
    }

    fn check(script: &Script, clear: &[u8], inside: &[u8], expected: &str) {
        assert_eq!(run(script, clear, inside).to_string(), expected);
    }

    #[test]
    fn what_is_expected_after_tls_has_begun_is_heard_inside() {
        let imap = script(vec![
            expect("* OK"),
            expect("\r\n"),
            send("a STARTTLS\r\n"),
            expect("a OK\r\n"),
            BEGIN,
            send("b NOOP\r\n"),
            expect("b OK"),
        ]);
        check(&imap, b"* OK hi\r\na OK\r\n", b"b OK\r\n", "passed");
        check(
            &imap,
            b"* OK hi\r\na OK\r\nb OK\r\n",
            b"",
            "step 5 starttls: TLS: more came than was \
            asked for, before TLS has begun (heard \"b OK\\r\\n\")",
        );
        check(
            &imap,
            b"* OK hi\r\na OK\r\n",
            b"",
            "step 7 expect \"b OK\": not in time (heard nothing)",
        );
    }

    #[test]
    fn tls_alone_is_a_question_and_a_handshake_that_fails_says_nothing_of_who_leads() {
        let steps = script(vec![BEGIN, send("QUIT\r\n")]);
        check(&steps, b"", b"", "passed");
        let target = TargetAddress::Ip("127.0.0.1:7001".parse().unwrap());
        let mut interpreter = Interpreter::new(&steps, &target);
        assert_eq!(interpreter.proceed(), Do::Upgrade { step: 0, within: None });
        interpreter.upgrade_failed(Ok(FaultKind::Tls("its certificate expired".into())));
        let Do::Done { verdict, farewell } = interpreter.proceed() else { panic!("it goes on") };
        assert_eq!(verdict.to_string(), "step 1 starttls: TLS: its certificate expired");
        assert_eq!((verdict.word(), farewell.len()), (Word::Silence, 0));
    }

    #[test]
    fn replies_are_counted_from_where_tls_began() {
        // A target that greets ends the counting; inside of TLS it begins anew.
        let steps = script(vec![
            expect("+HI\r\n"),
            send("PING\r\n"),
            expect("+PONG\r\n"),
            BEGIN,
            send("INFO\r\n"),
            expect("role:master"),
        ]);
        let (clear, slave) = (b"+HI\r\n+PONG\r\n", b"$10\r\nrole:slave\r\n");
        check(
            &steps,
            clear,
            slave,
            "step 6 expect \"role:master\": the reply was complete without it (heard \
             \"role:slave\\r\\n\")",
        );
        let mut forced = steps;
        forced.framing = Framing::Resp;
        assert_eq!(run(&forced, clear, slave).word(), Word::NotLeader);
    }

    #[test]
    fn a_reject_is_watched_for_by_the_next_expect_also_across_tls() {
        let steps = script(vec![reject("slave"), BEGIN, expect("master")]);
        check(&steps, b"", b"slave", "step 1 reject \"slave\": was heard (in \"slave\")");
    }

    #[test]
    fn a_step_has_one_time_for_all_that_is_said_before_tls() {
        let own = Some(Duration::from_millis(5));
        let begin = Step { action: Action::Starttls(Asking::Smtp), timeout: own };
        let steps = Script { steps: vec![begin], ..Script::default() };
        let target = TargetAddress::Ip("127.0.0.1:25".parse().unwrap());
        let mut interpreter = Interpreter::new(&steps, &target);
        assert_eq!(interpreter.proceed(), Do::Read { step: 0, within: own });
        interpreter.received(b"220 hi\r\n");
        assert!(matches!(interpreter.proceed(), Do::Send { step: 0, within, .. } if within == own));
        assert_eq!(interpreter.proceed(), Do::Read { step: 0, within: own });
        interpreter.received(b"250-");
        interpreter.expired(Expired::Step);
        let Do::Done { verdict, .. } = interpreter.proceed() else { panic!("it goes on") };
        let expected = "step 1 starttls \"smtp\": not in time (heard \"250-\")";
        assert_eq!(verdict.to_string(), expected);
    }
}
