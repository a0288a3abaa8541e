//! `stagedoor cert remove`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::cert::outcome::{self, Refusal};
use crate::cli::cert::usage::Usage;
use crate::cli::output;
use crate::cli::sources::RunArgs;
use crate::config::read::cause;

/// `cert remove`.
#[derive(Debug, Clone, Args)]
pub struct RemoveArgs {
    /// Its ID, or the first digits of it, at least 8.
    pub id: String,
    /// Whose use is meant.
    #[command(flatten)]
    pub run: RunArgs,
    /// Remove it even if it is used, or may be.
    #[arg(long)]
    pub force: bool,
    /// Print for machines.
    #[arg(long)]
    pub json: bool,
}

/// Removes it.
pub fn main(args: &RemoveArgs) -> ExitCode {
    outcome::code(remove(args), args.json)
}

fn remove(args: &RemoveArgs) -> Result<(), Refusal> {
    let store = outcome::store(&args.run.settings)?;
    let id = outcome::find(&store, &args.id)?;
    let usage = Usage::load(&args.run);
    let used = usage.of(&id);
    if !args.force {
        if !used.is_empty() {
            let used = used.join("; ");
            let why = format!("{id} is in use: {used}. --force removes it all the same");
            return Err(Refusal::Because(why));
        }
        if !usage.is_known {
            let why = format!(
                "whether {id} is used cannot be known: the definitions do not load (`stagedoor \
                 validate` says why). Name them as PATH; --force removes it all the same"
            );
            return Err(Refusal::Because(why));
        }
    }
    store.remove(&id).map_err(|error| {
        let path = store.path_of(&id);
        let why = format!("{} cannot be removed: {}", path.display(), cause(&error));
        Refusal::Because(why)
    })?;
    if args.json {
        output::print_json(&json!({ "removed": id.to_string(), "used_by": usage.json(&id) }));
    } else {
        output::print(&format!("{id}\n"));
        match &used[..] {
            [] => eprintln!("removed"),
            used => eprintln!("removed, and still named by {}", used.join("; ")),
        }
    }
    Ok(())
}
