//! `stagedoor config`: every setting of the process, its effective value, and its layer.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::output;
use crate::cli::sources::SettingsArgs;
use crate::config::place::KeyPath;
use crate::config::problem::Problem;
use crate::config::tree::Tree;
use crate::config::{defaults, load, render, schema, shape};

/// `config`.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Where the node settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Print for machines.
    #[arg(long)]
    pub json: bool,
}

/// Prints the settings; exit 2 if they are wrong.
pub fn main(args: &ConfigArgs) -> ExitCode {
    let loaded = load::load_settings(&args.settings.sources());
    let failed = loaded.problems.iter().any(Problem::is_error);
    let rows = rows(&loaded.tree);
    if args.json {
        output::print_json(&json!({
            "settings": rows.iter().map(Row::json).collect::<Value>(),
            "problems": loaded.problems.iter().map(render::json).collect::<Value>(),
        }));
    } else {
        output::print(&table(&rows));
        output::tell(&loaded.problems);
    }
    if failed { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// One setting.
struct Row {
    key: String,
    value: Option<Value>,
    from: String,
}

impl Row {
    fn json(&self) -> Value {
        json!({ "key": self.key, "value": self.value, "from": self.from })
    }
}

fn rows(settings: &Tree) -> Vec<Row> {
    let of_services = json!({ "defaults": defaults::service() });
    let row = |path: KeyPath| {
        let key = path.to_string();
        if let Some(tree) = settings.find(&path) {
            let written = tree.place.written();
            // What a variable or a file holds may be a secret: its name is shown instead.
            let value = if written.contains("${") {
                Some(Value::from(written.trim_matches('"')))
            } else {
                tree.to_value()
            };
            let from = tree.place.to_string();
            return Row { key, value, from };
        }
        let pointer = format!("/{}", key.replace('.', "/"));
        let value = of_services.pointer(&pointer).cloned();
        let from = if value.is_some() { "default" } else { "not set" };
        Row { key, value, from: from.to_owned() }
    };
    shape::leaves(schema::settings()).into_iter().map(row).collect()
}

fn table(rows: &[Row]) -> String {
    let value = |row: &Row| row.value.as_ref().map_or("-".to_owned(), Value::to_string);
    let width = |text: &dyn Fn(&Row) -> usize| rows.iter().map(text).max().unwrap_or(0);
    let keys = width(&|row| row.key.len());
    let values = width(&|row| value(row).chars().count()).min(40);
    let mut shown = String::new();
    for row in rows {
        let line = format!("{:keys$}  {:values$}  {}", row.key, value(row), row.from);
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    shown
}
