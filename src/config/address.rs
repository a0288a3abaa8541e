//! Addresses as people write them → addresses that cannot be wrong.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::config::names::TargetAddress;
use crate::config::problem::Complaint;

/// How an address has to look, for people.
const FORM: &str = "write host:port, such as \"10.0.0.1:6379\", \"redis-1:6379\" or \"[::1]:6379\"";

/// A text split at `://`, and what may follow the address in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Url<'a> {
    /// Before `://`.
    pub scheme: Option<&'a str>,
    /// `host:port`.
    pub authority: &'a str,
    /// From the first `/`, `?` or `#` on; empty if there is none.
    pub path: &'a str,
}

/// Splits a URL; a bare `host:port` has no scheme.
pub fn split(text: &str) -> Url<'_> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    Url { scheme, authority, path }
}

/// The path of `unix:/path` or `unix:///path`.
pub fn unix(text: &str) -> Option<Result<PathBuf, Complaint>> {
    let path = text.strip_prefix("unix:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let right = "write unix:/path";
    Some(if !path.starts_with('/') {
        Err(Complaint::new("the path of a unix socket begins with /", right))
    } else if path.len() > 107 {
        Err(Complaint::new("the path of a unix socket has at most 107 bytes", right))
    } else if path.contains(char::is_control) {
        Err(Complaint::new("the path of a unix socket holds a control character", right))
    } else {
        Ok(PathBuf::from(path))
    })
}

/// What is spoken to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spoken {
    /// Bytes, in the clear.
    Tcp,
    /// TLS.
    Tls,
}

/// A target: `tcp://host:port`, `host:port`, `tls://host:port`, `unix:/path`.
pub fn target(text: &str) -> Result<(Spoken, TargetAddress), Complaint> {
    let text = text.trim();
    if let Some(path) = unix(text) {
        return path.map(|path| (Spoken::Tcp, TargetAddress::Unix(path)));
    }
    let url = split(text);
    let spoken = match url.scheme {
        None | Some("tcp") => Spoken::Tcp,
        Some("tls") => Spoken::Tls,
        Some(other) => {
            let what = format!("`{}://` is no scheme of a TCP target", shown(other));
            let right = "write tcp://host:port, tls://host:port, host:port or unix:/path";
            return Err(Complaint::new(what, right));
        }
    };
    if !url.path.is_empty() && url.path != "/" {
        return Err(Complaint::new("a TCP target has no path", FORM));
    }
    host_and_port(url.authority, None).map(|address| (spoken, address))
}

/// `host:port`; without a port, `default`.
pub fn host_and_port(text: &str, default: Option<u16>) -> Result<TargetAddress, Complaint> {
    if text.is_empty() {
        return Err(Complaint::new("the address is empty", FORM));
    }
    if text.contains('@') {
        return Err(Complaint::new("an address holds no user name", FORM));
    }
    let (host, port) = halves(text)?;
    let port = match (port, default) {
        (Some(text), _) => port_number(text)?,
        (None, Some(port)) => port,
        (None, None) => return Err(Complaint::new("the port is missing", FORM)),
    };
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => match format!("[{v6}]:{port}").parse::<SocketAddr>() {
            Ok(address) => Ok(TargetAddress::Ip(address)),
            Err(_) => Err(Complaint::new(format!("{} is no IPv6 address", shown(host)), FORM)),
        },
        None => match host.parse::<IpAddr>() {
            Ok(address) => Ok(TargetAddress::Ip(SocketAddr::new(address, port))),
            Err(_) => name(host, port),
        },
    }
}

/// An IP address to listen on.
pub fn listen_ip(text: &str) -> Result<IpAddr, Complaint> {
    let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok(address),
        Err(_) if bare == "*" => Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        Err(_) if bare.parse::<SocketAddr>().is_ok() || bare.contains("]:") => Err(Complaint::new(
            "the port does not belong here",
            "write the address alone, and the port as listen_port",
        )),
        Err(_) => Err(Complaint::new(
            format!("{} is no IP address", shown(bare)),
            "write an address of this machine, such as \"127.0.0.1\" or \"::\"",
        )),
    }
}

fn halves(text: &str) -> Result<(&str, Option<&str>), Complaint> {
    if text.starts_with('[') {
        let end = text.find(']');
        let end = end.ok_or_else(|| Complaint::new("a `[` with no `]` after it", FORM))?;
        return match text[end + 1..].strip_prefix(':') {
            Some(port) => Ok((&text[..=end], Some(port))),
            None if end + 1 == text.len() => Ok((text, None)),
            None => Err(Complaint::new("only :port may follow the `]`", FORM)),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, rest)) if rest.contains(':') => {
            let right = format!("write [{0}]:port, or [address]:port", shown(text));
            Err(Complaint::new("an IPv6 address stands in brackets", right))
        }
        Some((host, port)) => Ok((host, Some(port))),
    }
}

fn port_number(text: &str) -> Result<u16, Complaint> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if port > 0 && digits => Ok(port),
        Ok(_) | Err(_) if text.is_empty() => Err(Complaint::new("the port is missing", FORM)),
        Ok(_) | Err(_) => {
            let what = format!("the port {} is not a number from 1 to 65535", shown(text));
            Err(Complaint::new(what, FORM))
        }
    }
}

fn name(host: &str, port: u16) -> Result<TargetAddress, Complaint> {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.is_empty() {
        return Err(Complaint::new("the host is missing", FORM));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err(Complaint::new(format!("`{}` is no host name", shown(&host)), FORM));
    }
    // A name whose last label is a number is an IPv4 address gone wrong.
    if host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err(Complaint::new(format!("{} is no IPv4 address", shown(&host)), FORM));
    }
    Ok(TargetAddress::Name { host: host.into(), port })
}

fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let said = match target(text) {
            Ok((Spoken::Tcp, address)) => address.to_string(),
            Ok((Spoken::Tls, address)) => format!("{address} over TLS"),
            Err(complaint) => complaint.what,
        };
        assert_eq!(said, expected, "{text}");
    }

    #[test]
    fn a_target_is_one_address() {
        check("127.0.0.1:6379", "127.0.0.1:6379");
        check(" tcp://10.0.0.1:1/ ", "10.0.0.1:1");
        check("[::1]:6379", "[::1]:6379");
        check("Redis-1.Example.:6379", "redis-1.example:6379");
        check("redis_1:65535", "redis_1:65535");
        check("tls://Redis-1:6380", "redis-1:6380 over TLS");
        check("tls://[::1]:6380/", "[::1]:6380 over TLS");
        check("unix:/run/x.sock", "unix:/run/x.sock");
        check("unix:///run/x.sock", "unix:/run/x.sock");
    }

    #[test]
    fn anything_else_is_said_plainly() {
        check("", "the address is empty");
        check("redis", "the port is missing");
        check("redis:", "the port is missing");
        check("redis:0", "the port 0 is not a number from 1 to 65535");
        check("redis:70000", "the port 70000 is not a number from 1 to 65535");
        check("redis:-1", "the port -1 is not a number from 1 to 65535");
        check("redis:+1", "the port +1 is not a number from 1 to 65535");
        check(":6379", "the host is missing");
        check("::1:6379", "an IPv6 address stands in brackets");
        check("[::1:6379", "a `[` with no `]` after it");
        check("[::1]6379", "only :port may follow the `]`");
        check("[::g]:6379", "[::g] is no IPv6 address");
        check("1.2.3.400:80", "1.2.3.400 is no IPv4 address");
        check("a b:80", "`a b` is no host name");
        check("http://a:80", "`http://` is no scheme of a TCP target");
        check("tcp://a:80/x", "a TCP target has no path");
        check("user@a:80", "an address holds no user name");
        check("unix:x", "the path of a unix socket begins with /");
    }
}
