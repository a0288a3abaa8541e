//! `pinned_public_keys` → the keys that targets must have.

use crate::config::file::pins::WrittenPins;
use crate::config::hosts::{HostMap, HostPattern};
use crate::config::place::KeyPath;
use crate::config::transport::Pins;
use crate::config::validate::certificates;
use crate::config::validate::report::Report;
use crate::wire::certificate::Digest;
use crate::wire::pem;
use crate::wire::pin::{self, WrittenPin};

const FORM: &str = "write the SHA-256 of the public key: 64 hexadecimal digits, sha256/BASE64, or the path \
                    of a PEM file. `openssl x509 -in CERT -pubkey -noout | openssl pkey -pubin \
                    -outform der | sha256sum` prints it";

/// Every pin, by the targets that it is meant for.
pub fn pins<'a>(
    written: impl IntoIterator<Item = (&'a String, &'a WrittenPins)>,
    report: &mut Report<'_>,
) -> HostMap<Pins> {
    let at = KeyPath::dotted("pinned_public_keys");
    let mut pins = HostMap::default();
    for (host, written) in written {
        let at = at.key(host);
        let entry = entry(written, &at, report);
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

fn entry(written: &WrittenPins, at: &KeyPath, report: &mut Report<'_>) -> Pins {
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
        report.error(at, "there is no pin for this host", FORM);
    }
    let mut kept: Vec<Digest> = Vec::with_capacity(keys.len());
    for (at, text) in keys {
        if let Some(key) = key(text, &at, report)
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

fn key(text: &str, at: &KeyPath, report: &mut Report<'_>) -> Option<Digest> {
    match pin::parse(text) {
        // The ID of a stored certificate will mean its key; there is no store yet, so that it can
        // only be the hash itself.
        Ok(WrittenPin::Hex(digest) | WrittenPin::Sha256(digest)) => Some(digest),
        Ok(WrittenPin::Pem(reference) | WrittenPin::Path(reference)) => {
            let folder = report.place(at).source().folder().to_owned();
            if !pem::is_inline(reference) && !folder.join(reference).exists() {
                let what = format!("this is no pin, and no file: {}", reference.escape_debug());
                report.error(at, what, FORM);
                return None;
            }
            let (source, text) = certificates::text(reference, &folder, at, report)?;
            let key = pin::of_pem(&text);
            key.map_err(|fault| {
                let what = format!("no pin can be taken from {source}: {fault}");
                report.error(at, what, "name a PEM file with a public key or a certificate");
            })
            .ok()
        }
        Err(fault) => {
            report.error(at, format!("this is no pin: {fault}"), FORM);
            None
        }
    }
}
