//! What went wrong with TLS, in words for people. The target is the one that is spoken of.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::net::verify::Distrust;

/// Of the names in a certificate, this many are shown.
const NAMES: usize = 8;
/// And of each, so many characters.
const NAME: usize = 80;

/// A failed handshake or a broken record, in words; `None`: the error is not one of TLS.
pub fn words(error: &io::Error) -> Option<String> {
    of_tls(error).map(of_error)
}

/// Is it trouble of our own, which says nothing of the target?
pub fn is_own(error: &io::Error) -> bool {
    matches!(
        of_tls(error),
        Some(Error::General(_) | Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes)
    )
}

/// The same, of a handshake, where every error is one of TLS.
pub fn of_handshake(error: &io::Error) -> String {
    match (words(error), error.kind()) {
        (Some(words), _) => words,
        (None, io::ErrorKind::UnexpectedEof) => {
            "it closed the connection in the middle of it".to_owned()
        }
        (None, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            "it reset the connection in the middle of it".to_owned()
        }
        (None, io::ErrorKind::TimedOut) => "it was not done in time".to_owned(),
        (None, _) => error.to_string(),
    }
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is rustls' own, and grows")]
fn of_error(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => {
            "what it says is not TLS".to_owned()
        }
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "it does not keep to TLS".to_owned()
        }
        Error::NoApplicationProtocol => "it speaks none of the ssl_alpn protocols".to_owned(),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => "it speaks no version of TLS that is wanted here".to_owned(),
        other => other.to_string(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is rustls' own, and grows")]
fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "its certificate expired on {}, and the clock here says {}",
            date(not_after.as_secs()),
            date(time.as_secs())
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "its certificate is not valid before {}, and the clock here says {}",
            date(not_before.as_secs()),
            date(time.as_secs())
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            if presented.is_empty() {
                return format!(
                    "its certificate is not for {expected}: it has no names (SAN), and a common \
                     name does not count"
                );
            }
            let more = if presented.len() > NAMES { ", …" } else { "" };
            let names: Vec<String> = presented.iter().take(NAMES).map(|it| bare(it)).collect();
            format!("its certificate is not for {expected}, but for {}{more}", names.join(", "))
        }
        CertificateError::BadSignature => {
            "it does not prove that it has the key of its certificate".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers (extended key usage)".to_owned()
        }
        CertificateError::BadEncoding => "its certificate is broken".to_owned(),
        CertificateError::Other(other) => match other.0.downcast_ref::<Distrust>() {
            Some(distrust) => distrust.to_string(),
            None => format!("its certificate cannot be verified: {other}"),
        },
        other => format!("its certificate is not good: {other}"),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is rustls' own, and grows")]
fn of_alert(alert: AlertDescription) -> String {
    let (name, hint) = match alert {
        AlertDescription::CertificateRequired => {
            ("certificate required", "it wants a client certificate: upstream_certificates")
        }
        AlertDescription::HandshakeFailure => (
            "handshake failure",
            "no cipher or key type in common, or it wants a client certificate",
        ),
        AlertDescription::DecryptError => {
            ("decrypt error", "it cannot verify what is signed, such as our client certificate")
        }
        AlertDescription::ProtocolVersion => {
            ("protocol version", "it speaks no version of TLS that is wanted here")
        }
        AlertDescription::UnrecognisedName => {
            ("unrecognized name", "it has nothing for the name that it was asked for")
        }
        AlertDescription::NoApplicationProtocol => {
            ("no application protocol", "it speaks none of the ssl_alpn protocols")
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            let hint = "it does not accept our client certificate";
            return format!("it ended with the alert \"{}\": {hint}", spaced(alert));
        }
        other => return format!("it ended with the alert \"{}\"", spaced(other)),
    };
    format!("it ended with the alert \"{name}\": {hint}")
}

/// `CertificateUnknown` as RFC 8446 spells it, but for the blanks: `certificate unknown`.
fn spaced(alert: AlertDescription) -> String {
    let name = format!("{alert:?}");
    let mut words = String::with_capacity(name.len() + 4);
    let mut before = None;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && before.is_some_and(|it: char| it.is_ascii_lowercase()) {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
        before = Some(letter);
    }
    words
}

/// `DnsName("a.test")` → `a.test`.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"').chars().take(NAME).flat_map(char::escape_debug).collect()
}

/// A time in seconds since 1970, for people.
#[expect(clippy::disallowed_types, reason = "shown, and nothing waits by it")]
pub fn date(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    // humantime shows years of four digits.
    let seconds = Duration::from_secs(seconds.min(LAST));
    humantime::format_rfc3339_seconds(std::time::SystemTime::UNIX_EPOCH + seconds).to_string()
}
