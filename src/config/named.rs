//! What `check` names: a preset or a user's file, read with the parameters that it was given.
//!
//! What such a check lacks, and what it was given in vain, is told where it was asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::check::CheckKind;
use crate::config::environment::Environment;
use crate::config::file::definition::Definition;
use crate::config::file::uptime::CheckFile;
use crate::config::files::Files;
use crate::config::parameters::{self, Holes, Parameters};
use crate::config::place::{KeyPath, Place, SourceText};
use crate::config::presets::{self, Preset};
use crate::config::problem::{self, Complaint, Problem, did_you_mean};
use crate::config::tree::Tree;
use crate::config::validate::checks::{self, Named};
use crate::config::validate::report::Report;
use crate::config::validate::{postgres, script};
use crate::config::{schema, secrets, shape, text, toml};

/// What a name stands for.
#[derive(Debug)]
enum Meant {
    Preset(&'static Preset),
    File(PathBuf),
}

/// The checks that a definition names.
pub fn of_definition(
    written: &Definition,
    env: &Environment,
    report: &mut Report<'_>,
    problems: &mut Vec<Problem>,
) -> Named {
    let Some(tests) = &written.uptime_tests else { return Named::default() };
    let at = KeyPath::dotted("uptime_tests");
    let mut reader = Reader { env, report, problems };
    let for_all = reader.kind(tests.check.as_deref(), tests.with.as_ref(), &at);
    let at = at.key("check_list");
    let list = tests.check_list.iter().flatten().enumerate();
    let listed = list.filter_map(|(index, one)| {
        let kind = reader.kind(one.check.as_deref(), one.with.as_ref(), &at.index(index))?;
        Some((index, kind))
    });
    let listed = listed.collect();
    Named { for_all, listed }
}

/// Is this argument of a command a check for any target, and no definition?
pub fn is_check(path: &Path) -> bool {
    if is_bare(path) {
        return true;
    }
    // Whatever is wrong with it is told by who reads it in earnest.
    let tree = text::read_tree(path, None, &Files::default(), &mut Vec::new());
    let asks = |tree: &Tree| ["commands", "postgres"].iter().any(|key| tree.get(key).is_some());
    tree.is_some_and(|tree| asks(&tree) && tree.get("proxy").is_none())
}

/// Loads one check by itself, with `NAME=VALUE` parameters as a command line gives them; a check
/// only where no problem is an error.
pub fn load_check(
    path: &Path,
    with: &[String],
    env: &Environment,
) -> (Option<CheckKind>, Vec<Problem>) {
    let mut problems = Vec::new();
    let kind = on_command_line(path, with, env, &mut problems);
    problem::tidy(&mut problems);
    let failed = problems.iter().any(Problem::is_error);
    (kind.filter(|_| !failed), problems)
}

fn on_command_line(
    path: &Path,
    with: &[String],
    env: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<CheckKind> {
    let place = Place::whole(&SourceText::named("the command line", String::new()));
    let tell = |complaint: Complaint| {
        let problem = Problem::error(place.clone(), KeyPath::root(), complaint.what);
        problem.right(complaint.right)
    };
    let mut parameters = Parameters::default();
    for given in with {
        match parameter(given, env) {
            Ok((name, value, secret)) => parameters.give(name, &value, secret),
            Err(complaint) => problems.push(tell(complaint)),
        }
    }
    let meant = match path.to_str().filter(|_| is_bare(path)) {
        None => Meant::File(path.to_owned()),
        Some(name) => match presets::find(name) {
            Ok(preset) => Meant::Preset(preset),
            Err(complaint) => {
                problems.push(tell(complaint));
                return None;
            }
        },
    };
    let kind = read_check(&meant, None, env, &parameters, problems);
    if errors(problems) == 0 {
        let form = |name: &str| format!("add --with {name}=…");
        problems.extend(lacking(&path.display().to_string(), &parameters, form).map(tell));
        problems.extend(parameters.unknown().iter().map(|name| tell(unknown(name, &parameters))));
    }
    kind
}

/// No file of that name is there, and it is none's.
fn is_bare(path: &Path) -> bool {
    let word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    path.to_str().is_some_and(word) && !path.exists()
}

/// The parts of `NAME=VALUE`, and whether the value is a secret.
fn parameter<'a>(given: &'a str, env: &Environment) -> Result<(&'a str, String, bool), Complaint> {
    const FORM: &str = "write --with NAME=VALUE, such as --with user=app or \
                        --with 'password=${file:password}'";
    let named = given.split_once('=').filter(|(name, _)| parameters::is_name(name));
    let (name, value) = named.ok_or_else(|| Complaint::new("--with names no parameter", FORM))?;
    let filled = secrets::fill(value, env, Path::new(""));
    let filled = filled.map_err(|what| Complaint::new(format!("--with {name}: {what}"), ""))?;
    Ok((name, filled, secrets::has_holes(value)))
}

/// Reads a check; its own problems are told in its own places.
fn read_check(
    meant: &Meant,
    asked_by: Option<&Place>,
    env: &Environment,
    with: &Parameters,
    problems: &mut Vec<Problem>,
) -> Option<CheckKind> {
    let tree = match meant {
        Meant::Preset(preset) => toml::parse(&preset.source(), problems)?,
        Meant::File(path) => text::read_tree(path, asked_by, env.files(), problems)?,
    };
    let tree = shape::check(&tree, schema::check_file(), env, problems);
    let written: CheckFile = shape::deserialise(&tree, problems);
    let mut report = Report::new(&tree);
    let holes = Holes { env, folder: tree.place.source().folder(), with: Some(with) };
    let commands = written.commands.as_deref().unwrap_or_default();
    let framing = checks::framing(written.framing);
    let at = KeyPath::dotted("commands");
    let kind = match &written.postgres {
        Some(postgres) => {
            if written.commands.is_some() || written.framing.is_some() {
                let key = if written.commands.is_some() { "commands" } else { "framing" };
                let what = format!("`{key}` stands beside `postgres`");
                let right = "a check file has commands, or one table of another protocol";
                report.error(&KeyPath::dotted(key), what, right);
            }
            CheckKind::Postgres(postgres::postgres(postgres, holes, &mut report))
        }
        None => {
            if written.commands.is_none() && !tree.is_tainted() {
                let right = "write `commands`, or a table `postgres`";
                report.error(&KeyPath::root(), "this check asks nothing", right);
            }
            CheckKind::Script(script::script(commands, framing, &at, holes, &mut report))
        }
    };
    problems.extend(report.into_problems());
    Some(kind)
}

/// What a check needs and was not given; `form` says how a parameter is written.
fn lacking(
    name: &str,
    with: &Parameters,
    form: impl Fn(&str) -> String,
) -> impl Iterator<Item = Complaint> {
    let name = name.to_owned();
    with.lacking().into_iter().map(move |lacking| {
        Complaint::new(format!("the check {name} needs the parameter `{lacking}`"), form(&lacking))
    })
}

fn unknown(name: &str, with: &Parameters) -> Complaint {
    let known = with.known();
    let right = match did_you_mean(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "it has no parameters: take it out".to_owned(),
        None => format!("its parameters are {}", known.join(", ")),
    };
    Complaint::new(format!("the check has no parameter `{name}`"), right)
}

fn errors(problems: &[Problem]) -> usize {
    problems.iter().filter(|problem| problem.is_error()).count()
}

/// Reads what one definition names.
struct Reader<'a, 'b> {
    env: &'a Environment,
    report: &'a mut Report<'b>,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_, '_> {
    /// The check that `check` in the table at `at` names.
    fn kind(
        &mut self,
        check: Option<&str>,
        with: Option<&BTreeMap<String, String>>,
        at: &KeyPath,
    ) -> Option<CheckKind> {
        let (check_at, with_at) = (at.key("check"), at.key("with"));
        let Some(name) = check else {
            if with.is_some() && !self.report.is_tainted(&check_at) {
                let right = "name a preset or a file as `check`, or take `with` out";
                self.report.error(&with_at, "there is no `check` with these parameters", right);
            }
            return None;
        };
        let with = self.parameters(with, &with_at);
        let place = self.report.place(&check_at);
        let meant = self.report.keep(&check_at, meant(name.trim(), place.source().folder()))?;
        let before = errors(self.problems);
        let kind = read_check(&meant, Some(&place), self.env, &with, self.problems);
        // A file that is wrong has not said all that it knows.
        if errors(self.problems) > before || self.report.is_tainted(&with_at) {
            return kind;
        }
        let form = |name: &str| format!("write with = {{ {name} = \"…\" }} beside `check`");
        for complaint in lacking(&self.report.quoted(&check_at), &with, form) {
            self.report.error(&check_at, complaint.what, complaint.right);
        }
        for name in with.unknown() {
            let complaint = unknown(name, &with);
            self.report.error(&with_at.key(name), complaint.what, complaint.right);
        }
        kind
    }

    fn parameters(
        &mut self,
        written: Option<&BTreeMap<String, String>>,
        at: &KeyPath,
    ) -> Parameters {
        let mut with = Parameters::default();
        for (name, value) in written.into_iter().flatten() {
            let at = at.key(name);
            if parameters::is_name(name) {
                let filled = secrets::has_holes(self.report.place(&at).written());
                with.give(name, value, filled);
            } else {
                let right = "write letters, digits, `-` and `_`";
                self.report.error(&at, "this is no name of a parameter", right);
            }
        }
        with
    }
}

/// What a name in a file stands for.
fn meant(name: &str, folder: &Path) -> Result<Meant, Complaint> {
    if name.ends_with(".toml") || name.ends_with(".json") {
        return Ok(Meant::File(folder.join(name)));
    }
    presets::find(name).map(Meant::Preset)
}
