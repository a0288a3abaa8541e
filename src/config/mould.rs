//! The mould: what a service makes of each target, whether that is written or found.
//!
//! Checks, witnesses and TLS of a target follow from the mould and the target alone (`cast`), so
//! that one that is found is as one that is written.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::config::address::Spoken;
use crate::config::check::{CheckKind, Script, Template};
use crate::config::names::TargetAddress;
use crate::config::thresholds::Thresholds;
use crate::config::transport::{Policy, Transport};
use crate::wire::proxy_header::header::Version;

/// What a service makes of its targets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mould {
    /// How it speaks TLS to them.
    pub transport: Arc<Transport>,
    /// The PROXY header that it sends to them.
    pub header: Option<Version>,
    /// What every target is asked, if anything.
    pub for_all: Option<CommonCheck>,
    /// The checks that are written each by itself.
    pub listed: Vec<ListedCheck>,
    /// Whose agreement a leader needs, if anybody's.
    pub witnesses: Option<WitnessList>,
    /// The number that a pass gives a target.
    pub rank: Option<Template>,
    /// Times and counts of the checks.
    pub thresholds: Thresholds,
    /// `uptime_tests.config.keep_open`: connections of checks stay open between runs.
    pub keep_open: bool,
    /// `uptime_tests.disabled`: no check runs.
    pub unchecked: bool,
}

/// A check that every target has.
#[derive(Debug, Clone, PartialEq)]
pub struct CommonCheck {
    /// What is asked.
    pub kind: CheckKind,
    /// One deadline over all of it.
    pub timeout: Duration,
}

/// One entry of `check_list`: it finds its target by its address, or by what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedCheck {
    /// Where it asks.
    pub address: TargetAddress,
    /// What is spoken there; `None`: as to its target.
    pub spoken: Option<Spoken>,
    /// The target that it names.
    pub names: Option<Arc<str>>,
    /// `enable_proxy_protocol`, where it is written.
    pub announced: Option<bool>,
    /// What is asked.
    pub kind: CheckKind,
    /// One deadline over all of it.
    pub timeout: Duration,
}

/// The witnesses of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct WitnessList {
    /// So many must agree.
    pub agree: u32,
    /// Each of them.
    pub each: Vec<Witness>,
}

/// One witness.
#[derive(Debug, Clone, PartialEq)]
pub struct Witness {
    /// Where it is asked.
    pub address: TargetAddress,
    /// How it is spoken to over TLS; `None`: it is not.
    pub tls: Option<Arc<Policy>>,
    /// What it is asked about each target.
    pub script: Script,
    /// One deadline over all of it.
    pub timeout: Duration,
}

/// One target that was found, before anything of its service is added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is spoken to it.
    pub spoken: Spoken,
    /// Where it is.
    pub address: TargetAddress,
    /// Its share of the traffic.
    pub weight: NonZeroU32,
    /// Used only while no other target is eligible.
    pub backup: bool,
    /// What people call it, if not by its address.
    pub name: Option<Arc<str>>,
}

// === impl Found ===

impl Found {
    /// A target at this address of which nothing else is known.
    pub fn at(spoken: Spoken, address: TargetAddress) -> Self {
        Self { spoken, address, weight: NonZeroU32::MIN, backup: false, name: None }
    }
}
