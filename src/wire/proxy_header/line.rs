//! Version 1: a line of text.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use crate::wire::proxy_header::fault::HeaderFault;
use crate::wire::proxy_header::header::Origin;

/// How a line begins.
pub const BEGINNING: &[u8] = b"PROXY ";
/// No line is longer, CR LF included.
pub const LONGEST: usize = 107;

const UNKNOWN: &[u8] = b"UNKNOWN";

/// Reads the line that `bytes`, which have begun as one, hold: what it says and how long it is.
/// `None`: it has not ended yet.
///
/// # Errors
/// However it goes on, it is none.
pub fn read(bytes: &[u8]) -> Result<Option<(Origin, usize)>, HeaderFault> {
    match until_end(&bytes[..bytes.len().min(LONGEST)])? {
        Some(line) => {
            let origin = origin(line.get(BEGINNING.len()..).unwrap_or_default())?;
            Ok(Some((origin, line.len() + 2)))
        }
        None => {
            let said = bytes.get(BEGINNING.len()..).unwrap_or_default();
            let fits = |word: &[u8]| word.starts_with(said) || said.starts_with(word);
            let fits = fits(UNKNOWN) || fits(b"TCP4 ") || fits(b"TCP6 ");
            if fits { Ok(None) } else { Err(HeaderFault::Word) }
        }
    }
}

/// The line, without what ends it.
fn until_end(seen: &[u8]) -> Result<Option<&[u8]>, HeaderFault> {
    let end = seen.iter().position(|byte| b"\r\n".contains(byte));
    match end.map(|end| (end, &seen[end..])) {
        Some((end, [b'\r', b'\n', ..])) => Ok(Some(&seen[..end])),
        Some((_, [b'\n', ..] | [_, _, ..])) => Err(HeaderFault::LineEnd),
        Some(_) | None if seen.len() == LONGEST => Err(HeaderFault::LineTooLong),
        Some(_) | None => Ok(None),
    }
}

fn origin(said: &[u8]) -> Result<Origin, HeaderFault> {
    if let Some(rest) = said.strip_prefix(UNKNOWN) {
        // Whatever else it says is to be ignored; but it is still a line of text.
        let is_text = rest.iter().all(|byte| (b' '..=b'~').contains(byte));
        let is_apart = rest.is_empty() || rest.starts_with(b" ");
        return match (is_apart, is_text) {
            (true, true) => Ok(Origin::Unknown),
            (true, false) => Err(HeaderFault::Fields),
            (false, _) => Err(HeaderFault::Word),
        };
    }
    let said = std::str::from_utf8(said).map_err(|_| HeaderFault::Fields)?;
    let (word, rest) = said.split_once(' ').ok_or(HeaderFault::Word)?;
    let is_v4 = match word {
        "TCP4" => true,
        "TCP6" => false,
        _other => return Err(HeaderFault::Word),
    };
    let mut fields = rest.split(' ');
    let mut field = || fields.next().ok_or(HeaderFault::Fields);
    let [source, destination, from, to] = [field()?, field()?, field()?, field()?];
    if fields.next().is_some() || [source, destination, from, to].contains(&"") {
        return Err(HeaderFault::Fields);
    }
    if is_v4 {
        let (source, destination) = (v4(source)?, v4(destination)?);
        return Ok(Origin::Tcp4 {
            source: SocketAddrV4::new(source, port(from)?),
            destination: SocketAddrV4::new(destination, port(to)?),
        });
    }
    let (source, destination) = (v6(source)?, v6(destination)?);
    Ok(Origin::Tcp6 {
        source: SocketAddrV6::new(source, port(from)?, 0, 0),
        destination: SocketAddrV6::new(destination, port(to)?, 0, 0),
    })
}

/// std reads four plain decimal numbers and nothing else.
fn v4(text: &str) -> Result<Ipv4Addr, HeaderFault> {
    text.parse().map_err(|_| HeaderFault::Address)
}

/// std reads no zone.
fn v6(text: &str) -> Result<Ipv6Addr, HeaderFault> {
    text.parse().map_err(|_| HeaderFault::Address)
}

fn port(text: &str) -> Result<u16, HeaderFault> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain && is_short).ok_or(HeaderFault::Port)
}

/// The line that says this.
pub fn write(origin: &Origin) -> Vec<u8> {
    let words = match origin {
        Origin::Tcp4 { source, destination } => {
            let (from, to) = (source.port(), destination.port());
            format!("TCP4 {} {} {from} {to}", source.ip(), destination.ip())
        }
        Origin::Tcp6 { source, destination } => {
            let (from, to) = (source.port(), destination.port());
            format!("TCP6 {} {} {from} {to}", source.ip(), destination.ip())
        }
        Origin::Local | Origin::Unknown | Origin::Unix { .. } => "UNKNOWN".to_owned(),
    };
    format!("PROXY {words}\r\n").into_bytes()
}
