//! How answers look on a terminal.

use std::fmt::Write as _;

use crate::admin::command::Reply;
use crate::admin::view::{ReloadView, TreeView};
use crate::cli::show_status::status;

/// The answer as JSON, indented.
pub fn json(reply: &Reply) -> String {
    let text = match reply {
        Reply::Ok(done) => serde_json::to_string_pretty(&serde_json::json!({ "ok": done })),
        Reply::Error(why) => serde_json::to_string_pretty(&serde_json::json!({ "error": why })),
        Reply::Status(view) => serde_json::to_string_pretty(view),
        Reply::Tree(view) => serde_json::to_string_pretty(view),
        Reply::Reload(view) => serde_json::to_string_pretty(view),
        Reply::Upgrade(view) => serde_json::to_string_pretty(view),
    };
    text.expect("a view has string keys and finite numbers only") + "\n"
}

/// The answer for a person.
pub fn text(reply: &Reply) -> String {
    let mut out = String::new();
    let written = match reply {
        Reply::Ok(done) => writeln!(out, "{done}"),
        Reply::Error(why) => writeln!(out, "error: {why}"),
        Reply::Status(view) => status(&mut out, view),
        Reply::Tree(view) => tree(&mut out, view, "", ""),
        Reply::Reload(view) => reload(&mut out, view),
        Reply::Upgrade(view) => writeln!(
            out,
            "process {} serves from now on, after {} ms; the sessions of the one before live on in it",
            view.pid, view.took_ms
        ),
    };
    written.expect("writing into a String cannot fail");
    out
}

fn tree(out: &mut String, view: &TreeView, first: &str, rest: &str) -> std::fmt::Result {
    write!(out, "{first}{} · {} · {}", view.name, view.state, view.arbiter)?;
    if view.restarts > 0 {
        write!(out, " · restarted {}×", view.restarts)?;
    }
    if let Some(exit) = &view.last_exit {
        write!(out, " (last: {exit})")?;
    }
    writeln!(out)?;
    let last = view.children.len().saturating_sub(1);
    for (index, child) in view.children.iter().enumerate() {
        let (branch, stem) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        tree(out, child, &format!("{rest}{branch}"), &format!("{rest}{stem}"))?;
    }
    Ok(())
}

fn reload(out: &mut String, view: &ReloadView) -> std::fmt::Result {
    out.push_str(&view.remarks);
    if view.changes.is_empty() {
        return writeln!(out, "nothing has changed");
    }
    writeln!(out, "configuration {} is in force:", view.generation)?;
    view.changes.iter().try_for_each(|change| writeln!(out, "  {change}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &str, restarts: u64) -> TreeView {
        TreeView {
            name: name.to_owned(),
            state: "running".to_owned(),
            restarts,
            last_exit: (restarts > 0).then(|| "panic: boom".to_owned()),
            arbiter: "data/0".to_owned(),
            children: Vec::new(),
        }
    }

    #[test]
    fn a_tree_is_drawn_with_restarts_where_there_were_any() {
        let inner = TreeView { children: vec![leaf("c", 2)], ..leaf("b", 0) };
        let root = TreeView { children: vec![inner, leaf("d", 0)], ..leaf("a", 0) };
        let expected = "\
a · running · data/0
├─ b · running · data/0
│  └─ c · running · data/0 · restarted 2× (last: panic: boom)
└─ d · running · data/0
";
        assert_eq!(text(&Reply::Tree(root)), expected);
    }

    #[test]
    fn an_error_reads_as_one() {
        assert_eq!(text(&Reply::Error("no".to_owned())), "error: no\n");
        assert_eq!(json(&Reply::Error("no".to_owned())), "{\n  \"error\": \"no\"\n}\n");
    }
}
