//! Problems for people, with the offending line, and for machines, as JSON.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use crate::config::place::{KeyPath, Place, Segment};
use crate::config::problem::{Problem, Severity};

/// Longer lines are cut around what is marked in them.
const LINE_LIMIT: usize = 400;
const BEFORE_MARK: usize = 60;
/// A line that says this has headers of a request in it, whose values are tokens more often than
/// not.
const OF_HEADERS: [&str; 4] = ["headers", "authorization", "-token", "cookie"];

/// Every problem as text, a blank line between two; colour and box drawing only for a terminal.
pub fn text(problems: &[Problem], terminal: bool) -> String {
    let renderer = if terminal {
        Renderer::styled().decor_style(DecorStyle::Unicode)
    } else {
        Renderer::plain()
    };
    let mut shown = String::new();
    for problem in problems {
        shown.push_str(&one(problem, &renderer));
        shown.push_str("\n\n");
    }
    shown
}

/// How many of each there are, for the last line.
pub fn tally(problems: &[Problem]) -> String {
    let counts = [Severity::Error, Severity::Warning].map(|severity| {
        let count = problems.iter().filter(|problem| problem.severity == severity).count();
        let plural = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!("{count} {}{plural}", severity.as_str()))
    });
    counts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A problem for machines.
pub fn json(problem: &Problem) -> Value {
    let mut shown = place_json(&problem.place);
    shown["severity"] = problem.severity.as_str().into();
    shown["key"] = problem.key.to_string().into();
    shown["what"] = problem.what.as_str().into();
    shown["right"] = problem.right.as_deref().into();
    let also = problem.also.iter().map(|(place, what)| {
        let mut shown = place_json(place);
        shown["what"] = what.as_str().into();
        shown
    });
    shown["also"] = also.collect();
    shown
}

fn place_json(place: &Place) -> Value {
    let position = (!place.is_whole()).then(|| place.position());
    json!({
        "source": place.source().name,
        "line": position.map(|position| position.line),
        "column": position.map(|position| position.column),
    })
}

fn one(problem: &Problem, renderer: &Renderer) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Notice => Level::NOTE.with_name("notice"),
    };
    let title = if problem.key.is_root() {
        problem.what.clone()
    } else {
        format!("{}: {}", problem.key, problem.what)
    };
    let hidden = is_of_headers(&problem.key);
    let elements = place_elements(&problem.place, None, hidden);
    let mut group = level.primary_title(title).elements(elements);
    for (place, what) in &problem.also {
        group = group.elements(place_elements(place, Some(what), hidden));
    }
    if let Some(right) = &problem.right {
        group = group.element(Level::HELP.message(right));
    }
    renderer.render(&[group])
}

fn is_of_headers(key: &KeyPath) -> bool {
    key.segments().contains(&Segment::Key("headers".to_owned()))
}

/// Where it is, and the line itself, where there is one that may be shown.
fn place_elements<'a>(place: &Place, label: Option<&'a str>, hidden: bool) -> Vec<Element<'a>> {
    let source = place.source();
    let label_of = |label: Option<&'a str>| label.map(|label| Level::NOTE.message(label).into());
    if place.is_whole() {
        let origin = Origin::path(source.name.clone()).into();
        return [origin].into_iter().chain(label_of(label)).collect();
    }
    let position = place.position();
    let line = Line::around(&source.text, place.span());
    if hidden || line.holds_secret {
        let origin = Origin::path(source.name.clone()).line(position.line);
        let origin = origin.char_column(position.column).into();
        return [origin].into_iter().chain(label_of(label)).collect();
    }
    let kind = if label.is_some() { AnnotationKind::Context } else { AnnotationKind::Primary };
    let mark = kind.span(line.mark.clone()).label(label.map(str::to_owned));
    let snippet = Snippet::source(line.text).line_start(position.line).annotation(mark);
    if source.path.is_none() {
        let said = Level::NOTE.message(format!("this is {}", source.name));
        return vec![snippet.into(), said.into()];
    }
    if !line.cut {
        return vec![snippet.path(source.name.clone()).into()];
    }
    // The column within the cut line would be no column of the file.
    let origin = Origin::path(source.name.clone()).line(position.line);
    vec![origin.char_column(position.column).into(), snippet.into()]
}

/// The line of a span, cut to what can be shown.
struct Line {
    text: String,
    mark: std::ops::Range<usize>,
    cut: bool,
    /// Of a private key that is written inline, or with headers in it: never to be shown.
    holds_secret: bool,
}

impl Line {
    fn around(text: &str, span: std::ops::Range<usize>) -> Self {
        let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[span.start..].find('\n').map_or(text.len(), |at| span.start + at);
        let whole = text[start..end].trim_end_matches('\r');
        let mark = span.start - start..span.end.min(end).max(span.start) - start;
        let mark = mark.start.min(whole.len())..mark.end.min(whole.len());
        let block = text[..start].rfind("-----BEGIN ").map_or("", |at| &text[at..start]);
        let is_within = block.contains("PRIVATE KEY") && !block.contains("-----END ");
        let lower = whole.to_ascii_lowercase();
        let holds_secret = is_within
            || whole.contains("PRIVATE KEY-")
            || OF_HEADERS.iter().any(|word| lower.contains(word));
        if whole.len() <= LINE_LIMIT {
            return Self { text: whole.to_owned(), mark, cut: false, holds_secret };
        }
        let from = whole.floor_char_boundary(mark.start.saturating_sub(BEFORE_MARK));
        let to = whole.floor_char_boundary((from + LINE_LIMIT).min(whole.len()));
        let lead = if from > 0 { "…" } else { "" };
        let trail = if to < whole.len() { "…" } else { "" };
        let shift = |at: usize| at.clamp(from, to) - from + lead.len();
        let mark = shift(mark.start)..shift(mark.end);
        Self { text: format!("{lead}{}{trail}", &whole[from..to]), mark, cut: true, holds_secret }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::place::{KeyPath, SourceText};

    fn problem(text: &str, marked: &str) -> Problem {
        let source = SourceText::file(Path::new("a.json"), text.to_owned());
        let start = text.find(marked).unwrap();
        let place = Place::new(&source, start..start + marked.len());
        Problem::error(place, KeyPath::dotted("a.b"), "it is wrong").right("do it right")
    }

    #[test]
    fn a_problem_shows_its_line() {
        let shown = text(&[problem("{\n  \"b\": 70000\n}", "70000")], false);
        let expected = "error: a.b: it is wrong\n --> a.json:2:8\n  |\n2 |   \"b\": 70000\n  |        ^^^^^\n  |\n  = help: do it right\n\n";
        assert_eq!(shown, expected, "\n{shown}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let long = format!("{}MARK{}", "ä".repeat(100_000), "x".repeat(100_000));
        let shown = text(&[problem(&long, "MARK")], false);
        assert!(shown.contains("a.json:1:100001") && shown.contains("MARK"), "{shown}");
        assert!(shown.len() < 1_000, "{}", shown.len());
    }

    #[test]
    fn no_line_of_a_private_key_is_ever_shown() {
        let pem = "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----";
        let lines = format!("a = \"\"\"\n{pem}\n\"\"\"\nb = 70000\n");
        for marked in ["-----BEGIN", "SECRET", "-----END"] {
            let shown = text(&[problem(&lines, marked)], false);
            assert!(shown.contains("a.json:") && !shown.contains("SECRET"), "{shown}");
        }
        assert!(text(&[problem(&lines, "70000")], false).contains("b = 70000"));
        let one =
            format!("{{ \"a\": \"{}\", \"b\": 70000 }}", lines.replace('\n', &" ".repeat(400)));
        let shown = text(&[problem(&one, "70000")], false);
        assert!(!shown.contains("SECRET"), "{shown}");
    }

    #[test]
    fn no_line_with_headers_is_ever_shown() {
        let one = r#"{ "headers": { "X-Consul-Token": "SECRET" }, "b": 70000 }"#;
        let several = "[x.headers]\nX-Mine = \"SECRET\"\nAuthorization = \"SECRET\"\n";
        let mut mine = problem(several, "X-Mine");
        mine.key = KeyPath::dotted("x.headers.X-Mine");
        for problem in [problem(one, "70000"), problem(several, "Authorization"), mine] {
            let shown = text(&[problem], false);
            assert!(shown.contains("a.json:") && !shown.contains("SECRET"), "{shown}");
        }
    }

    #[test]
    fn a_problem_for_machines_has_the_same_parts() {
        let shown = json(&problem("{\n  \"b\": 70000\n}", "70000"));
        let expected = json!({
            "severity": "error", "source": "a.json", "line": 2, "column": 8, "key": "a.b",
            "what": "it is wrong", "right": "do it right", "also": [],
        });
        assert_eq!(shown, expected);
    }
}
