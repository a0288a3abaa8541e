//! A check in PostgreSQL's protocol: bytes in, what to do next out. Pure: no socket, no clock.
//!
//! Who logs in does it as a client would: trust, MD5, SCRAM-SHA-256, and never with the password
//! in clear. The verdict is a function of what the server says, not of how it was cut into reads.
//! Only a whole answer other than the expected one contradicts; an error says nothing of a role.

use postgres_protocol::authentication::sasl::ScramSha256;

use crate::config::check::{PostgresCheck, PostgresLogin, Template};
use crate::config::names::TargetAddress;
use crate::health::codecs::backend::{Message, ServerError, Trouble, take};
use crate::health::codecs::login::{self, Challenge, Reply, Solved};
use crate::health::codecs::steps::{self, EXPECT, LOG_IN, Note, QUERY};
use crate::health::fault::FaultKind;
use crate::health::fill::Facts;
use crate::health::shown::Masker;
use crate::health::verdict::{OwnTrouble, Verdict};

/// A server that says more than this in one check is not answering it.
const LIMIT: usize = 64 * 1024;
/// Of what the server said, a fault shows this many bytes of each text.
const HEARD: usize = 160;
/// The one error that a check without a login fails by: starting up, shutting down, recovering.
const CANNOT_CONNECT_NOW: &[u8] = b"57P03";

/// One run of a check.
pub struct Conversation<'a> {
    check: &'a PostgresCheck,
    facts: Facts,
    masker: Masker,
    stage: Stage,
    unread: Vec<u8>,
    /// How many bytes of the stream are read and done with.
    taken: usize,
    /// No more will come, and why.
    end: Option<FaultKind>,
    /// A send that failed. What the server said before may still decide.
    unsent: Option<FaultKind>,
    /// To be done before anything else.
    pending: Option<Do>,
    row: Option<Vec<u8>>,
    heard: Vec<String>,
    heard_bytes: usize,
    notes: Vec<Note>,
    admitted: bool,
    verdict: Option<Verdict>,
}

/// What the server is to say next.
enum Stage {
    /// Nothing: we speak first.
    Begin,
    /// How it wants to know who we are.
    Greeting,
    /// Its SCRAM challenge.
    Challenge(ScramSha256),
    /// Nothing: a proof is being computed.
    Proving,
    /// Its own proof.
    Proof(ScramSha256),
    /// That we are admitted.
    Admission,
    /// That it is ready.
    Ready,
    /// The answer to the query.
    Answer,
}

/// What to do next.
pub enum Do {
    /// Send all of this, then ask again.
    Send {
        /// The step that says so.
        step: usize,
        /// What it is, for people: no password and no proof is in it.
        words: String,
        /// What to send.
        bytes: Vec<u8>,
    },
    /// Read something and report it, then ask again.
    Read,
    /// Solve this where it may take its time, and report it, then ask again.
    Prove(Challenge),
    /// The verdict stands.
    Done {
        /// The verdict.
        verdict: Verdict,
        /// What to take leave with. To be tried, not waited for.
        farewell: Option<Vec<u8>>,
    },
}

impl<'a> Conversation<'a> {
    /// Begins `check` on an established connection to `target`.
    pub fn new(check: &'a PostgresCheck, target: &TargetAddress) -> Self {
        Self {
            check,
            facts: Facts::of(target),
            masker: Masker::of_templates(check.templates()),
            stage: Stage::Begin,
            unread: Vec::new(),
            taken: 0,
            end: None,
            unsent: None,
            pending: None,
            row: None,
            heard: Vec::new(),
            heard_bytes: 0,
            notes: Vec::new(),
            admitted: false,
            verdict: None,
        }
    }

    /// What to do next.
    pub fn proceed(&mut self) -> Do {
        loop {
            if let Some(verdict) = self.verdict.clone() {
                self.note_heard();
                // Before it knows us, a server takes no leave for anything but a wrong password.
                let farewell = self.admitted && self.end.is_none();
                return Do::Done { verdict, farewell: farewell.then(login::terminate) };
            }
            if let Some(send) = self.pending.take() {
                return send;
            }
            if let Some(next) = self.step() {
                return next;
            }
        }
    }

    /// The server said this.
    pub fn received(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The server closed its side.
    pub fn closed(&mut self) {
        self.end = Some(FaultKind::Closed);
    }

    /// Reading failed.
    pub fn read_failed(&mut self, why: Result<FaultKind, OwnTrouble>) {
        match why {
            Ok(kind) => self.end = Some(kind),
            Err(trouble) => self.verdict = Some(Verdict::CouldNotRun(trouble)),
        }
    }

    /// The last `Do::Send` failed.
    pub fn send_failed(&mut self, why: Result<FaultKind, OwnTrouble>) {
        match why {
            Ok(kind) => self.unsent = Some(kind),
            Err(trouble) => self.verdict = Some(Verdict::CouldNotRun(trouble)),
        }
    }

    /// The last `Do::Prove` is solved.
    pub fn solved(&mut self, solved: Solved) {
        match solved.proof() {
            None => {
                self.fail(LOG_IN, FaultKind::CannotLogIn("its SCRAM challenge is not valid"), "");
            }
            Some((scram, bytes)) => {
                self.stage = Stage::Proof(scram);
                let words = "SASLResponse (the proof)".to_owned();
                self.pending = Some(Do::Send { step: LOG_IN, words, bytes });
            }
        }
    }

    /// The deadline passed.
    pub fn expired(&mut self) {
        self.fail(self.waits_at(), FaultKind::TimedOut, "");
    }

    /// What happened since this was asked last.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// The step that waits.
    pub fn waits_at(&self) -> usize {
        match self.stage {
            Stage::Begin
            | Stage::Greeting
            | Stage::Challenge(_)
            | Stage::Proving
            | Stage::Proof(_)
            | Stage::Admission
            | Stage::Ready => LOG_IN,
            Stage::Answer => QUERY,
        }
    }

    /// The next message, if it is there.
    fn step(&mut self) -> Option<Do> {
        if let Stage::Begin = self.stage {
            self.stage = Stage::Greeting;
            return Some(self.start_up());
        }
        let room = LIMIT.saturating_sub(self.taken);
        match take(&self.unread, room, !self.admitted) {
            Ok(Some((message, length))) => {
                self.unread.drain(..length);
                self.taken += length;
                self.heard_bytes += length;
                self.heard.extend(message.words(&self.masker));
                self.hear(message)
            }
            Ok(None) => match self.end.clone() {
                None => {
                    self.note_heard();
                    Some(Do::Read)
                }
                Some(end) => {
                    let unsent = self.unsent.take().filter(|_| end == FaultKind::Closed);
                    self.fail(self.waits_at(), unsent.unwrap_or(end), "");
                    None
                }
            },
            Err(trouble) => {
                let kind = match trouble {
                    Trouble::Malformed => FaultKind::Malformed,
                    Trouble::TooLong => FaultKind::Limit,
                };
                let heard = self.masker.excerpt(&self.unread, HEARD / 4);
                self.fail(self.waits_at(), kind, &heard);
                None
            }
        }
    }

    fn start_up(&self) -> Do {
        let (user, database) = match &self.check.login {
            Some(login) => (self.text(&login.user), self.text(&login.database)),
            None => ("stagedoor".to_owned(), "postgres".to_owned()),
        };
        let shown = |text: &str| self.masker.excerpt(text.as_bytes(), HEARD);
        let words = format!("StartupMessage {} {}", shown(&user), shown(&database));
        Do::Send { step: LOG_IN, words, bytes: login::start_up(&user, &database) }
    }

    fn hear(&mut self, message: Message) -> Option<Do> {
        let stage = std::mem::replace(&mut self.stage, Stage::Proving);
        match (stage, message) {
            (stage, Message::Aside) => self.stage = stage,
            (stage, Message::Error(error)) => {
                self.stage = stage;
                self.refused(&error);
            }
            (Stage::Greeting | Stage::Admission, Message::AuthenticationOk) => {
                (self.admitted, self.stage) = (true, Stage::Ready);
            }
            (Stage::Greeting, message) => match &self.check.login {
                Some(login) => return self.log_in(login, &message),
                None => self.asked_who_it_is(&message),
            },
            (Stage::Challenge(scram), Message::SaslContinue(challenge)) => {
                self.note_heard();
                return Some(Do::Prove(Challenge { scram, challenge }));
            }
            (Stage::Proof(mut scram), Message::SaslFinal(proof)) => {
                self.stage = Stage::Admission;
                if scram.finish(&proof).is_err() {
                    let why = "the server does not know the password itself";
                    self.fail(LOG_IN, FaultKind::CannotLogIn(why), "");
                }
            }
            (Stage::Ready, Message::ReadyForQuery) => return self.ask(),
            (Stage::Answer, Message::Row(row)) => {
                self.stage = Stage::Answer;
                self.row.get_or_insert(row);
            }
            (Stage::Answer, Message::CommandComplete) => self.stage = Stage::Answer,
            (Stage::Answer, Message::ReadyForQuery) => {
                self.stage = Stage::Answer;
                self.judge();
            }
            (stage, _) => {
                self.stage = stage;
                self.fail(self.waits_at(), FaultKind::Malformed, "");
            }
        }
        None
    }

    /// Nobody logs in: a server that asks who it is takes connections.
    fn asked_who_it_is(&mut self, message: &Message) {
        self.stage = Stage::Greeting;
        match message {
            Message::CleartextPassword
            | Message::Md5Password(_)
            | Message::Sasl(_)
            | Message::OtherAuthentication => self.pass(LOG_IN),
            Message::AuthenticationOk
            | Message::SaslContinue(_)
            | Message::SaslFinal(_)
            | Message::Error(_)
            | Message::Row(_)
            | Message::CommandComplete
            | Message::ReadyForQuery
            | Message::Aside => self.fail(LOG_IN, FaultKind::Malformed, ""),
        }
    }

    /// The server says how it wants to know who we are.
    fn log_in(&mut self, login: &PostgresLogin, message: &Message) -> Option<Do> {
        let (user, password) = (self.fill(&login.user), self.fill(&login.password));
        let (stage, words, bytes) = match login::reply(message, &user, &password) {
            Ok(Reply::Md5(bytes)) => (Stage::Admission, "PasswordMessage (an MD5)", bytes),
            Ok(Reply::Scram(scram, bytes)) => {
                (Stage::Challenge(scram), "SASLInitialResponse SCRAM-SHA-256", bytes)
            }
            Err(kind) => {
                self.stage = Stage::Greeting;
                self.fail(LOG_IN, kind, "");
                return None;
            }
        };
        self.note_heard();
        self.stage = stage;
        Some(Do::Send { step: LOG_IN, words: words.to_owned(), bytes })
    }

    /// The server is ready: the question, if there is one.
    fn ask(&mut self) -> Option<Do> {
        self.stage = Stage::Answer;
        let Some(question) = &self.check.question else {
            self.pass(LOG_IN);
            return None;
        };
        self.note_met(LOG_IN);
        let query = self.text(&question.query);
        let words = format!("Query {}", self.masker.excerpt(query.as_bytes(), HEARD));
        Some(Do::Send { step: QUERY, words, bytes: login::query(&query) })
    }

    /// The answer is whole.
    fn judge(&mut self) {
        let question = self.check.question.as_ref();
        let Some(expected) = question.and_then(|question| question.expect.as_ref()) else {
            return self.pass(QUERY);
        };
        if self.row.as_ref() == Some(&self.fill(expected)) {
            return self.pass(EXPECT);
        }
        let heard = match &self.row {
            Some(row) => self.masker.excerpt(row, HEARD),
            None => "no row".to_owned(),
        };
        self.fail(EXPECT, FaultKind::Contradicted, &heard);
    }

    /// The server says that something is wrong.
    fn refused(&mut self, error: &ServerError) {
        if self.check.login.is_none() && error.code != CANNOT_CONNECT_NOW {
            return self.pass(LOG_IN);
        }
        let heard = error.shown(&self.masker);
        self.fail(self.waits_at(), FaultKind::ErrorReply, &heard);
    }

    /// The last step there is was met.
    fn pass(&mut self, step: usize) {
        self.note_met(step);
        self.verdict = Some(Verdict::Passed);
    }

    fn fail(&mut self, index: usize, kind: FaultKind, heard: &str) {
        let fault = steps::fault(index, kind, heard.to_owned(), self.check, &self.masker);
        self.verdict = Some(Verdict::Failed(fault));
    }

    fn note_heard(&mut self) {
        let (words, length) = (self.heard.join(", "), self.heard_bytes);
        if !words.is_empty() {
            self.notes.push(Note::Heard { words, length });
        }
        self.heard.clear();
        self.heard_bytes = 0;
    }

    fn note_met(&mut self, step: usize) {
        self.note_heard();
        self.notes.push(Note::Met(step, steps::describe(step, self.check, &self.masker)));
    }

    fn fill(&self, template: &Template) -> Vec<u8> {
        self.facts.fill(template).expect("validated: there are no captures in it")
    }

    fn text(&self, template: &Template) -> String {
        String::from_utf8_lossy(&self.fill(template)).into_owned()
    }
}
