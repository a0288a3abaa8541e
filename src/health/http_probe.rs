//! One HTTP/1.1 request over an established connection: its status is the verdict.
//!
//! The body of the answer is not read, redirects are not followed, headers are bounded and never
//! shown.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::http_request::HttpRequest;
use crate::health::awake::{AwakeTime, Overdue};
use crate::health::fault::{Fault, FaultKind};
use crate::health::shown::Masker;
use crate::health::transcript::{Event, Recorder, Transcript};
use crate::health::verdict::{OwnTrouble, Stage, Verdict, classify};
use crate::net::http::{self, Question};

/// Asks once over `stream`, which is connected. `time` began before connecting.
pub async fn run_http<S>(stream: S, request: &HttpRequest, time: &AwakeTime) -> Transcript
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut recorder = Recorder::new(Masker::default());
    recorder.note(time.elapsed(), None, Event::Connected);
    let HttpRequest { method, path, host, headers, body, expect_status: _ } = request;
    let question = Question { method, path, host, headers, body };
    let verdict = match question.build() {
        Err(words) => Verdict::CouldNotRun(OwnTrouble::Request(words)),
        Ok(built) => {
            let text = shown(request);
            let length = request.body.len();
            recorder.note(time.elapsed(), None, Event::Sent { text, length });
            match time.wait(time.deadline(), http::status(stream, built)).await {
                Err(Overdue) => Verdict::Failed(Fault::unstepped(FaultKind::TimedOut)),
                Ok(Err(error)) => judge_error(&error),
                Ok(Ok(status)) => {
                    let text = format!("HTTP/1.1 {status}");
                    recorder.note(time.elapsed(), None, Event::Heard { text, length: 0 });
                    judge(status.as_u16(), &request.expect_status)
                }
            }
        }
    };
    recorder.finish(time.elapsed(), verdict)
}

/// The request line, without a query: that may hold a token.
fn shown(request: &HttpRequest) -> String {
    let (path, query) =
        request.path.split_once('?').map_or((&*request.path, ""), |(path, _)| (path, "?…"));
    format!("{} {path}{query} HTTP/1.1", request.method)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::sleep;

    use super::*;
    use crate::health::verdict::Word;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn request() -> HttpRequest {
        HttpRequest {
            method: "GET".to_owned(),
            path: "/primary?x=1".to_owned(),
            host: "10.0.0.1:8008".to_owned(),
            headers: vec![("Authorization".to_owned(), "hunter2".to_owned())],
            body: Vec::new(),
            expect_status: vec![(200, 200)],
        }
    }

    /// What a target says makes of the check; and what it was sent.
    async fn ask_for(request: &HttpRequest, answer: &[u8]) -> (Transcript, String) {
        let (ours, mut theirs) = duplex(64 * 1024);
        let answer = answer.to_vec();
        let server = tokio::spawn(async move {
            let mut heard = vec![0; 4096];
            let length = theirs.read(&mut heard).await.unwrap();
            theirs.write_all(&answer).await.ok();
            String::from_utf8(heard[..length].to_vec()).unwrap()
        });
        let transcript = run_http(ours, request, &AwakeTime::of(TIMEOUT)).await;
        (transcript, server.await.unwrap())
    }

    async fn check(answer: &[u8], expected: &str) -> Transcript {
        let (transcript, _) = ask_for(&request(), answer).await;
        assert_eq!(transcript.verdict.to_string(), expected);
        transcript
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_is_the_verdict() {
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "passed").await;
        check(b"HTTP/1.0 200 OK\r\n\r\n", "passed").await;
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
        let transcript = check(answer, "answered with status 503 (expected 200)").await;
        assert_eq!(transcript.verdict.word(), Word::NotLeader);
        let mut ranges = request();
        ranges.expect_status = vec![(200, 299), (401, 401)];
        let answer = b"HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(ask_for(&ranges, answer).await.0.verdict, Verdict::Passed);
    }

    #[tokio::test(start_paused = true)]
    async fn it_asks_once_and_says_that_it_will_close() {
        let mut post = request();
        (post.method, post.body) = ("POST".to_owned(), b"ping".to_vec());
        post.headers.push(("host".to_owned(), "other.example".to_owned()));
        let (_, sent) = ask_for(&post, b"").await;
        assert!(sent.starts_with("POST /primary?x=1 HTTP/1.1\r\n"), "{sent}");
        let lower = sent.to_ascii_lowercase();
        for expected in ["host: other.example", "connection: close", "content-length: 4", "hunter2"]
        {
            assert!(lower.contains(expected), "{expected} in {sent}");
        }
        assert!(!sent.contains("10.0.0.1"), "one host only: {sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn headers_are_never_shown() {
        let (transcript, sent) = ask_for(&request(), b"HTTP/1.1 200 OK\r\n\r\n").await;
        assert!(transcript.to_string().contains("send GET /primary?… HTTP/1.1\n"), "{transcript}");
        assert!(sent.contains("hunter2") && !transcript.to_string().contains("hunter2"));
        let mut bad = request();
        bad.headers = vec![("X-Key".to_owned(), "hunter2\n".to_owned())];
        let transcript = run_http(duplex(1).0, &bad, &AwakeTime::of(TIMEOUT)).await;
        assert_eq!(
            transcript.verdict.to_string(),
            "the check could not run: its request is not valid HTTP: header \"X-Key\""
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_http_is_malformed_and_a_close_is_a_close() {
        check(b"+PONG\r\n\r\n", "the answer is not well-formed").await;
        check(b"", "the target closed the connection first").await;
        check(b"HTTP/1.1 200 OK\r\nX-", "the target closed the connection first").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_without_end_is_bounded() {
        let mut flood = b"HTTP/1.1 200 OK\r\n".to_vec();
        for _ in 0..100_000 {
            flood.extend_from_slice(b"X-Header: 0123456789\r\n");
        }
        let (transcript, _) = ask_for(&request(), &flood).await;
        assert_eq!(transcript.verdict.to_string(), "the answer is not well-formed");
    }

    #[tokio::test(start_paused = true)]
    async fn the_body_is_not_waited_for() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\nabc";
        assert_eq!(check(answer, "passed").await.took, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_costs_the_timeout_and_no_more() {
        let (ours, theirs) = duplex(1024);
        let silent = tokio::spawn(async move {
            sleep(TIMEOUT * 100).await;
            drop(theirs);
        });
        let transcript = run_http(ours, &request(), &AwakeTime::of(TIMEOUT)).await;
        silent.abort();
        assert_eq!(transcript.verdict.to_string(), "no answer in time");
        assert_eq!(transcript.took, TIMEOUT);
    }
}
