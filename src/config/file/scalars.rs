//! The scalars of the files: durations, and what may be one string or a list of them.
//!
//! Each knows its own JSON Schema, so that an editor refuses what the parser refuses.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// The schema key that names how a scalar is read, beyond its JSON type.
pub const KIND: &str = "x-kind";
/// The schema key that says what would be right, for people.
pub const EXPECTS: &str = "x-expects";
/// `x-kind` of a duration.
pub const PERIOD: &str = "duration";
/// `x-kind` of a check's timeout, which Tyk writes in nanoseconds.
pub const TIMEOUT: &str = "timeout";
/// The schema key of the one text that stands for itself, though it looks like a hole.
pub const MEANS: &str = "x-means";
/// `x-kind` of a text with escapes and holes of its own: not to be filled in before it is
/// compiled.
pub const MESSAGE: &str = "message";

const LONGEST: Duration = Duration::from_secs(366 * 86_400);
const EXPECTED: &str = "a duration such as \"2s\", \"150ms\" or \"1h 30m\", or a number of seconds";
/// A number this large in a `timeout` is Tyk's nanoseconds: as seconds it would be 11 days.
const NANOSECONDS_FROM: f64 = 1_000_000.0;

/// A duration: `"2s"`, `"150ms"`, or a bare number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

/// A check's timeout: a duration, or Tyk's number of nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(pub Duration);

/// One text or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// Text that is compiled later: escapes and holes are undone there, not before.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message(pub String);

// === impl Period ===

impl Period {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.parse::<f64>().is_ok() {
            return Err(format!("\"{text}\" has no unit"));
        }
        match humantime::parse_duration(text) {
            Ok(duration) if duration > LONGEST => Err(format!("{text} is longer than a year")),
            Ok(duration) => Ok(Self(duration)),
            Err(_) => Err(format!("{text:?} is no duration")),
        }
    }

    /// Reads a number of seconds.
    pub fn from_seconds(seconds: f64) -> Result<Self, String> {
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if duration > LONGEST => {
                Err(format!("{seconds} seconds are longer than a year"))
            }
            Ok(duration) => Ok(Self(duration)),
            Err(_) => Err(format!("{seconds:?} is no duration")),
        }
    }
}

impl Timeout {
    /// Is this bare number one of nanoseconds?
    pub fn is_nanoseconds(number: f64) -> bool {
        number >= NANOSECONDS_FROM
    }

    /// Reads a bare number: seconds, or nanoseconds where it is Tyk's.
    pub fn from_number(number: f64) -> Result<Self, String> {
        let seconds = if Self::is_nanoseconds(number) { number / 1e9 } else { number };
        Ok(Self(Period::from_seconds(seconds)?.0))
    }
}

/// The checks of a scalar's `x-kind`, for whoever walks a file along its schema: what is wrong
/// with this value, if anything.
pub fn judge(kind: &str, value: &serde_json::Value) -> Result<(), String> {
    let read = match kind {
        PERIOD => period,
        TIMEOUT => timeout,
        _ => return Ok(()),
    };
    read(value).map(|_| ())
}

fn period(value: &serde_json::Value) -> Result<Duration, String> {
    match (value.as_str(), value.as_f64()) {
        (Some(text), _) => Period::parse(text).map(|period| period.0),
        (None, Some(seconds)) => Period::from_seconds(seconds).map(|period| period.0),
        (None, None) => Err("this is no duration".to_owned()),
    }
}

fn timeout(value: &serde_json::Value) -> Result<Duration, String> {
    match value.as_f64() {
        Some(number) => Timeout::from_number(number).map(|timeout| timeout.0),
        None => period(value),
    }
}

fn duration_schema(kind: &str) -> Schema {
    json_schema!({
        "type": ["string", "number"],
        "minimum": 0,
        "pattern": "^\\s*([0-9]+\\s*[a-zA-Zµ]+\\s*)+$",
        KIND: kind,
        EXPECTS: EXPECTED,
    })
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        period(&value).map(Self).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        timeout(&value).map(Self).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        duration_schema(PERIOD)
    }
}

impl JsonSchema for Timeout {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timeout".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        duration_schema(TIMEOUT)
    }
}

impl JsonSchema for Message {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Message".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", KIND: MESSAGE })
    }
}

// === impl OneOrMany ===

impl OneOrMany {
    /// All of them, as a list.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: serde_json::Value, expected: Result<u64, &str>) {
        let read = serde_json::from_value::<Period>(value.clone());
        let read = read.map(|period| period.0.as_millis() as u64).map_err(|e| e.to_string());
        assert_eq!(read, expected.map_err(str::to_owned), "{value}");
        assert_eq!(judge(PERIOD, &value).is_ok(), expected.is_ok());
    }

    #[test]
    fn a_duration_has_a_unit_or_is_a_number_of_seconds() {
        check(json!("2s"), Ok(2_000));
        check(json!(" 150ms "), Ok(150));
        check(json!("1h 30m"), Ok(5_400_000));
        check(json!(5), Ok(5_000));
        check(json!(0.25), Ok(250));
        check(json!(0), Ok(0));
        check(json!("0s"), Ok(0));
        check(json!("5"), Err("\"5\" has no unit"));
        check(json!(""), Err("\"\" is no duration"));
        check(json!("fast"), Err("\"fast\" is no duration"));
        check(json!("-1s"), Err("\"-1s\" is no duration"));
        check(json!(-1), Err("-1.0 is no duration"));
        check(json!(1e300), Err("1e300 is no duration"));
        check(json!("9000years"), Err("9000years is longer than a year"));
    }

    #[test]
    fn a_huge_timeout_is_tyks_nanoseconds() {
        let read = |number| Timeout::from_number(number).unwrap().0;
        assert_eq!(read(5_000_000_000.0), Duration::from_secs(5));
        assert_eq!(read(1_000_000.0), Duration::from_millis(1));
        assert_eq!(read(5.0), Duration::from_secs(5));
    }
}
