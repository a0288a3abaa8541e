//! One HTTP/1.1 request over an established connection: its status is the verdict.
//!
//! The body of the answer is not read, redirects are not followed, headers are bounded and never
//! shown.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use crate::config::check::HttpRequest;
use crate::health::fault::{Fault, FaultKind};
use crate::health::shown::Masker;
use crate::health::transcript::{Event, Recorder, Transcript};
use crate::health::verdict::{OwnTrouble, Stage, Verdict, classify};

/// The head of an answer may be this large.
const HEAD: usize = 64 * 1024;

/// An answer may have this many headers.
const HEADERS: usize = 256;

/// Asks once over `stream`, which is connected. Times count from `started`, before connecting;
/// the whole must be over by `deadline`.
pub async fn run_http<S>(
    stream: S,
    request: &HttpRequest,
    started: Instant,
    deadline: Instant,
) -> Transcript
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut recorder = Recorder::new(Masker::default());
    recorder.note(started.elapsed(), None, Event::Connected);
    let verdict = match build(request) {
        Err(words) => Verdict::CouldNotRun(OwnTrouble::Request(words)),
        Ok(built) => {
            let text = format!("{} {} HTTP/1.1", request.method, request.path);
            let length = request.body.len();
            recorder.note(started.elapsed(), None, Event::Sent { text, length });
            match timeout_at(deadline, ask(stream, built)).await {
                Err(_elapsed) => Verdict::Failed(Fault::unstepped(FaultKind::TimedOut)),
                Ok(Err(error)) => judge_error(&error),
                Ok(Ok(status)) => {
                    let text = format!("HTTP/1.1 {status}");
                    recorder.note(started.elapsed(), None, Event::Heard { text, length: 0 });
                    judge(status.as_u16(), &request.expect_status)
                }
            }
        }
    };
    recorder.finish(started.elapsed(), verdict)
}

/// Sends the request and waits for the head of the answer.
async fn ask<S>(stream: S, request: Request<Full<Bytes>>) -> hyper::Result<StatusCode>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = http1::Builder::new();
    builder.max_headers(HEADERS).max_buf_size(HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer.map(|answer| answer.status()),
        // The connection ended; what it read last has been handed to the answer.
        ended = &mut connection => match answer.await {
            Ok(answer) => Ok(answer.status()),
            Err(error) => Err(ended.err().unwrap_or(error)),
        },
    }
}

fn build(request: &HttpRequest) -> Result<Request<Full<Bytes>>, String> {
    let mut built = Request::builder()
        .method(request.method.as_str())
        .uri(request.path.as_str())
        .body(Full::new(Bytes::copy_from_slice(&request.body)))
        .map_err(|error| error.to_string())?;
    let headers = built.headers_mut();
    let host = HeaderValue::from_str(&request.host).map_err(|_| "its host".to_owned())?;
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static("stagedoor"));
    for (name, value) in &request.headers {
        let key = HeaderName::try_from(name.as_str());
        let value = HeaderValue::from_str(value);
        // A value may be a secret: the message names the header only.
        let (Ok(key), Ok(value)) = (key, value) else { return Err(format!("header {name:?}")) };
        if [HOST, USER_AGENT].contains(&key) {
            headers.insert(key, value);
        } else {
            headers.append(key, value);
        }
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(built)
}

fn judge(status: u16, expected: &[(u16, u16)]) -> Verdict {
    if expected.iter().any(|(first, last)| (*first..=*last).contains(&status)) {
        return Verdict::Passed;
    }
    let mut heard = "expected".to_owned();
    for (at, (first, last)) in expected.iter().enumerate() {
        heard.push_str(if at == 0 { " " } else { ", " });
        let written =
            if first == last { write!(heard, "{first}") } else { write!(heard, "{first}-{last}") };
        written.expect("writing to a String cannot fail");
    }
    Verdict::Failed(Fault { step: None, kind: FaultKind::HttpStatus(status), heard })
}

fn judge_error(error: &hyper::Error) -> Verdict {
    if let Some(error) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        return match classify(Stage::Talk, error) {
            Ok(kind) => Verdict::Failed(Fault::unstepped(kind)),
            Err(trouble) => Verdict::CouldNotRun(trouble),
        };
    }
    let kind = if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        FaultKind::Closed
    } else if error.is_parse() {
        FaultKind::Malformed
    } else {
        FaultKind::Io(io::ErrorKind::Other)
    };
    Verdict::Failed(Fault::unstepped(kind))
}
