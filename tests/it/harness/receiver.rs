//! A receiver of webhooks: an HTTP server that keeps what it was sent, and answers as it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use serde_json::Value;

use crate::harness::eventually::eventually;
use crate::harness::target::Target;
use crate::harness::tls_target::TlsTarget;

/// One request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// The request line and the headers.
    pub(crate) head: String,
    /// What followed them.
    pub(crate) body: String,
}

type Answer = Arc<dyn Fn(&mut TcpStream, usize) + Send + Sync>;

struct State {
    sent: Vec<Sent>,
    answer: Answer,
}

/// A receiver on a port of its own.
pub(crate) struct Receiver {
    target: Target,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    /// One that takes everything.
    pub(crate) fn new() -> Self {
        Self::answering(|stream, _| say(stream, 204))
    }

    /// One that answers so; `answer` hears how many requests have come.
    pub(crate) fn answering(
        answer: impl Fn(&mut TcpStream, usize) + Send + Sync + 'static,
    ) -> Self {
        let state = State { sent: Vec::new(), answer: Arc::new(answer) };
        let state = Arc::new(Mutex::new(state));
        let target = Target::new({
            let state = Arc::clone(&state);
            move |mut stream| {
                let Some(sent) = read(&stream) else { return };
                let (nth, answer) = {
                    let mut state = lock(&state);
                    state.sent.push(sent);
                    (state.sent.len(), Arc::clone(&state.answer))
                };
                answer(&mut stream, nth);
            }
        });
        Self { target, state }
    }

    /// Answers so from now on.
    pub(crate) fn answers(&self, answer: impl Fn(&mut TcpStream, usize) + Send + Sync + 'static) {
        lock(&self.state).answer = Arc::new(answer);
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.target.address())
    }

    /// Everything that has come so far.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        lock(&self.state).sent.clone()
    }

    /// Waits until so many have come, and returns their bodies.
    #[track_caller]
    pub(crate) fn bodies(&self, count: usize) -> Vec<Value> {
        let sent = eventually("they are sent", || {
            let sent = self.sent();
            (sent.len() >= count).then_some(sent)
        });
        let body = |sent: &Sent| serde_json::from_str(&sent.body).expect("a body is JSON");
        sent.iter().map(body).collect()
    }
}

/// A receiver of HTTPS that takes everything.
pub(crate) struct SecureReceiver {
    target: TlsTarget,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl SecureReceiver {
    /// One with this side of TLS.
    pub(crate) fn new(config: ServerConfig) -> Self {
        let sent = Arc::<Mutex<Vec<Sent>>>::default();
        let kept = Arc::clone(&sent);
        let target = TlsTarget::new(config, move |stream| {
            if let Some(one) = read(&mut *stream) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                // Whoever sent it may be gone.
                drop(stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        });
        Self { target, sent }
    }

    /// `https://HOST:port/hook`.
    pub(crate) fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/hook", self.target.port())
    }

    /// Everything that has come so far.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers with a status, whether it is still heard or not.
pub(crate) fn say(stream: &mut TcpStream, status: u16) {
    drop(write!(stream, "HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n"));
}

fn read(stream: impl Read) -> Option<Sent> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
        if line == "\r\n" {
            break;
        }
        head.push_str(line.trim_end());
        head.push('\n');
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(Sent { head, body: String::from_utf8_lossy(&body).into_owned() })
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
