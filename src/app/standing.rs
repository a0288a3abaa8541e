//! How the certificates of a service stand, for `status`.

use crate::admin::view::CertificateView;
use crate::app::house::House;
use crate::config::names::ServiceName;
use crate::config::origin::Origin;
use crate::config::references::Referred;
use crate::wire::expiry::{Expiry, days_left};

/// Everything that a service refers to for TLS, and what is near its end in chains, at `now` in seconds since 1970.
pub fn certificates(house: &House, name: &ServiceName, now: i64) -> Vec<CertificateView> {
    let origin = house.origin.load();
    let faults = house.certificate_faults.load();
    let fault = |reference: &Referred| faults.get(&origin.file_of(&reference.source)?).cloned();
    let references = origin.services.get(name).into_iter().flatten();
    let is_shown = |reference: &&Referred| {
        // Of the rest of a chain only what is to be renewed.
        let facts = reference.facts.as_ref().filter(|_| reference.link.is_some());
        facts.is_none_or(|facts| Expiry::of(facts.not_after, now) != Expiry::Far)
    };
    let shown = references.filter(is_shown);
    shown.map(|reference| certificate(&origin, reference, now, fault(reference))).collect()
}

fn certificate(
    origin: &Origin,
    reference: &Referred,
    now: i64,
    fault: Option<String>,
) -> CertificateView {
    let facts = reference.facts.as_ref();
    let file = origin.file_of(&reference.source);
    CertificateView {
        key: reference.at.to_string(),
        what: reference.what(),
        file: file.map(|file| file.display().to_string()),
        names: facts.map(|facts| facts.names.clone()).unwrap_or_default(),
        subject: facts.map(|facts| facts.subject.clone()),
        fingerprint: facts.map(|facts| facts.id.to_string()),
        not_after: facts.map(|facts| facts.not_after),
        days_left: facts.map(|facts| days_left(facts.not_after, now)),
        expiry: facts.map(|facts| Expiry::of(facts.not_after, now).as_str().to_owned()),
        fault,
    }
}
