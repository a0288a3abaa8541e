//! JSON text → spanned tree, strictly: comments, trailing commas, doubled keys are problems.
//!
//! Every error says what a person wrote and what JSON would have there instead. Nesting is
//! bounded, so that no text can overflow the stack.

use std::sync::Arc;

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::{CollectOptions, ParseOptions, ParseStringErrorKind, parse_to_ast};

use crate::config::place::{KeyPath, Place, SourceText};
use crate::config::problem::Problem;
use crate::config::tree::{Kind, Member, Tree};

const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Parses a whole source; `None` where the text is no JSON at all.
pub fn parse(source: &Arc<SourceText>, problems: &mut Vec<Problem>) -> Option<Tree> {
    parse_at(source, 0, problems)
}

/// Parses the rest of a source from a byte on: for JSON literals in variables and arguments.
pub fn parse_at(
    source: &Arc<SourceText>,
    offset: usize,
    problems: &mut Vec<Problem>,
) -> Option<Tree> {
    let text = &source.text[offset..];
    match parse_to_ast(text, &CollectOptions::default(), &STRICT) {
        Ok(parsed) => {
            let mut converter = Converter { source, offset, problems };
            let Some(value) = parsed.value else {
                converter.problems.push(empty(source, offset));
                return None;
            };
            Some(converter.tree(&value, &KeyPath::root()))
        }
        Err(error) => {
            problems.push(explain(source, offset, &error));
            None
        }
    }
}

struct Converter<'a> {
    source: &'a Arc<SourceText>,
    offset: usize,
    problems: &'a mut Vec<Problem>,
}

impl Converter<'_> {
    fn place(&self, range: Range) -> Place {
        Place::new(self.source, range.start + self.offset..range.end + self.offset)
    }

    fn tree(&mut self, value: &Value<'_>, path: &KeyPath) -> Tree {
        let place = self.place(value.range());
        let kind = match value {
            Value::NullKeyword(_) => Kind::Null,
            Value::BooleanLit(literal) => Kind::Bool(literal.value),
            Value::StringLit(literal) => self.string(&place, &literal.value, path),
            Value::NumberLit(literal) => self.number(&place, literal.value, path),
            Value::Array(array) => Kind::Array(
                array
                    .elements
                    .iter()
                    .enumerate()
                    .map(|(index, element)| self.tree(element, &path.index(index)))
                    .collect(),
            ),
            Value::Object(object) => {
                let mut members = Vec::with_capacity(object.properties.len());
                for property in &object.properties {
                    let (key, range) = match &property.name {
                        ObjectPropName::String(name) => (name.value.to_string(), name.range),
                        ObjectPropName::Word(name) => (name.value.to_owned(), name.range),
                    };
                    let member = Member {
                        key_place: self.place(range),
                        value: self.tree(&property.value, &path.key(&key)),
                        key,
                    };
                    self.add(&mut members, member, path);
                }
                Kind::Object(members)
            }
        };
        Tree { kind, place }
    }

    fn add(&mut self, members: &mut Vec<Member>, member: Member, path: &KeyPath) {
        let earlier = members.iter().find(|earlier| earlier.key == member.key);
        let Some(earlier) = earlier else {
            members.push(member);
            return;
        };
        let what = format!("`{}` is written twice in one table", member.key);
        self.problems.push(
            Problem::error(member.key_place, path.key(&member.key), what)
                .right("keep one of the two")
                .also(earlier.key_place.clone(), "first written here"),
        );
    }

    fn string(&mut self, place: &Place, text: &str, path: &KeyPath) -> Kind {
        let control = place.written().char_indices().find(|(_, c)| (*c as u32) < 0x20);
        let Some((at, control)) = control else {
            return Kind::String(text.to_owned());
        };
        let start = place.span().start + at;
        let what = if control == '\n' {
            "a string does not end on its line".to_owned()
        } else {
            format!("a string holds a raw control character, {}", control.escape_default())
        };
        self.problems.push(
            Problem::error(Place::new(self.source, start..start + 1), path.clone(), what)
                .right("JSON writes them as \\n, \\r, \\t or \\u00XX"),
        );
        Kind::Invalid
    }

    fn number(&mut self, place: &Place, text: &str, path: &KeyPath) -> Kind {
        let parsed = text.parse::<serde_json::Number>().ok();
        match parsed.filter(|number| number.as_f64().is_some_and(f64::is_finite)) {
            Some(number) => Kind::Number(number),
            None => {
                let what = format!("the number {} is too large", shorten(text));
                self.problems.push(Problem::error(place.clone(), path.clone(), what));
                Kind::Invalid
            }
        }
    }
}

fn empty(source: &Arc<SourceText>, offset: usize) -> Problem {
    Problem::error(Place::new(source, offset..offset), KeyPath::root(), "there is nothing here")
        .right("a definition is a JSON object: { \"listen_port\": 6379, … }")
}

fn shorten(text: &str) -> String {
    if text.len() <= 40 { text.to_owned() } else { format!("{}…", &text[..40]) }
}

fn explain(source: &Arc<SourceText>, offset: usize, error: &ParseError) -> Problem {
    let range = error.range();
    let start = range.start + offset;
    // An unfinished table or list would be marked to the end of the file: its beginning will do.
    let mut end = range.end + offset;
    if matches!(
        error.kind(),
        ParseErrorKind::UnterminatedObject | ParseErrorKind::UnterminatedArray
    ) {
        end = start + 1;
    }
    let place = Place::new(source, start..end.max(start + 1));
    let (what, right) = words(error.kind(), &source.text, start);
    let problem = Problem::error(place, KeyPath::root(), format!("this is not JSON: {what}"));
    if right.is_empty() { problem } else { problem.right(right) }
}

fn words(kind: &ParseErrorKind, text: &str, start: usize) -> (String, String) {
    let found = text[start.min(text.len())..].chars().next();
    let (what, right) = match kind {
        ParseErrorKind::CommentsNotAllowed | ParseErrorKind::UnterminatedCommentBlock => (
            "JSON has no comments",
            "take the comment out, or write the file as TOML, which has `#`",
        ),
        ParseErrorKind::TrailingCommasNotAllowed => {
            ("a comma with nothing after it", "take the comma out")
        }
        ParseErrorKind::ExpectedComma => ("a comma is missing here", "put a `,` between the two"),
        ParseErrorKind::SingleQuotedStringsNotAllowed => {
            ("text in single quotes", "JSON wants double quotes: \"…\"")
        }
        ParseErrorKind::ExpectedStringObjectProperty => {
            ("a key without quotes", "JSON wants keys in double quotes: \"listen_port\"")
        }
        ParseErrorKind::ExpectedColonAfterObjectKey => {
            ("a key with no `:` after it", "write \"key\": value")
        }
        ParseErrorKind::ExpectedObjectValue => ("a key with no value", "write \"key\": value"),
        ParseErrorKind::UnterminatedObject => {
            ("this `{` is never closed", "the file ends before its `}`: is all of it there?")
        }
        ParseErrorKind::UnterminatedArray => {
            ("this `[` is never closed", "the file ends before its `]`: is all of it there?")
        }
        ParseErrorKind::NestingDepthExceeded => ("tables and lists are nested far too deep", ""),
        ParseErrorKind::MultipleRootJsonValues => {
            ("something follows the end of the JSON value", "one file holds one object")
        }
        ParseErrorKind::UnexpectedColon => return unexpected_colon(text, start),
        ParseErrorKind::HexadecimalNumbersNotAllowed
        | ParseErrorKind::UnaryPlusNumbersNotAllowed
        | ParseErrorKind::BareDecimalPointNumbersNotAllowed
        | ParseErrorKind::NonFiniteNumbersNotAllowed
        | ParseErrorKind::ExpectedDigit
        | ParseErrorKind::ExpectedDigitFollowingNegativeSign
        | ParseErrorKind::ExpectedPlusMinusOrDigitInNumberLiteral => {
            ("this is no JSON number", "write it like 5, -5 or 0.5")
        }
        ParseErrorKind::String(kind) => return (string_words(kind), String::new()),
        ParseErrorKind::UnexpectedCloseBrace
        | ParseErrorKind::UnexpectedCloseBracket
        | ParseErrorKind::UnexpectedComma
        | ParseErrorKind::UnexpectedToken
        | ParseErrorKind::UnexpectedTokenInObject
        | ParseErrorKind::UnexpectedWord => {
            let found = found.map_or("the end".to_owned(), |c| format!("{c:?}"));
            return (format!("unexpected {found} here"), String::new());
        }
    };
    (what.to_owned(), right.to_owned())
}

fn string_words(kind: &ParseStringErrorKind) -> String {
    match kind {
        ParseStringErrorKind::UnterminatedStringLiteral => {
            "this text is never closed: its `\"` is missing".to_owned()
        }
        ParseStringErrorKind::InvalidUnicodeEscapeSequence(_) => {
            "a \\u escape that is no character".to_owned()
        }
        ParseStringErrorKind::ExpectedFourHexDigits => {
            "\\u wants four hexadecimal digits".to_owned()
        }
        ParseStringErrorKind::InvalidEscape
        | ParseStringErrorKind::ExpectedTwoHexDigits
        | ParseStringErrorKind::InvalidEscapeInSingleQuoteString
        | ParseStringErrorKind::InvalidEscapeInDoubleQuoteString => {
            "JSON knows the escapes \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX only; a backslash \
             that is meant for a check's message is written twice"
                .to_owned()
        }
    }
}

/// A `:` in a list. The page that this proxy implements prints its first check like this, with
/// `"commands"` after the object of its check instead of in it.
fn unexpected_colon(text: &str, start: usize) -> (String, String) {
    let before = text[..start].trim_end();
    let key = before.strip_suffix('"').and_then(|rest| Some(&rest[rest.rfind('"')? + 1..]));
    match key {
        Some("commands") => (
            "`commands` stands outside the object of its check".to_owned(),
            "move it inside the braces before it: { \"url\": \"…\", \"commands\": [] }".to_owned(),
        ),
        Some(key) if key.len() <= 60 && !key.contains(char::is_control) => (
            format!("`{key}` is a key, but it stands in a list"),
            format!("put it inside braces: {{ \"{key}\": … }}"),
        ),
        Some(_) | None => ("a `:` outside of braces".to_owned(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Parses, and says where the first problem is and what it says.
    fn check(text: &str, expected: &str) {
        let source = SourceText::file(Path::new("f.json"), text.to_owned());
        let mut problems = Vec::new();
        parse(&source, &mut problems);
        let shown = problems.first().map_or("fine".to_owned(), |problem| {
            format!("{} {} {}", problem.place, problem.key, problem.what)
        });
        assert!(shown.contains(expected), "{text:.60}\n  said: {shown}\n  not:  {expected}");
    }

    #[test]
    fn what_is_not_json_is_named_and_placed() {
        check("{\"a\": [1, -2.5e3, true, null, \"\\u00e4\\n\"]}", "fine");
        check("{\n \"a\": 1, // one\n}", "f.json:2:10  this is not JSON: JSON has no comments");
        check("{\n \"a\": 1,\n}", "f.json:2:8  this is not JSON: a comma with nothing after it");
        check("{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", "f.json:1:24 b.c `c` is written twice");
        check("{\"a\": 1e400}", "f.json:1:7 a the number 1e400 is too large");
        check("{\"a\": 0x10}", "no JSON number");
        check("{a: 1}", "a key without quotes");
        check("{'a': 1}", "single quotes");
        check("{\"a\" 1}", "no `:` after it");
        check("{\"a\": 1 \"b\": 2}", "a comma is missing");
        check("{\"a\": \"b\nc\"}", "does not end on its line");
        check("{\"a\": \"\u{1}\"}", "raw control character");
        check("{\"a\": \"\\x41\"}", "written twice");
        check("{\"a\": \"\\ud800\"}", "no character");
        check("{\"a\": \"b", "never closed");
        check("{} {}", "something follows");
        check("", "there is nothing here");
        check("{\"a\": 01}", "this is not JSON");
    }

    #[test]
    fn the_pages_misplaced_commands_get_a_hint() {
        check(
            "{\"check_list\": [\n  { \"url\": \"127.0.0.1:6379\" },\n  \"commands\": []\n]}",
            "f.json:3:13  this is not JSON: `commands` stands outside the object of its check",
        );
        check("[\"name\": 1]", "`name` is a key, but it stands in a list");
    }

    #[test]
    fn depth_is_bounded() {
        check(&"[".repeat(100_000), "nested far too deep");
        check(&"{\"a\":".repeat(100_000), "nested far too deep");
    }
}
