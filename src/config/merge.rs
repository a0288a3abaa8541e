//! Layers become one tree; every value remembers the layer it came from.
//!
//! The merging is the `config` crate's: tables are laid over each other key by key, anything else
//! is replaced whole. It speaks of no lines, so each value carries the number of its place with it.

use config::{ConfigError, Map, Source, Value, ValueKind};

use crate::config::place::{KeyPath, Place};
use crate::config::tree::{Kind, Member, Tree};

/// Lays each tree over the ones before it.
pub fn merge(layers: &[&Tree]) -> Tree {
    let mut places = Vec::new();
    let mut builder = config::Config::builder();
    for layer in layers {
        builder = builder.add_source(Layer(table(layer, &mut places, true)));
    }
    let merged = builder.build().expect("the layers are in memory already: nothing can fail");
    Unwind { layers, places: &places }.tree(&merged.cache, &KeyPath::root())
}

/// One layer, ready for the `config` crate.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// The outermost keys are read by `config` as paths of its own (`a.b`, `a[9]`): what is no plain
/// key has been reported as unknown before and is left out.
fn table(tree: &Tree, places: &mut Vec<Place>, outermost: bool) -> Map<String, Value> {
    let plain = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    tree.members()
        .iter()
        .filter(|member| !outermost || plain(&member.key))
        .map(|member| (member.key.clone(), value(&member.value, places)))
        .collect()
}

fn value(tree: &Tree, places: &mut Vec<Place>) -> Value {
    places.push(tree.place.clone());
    let number = places.len() - 1;
    let kind = match &tree.kind {
        Kind::Null | Kind::Invalid => ValueKind::Nil,
        Kind::Bool(value) => ValueKind::Boolean(*value),
        Kind::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => ValueKind::I64(number),
            (None, Some(number)) => ValueKind::U64(number),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or_default()),
        },
        Kind::String(text) => ValueKind::String(text.clone()),
        Kind::Array(elements) => {
            ValueKind::Array(elements.iter().map(|one| value(one, places)).collect())
        }
        Kind::Object(_) => ValueKind::Table(table(tree, places, false)),
    };
    let invalid = if tree.kind == Kind::Invalid { "!" } else { "" };
    Value::new(Some(&format!("{invalid}{number}")), kind)
}

/// The way back.
struct Unwind<'a> {
    layers: &'a [&'a Tree],
    places: &'a [Place],
}

impl Unwind<'_> {
    fn tree(&self, value: &Value, path: &KeyPath) -> Tree {
        let origin = value.origin().unwrap_or_default();
        let number = origin.trim_start_matches('!').parse::<usize>().ok();
        let place = number.and_then(|number| self.places.get(number)).cloned();
        let kind = match &value.kind {
            ValueKind::Nil if origin.starts_with('!') => Kind::Invalid,
            ValueKind::Nil => Kind::Null,
            ValueKind::Boolean(value) => Kind::Bool(*value),
            ValueKind::I64(number) => Kind::Number((*number).into()),
            ValueKind::U64(number) => Kind::Number((*number).into()),
            ValueKind::I128(_) | ValueKind::U128(_) => Kind::Invalid,
            ValueKind::Float(number) => {
                serde_json::Number::from_f64(*number).map_or(Kind::Invalid, Kind::Number)
            }
            ValueKind::String(text) => Kind::String(text.clone()),
            ValueKind::Array(elements) => {
                let elements = elements.iter().enumerate();
                Kind::Array(elements.map(|(at, one)| self.tree(one, &path.index(at))).collect())
            }
            ValueKind::Table(table) => Kind::Object(self.members(table, path)),
        };
        Tree { kind, place: place.unwrap_or_else(|| self.place_of_table(path)) }
    }

    /// In the order written, which the `config` crate forgets.
    fn members(&self, table: &Map<String, Value>, path: &KeyPath) -> Vec<Member> {
        let mut members: Vec<Member> = table
            .iter()
            .map(|(key, value)| {
                let value = self.tree(value, &path.key(key));
                Member { key: key.clone(), key_place: value.place.clone(), value }
            })
            .collect();
        members.sort_by(|a, b| {
            let order = |member: &Member| member.key_place.span().start;
            (order(a), &a.key).cmp(&(order(b), &b.key))
        });
        members
    }

    /// A merged table stands where the last layer that has it wrote it.
    fn place_of_table(&self, path: &KeyPath) -> Place {
        let tables = self.layers.iter().rev();
        let mut tables = tables.filter_map(|layer| layer.find(path));
        let last = tables.next().or(self.layers.last().copied());
        last.expect("there is at least one layer").place.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::json;
    use crate::config::place::SourceText;

    fn layer(name: &str, text: &str) -> Tree {
        let source = SourceText::file(Path::new(name), text.to_owned());
        json::parse(&source, &mut Vec::new()).unwrap()
    }

    #[test]
    fn later_layers_win_and_every_value_keeps_its_place() {
        let under = layer(
            "a",
            "{\"log\": {\"level\": \"info\", \"n\": [1, 2]}, \"w\": 18446744073709551615}",
        );
        let over = layer("b", "{\n \"log\": {\"n\": [3.5]}, \"e\": {}, \"x[9]\": 1}");
        let merged = merge(&[&under, &over]);
        let value = merged.to_value().unwrap().to_string();
        assert_eq!(value, r#"{"e":{},"log":{"level":"info","n":[3.5]},"w":18446744073709551615}"#);
        let place = |path: &str| merged.find(&KeyPath::dotted(path)).unwrap().place.to_string();
        assert_eq!(place("log.level"), "a:1:19");
        assert_eq!(place("log.n"), "b:2:15");
        assert_eq!(place("log"), "b:2:9");
    }
}
