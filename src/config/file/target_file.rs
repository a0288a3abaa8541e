//! A file that `service_discovery.file` names, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::proxy::TargetEntry;

/// A file that lists targets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetFile {
    /// The targets, as in a definition.
    #[schemars(required)]
    pub target_list: Option<Vec<TargetEntry>>,
}
