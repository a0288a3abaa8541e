//! `enable_ip_whitelisting` and what belongs to it → which client addresses are served.

use crate::config::access::{Access, Networks};
use crate::config::file::definition::Definition;
use crate::config::network::Network;
use crate::config::place::KeyPath;
use crate::config::validate::report::Report;

/// The lists of a definition; `None`: everybody is served.
pub fn access(written: &Definition, report: &mut Report<'_>) -> Option<Access> {
    let allowed = list(
        written.enable_ip_whitelisting,
        written.allowed_ips.as_deref(),
        ("enable_ip_whitelisting", "allowed_ips"),
        report,
    );
    let denied = list(
        written.enable_ip_blacklisting,
        written.blacklisted_ips.as_deref(),
        ("enable_ip_blacklisting", "blacklisted_ips"),
        report,
    );
    let access = Access { allowed, denied: denied.unwrap_or_default() };
    access.is_restrictive().then_some(access)
}

/// One list, if it is switched on. It is read all the same: it is meant to be switched on again.
fn list(
    enabled: Option<bool>,
    written: Option<&[String]>,
    (switch, key): (&str, &str),
    report: &mut Report<'_>,
) -> Option<Networks> {
    let at = KeyPath::dotted(key);
    let entries = written.unwrap_or_default().iter().enumerate();
    let read: Vec<Option<Network>> =
        entries.map(|(index, text)| report.keep(&at.index(index), Network::parse(text))).collect();
    let networks: Networks = read.into_iter().flatten().collect();
    let is_empty = written.unwrap_or_default().is_empty();
    match enabled {
        Some(true) if is_empty => {
            let what = format!("{switch} is on, and `{key}` names nobody");
            let right = format!("write the networks, or take `{switch}` out");
            let at = if written.is_some() { at } else { KeyPath::dotted(switch) };
            report.error(&at, what, right);
            Some(networks)
        }
        Some(true) => Some(networks),
        None | Some(false) => {
            if !is_empty && enabled.is_none() {
                let what = format!("`{key}` counts only with `{switch}`, as in Tyk");
                report.warning(&at, what, format!("write {switch} = true"));
            }
            None
        }
    }
}
