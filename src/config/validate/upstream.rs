//! `upstream_certificates` → what is presented to targets that ask for a certificate.

use std::sync::Arc;

use crate::config::hosts::{HostMap, HostPattern};
use crate::config::place::KeyPath;
use crate::config::validate::certificates::{self, Finder};
use crate::config::validate::report::Report;
use crate::wire::certificate::Certificate;

/// Every certificate, by the targets that it is meant for.
pub fn certificates<'a>(
    written: impl IntoIterator<Item = (&'a String, &'a String)>,
    finder: Finder<'_>,
    report: &mut Report<'_>,
) -> HostMap<Arc<Certificate>> {
    let at = KeyPath::dotted("upstream_certificates");
    let mut certificates = HostMap::default();
    for (host, reference) in written {
        let at = at.key(host);
        let held = certificates::read_presented(reference, finder, &at, report);
        let Some(pattern) = report.keep(&at, HostPattern::parse(host)) else { continue };
        let Some(held) = held else { continue };
        if !certificates.add(pattern.clone(), Arc::new(held.certificate)) {
            report.error(&at, format!("{pattern} has two entries"), "write one certificate for it");
        }
    }
    certificates
}
