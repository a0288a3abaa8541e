//! A directory: an HTTP server that answers as it is told to, well or badly; and one of HTTPS.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;

use crate::harness::target::Target;
use crate::harness::tls_target::{Seen, TlsTarget};

type Answer = Arc<dyn Fn(&mut TcpStream, usize) + Send + Sync>;

/// What a directory was asked, and what it answers.
#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    /// How often each path was asked.
    asked: HashMap<String, usize>,
    /// The head of the last question.
    heard: String,
}

/// A directory on a port of its own; each path has an answer of its own.
pub(crate) struct Directory {
    target: Target,
    state: Arc<Mutex<State>>,
}

impl Directory {
    /// One that knows nothing yet.
    pub(crate) fn new() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let target = Target::new({
            let state = Arc::clone(&state);
            move |mut stream| {
                let Some(head) = head_of(&stream) else { return };
                let path = head.split(' ').nth(1).unwrap_or_default();
                let path = path.split('?').next().unwrap_or_default().to_owned();
                let (nth, answer) = {
                    let mut state = lock(&state);
                    state.heard = head;
                    let nth = state.asked.entry(path.clone()).or_default();
                    *nth += 1;
                    (*nth, state.answers.get(&path).cloned())
                };
                if let Some(answer) = answer {
                    answer(&mut stream, nth);
                }
            }
        });
        Self { target, state }
    }

    /// Answers so at this path from now on; `answer` hears how often it has been asked there.
    pub(crate) fn answers(
        &self,
        path: &str,
        answer: impl Fn(&mut TcpStream, usize) + Send + Sync + 'static,
    ) {
        lock(&self.state).answers.insert(path.to_owned(), Arc::new(answer));
    }

    /// Lists these from now on.
    pub(crate) fn lists(&self, path: &str, targets: &[String]) {
        let body = list(targets);
        self.answers(path, move |stream, _| say(stream, &ok(&body)));
    }

    /// How often a path has been asked.
    pub(crate) fn asked(&self, path: &str) -> usize {
        lock(&self.state).asked.get(path).copied().unwrap_or(0)
    }

    /// The head of the last question.
    pub(crate) fn heard(&self) -> String {
        lock(&self.state).heard.clone()
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.target.address())
    }
}

/// A directory of HTTPS, which lists the same at every path.
pub(crate) struct SecureDirectory {
    target: TlsTarget,
    listed: Arc<Mutex<Vec<String>>>,
}

impl SecureDirectory {
    /// One with this side of TLS.
    pub(crate) fn new(config: ServerConfig, targets: &[String]) -> Self {
        let listed = Arc::new(Mutex::new(targets.to_vec()));
        let said = Arc::clone(&listed);
        let target = TlsTarget::new(config, move |stream| {
            if head_of(&mut *stream).is_some() {
                let body = list(&said.lock().unwrap_or_else(PoisonError::into_inner));
                // Whoever asked may be gone.
                drop(stream.write_all(&ok(&body)));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        });
        Self { target, listed }
    }

    /// Lists these from now on.
    pub(crate) fn lists(&self, targets: &[String]) {
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = targets.to_vec();
    }

    /// `https://HOST:port/redis`.
    pub(crate) fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/redis", self.target.port())
    }

    /// The handshakes that succeeded so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.target.seen()
    }
}

/// A document that lists targets.
pub(crate) fn list(targets: &[String]) -> String {
    serde_json::to_string(targets).expect("it is JSON")
}

/// A good answer with this body.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Says it, whether it is still heard or not.
pub(crate) fn say(stream: &mut TcpStream, bytes: &[u8]) {
    drop(stream.write_all(bytes));
}

fn head_of(stream: impl Read) -> Option<String> {
    let mut head = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line.ok()?;
        if line.is_empty() {
            return Some(head);
        }
        head.push_str(&line);
        head.push('\n');
    }
    None
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
