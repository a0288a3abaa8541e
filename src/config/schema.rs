//! The schemas of what a user writes, made from `file`: for the parser, for `stagedoor schema`,
//! for editors. One source, so that they can never disagree.

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde_json::Value;

use crate::config::file::definition::Definition;
use crate::config::file::settings::Settings;
use crate::config::file::target_file::TargetFile;
use crate::config::file::uptime::CheckFile;

/// The schema of a service definition.
pub fn definition() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(generate::<Definition>)
}

/// The schema of the node settings.
pub fn settings() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(generate::<Settings>)
}

/// The schema of a file that `uptime_tests.check` names.
pub fn check_file() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(generate::<CheckFile>)
}

/// The schema of a file that lists targets.
pub fn target_file() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(generate::<TargetFile>)
}

fn generate<T: JsonSchema>() -> Value {
    schemars::SchemaGenerator::default().into_root_schema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every property of every table tells what it means: editors show it.
    #[test]
    fn every_key_is_described() {
        for schema in [definition(), settings(), check_file(), target_file()] {
            let tables = schema["$defs"].as_object().into_iter().flat_map(|defs| defs.values());
            for table in tables.chain([schema]) {
                let properties = table["properties"].as_object().into_iter().flatten();
                for (key, property) in properties {
                    assert!(property["description"].is_string(), "{key} in {table}");
                }
            }
        }
    }

    #[test]
    fn unknown_keys_are_refused_by_the_schema_too() {
        assert_eq!(definition()["additionalProperties"], Value::Bool(false));
        assert_eq!(settings()["additionalProperties"], Value::Bool(false));
    }
}
