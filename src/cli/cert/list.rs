//! `stagedoor cert list`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::cert::outcome::{self, Refusal};
use crate::cli::cert::row;
use crate::cli::cert::usage::Usage;
use crate::cli::output;
use crate::cli::sources::RunArgs;

/// `cert list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Whose use is meant.
    #[command(flatten)]
    pub run: RunArgs,
    /// Print for machines.
    #[arg(long)]
    pub json: bool,
}

/// Lists.
pub fn main(args: &ListArgs) -> ExitCode {
    outcome::code(list(args), args.json)
}

fn list(args: &ListArgs) -> Result<(), Refusal> {
    let store = outcome::store(&args.run.settings)?;
    let ids = outcome::ids(&store)?;
    let usage = Usage::load(&args.run);
    let entries: Vec<_> = ids.into_iter().map(|id| (id, outcome::entry(&store, &id))).collect();
    if args.json {
        let shown = entries.iter().map(|(id, entry)| {
            let mut shown = match entry {
                Ok(entry) => row::json(entry),
                Err(why) => json!({ "id": id.to_string(), "error": why }),
            };
            shown["used_by"] = usage.json(id);
            shown
        });
        let shown: Value = shown.collect();
        output::print_json(&json!({
            "folder": store.folder(),
            "certificates": shown,
            "use_is_known": usage.is_known,
        }));
        return Ok(());
    }
    if entries.is_empty() {
        output::print(&format!("nothing is in the store {}\n", store.folder().display()));
        return Ok(());
    }
    let mut rows = vec![["ID", "IS", "GOOD UNTIL", "NAMES", "USED BY"].map(str::to_owned)];
    for (id, entry) in &entries {
        let used = usage.shown(id, "; ", "-");
        rows.push(match entry {
            Ok(entry) => {
                let (kind, good) = (row::kind(entry).to_owned(), row::good(entry));
                [id.short(), kind, good, row::names(entry), used]
            }
            Err(why) => {
                eprintln!("stagedoor: {why}");
                [id.short(), "broken".to_owned(), "-".to_owned(), "-".to_owned(), used]
            }
        });
    }
    output::print(&table(&rows));
    usage.tell();
    Ok(())
}

/// Columns as wide as what is in them.
fn table(rows: &[[String; 5]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut shown = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        shown.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        shown.push('\n');
    }
    shown
}
