//! `pinned_public_keys` → the keys that targets must have.

use crate::config::file::pins::WrittenPins;
use crate::config::hosts::{HostMap, HostPattern};
use crate::config::place::KeyPath;
use crate::config::tls::Source;
use crate::config::transport::Pins;
use crate::config::validate::certificates::{self, Finder};
use crate::config::validate::report::Report;
use crate::wire::certificate::Digest;
use crate::wire::pem;
use crate::wire::pin::{self, WrittenPin};

const FORM: &str = "write the SHA-256 of the public key: 64 hexadecimal digits, sha256/BASE64, the \
                    ID of a stored certificate, or the path of a PEM file. `openssl x509 -in CERT \
                    -pubkey -noout | openssl pkey -pubin -outform der | sha256sum` prints it";

/// Every pin, by the targets that it is meant for.
pub fn pins<'a>(
    written: impl IntoIterator<Item = (&'a String, &'a WrittenPins)>,
    finder: Finder<'_>,
    report: &mut Report<'_>,
) -> HostMap<Pins> {
    let at = KeyPath::dotted("pinned_public_keys");
    let mut pins = HostMap::default();
    for (host, written) in written {
        let at = at.key(host);
        let entry = entry(written, finder, &at, report);
        let Some(pattern) = report.keep(&at, HostPattern::parse(host)) else { continue };
        if pattern.port().is_some() {
            let right = "take the port out: a pin holds for every port of its host";
            report.error(&at, "the host of a pin has no port, as in Tyk", right);
        } else if !pins.add(pattern.clone(), entry) {
            report.error(&at, format!("{pattern} has two entries"), "write one, with all its pins");
        }
    }
    pins
}

/// The pins of one entry.
pub fn entry(
    written: &WrittenPins,
    finder: Finder<'_>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Pins {
    let (keys, only) = match written {
        WrittenPins::One(text) => (one(text, at), false),
        WrittenPins::Many(several) => (many(several, at), false),
        WrittenPins::Detailed(detailed) => {
            let at = at.key("keys");
            let keys = detailed.keys.as_ref().map(|keys| match keys.as_slice() {
                [text] => one(text, &at),
                several => many(several, &at),
            });
            (keys.unwrap_or_default(), detailed.pin_only.unwrap_or(false))
        }
    };
    if keys.is_empty() {
        report.error(at, "there is no pin", FORM);
    }
    let mut kept: Vec<Digest> = Vec::with_capacity(keys.len());
    for (at, text) in keys {
        if let Some(key) = key(text, finder, &at, report)
            && !kept.contains(&key)
        {
            kept.push(key);
        }
    }
    Pins { keys: kept, only }
}

/// Tyk's list with commas between the pins. PEM is one, whatever is in it.
fn one<'a>(text: &'a str, at: &KeyPath) -> Vec<(KeyPath, &'a str)> {
    if pem::is_inline(text) {
        return vec![(at.clone(), text)];
    }
    text.split(',').map(|one| (at.clone(), one)).collect()
}

fn many<'a>(several: &'a [String], at: &KeyPath) -> Vec<(KeyPath, &'a str)> {
    let several = several.iter().enumerate();
    several.map(|(index, text)| (at.index(index), text.as_str())).collect()
}

fn key(text: &str, finder: Finder<'_>, at: &KeyPath, report: &mut Report<'_>) -> Option<Digest> {
    let of_tyk = certificates::with_organisation(text);
    let of_tyk = of_tyk.is_some_and(|(_, id)| is_stored(&id, finder, at, report));
    let (key, stored) = match pin::parse(text) {
        Ok(_) | Err(_) if of_tyk => of_pem(text, finder, at, report)?,
        Ok(WrittenPin::Hex(digest)) if is_stored(&digest, finder, at, report) => {
            of_pem(text, finder, at, report)?
        }
        Ok(WrittenPin::Hex(digest) | WrittenPin::Sha256(digest)) => (digest, None),
        Ok(WrittenPin::Pem(reference) | WrittenPin::Path(reference)) => {
            let folder = report.place(at).source().folder().to_owned();
            if !pem::is_inline(reference) && finder.files.holds(&folder.join(reference)) != Ok(true)
            {
                let what = format!("this is no pin, and no file: {}", reference.escape_debug());
                report.error(at, what, FORM);
                return None;
            }
            of_pem(reference, finder, at, report)?
        }
        Err(fault) => {
            report.error(at, format!("this is no pin: {fault}"), FORM);
            return None;
        }
    };
    report.pinned(at, key, stored);
    Some(key)
}

/// The key in what a reference names, and the ID of that where it is stored.
fn of_pem(
    reference: &str,
    finder: Finder<'_>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<(Digest, Option<Digest>)> {
    let (source, text) = certificates::text(reference, finder, at, report)?;
    let stored = match &source {
        Source::Stored(id) => Some(*id),
        Source::File(_) | Source::Inline => None,
    };
    match pin::of_pem(&text) {
        Ok(key) => {
            report.refers_to(at, &source, None);
            Some((key, stored))
        }
        Err(fault) => {
            let what = format!("no pin can be taken from {source}: {fault}");
            report.error(at, what, "name a PEM file with a public key or a certificate");
            None
        }
    }
}

/// Do these digits name a stored certificate? Where nobody may look, they do not, and that is said:
/// a pin of the certificate would then fit nobody.
fn is_stored(id: &Digest, finder: Finder<'_>, at: &KeyPath, report: &mut Report<'_>) -> bool {
    finder.files.holds(&finder.store.path_of(id)).unwrap_or_else(|error| {
        let folder = finder.store.folder().display();
        let what = format!("the store {folder} is shut ({error}): taken as the SHA-256 of a key");
        let right =
            "the user that stagedoor runs as must own the store; for a key, write sha256/BASE64";
        report.warning(at, what, right);
        false
    })
}
