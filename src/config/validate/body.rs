//! The file that a webhook's body is made from → its pieces.
//!
//! Its holes are `${event}` and the other facts, and `${env:NAME}` and `${file:PATH}`, which are
//! filled here. What is to be JSON has to be JSON whatever is put into the holes.

use std::path::Path;

use crate::config::environment::Environment;
use crate::config::events::{BodyPiece, BodyTemplate, Fact};
use crate::config::json;
use crate::config::place::SourceText;
use crate::config::problem::{Complaint, did_you_mean};
use crate::config::secrets::{self, Piece};

/// Compiles the text of a file at `path`.
pub fn template(
    text: &str,
    path: &Path,
    is_json: bool,
    env: &Environment,
) -> Result<BodyTemplate, Complaint> {
    if text.contains("{{") {
        let what = "it is a template of Go, as Tyk has them";
        return Err(Complaint::new(what, "write ${event} and its like, and nothing with {{ in it"));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let split = secrets::pieces(text);
    let split = split.map_err(|what| Complaint::new(what, "write $${ for a plain ${"))?;
    // With a word in every hole, so that no message about it can hold a secret.
    let (mut pieces, mut sample) = (Vec::new(), String::new());
    for piece in split {
        let hole = match piece {
            Piece::Text(text) => {
                sample.push_str(text);
                pieces.push(BodyPiece::Text(text.to_owned()));
                continue;
            }
            Piece::Hole(hole) => hole,
        };
        sample.push('x');
        pieces.push(match secrets::resolve(hole, env, folder) {
            Some(Ok(secret)) if is_json => BodyPiece::Text(in_json(secret.reveal())),
            Some(Ok(secret)) => BodyPiece::Text(secret.reveal().to_owned()),
            Some(Err(what)) => return Err(Complaint::new(what, "")),
            None => BodyPiece::Fact(fact(hole)?),
        });
    }
    if is_json {
        json_or_not(sample)?;
    }
    Ok(BodyTemplate { pieces, is_json })
}

fn fact(hole: &str) -> Result<Fact, Complaint> {
    let known = Fact::ALL.iter().find(|fact| fact.as_str() == hole);
    known.copied().ok_or_else(|| {
        let names = Fact::ALL.map(Fact::as_str);
        let what = format!("`${{{hole}}}` is nothing that can be said of an event");
        let right = match did_you_mean(hole, names) {
            Some(meant) => format!("did you mean `${{{meant}}}`?"),
            None => format!("what can be said is {}; env:NAME, file:PATH", names.join(", ")),
        };
        Complaint::new(what, right)
    })
}

/// Is it JSON?
fn json_or_not(filled: String) -> Result<(), Complaint> {
    let mut problems = Vec::new();
    let parsed = json::parse(&SourceText::named("template", filled), &mut problems);
    match problems.first() {
        None if parsed.is_some() => Ok(()),
        problem => {
            let why = problem
                .map(|problem| format!("line {}: {}", problem.place.position().line, problem.what));
            let what = format!("it is no JSON ({})", why.unwrap_or_default());
            let right = "write JSON with holes inside of its texts, such as \"text\": \"${reason}\"; \
                         or say in header_map what else it is: Content-Type";
            Err(Complaint::new(what, right))
        }
    }
}

/// A text as it stands between the quotes of a JSON string.
fn in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, is_json: bool, expected: Result<&str, &str>) {
        let env = Environment::from_pairs([("TOKEN", "s3\"cret")]);
        let compiled = template(text, Path::new("/t/a.json"), is_json, &env);
        let shown = compiled.map(|template| {
            let piece = |piece: &BodyPiece| match piece {
                BodyPiece::Text(text) => text.clone(),
                BodyPiece::Fact(fact) => format!("<{}>", fact.as_str()),
            };
            template.pieces.iter().map(piece).collect::<String>()
        });
        let shown = shown.map_err(|complaint| complaint.what + ": " + &complaint.right);
        match (&shown, expected) {
            (Err(said), Err(part)) => assert!(said.contains(part), "{text}: {said}"),
            _ => assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{text}"),
        }
    }

    #[test]
    fn holes_are_facts_and_secrets() {
        check("${event}: ${target}", false, Ok("<event>: <target>"));
        check("$${event} ${env:TOKEN}", false, Ok("${event} s3\"cret"));
        check(r#"{"t":"${env:TOKEN}"}"#, true, Ok(r#"{"t":"s3\"cret"}"#));
        check(
            "${evnt}",
            false,
            Err("`${evnt}` is nothing that can be said of an event: did you mean `${event}`?"),
        );
        check("${colour}", false, Err("what can be said is event, message, url"));
        check("${env:NONE}", false, Err("the environment variable NONE is not set"));
        check("${event", false, Err("a `${` with no `}` after it: write $${ for a plain ${"));
    }

    #[test]
    fn a_template_of_go_is_told_what_to_write() {
        check("{\"event\": \"{{.Type}}\"}", true, Err("write ${event} and its like"));
    }

    #[test]
    fn what_is_to_be_json_is_json_with_its_holes_filled() {
        check(r#"{"text":"${reason}"}"#, true, Ok(r#"{"text":"<reason>"}"#));
        check("{\n\"text\": ${reason}}", true, Err("it is no JSON (line 2: "));
        check(r#"{"text":"${reason}",}"#, true, Err("it is no JSON (line 1: "));
        check("", true, Err("it is no JSON"));
        check("", false, Ok(""));
        check(r#"{"text": ${reason}}"#, false, Ok(r#"{"text": <reason>}"#));
    }
}
