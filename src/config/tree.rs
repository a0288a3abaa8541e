//! The spanned tree: what a JSON or TOML text says, with where each value was written.
//!
//! Both formats end in this one form, so that everything after them is written once.

use crate::config::place::{KeyPath, Place, Segment};

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// The value.
    pub kind: Kind,
    /// Where it was written.
    pub place: Place,
}

/// The kinds of values.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// JSON's `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; never infinite.
    Number(serde_json::Number),
    /// A string, its format's escapes undone.
    String(String),
    /// A list.
    Array(Vec<Tree>),
    /// A table, in the order written.
    Object(Vec<Member>),
    /// Something that a problem has already been reported about.
    Invalid,
}

/// One key of a table and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The key.
    pub key: String,
    /// Where the key was written.
    pub key_place: Place,
    /// The value.
    pub value: Tree,
}

// === impl Tree ===

impl Tree {
    /// An empty table, for a source that says nothing.
    pub fn empty(place: Place) -> Self {
        Self { kind: Kind::Object(Vec::new()), place }
    }

    /// A value that stands at one place as a whole.
    pub fn from_value(value: &serde_json::Value, place: &Place) -> Self {
        use serde_json::Value;
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(value) => Kind::Bool(*value),
            Value::Number(number) => Kind::Number(number.clone()),
            Value::String(text) => Kind::String(text.clone()),
            Value::Array(list) => {
                Kind::Array(list.iter().map(|one| Self::from_value(one, place)).collect())
            }
            Value::Object(table) => {
                let member = |(key, value): (&String, &Value)| Member {
                    key: key.clone(),
                    key_place: place.clone(),
                    value: Self::from_value(value, place),
                };
                Kind::Object(table.iter().map(member).collect())
            }
        };
        Self { kind, place: place.clone() }
    }

    /// The members, where this is a table.
    pub fn members(&self) -> &[Member] {
        if let Kind::Object(members) = &self.kind { members } else { &[] }
    }

    /// The elements, where this is a list.
    pub fn elements(&self) -> &[Self] {
        if let Kind::Array(elements) = &self.kind { elements } else { &[] }
    }

    /// The text, where this is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Kind::String(text) = &self.kind { Some(text) } else { None }
    }

    /// The value of a key of this table.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.members().iter().find(|member| member.key == key).map(|member| &member.value)
    }

    /// The value at a path below this one.
    pub fn find(&self, path: &KeyPath) -> Option<&Self> {
        path.segments().iter().try_fold(self, |tree, segment| match segment {
            Segment::Key(key) => tree.get(key),
            Segment::Index(index) => tree.elements().get(*index),
        })
    }

    /// Where the value at a path was written, or else the nearest table or list around it.
    pub fn place_of(&self, path: &KeyPath) -> Place {
        let mut place = &self.place;
        let mut tree = self;
        for segment in path.segments() {
            let next = match segment {
                Segment::Key(key) => tree.get(key),
                Segment::Index(index) => tree.elements().get(*index),
            };
            let Some(next) = next else { break };
            tree = next;
            place = &tree.place;
        }
        place.clone()
    }

    /// Takes the member at a path of keys out of its table.
    pub fn take(&mut self, keys: &[&str]) -> Option<Member> {
        let (first, below) = keys.split_first()?;
        let Kind::Object(members) = &mut self.kind else { return None };
        let at = members.iter().position(|member| member.key == *first)?;
        if below.is_empty() { Some(members.remove(at)) } else { members[at].value.take(below) }
    }

    /// Puts a value at a path of keys, and tables where they are missing on the way. `false`:
    /// something that is no table stands in the way, or the key is there already.
    pub fn put(&mut self, keys: &[&str], key_place: &Place, value: Self) -> bool {
        let Some((first, below)) = keys.split_first() else { return false };
        let Kind::Object(members) = &mut self.kind else { return false };
        let there = members.iter_mut().find(|member| member.key == *first);
        if let Some(member) = there {
            return !below.is_empty() && member.value.put(below, key_place, value);
        }
        let value = match below {
            [] => value,
            [_, ..] => {
                let mut table = Self::empty(value.place.clone());
                table.put(below, key_place, value);
                table
            }
        };
        members.push(Member { key: (*first).to_owned(), key_place: key_place.clone(), value });
        true
    }

    /// Has a problem been reported about this or anything in it?
    pub fn is_tainted(&self) -> bool {
        match &self.kind {
            Kind::Invalid => true,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => false,
            Kind::Array(elements) => elements.iter().any(Self::is_tainted),
            Kind::Object(members) => members.iter().any(|member| member.value.is_tainted()),
        }
    }

    /// The values without their places; what is invalid is left out, and so is a list with an
    /// invalid element (its other elements would move).
    pub fn to_value(&self) -> Option<serde_json::Value> {
        Some(match &self.kind {
            Kind::Null => serde_json::Value::Null,
            Kind::Bool(value) => (*value).into(),
            Kind::Number(number) => number.clone().into(),
            Kind::String(text) => text.clone().into(),
            Kind::Array(elements) => elements.iter().map(Self::to_value).collect::<Option<_>>()?,
            Kind::Object(members) => members
                .iter()
                .filter_map(|member| Some((member.key.clone(), member.value.to_value()?)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Kind::Invalid => return None,
        })
    }
}

impl Kind {
    /// What it is, for people.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(number) if number.is_f64() => "a fraction",
            Self::Number(_) => "a number",
            Self::String(_) => "text",
            Self::Array(_) => "a list",
            Self::Object(_) => "a table",
            Self::Invalid => "something invalid",
        }
    }
}
