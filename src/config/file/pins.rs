//! `pinned_public_keys` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::scalars::OneOrMany;

/// The keys of which a target must have one.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum WrittenPins {
    /// One, or several with commas between them.
    One(String),
    /// Several.
    Many(Vec<String>),
    /// The same with more to say.
    Detailed(DetailedPins),
}

/// Pins with more to say.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetailedPins {
    /// The pins.
    #[schemars(required)]
    pub keys: Option<OneOrMany>,
    /// They replace the verification of chain and name, for targets that sign their own
    /// certificates. Default: false.
    pub pin_only: Option<bool>,
}
