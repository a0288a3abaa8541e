//! The URL of whoever is asked over HTTP: a directory, a webhook.

use crate::config::address;
use crate::config::names::TargetAddress;
use crate::config::problem::Complaint;

/// How such a URL has to look, for people.
pub const FORM: &str = "write http://host:port/path or https://host:port/path";

/// A URL that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// It is `https://…`.
    pub is_tls: bool,
    /// Where to connect.
    pub address: TargetAddress,
    /// The `Host` header.
    pub host: String,
    /// Path and query.
    pub path: String,
}

/// Reads a URL; `otherwise` says what a text is not that is none.
pub fn read(text: &str, otherwise: &str) -> Result<Read, Complaint> {
    let url = address::split(text);
    let (is_tls, port) = match url.scheme {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        Some(_) | None => return Err(Complaint::new(otherwise, FORM)),
    };
    let address = address::host_and_port(url.authority, Some(port))?;
    let path = url.path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let is_plain = |byte: u8| byte.is_ascii_graphic();
    if !path.bytes().all(is_plain) || !url.authority.bytes().all(is_plain) {
        let right = "write blanks and letters beyond ASCII as %XX";
        return Err(Complaint::new("a URL holds no such character", right));
    }
    Ok(Read { is_tls, address, host: url.authority.to_owned(), path })
}
