//! `stagedoor cert show`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::cert::outcome::{self, Refusal};
use crate::cli::cert::row;
use crate::cli::cert::usage::Usage;
use crate::cli::output;
use crate::cli::sources::RunArgs;
use crate::wire::certificate::facts_of;
use crate::wire::details::details_of;
use crate::wire::entry::Entry;
use crate::wire::pin;

/// `cert show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Its ID, or the first digits of it, at least 8.
    pub id: String,
    /// Whose use is meant.
    #[command(flatten)]
    pub run: RunArgs,
    /// Print for machines.
    #[arg(long)]
    pub json: bool,
}

/// Shows it.
pub fn main(args: &ShowArgs) -> ExitCode {
    outcome::code(show(args), args.json)
}

fn show(args: &ShowArgs) -> Result<(), Refusal> {
    let store = outcome::store(&args.run.settings)?;
    let id = outcome::find(&store, &args.id)?;
    let entry = outcome::entry(&store, &id).map_err(Refusal::Because)?;
    let usage = Usage::load(&args.run);
    let path = store.path_of(&id);
    if args.json {
        let mut shown = row::json(&entry);
        shown["path"] = json!(path);
        shown["used_by"] = usage.json(&id);
        shown["use_is_known"] = json!(usage.is_known);
        output::print_json(&shown);
        return Ok(());
    }
    let used = usage.shown(&id, &below(), "nobody");
    let about = [
        ("ID", id.to_string()),
        ("is", row::kind(&entry).to_owned()),
        ("file", path.display().to_string()),
    ];
    let pins = lines(&[entry.spki().to_string(), pin::write(&entry.spki())]);
    let about = about.into_iter().chain(certificate(&entry));
    let about = about.chain([("key", row::key(&entry)), ("pin", pins), ("used by", used)]);
    let mut shown = String::new();
    for (what, value) in about.filter(|(_, value)| !value.is_empty()) {
        shown.push_str(&format!("{what:<13}{value}\n"));
    }
    output::print(&shown);
    usage.tell();
    Ok(())
}

/// What the certificate says; nothing of a bare public key.
fn certificate(entry: &Entry) -> Vec<(&'static str, String)> {
    let Some(certificate) = &entry.certificate else { return Vec::new() };
    let facts = &certificate.facts;
    let details = details_of(certificate.leaf());
    let uses = details.as_ref().map(|it| it.uses.join(", ")).filter(|uses| !uses.is_empty());
    let names: Vec<String> = facts.names.iter().map(|name| row::shown(name)).collect();
    let behind = entry.chain().iter().enumerate().skip(1).map(|(index, der)| {
        let facts = facts_of(der, index + 1);
        facts.map_or_else(
            |fault| fault.to_string(),
            |facts| {
                format!("{}, good until {}", row::shown(&facts.subject), row::good_until(&facts))
            },
        )
    });
    let behind: Vec<String> = behind.collect();
    vec![
        ("subject", row::shown(&facts.subject)),
        ("issuer", row::shown(&facts.issuer)),
        ("names", names.join(", ")),
        ("serial", details.map(|details| details.serial).unwrap_or_default()),
        ("good from", row::time(facts.not_before)),
        ("good until", row::good_until(facts)),
        ("good for", uses.unwrap_or_else(|| "whatever it is asked for".to_owned())),
        ("chain", lines(&behind)),
    ]
}

fn lines(several: &[String]) -> String {
    several.join(&below())
}

/// What stands between two lines of one value.
fn below() -> String {
    format!("\n{:13}", "")
}
