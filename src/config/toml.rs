//! TOML text → spanned tree: the same form as JSON's, so that both spell one model.

use std::ops::Range;
use std::sync::Arc;

use toml_edit::{Document, Item, Table, Value};

use crate::config::place::{KeyPath, Place, SourceText};
use crate::config::problem::Problem;
use crate::config::tree::{Kind, Member, Tree};

/// Parses a whole source; `None` where the text is no TOML.
pub fn parse(source: &Arc<SourceText>, problems: &mut Vec<Problem>) -> Option<Tree> {
    match Document::parse(source.text.as_str()) {
        Ok(document) => {
            let mut converter = Converter { source, problems };
            let whole = Place::whole(source);
            Some(converter.table(document.as_table(), &whole, &KeyPath::root()))
        }
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            let span = span.start..span.end.max(span.start + 1);
            let said = error.message().lines().collect::<Vec<_>>().join(", ");
            let place = Place::new(source, span);
            let what = format!("this is not TOML: {said}");
            problems.push(Problem::error(place, KeyPath::root(), what));
            None
        }
    }
}

struct Converter<'a> {
    source: &'a Arc<SourceText>,
    problems: &'a mut Vec<Problem>,
}

impl Converter<'_> {
    fn place(&self, span: Option<Range<usize>>, otherwise: &Place) -> Place {
        span.map_or_else(|| otherwise.clone(), |span| Place::new(self.source, span))
    }

    fn table(&mut self, table: &Table, around: &Place, path: &KeyPath) -> Tree {
        let mut members = Vec::with_capacity(table.len());
        for (key, item) in table {
            let key_span = table.key(key).and_then(toml_edit::Key::span);
            let key_place = self.place(key_span, around);
            let path = path.key(key);
            let value = self.item(item, &key_place, &path);
            members.push(Member { key: key.to_owned(), key_place, value });
        }
        // The span of a `[table]` is its header; a table made by dots alone has none.
        Tree { kind: Kind::Object(members), place: self.place(table.span(), around) }
    }

    fn item(&mut self, item: &Item, around: &Place, path: &KeyPath) -> Tree {
        match item {
            Item::None => Tree { kind: Kind::Null, place: around.clone() },
            Item::Value(value) => self.value(value, around, path),
            Item::Table(table) => self.table(table, around, path),
            Item::ArrayOfTables(tables) => {
                let place = self.place(tables.span(), around);
                let elements = tables.iter().enumerate();
                let elements = elements
                    .map(|(index, table)| self.table(table, around, &path.index(index)))
                    .collect();
                Tree { kind: Kind::Array(elements), place }
            }
        }
    }

    fn value(&mut self, value: &Value, around: &Place, path: &KeyPath) -> Tree {
        let place = self.place(value.span(), around);
        let kind = match value {
            Value::String(text) => Kind::String(text.value().clone()),
            Value::Integer(number) => Kind::Number((*number.value()).into()),
            Value::Boolean(value) => Kind::Bool(*value.value()),
            Value::Float(number) => match serde_json::Number::from_f64(*number.value()) {
                Some(number) => Kind::Number(number),
                None => self.refuse(&place, path, "neither `inf` nor `nan` means anything here"),
            },
            Value::Datetime(_) => {
                self.refuse(&place, path, "no key here is a date; quote it if it is text")
            }
            Value::Array(array) => Kind::Array(
                array
                    .iter()
                    .enumerate()
                    .map(|(index, element)| self.value(element, &place, &path.index(index)))
                    .collect(),
            ),
            Value::InlineTable(table) => {
                let mut members = Vec::with_capacity(table.len());
                for (key, value) in table {
                    let key_span = table.key(key).and_then(toml_edit::Key::span);
                    let key_place = self.place(key_span, &place);
                    let value = self.value(value, &key_place, &path.key(key));
                    members.push(Member { key: key.to_owned(), key_place, value });
                }
                Kind::Object(members)
            }
        };
        Tree { kind, place }
    }

    fn refuse(&mut self, place: &Place, path: &KeyPath, what: &str) -> Kind {
        self.problems.push(Problem::error(place.clone(), path.clone(), what));
        Kind::Invalid
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn check(text: &str, expected: &str) {
        let source = SourceText::file(Path::new("f.toml"), text.to_owned());
        let mut problems = Vec::new();
        parse(&source, &mut problems);
        let shown = problems.first().map_or("fine".to_owned(), |problem| {
            format!("{} {} {}", problem.place, problem.key, problem.what)
        });
        assert!(shown.contains(expected), "{text:.60}\n  said: {shown}\n  not:  {expected}");
    }

    #[test]
    fn what_is_not_toml_is_named_and_placed() {
        check("a = 1 # one\n[b]\nc = [1, 2,]\n[[d]]\ne.f = {g = true}\n", "fine");
        check("a = 1\na = 2\n", "f.toml:2:1");
        check("a = \n", "f.toml:1:5  this is not TOML");
        check("a = 1\nb = 2024-01-01\n", "f.toml:2:5 b no key here is a date");
        check("[a]\nb = inf\n", "f.toml:2:5 a.b neither");
        check(&format!("a = {}", "[".repeat(100_000)), "this is not TOML");
        check(&format!("{} = 1", vec!["a"; 100_000].join(".")), "this is not TOML");
    }

    #[test]
    fn values_know_where_they_stand() {
        let text = "[proxy]\nbalance = \"first\"\n[[proxy.target_list]]\nurl = \"a:1\"\n";
        let source = SourceText::file(Path::new("f.toml"), text.to_owned());
        let tree = parse(&source, &mut Vec::new()).unwrap();
        let at = |path: &KeyPath| tree.find(path).unwrap().place.to_string();
        assert_eq!(at(&KeyPath::dotted("proxy.balance")), "f.toml:2:11");
        assert_eq!(at(&KeyPath::dotted("proxy.target_list").index(0)), "f.toml:3:1");
        assert_eq!(at(&KeyPath::dotted("proxy.target_list").index(0).key("url")), "f.toml:4:7");
    }
}
