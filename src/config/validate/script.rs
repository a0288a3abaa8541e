//! Commands of a check → a compiled script.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::byte_pattern::BytePattern;
use crate::config::check::{Action, Asking, Framing, Matcher, Part, Script, Step, Template};
use crate::config::escape;
use crate::config::file::scalars::Period;
use crate::config::file::uptime::{Command, CommandName};
use crate::config::parameters::Holes;
use crate::config::place::KeyPath;
use crate::config::problem::{Complaint, did_you_mean};
use crate::config::secrets::{self, Piece};
use crate::config::validate::report::Report;

/// A longer script is refused.
const STEP_LIMIT: usize = 1_000;
/// What a target sends is kept up to this; nothing longer can ever be found in it.
const UNREAD_CAP: usize = 64 * 1024;

/// Compiles the commands written at `at`.
pub fn script(
    commands: &[Command],
    framing: Framing,
    at: &KeyPath,
    holes: Holes<'_>,
    report: &mut Report<'_>,
) -> Script {
    if commands.len() > STEP_LIMIT {
        let what = format!("{} commands are too many", commands.len());
        report.error(at, what, format!("a script has at most {STEP_LIMIT}"));
    }
    let mut captures = BTreeSet::new();
    let mut steps = Vec::with_capacity(commands.len());
    let mut whole = true;
    for (index, command) in commands.iter().enumerate() {
        let at = at.index(index);
        if !is_there(command, &at, holes, report) {
            continue;
        }
        let Some(action) = action(command, &at, holes, report) else {
            whole = false;
            continue;
        };
        if let (Action::Starttls(_), true) = (&action, begins_tls(&steps)) {
            let right = "take one of them out";
            report.error(&at, "TLS has begun already: a script has one `starttls`", right);
        }
        captures_exist(&action, &captures, &at.key("message"), report);
        captures.extend(action.captures().map(str::to_owned));
        steps.push(Step { action, timeout: own_timeout(command, &at, report) });
    }
    if whole {
        rejects_have_an_expect(&steps, at, report);
        something_is_asked(&steps, at, report);
    }
    Script { steps, framing, rank: None }
}

fn begins_tls(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step.action, Action::Starttls(_)))
}

/// The bytes of a template that has no holes but secrets.
pub fn literal(template: &Template) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for part in &template.parts {
        match part {
            Part::Bytes(these) | Part::Secret(these) => bytes.extend_from_slice(these),
            Part::TargetHost | Part::TargetPort | Part::Capture(_) => return None,
        }
    }
    Some(bytes)
}

/// Is a command there, by the parameters that its `when` and `unless` ask for?
fn is_there(command: &Command, at: &KeyPath, holes: Holes<'_>, report: &mut Report<'_>) -> bool {
    let mut there = true;
    for (key, name, wanted) in [("when", &command.when, true), ("unless", &command.unless, false)] {
        let Some(name) = name else { continue };
        match holes.with {
            Some(with) => there &= with.has(name) == wanted,
            None => {
                let what = format!("`{key}` asks for a parameter, and there are none here");
                let right = "take it out; only a file that `check` names has parameters";
                report.error(&at.key(key), what, right);
            }
        }
    }
    if let (false, Some(with), Some(message)) = (there, holes.with, &command.message) {
        for piece in secrets::pieces(&message.0).into_iter().flatten() {
            if let Piece::Hole(hole) = piece {
                hole.strip_prefix("with.").into_iter().for_each(|hole| with.know(hole));
            }
        }
    }
    there
}

fn action(
    command: &Command,
    at: &KeyPath,
    holes: Holes<'_>,
    report: &mut Report<'_>,
) -> Option<Action> {
    let name = command.name?;
    let message_at = at.key("message");
    let message = command.message.as_ref().map(|message| message.0.as_str());
    if name == CommandName::ExpectClose {
        if message.is_some_and(|message| !message.is_empty()) {
            report.error(&message_at, "`expect_close` takes no message", "take the message out");
        }
        return Some(Action::ExpectClose);
    }
    if name == CommandName::Starttls {
        return report.keep_message(&message_at, starttls(message.unwrap_or_default()));
    }
    let Some(message) = message else {
        if !report.is_tainted(&message_at) {
            report.error(
                &message_at,
                "the command has no `message`",
                "every command's argument is its message",
            );
        }
        return None;
    };
    let read = match name {
        CommandName::Send => text(message, "sends nothing", holes).map(Action::Send),
        CommandName::SendResp => words(message, holes).map(Action::SendResp),
        CommandName::SendHex => hex(message, "sends nothing").map(Action::Send),
        CommandName::Expect => expected(message, holes).map(Action::Expect),
        CommandName::Reject => expected(message, holes).map(Action::Reject),
        CommandName::ExpectHex => {
            hex(message, "passes on anything").map(|bytes| Action::Expect(Matcher::Bytes(bytes)))
        }
        CommandName::ExpectRegex => regex(message).map(|it| Action::Expect(Matcher::Regex(it))),
        CommandName::Compare => escape::comparison(message, holes).map(Action::Compare),
        CommandName::Wait => wait(message),
        CommandName::ExpectClose | CommandName::Starttls => return None,
    };
    report.keep_message(&message_at, read)
}

fn text(message: &str, empty: &str, holes: Holes<'_>) -> Result<Template, Complaint> {
    let template = escape::template(message, holes)?;
    if literal(&template).is_some_and(|bytes| bytes.is_empty()) {
        return Err(Complaint::new(format!("an empty message {empty}"), "write what is meant"));
    }
    Ok(template)
}

fn words(message: &str, holes: Holes<'_>) -> Result<Vec<Template>, Complaint> {
    let words = escape::words(message, holes)?;
    if words.is_empty() {
        return Err(Complaint::new("an empty message sends nothing", "write a command's words"));
    }
    Ok(words)
}

fn hex(message: &str, empty: &str) -> Result<Template, Complaint> {
    let bytes = escape::hex(message)?;
    if bytes.is_empty() {
        return Err(Complaint::new(
            format!("an empty message {empty}"),
            "write bytes like \"0d 0a\"",
        ));
    }
    Ok(Template::literal(bytes))
}

fn expected(message: &str, holes: Holes<'_>) -> Result<Matcher, Complaint> {
    let template = text(message, "is found in anything", holes)?;
    if literal(&template).is_some_and(|bytes| bytes.len() > UNREAD_CAP) {
        let right = format!("at most {} KiB of a reply are kept", UNREAD_CAP / 1024);
        return Err(Complaint::new("so long a text can never be found", right));
    }
    Ok(Matcher::Bytes(template))
}

fn regex(message: &str) -> Result<BytePattern, Complaint> {
    if message.contains("${") {
        let right = "capture what varies, and `compare` it afterwards";
        return Err(Complaint::new("a regular expression holds no ${…}", right));
    }
    let built = regex::bytes::RegexBuilder::new(message).unicode(false).build();
    let regex = built.map_err(|error| {
        let said = error.to_string();
        let said = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Complaint::new(format!("this is no regular expression: {said}"), "")
    })?;
    if regex.is_match(b"") {
        let right = "ask for at least one byte: write + instead of *";
        return Err(Complaint::new("it matches nothing at all, so it passes on anything", right));
    }
    Ok(BytePattern::new(regex))
}

fn starttls(message: &str) -> Result<Action, Complaint> {
    match message {
        "" => Ok(Action::Starttls(Asking::Nothing)),
        "smtp" => Ok(Action::Starttls(Asking::Smtp)),
        "postgres" => Ok(Action::Starttls(Asking::Postgres)),
        _ => {
            let right = "write smtp or postgres, or nothing where the commands before it ask";
            Err(Complaint::new("TLS is not asked for like this", right))
        }
    }
}

fn wait(message: &str) -> Result<Action, Complaint> {
    match Period::parse(message) {
        Ok(Period(time)) => Ok(Action::Wait(time)),
        Err(what) => Err(Complaint::new(what, "write a duration such as \"100ms\"")),
    }
}

fn own_timeout(command: &Command, at: &KeyPath, report: &mut Report<'_>) -> Option<Duration> {
    let at = at.key("timeout");
    warn_of_nanoseconds(&at, report);
    let timeout = command.timeout?.0;
    if timeout.is_zero() && report.number(&at).is_none() {
        report.error(
            &at,
            "a command cannot have no time at all",
            "write a duration such as \"500ms\"",
        );
    }
    // A bare 0 is Tyk's way to write nothing.
    Some(timeout).filter(|timeout| !timeout.is_zero())
}

/// Says so where a bare number is taken for Tyk's nanoseconds.
pub fn warn_of_nanoseconds(at: &KeyPath, report: &mut Report<'_>) {
    use crate::config::file::scalars::Timeout;
    let Some(number) = report.number(at).filter(|number| Timeout::is_nanoseconds(*number)) else {
        return;
    };
    if let Ok(Timeout(duration)) = Timeout::from_number(number) {
        let written = report.quoted(at);
        let what = format!("{written} is read as nanoseconds, as Tyk writes it: {duration:?}");
        report.warning(at, what, format!("write \"{duration:?}\""));
    }
}

fn captures_exist(
    action: &Action,
    known: &BTreeSet<String>,
    at: &KeyPath,
    report: &mut Report<'_>,
) {
    for part in action.templates().into_iter().flat_map(|template| &template.parts) {
        let Part::Capture(name) = part else { continue };
        if known.contains(&**name) {
            continue;
        }
        let right = match did_you_mean(name, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `${{capture.{meant}}}`?"),
            None => format!("capture it before: expect_regex \"…(?<{name}>…)\""),
        };
        report.error(at, format!("nothing before this captures `{name}`"), right);
    }
}

/// A `reject` is watched for while the next expect waits: with none after it, it does nothing.
fn rejects_have_an_expect(steps: &[Step], at: &KeyPath, report: &mut Report<'_>) {
    let is_expect = |step: &Step| matches!(step.action, Action::Expect(_));
    let last = steps.iter().rposition(is_expect).map_or(0, |last| last + 1);
    for (index, step) in steps.iter().enumerate().skip(last) {
        if matches!(step.action, Action::Reject(_)) {
            let right = "put the `reject` before the `expect` in whose answer it may be seen";
            report.error(&at.index(index), "no `expect` follows this `reject`", right);
        }
    }
}

fn something_is_asked(steps: &[Step], at: &KeyPath, report: &mut Report<'_>) {
    let asks = |step: &Step| match step.action {
        Action::Expect(_)
        | Action::Reject(_)
        | Action::ExpectClose
        | Action::Compare(_)
        | Action::Starttls(_) => true,
        Action::Send(_) | Action::SendResp(_) | Action::Wait(_) => false,
    };
    if !steps.is_empty() && !steps.iter().any(asks) {
        let what = "the script expects nothing, so it proves no more than that one can connect";
        report.warning(at, what, "add an `expect`");
    }
}
