//! What `stagedoor validate` says of how a service meets its clients.

use rustls::pki_types::UnixTime;

use crate::config::model::{Protocol, Service};
use crate::config::place::Segment;
use crate::config::references::Pinned;
use crate::config::tls::{ClientAuth, Held, Source, Termination, Versions};
use crate::telemetry::escape::Escaped;
use crate::wire::expiry::{days_left, time_left};

/// What its clients speak; empty where they speak what they like.
pub fn clients(service: &Service) -> String {
    let header = service.receiving.as_ref().map(ToString::to_string);
    let spoken = match &service.protocol {
        Protocol::Tcp => return header.unwrap_or_default(),
        Protocol::TlsPassthrough => vec!["TLS, ended by the target".to_owned()],
        Protocol::Tls(termination) => ended(termination),
    };
    let answers = &service.answers;
    let name = answers.domain.as_ref().map_or("any other name".to_owned(), ToString::to_string);
    let alpn = match &answers.alpn[..] {
        [] => String::new(),
        list => format!(", speaking {}", list.join(" or ")),
    };
    let asks = format!("ask for {name}{alpn}");
    [header.into_iter().collect(), vec![asks], spoken].concat().join(&format!("\n{:13}", ""))
}

fn ended(termination: &Termination) -> Vec<String> {
    let Versions { tls12, tls13 } = termination.versions;
    let versions = match (tls12, tls13) {
        (true, true) => "TLS 1.2 and 1.3",
        (true, false) => "TLS 1.2",
        (false, _) => "TLS 1.3",
    };
    let mut lines = vec![format!("{versions}, ended here")];
    lines.extend(termination.certificates.iter().map(certificate));
    lines.extend(termination.client_auth.as_ref().map(shown_by));
    lines
}

fn certificate(held: &Held) -> String {
    let facts = &held.certificate.facts;
    let names = match &facts.names[..] {
        [] => facts.subject.clone(),
        names => names.join(", "),
    };
    let names = Escaped(names.as_bytes()).to_string();
    format!("shown {} for {names}, {}", held.source, time_left(days_left(facts.not_after, now())))
}

/// The time of now, in seconds since 1970.
pub fn now() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}

/// Which key each pin means.
pub fn pins(pins: &[Pinned]) -> String {
    let shown = pins.iter().map(|pin| {
        let host = match pin.at.segments().get(1) {
            Some(Segment::Key(host)) => Escaped(host.as_bytes()).to_string(),
            Some(Segment::Index(_)) | None => String::new(),
        };
        match pin.stored {
            Some(id) => format!("{host}: {}, the key of {}", pin.key, Source::Stored(id)),
            None => format!("{host}: {}", pin.key),
        }
    });
    shown.collect::<Vec<_>>().join(&format!("\n{:13}", ""))
}

fn shown_by(asked: &ClientAuth) -> String {
    let several = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let authorities = several(asked.authorities.len(), "authority", "authorities");
    let signed = authorities.map(|shown| format!("signed by {shown}"));
    let listed = several(asked.leaves.len(), "that is listed", "that are listed");
    let good: Vec<String> = [signed, listed].into_iter().flatten().collect();
    let lists = match asked.revoked.len() {
        0 => "",
        _ => ", and is not revoked",
    };
    format!("must show a certificate: {}{lists}", good.join(", or one of "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::certificate::Digest;

    #[test]
    fn whom_a_service_serves_is_a_sentence() {
        let leaves = vec![Digest::of(b"a"), Digest::of(b"b")];
        let asked = ClientAuth { leaves, ..ClientAuth::default() };
        assert_eq!(shown_by(&asked), "must show a certificate: 2 that are listed");
    }
}
