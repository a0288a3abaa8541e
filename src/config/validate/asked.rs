//! A check's URL and protocol → what is asked, of whom, and over what.

use crate::config::address::{self, Spoken, Url};
use crate::config::names::TargetAddress;
use crate::config::problem::Complaint;

/// What a check asks, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What carries it; `None`: nothing is said of it.
    pub spoken: Option<Spoken>,
    /// Whom.
    pub address: TargetAddress,
    /// What.
    pub kind: AskedKind,
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedKind {
    /// Its script.
    Script,
    /// One HTTP request.
    Http {
        /// Before the path of its URL.
        host: String,
        /// Path and query, and what follows them.
        path: String,
    },
}

/// Reads both, or says which of the two is wrong, and why.
pub fn asked(text: &str, protocol: Option<&str>) -> Result<Asked, (&'static str, Complaint)> {
    let in_url = |complaint| ("url", complaint);
    let text = text.trim();
    if let Some(path) = address::unix(text) {
        let address = path.map(TargetAddress::Unix).map_err(in_url)?;
        return Ok(Asked { spoken: Some(Spoken::Tcp), address, kind: AskedKind::Script });
    }
    let url = address::split(text);
    let protocol = protocol.map(str::trim).filter(|protocol| !protocol.is_empty());
    let (spoken, http) = match scheme(url.scheme, protocol)? {
        None => (None, false),
        Some("tcp") => (Some(Spoken::Tcp), false),
        Some("tls") => (Some(Spoken::Tls), false),
        Some("http") => (Some(Spoken::Tcp), true),
        Some(_https) => (Some(Spoken::Tls), true),
    };
    if !http {
        let address = address::target(&format!("tcp://{}{}", url.authority, url.path));
        let (_, address) = address.map_err(in_url)?;
        return Ok(Asked { spoken, address, kind: AskedKind::Script });
    }
    let Url { authority, path, .. } = url;
    let port = if spoken == Some(Spoken::Tls) { 443 } else { 80 };
    let address = address::host_and_port(authority, Some(port)).map_err(in_url)?;
    let kind = AskedKind::Http { host: authority.to_owned(), path: path.to_owned() };
    Ok(Asked { spoken, address, kind })
}

/// What is spoken, by URL and protocol, which must not disagree.
fn scheme<'a>(
    url: Option<&'a str>,
    protocol: Option<&'a str>,
) -> Result<Option<&'a str>, (&'static str, Complaint)> {
    const KNOWN: [&str; 4] = ["tcp", "tls", "http", "https"];
    let is_known = |scheme: &str| KNOWN.contains(&scheme);
    match (url, protocol) {
        (Some(scheme), _) if !is_known(scheme) => {
            let what = format!("there are no {}:// checks", scheme.escape_debug());
            let right = "write host:port, tls://host:port, http://host:port/path or \
                         https://host:port/path";
            Err(("url", Complaint::new(what, right)))
        }
        (_, Some(protocol)) if !is_known(protocol) => {
            let what = format!("there are no {} checks", protocol.escape_debug());
            Err(("protocol", Complaint::new(what, "write tcp, tls, http or https")))
        }
        (Some(scheme), Some(protocol)) if scheme != protocol => {
            let what = format!("the URL says {scheme}, the protocol says {protocol}");
            Err(("protocol", Complaint::new(what, "take one of them out")))
        }
        (Some(scheme), _) => Ok(Some(scheme)),
        (None, protocol) => Ok(protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, protocol: Option<&str>, expected: &str) {
        let said = match asked(text, protocol) {
            Ok(Asked { spoken, address, kind }) => {
                let over = match spoken {
                    None => "as the target is",
                    Some(Spoken::Tcp) => "in the clear",
                    Some(Spoken::Tls) => "over TLS",
                };
                let what = match kind {
                    AskedKind::Script => "",
                    AskedKind::Http { .. } => "HTTP ",
                };
                format!("{what}{address} {over}")
            }
            Err((key, complaint)) => format!("{key}: {}", complaint.what),
        };
        assert_eq!(said, expected, "{text} {protocol:?}");
    }

    #[test]
    fn url_and_protocol_say_together_what_is_spoken() {
        check("a:1", None, "a:1 as the target is");
        check("a:1", Some(""), "a:1 as the target is");
        check("a:1", Some("tcp"), "a:1 in the clear");
        check("tcp://a:1", None, "a:1 in the clear");
        check("a:1", Some("tls"), "a:1 over TLS");
        check("tls://a:1", Some("tls"), "a:1 over TLS");
        check("unix:/x", None, "unix:/x in the clear");
        check("a", Some("http"), "HTTP a:80 in the clear");
        check("http://a:1/x", None, "HTTP a:1 in the clear");
        check("https://a/x", None, "HTTP a:443 over TLS");
        check("a:8443/x", Some("https"), "HTTP a:8443 over TLS");
    }

    #[test]
    fn what_disagrees_or_is_unknown_is_told_where_it_is() {
        check("tcp://a:1", Some("tls"), "protocol: the URL says tcp, the protocol says tls");
        check("http://a", Some("https"), "protocol: the URL says http, the protocol says https");
        check("ftp://a:1", None, "url: there are no ftp:// checks");
        check("a:1", Some("udp"), "protocol: there are no udp checks");
        check("tls://a", None, "url: the port is missing");
        check("tls://a:1/x", None, "url: a TCP target has no path");
    }
}
