//! What is said of an entry in a word or two, for people and for machines.

use serde_json::{Value, json};

use crate::cli::show_tls::now;
use crate::net::tls_fault::date;
use crate::telemetry::escape::Escaped;
use crate::wire::certificate::Facts;
use crate::wire::details::{details_of, key_kind};
use crate::wire::entry::Entry;
use crate::wire::expiry;
use crate::wire::pin;

/// What it is.
pub fn kind(entry: &Entry) -> &'static str {
    match &entry.certificate {
        None => "public key",
        Some(it) if it.facts.is_authority && entry.has_key() => "authority with key",
        Some(it) if it.facts.is_authority => "authority",
        Some(_) if entry.has_key() => "with key",
        Some(_) => "without key",
    }
}

/// Whose it is: the names it is good for, or else its subject.
pub fn names(entry: &Entry) -> String {
    match entry.certificate.as_ref().map(|certificate| &certificate.facts) {
        None => "-".to_owned(),
        Some(facts) if facts.names.is_empty() => shown(&facts.subject),
        Some(facts) => shown(&facts.names.join(", ")),
    }
}

/// Until when it is good.
pub fn good(entry: &Entry) -> String {
    let facts = entry.certificate.as_ref().map(|certificate| &certificate.facts);
    facts.map_or("-".to_owned(), good_until)
}

/// Until when a certificate is good.
pub fn good_until(facts: &Facts) -> String {
    let until = time(facts.not_after);
    if facts.not_before > now() {
        return format!("{until}, from {} on", time(facts.not_before));
    }
    match days_left(facts) {
        _ if facts.not_after < now() => format!("{until} (expired)"),
        0 => format!("{until} (less than a day)"),
        1 => format!("{until} (1 day)"),
        days => format!("{until} ({days} days)"),
    }
}

fn days_left(facts: &Facts) -> i64 {
    expiry::days_left(facts.not_after, now())
}

/// A time in seconds since 1970.
pub fn time(seconds: i64) -> String {
    date(u64::try_from(seconds).unwrap_or(0))
}

/// What a signer wrote, fit to be shown.
pub fn shown(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

/// The kind of the key, such as `ECDSA P-256`.
pub fn key(entry: &Entry) -> String {
    let of_leaf = entry.chain().first().and_then(|leaf| details_of(leaf)).map(|it| it.key);
    let bare = || key_kind(entry.public_key()?);
    of_leaf.or_else(bare).unwrap_or_default()
}

/// Everything, for machines.
pub fn json(entry: &Entry) -> Value {
    let details = entry.chain().first().and_then(|leaf| details_of(leaf));
    let facts = entry.certificate.as_ref().map(|certificate| &certificate.facts);
    json!({
        "id": entry.id.to_string(),
        "kind": kind(entry),
        "has_key": entry.has_key(),
        "is_authority": facts.is_some_and(|facts| facts.is_authority),
        "subject": facts.map(|facts| &facts.subject),
        "issuer": facts.map(|facts| &facts.issuer),
        "names": facts.map(|facts| &facts.names[..]).unwrap_or_default(),
        "serial": details.as_ref().map(|details| &details.serial),
        "not_before": facts.map(|facts| time(facts.not_before)),
        "not_after": facts.map(|facts| time(facts.not_after)),
        "days_left": facts.map(days_left),
        "key": key(entry),
        "uses": details.map(|details| details.uses).unwrap_or_default(),
        "chain": entry.chain().len(),
        "spki_sha256": entry.spki().to_string(),
        "pin": pin::write(&entry.spki()),
    })
}
