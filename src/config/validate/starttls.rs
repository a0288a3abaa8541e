//! `starttls` in a script: TLS begins once, and in the clear.

use crate::config::names::TargetAddress;
use crate::config::place::KeyPath;
use crate::config::transport::Transport;
use crate::config::validate::report::Report;
use crate::config::validate::transport::policy;

/// Tells of a check at `address`, written at `at`, whose script begins TLS: where there is TLS
/// already, and where none can begin.
pub fn tell(
    is_over_tls: bool,
    transport: &Transport,
    address: &TargetAddress,
    at: &KeyPath,
    report: &mut Report<'_>,
) {
    if is_over_tls {
        let what = "the script begins TLS, and the check is over TLS from its beginning";
        let right = "write its URL as tcp://host:port, or take `starttls` out";
        report.error(at, what, right);
    } else {
        // Only what is wrong with it counts here: it is made again with the check.
        drop(policy(transport, address, at, report));
    }
}
