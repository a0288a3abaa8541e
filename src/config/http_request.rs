//! The model of an HTTP check: one request, and which statuses pass.

use std::fmt;

/// An HTTP check's request and what its answer must be.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Default `GET`.
    pub method: String,
    /// Path and query. Default `/`.
    pub path: String,
    /// The `Host` header: `host[:port]` of the check's URL.
    pub host: String,
    /// Further headers, in order; values may be secrets and are never shown.
    pub headers: Vec<(String, String)>,
    /// The body, decoded from base64.
    pub body: Vec<u8>,
    /// Inclusive ranges of status codes. Default: 200 to 200.
    pub expect_status: Vec<(u16, u16)>,
}

// === impl HttpRequest ===

/// Shows neither headers nor body: they may hold secrets.
impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("host", &self.host)
            .field("expect_status", &self.expect_status)
            .finish_non_exhaustive()
    }
}
