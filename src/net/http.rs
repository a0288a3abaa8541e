//! One HTTP/1.1 question over an established connection: for checks, and for discovery.
//!
//! The one HTTP client of the house. It asks once and says that it will close; redirects are not
//! followed, and what an answer may cost is bounded. Deadlines are the caller's.

use std::error::Error as _;
use std::io;
use std::pin::pin;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_ENCODING, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The head of an answer may be this large.
const HEAD: usize = 64 * 1024;

/// An answer may have this many headers.
const HEADERS: usize = 256;

/// A question that is still to be put into HTTP's form.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// `GET`, …
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// `host[:port]`.
    pub host: &'a str,
    /// Further headers; values may be secrets.
    pub headers: &'a [(String, String)],
    /// What follows them.
    pub body: &'a [u8],
}

/// Why there is no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The connection, or what came over it, was no good.
    #[error("{}", in_words(.0))]
    Broken(#[from] hyper::Error),
    /// It answers, and refuses.
    #[error("it answered with status {}{}", .0.as_u16(), if .0.is_redirection() { ", and no redirect is followed" } else { "" })]
    Status(StatusCode),
    /// It is packed, though nobody asked for that.
    #[error("its answer is packed, which nobody asked for")]
    Packed,
    /// It has more to say than anybody would.
    #[error("its answer is longer than {} KiB", .0 / 1024)]
    TooLong(usize),
}

// === impl Question ===

impl Question<'_> {
    /// The question in HTTP's form.
    ///
    /// # Errors
    /// What HTTP cannot say. A value may be a secret: only the name of its header is told.
    pub fn build(&self) -> Result<Request<Full<Bytes>>, String> {
        let mut built = Request::builder()
            .method(self.method)
            .uri(self.path)
            .body(Full::new(Bytes::copy_from_slice(self.body)))
            .map_err(|error| error.to_string())?;
        let headers = built.headers_mut();
        let host = HeaderValue::from_str(self.host).map_err(|_| "its host".to_owned())?;
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static("stagedoor"));
        for (name, value) in self.headers {
            let key = HeaderName::try_from(name.as_str());
            let value = HeaderValue::from_str(value);
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
}

/// Asks, and waits for the head of the answer: its status.
///
/// # Errors
/// If there is none.
pub async fn status<S>(stream: S, request: Request<Full<Bytes>>) -> hyper::Result<StatusCode>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    ask(stream, request, async |answer| Ok(answer.status())).await
}

/// Asks, and waits for the whole body of a good answer, of at most so many bytes.
///
/// # Errors
/// If there is none, or it is not usable.
pub async fn document<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Vec<u8>, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    ask(stream, request, async |answer| body(answer, most).await).await
}

/// Drives the connection while the answer is waited for and read.
async fn ask<S, T, E>(
    stream: S,
    request: Request<Full<Bytes>>,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, E>,
) -> Result<T, E>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: From<hyper::Error>,
{
    let mut builder = http1::Builder::new();
    builder.max_headers(HEADERS).max_buf_size(HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let mut ended = None;
    let mut connection = pin!(connection);
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection ended; what it read last has been handed to the answer.
        end = &mut connection => {
            ended = Some(end.err());
            answer.await
        }
    };
    let answer = match (answer, &mut ended) {
        (Ok(answer), _) => answer,
        (Err(error), Some(end)) => return Err(end.take().unwrap_or(error).into()),
        (Err(error), None) => return Err(error.into()),
    };
    let mut reading = pin!(read(answer));
    if ended.is_some() {
        return reading.await;
    }
    tokio::select! {
        biased;
        read = &mut reading => read,
        _ended = &mut connection => reading.await,
    }
}

async fn body(answer: Response<Incoming>, most: usize) -> Result<Vec<u8>, NoAnswer> {
    if !answer.status().is_success() {
        return Err(NoAnswer::Status(answer.status()));
    }
    let packed = answer.headers().get(CONTENT_ENCODING);
    if packed.is_some_and(|how| !how.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(NoAnswer::Packed);
    }
    let mut body = answer.into_body();
    if body.size_hint().lower() > most as u64 {
        return Err(NoAnswer::TooLong(most));
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > most {
            return Err(NoAnswer::TooLong(most));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// What went wrong with whoever was asked, in words.
pub fn in_words(error: &hyper::Error) -> &'static str {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let is_cut = source.is_some_and(|source| source.kind() == io::ErrorKind::UnexpectedEof);
    if error.is_incomplete_message() || is_cut {
        "its answer broke off"
    } else if error.is_parse() {
        "its answer is no HTTP"
    } else if error.is_body_write_aborted() || error.is_closed() || error.is_canceled() {
        "it closed the connection"
    } else {
        "the connection to it broke"
    }
}
