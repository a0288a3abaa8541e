//! Does a tree have the shape of its schema? Every problem at once, with its place.
//!
//! The schema is the one that `stagedoor schema` prints, made from the structs that are read
//! afterwards: what passes here can be read, and the three can never disagree. Holes are filled
//! here too, because only the schema knows which texts are templates that fill themselves.

use serde_json::Value;

use crate::config::environment::Environment;
use crate::config::file::foreign::{IGNORED, UNLISTED};
use crate::config::file::scalars::{self, EXPECTS, KIND, MEANS, MESSAGE};
use crate::config::place::{KeyPath, Place, Segment};
use crate::config::problem::{Problem, did_you_mean};
use crate::config::secrets;
use crate::config::tree::{Kind, Member, Tree};

/// Walks a tree along a schema. What comes back has only keys that the structs know; what was
/// wrong is `Kind::Invalid` in it.
pub fn check(tree: &Tree, schema: &Value, env: &Environment, problems: &mut Vec<Problem>) -> Tree {
    let mut walk = Walk { root: schema, env, problems, ignored: Vec::new() };
    let shaped = walk.tree(tree, schema, &KeyPath::root());
    let ignored = std::mem::take(&mut walk.ignored);
    if let Some((place, path)) = ignored.first() {
        let keys: Vec<_> = ignored.iter().map(|(_, path)| path.to_string()).collect();
        let what = format!("keys that only Tyk reads, for HTTP, are ignored: {}", keys.join(", "));
        problems.push(Problem::warning(place.clone(), path.clone(), what));
    }
    shaped
}

/// What passed the schema can be read; where it cannot, that is told, never hidden.
pub fn deserialise<T: serde::de::DeserializeOwned + Default>(
    tree: &Tree,
    problems: &mut Vec<Problem>,
) -> T {
    let value = tree.to_value().unwrap_or_else(|| serde_json::json!({}));
    serde_json::from_value(value).unwrap_or_else(|error| {
        let what = format!("this cannot be read: {error}");
        problems.push(Problem::error(tree.place.clone(), KeyPath::root(), what));
        T::default()
    })
}

/// May a value of this JSON type (`string`, `integer`, `array`, …) stand at a path?
pub fn accepts(schema: &Value, path: &KeyPath, kind: &Kind) -> bool {
    let mut here = vec![schema];
    for segment in path.segments() {
        let Segment::Key(key) = segment else { return false };
        let below = here.iter().flat_map(|schema_here| alternatives(schema, schema_here));
        here = below.filter_map(|alternative| property(alternative, key)).collect();
    }
    here.iter().flat_map(|here| alternatives(schema, here)).any(|one| takes(one, kind))
}

/// The key of the table at `path` that `written` is, whatever its case and its `-` or `_`.
pub fn spelled(schema: &Value, path: &KeyPath, written: &str) -> Option<String> {
    let plain = |key: &str| key.to_lowercase().replace('-', "_");
    let mut here = vec![schema];
    for segment in path.segments() {
        let Segment::Key(key) = segment else { return None };
        let below = here.iter().flat_map(|schema_here| alternatives(schema, schema_here));
        here = below.filter_map(|alternative| property(alternative, key)).collect();
    }
    let tables = here.iter().flat_map(|here| alternatives(schema, here));
    let mut keys = tables.filter_map(|table| table.get("properties")?.as_object());
    keys.find_map(|keys| keys.keys().find(|key| plain(key) == plain(written)).cloned())
}

/// The paths of all keys that hold values rather than further keys; lists are values.
pub fn leaves(schema: &Value) -> Vec<KeyPath> {
    let mut found = Vec::new();
    let mut tables = vec![(KeyPath::root(), schema)];
    while let Some((path, here)) = tables.pop() {
        let forms = alternatives(schema, here);
        let keys = forms.iter().find_map(|form| form.get("properties")?.as_object());
        match keys {
            None => found.push(path),
            Some(keys) => {
                let hidden = [IGNORED, UNLISTED];
                let hidden = |below: &Value| hidden.iter().any(|mark| below.get(mark).is_some());
                let ours = keys.iter().filter(|(_, below)| !hidden(below));
                tables.extend(ours.map(|(key, below)| (path.key(key), below)));
            }
        }
    }
    found.sort();
    found
}

struct Walk<'a> {
    root: &'a Value,
    env: &'a Environment,
    problems: &'a mut Vec<Problem>,
    ignored: Vec<(Place, KeyPath)>,
}

impl<'a> Walk<'a> {
    fn tree(&mut self, tree: &Tree, schema: &'a Value, path: &KeyPath) -> Tree {
        let options = alternatives(self.root, schema);
        let Some(chosen) = options.iter().copied().find(|option| takes(option, &tree.kind)) else {
            return self.mismatch(tree, &options, path);
        };
        let kind = match &tree.kind {
            Kind::Object(members) => self.object(tree, members, chosen, path),
            Kind::Array(elements) => self.array(elements, chosen, path),
            Kind::String(text) => self.string(tree, text, (&options, chosen), path),
            Kind::Number(number) => self.number(tree, number, chosen, path),
            Kind::Bool(_) | Kind::Null | Kind::Invalid => tree.kind.clone(),
        };
        Tree { kind, place: tree.place.clone() }
    }

    fn object(
        &mut self,
        tree: &Tree,
        members: &[Member],
        schema: &'a Value,
        path: &KeyPath,
    ) -> Kind {
        let mut kept = Vec::with_capacity(members.len());
        for member in members {
            let path = path.key(&member.key);
            let value = match property(schema, &member.key) {
                Some(known) => self.member(member, known, &path),
                None if schema.get("type").is_none() => Some(member.value.clone()),
                None => Some(self.unknown(member, schema, &path)),
            };
            if let Some(value) = value {
                kept.push(Member { value, ..member.clone() });
            }
        }
        let required = schema.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            if tree.get(key).is_none() {
                let what = format!("`{key}` is missing");
                self.problems.push(Problem::error(tree.place.clone(), path.key(key), what));
            }
        }
        Kind::Object(kept)
    }

    /// The value of a known key; `None` if it says nothing that anybody reads.
    fn member(&mut self, member: &Member, schema: &'a Value, path: &KeyPath) -> Option<Tree> {
        if schema.get(IGNORED).is_some() {
            self.ignored.push((member.key_place.clone(), path.clone()));
            return None;
        }
        if member.value.kind == Kind::Null {
            return None;
        }
        Some(self.tree(&member.value, schema, path))
    }

    fn unknown(&mut self, member: &Member, schema: &Value, path: &KeyPath) -> Tree {
        let what = format!("there is no key `{}` here", member.key);
        let problem = Problem::error(member.key_place.clone(), path.clone(), what);
        let properties = schema.get("properties").and_then(Value::as_object);
        let known = properties.into_iter().flatten();
        let known = known.filter(|(_, known)| known.get(IGNORED).is_none()).map(|(key, _)| key);
        let known: Vec<&str> = known.map(String::as_str).collect();
        let elsewhere = elsewhere(self.root, &member.key);
        self.problems.push(match (did_you_mean(&member.key, known.iter().copied()), elsewhere) {
            (Some(meant), _) => problem.right(format!("did you mean `{meant}`?")),
            (None, Some(table)) if table.is_root() => {
                problem.right(format!("`{}` belongs to the outermost table", member.key))
            }
            (None, Some(table)) => problem.right(format!("it belongs into `{table}`")),
            (None, None) if known.len() <= 16 => {
                problem.right(format!("the keys here are {}", known.join(", ")))
            }
            (None, None) => problem,
        });
        Tree { kind: Kind::Invalid, place: member.value.place.clone() }
    }

    fn array(&mut self, elements: &[Tree], schema: &'a Value, path: &KeyPath) -> Kind {
        let Some(items) = schema.get("items") else { return Kind::Array(elements.to_vec()) };
        let elements = elements.iter().enumerate();
        Kind::Array(elements.map(|(at, one)| self.tree(one, items, &path.index(at))).collect())
    }

    fn string(
        &mut self,
        tree: &Tree,
        text: &str,
        (options, chosen): (&[&'a Value], &'a Value),
        path: &KeyPath,
    ) -> Kind {
        let kind = chosen.get(KIND).and_then(Value::as_str).unwrap_or_default();
        let stands_for_itself = chosen.get(MEANS).and_then(Value::as_str) == Some(text.trim());
        if kind == MESSAGE || stands_for_itself {
            return tree.kind.clone();
        }
        let filled = if secrets::has_holes(text) {
            match secrets::fill(text, self.env, tree.place.source().folder()) {
                Ok(filled) => filled,
                Err(what) => return self.refuse(tree, path, what, None),
            }
        } else {
            text.to_owned()
        };
        let named: Vec<&str> = options.iter().flat_map(|option| names(option)).collect();
        if !named.is_empty() && !named.contains(&filled.as_str()) {
            let what = format!("{} is not one of {}", tree.place.quoted(), named.join(", "));
            let meant = did_you_mean(&filled, named);
            return self.refuse(tree, path, what, meant.map(|it| format!("did you mean `{it}`?")));
        }
        self.judged(tree, Kind::String(filled), chosen, path)
    }

    fn number(
        &mut self,
        tree: &Tree,
        number: &serde_json::Number,
        schema: &Value,
        path: &KeyPath,
    ) -> Kind {
        let value = number.as_f64().unwrap_or(f64::NAN);
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let (low, high) = (bound("minimum"), bound("maximum"));
        if low.is_some_and(|low| value < low) || high.is_some_and(|high| value > high) {
            let what = format!("{} is not {}", tree.place.quoted(), expects(schema));
            return self.refuse(tree, path, what, None);
        }
        self.judged(tree, tree.kind.clone(), schema, path)
    }

    fn judged(&mut self, tree: &Tree, kind: Kind, schema: &Value, path: &KeyPath) -> Kind {
        let judge = schema.get(KIND).and_then(Value::as_str).unwrap_or_default();
        let filled = Tree { kind, place: tree.place.clone() };
        let verdict = filled.to_value().map_or(Ok(()), |value| scalars::judge(judge, &value));
        match verdict {
            Ok(()) => filled.kind,
            Err(_) if filled.kind != tree.kind => {
                let what = format!("the value of {} does not fit here", tree.place.quoted());
                self.refuse(tree, path, what, Some(format!("write {}", expects(schema))))
            }
            Err(what) => self.refuse(tree, path, what, Some(format!("write {}", expects(schema)))),
        }
    }

    fn mismatch(&mut self, tree: &Tree, options: &[&Value], path: &KeyPath) -> Tree {
        if tree.kind != Kind::Invalid {
            let mut expected: Vec<String> =
                options.iter().filter(|it| !is_null(it)).map(|it| expects(it)).collect();
            expected.dedup();
            let named: Vec<&str> = options.iter().flat_map(|option| names(option)).collect();
            let expected = if named.is_empty() { expected.join(" or ") } else { named.join(", ") };
            let what = format!("expected {expected}, found {}", tree.kind.describe());
            let quoted = tree.as_str().filter(|text| text.trim().parse::<f64>().is_ok());
            let right = quoted.map(|number| format!("write {} without quotes", number.trim()));
            self.refuse(tree, path, what, right);
        }
        Tree { kind: Kind::Invalid, place: tree.place.clone() }
    }

    fn refuse(&mut self, tree: &Tree, path: &KeyPath, what: String, right: Option<String>) -> Kind {
        let mut problem = Problem::error(tree.place.clone(), path.clone(), what);
        problem.right = right;
        self.problems.push(problem);
        Kind::Invalid
    }
}

/// The forms that a value may have: references followed, alternatives laid side by side.
fn alternatives<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let found = name.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return found.map_or_else(Vec::new, |found| alternatives(root, found));
    }
    let several = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    match several {
        Some(several) => several.iter().flat_map(|one| alternatives(root, one)).collect(),
        None => vec![schema],
    }
}

fn property<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let named = schema.get("properties").and_then(|properties| properties.get(key));
    named.or_else(|| schema.get("additionalProperties").filter(|others| others.is_object()))
}

fn takes(schema: &Value, kind: &Kind) -> bool {
    let names: &[&str] = match kind {
        Kind::Null => &["null"],
        Kind::Bool(_) => &["boolean"],
        Kind::Number(number) if number.is_f64() => &["number"],
        Kind::Number(_) => &["number", "integer"],
        Kind::String(_) => &["string"],
        Kind::Array(_) => &["array"],
        Kind::Object(_) => &["object"],
        Kind::Invalid => &[],
    };
    match schema.get("type") {
        None => true,
        Some(Value::Array(several)) => {
            several.iter().filter_map(Value::as_str).any(|one| names.contains(&one))
        }
        Some(one) => one.as_str().is_some_and(|one| names.contains(&one)),
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

/// The texts that a schema names as the only right ones.
fn names(schema: &Value) -> Vec<&str> {
    let one = schema.get("const").and_then(Value::as_str);
    let several = schema.get("enum").and_then(Value::as_array);
    one.into_iter().chain(several.into_iter().flatten().filter_map(Value::as_str)).collect()
}

/// What would be right, for people.
fn expects(schema: &Value) -> String {
    if let Some(said) = schema.get(EXPECTS).and_then(Value::as_str) {
        return said.to_owned();
    }
    let of_type = |name: &str| {
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
        Some(match name {
            "string" => "text".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => "a list".to_owned(),
            "object" => "a table".to_owned(),
            "number" => "a number".to_owned(),
            "integer" => match (bound("minimum"), bound("maximum")) {
                (Some(low), Some(high)) => format!("a whole number from {low} to {high}"),
                (Some(low), None) => format!("a whole number from {low} on"),
                (None, _) => "a whole number".to_owned(),
            },
            _ => return None,
        })
    };
    match schema.get("type") {
        Some(Value::Array(several)) => {
            let several = several.iter().filter_map(Value::as_str).filter_map(of_type);
            several.collect::<Vec<_>>().join(" or ")
        }
        Some(one) => one.as_str().and_then(of_type).unwrap_or_default(),
        None => "something else".to_owned(),
    }
}

/// The table in which a key would be known, for keys written a table too high or too low.
fn elsewhere(root: &Value, key: &str) -> Option<KeyPath> {
    let mut tables = vec![(KeyPath::root(), root)];
    while let Some((path, schema)) = tables.pop() {
        for table in alternatives(root, schema) {
            let Some(properties) = table.get("properties").and_then(Value::as_object) else {
                continue;
            };
            if properties.get(key).is_some_and(|known| known.get(IGNORED).is_none()) {
                return Some(path);
            }
            tables.extend(properties.iter().map(|(key, schema)| (path.key(key), schema)));
        }
    }
    None
}
