//! Older spellings become the ones that the structs read, layer by layer, before layers merge.

use crate::config::place::KeyPath;
use crate::config::problem::Problem;
use crate::config::tree::Tree;

/// Moves what stands under an older spelling to the key that it stands for. Both written, and
/// different, is a problem: nobody can know which one was meant.
pub fn modernise(tree: &mut Tree, spellings: &[(&str, &[&str])], problems: &mut Vec<Problem>) {
    for (older, newer) in spellings {
        let keys: Vec<&str> = older.split('.').collect();
        let Some(member) = tree.take(&keys) else { continue };
        for newer in *newer {
            let path = KeyPath::dotted(newer);
            let keys: Vec<&str> = newer.split('.').collect();
            let Some(there) = tree.find(&path) else {
                tree.put(&keys, &member.key_place, member.value.clone());
                continue;
            };
            if there.to_value() != member.value.to_value() {
                let what = format!("`{older}` and `{newer}` say different things");
                problems.push(
                    Problem::error(member.value.place.clone(), KeyPath::dotted(older), what)
                        .right(format!("keep `{newer}` alone"))
                        .also(there.place.clone(), format!("`{newer}` is written here")),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::file::foreign::DEFINITION_SPELLINGS;
    use crate::config::json;
    use crate::config::place::SourceText;

    fn check(text: &str, expected: &str) {
        let source = SourceText::file(Path::new("f.json"), text.to_owned());
        let mut problems = Vec::new();
        let mut tree = json::parse(&source, &mut problems).unwrap();
        modernise(&mut tree, DEFINITION_SPELLINGS, &mut problems);
        let said = match problems.first() {
            Some(problem) => format!("{} {}", problem.place, problem.what),
            None => tree.to_value().unwrap().to_string(),
        };
        assert_eq!(said, expected, "{text}");
    }

    #[test]
    fn older_spellings_move_to_their_place() {
        check(r#"{"enable_load_balancing":true}"#, r#"{"proxy":{"enable_load_balancing":true}}"#);
        check(
            r#"{"proxy":{"retries":1},"check_host_against_uptime_tests":true}"#,
            r#"{"proxy":{"check_host_against_uptime_tests":true,"retries":1}}"#,
        );
        check(
            r#"{"uptime_tests":{"config":{"time_wait":5,"failure_trigger_sample_size":2}}}"#,
            r#"{"uptime_tests":{"config":{"fall":2,"interval":5,"rise":2}}}"#,
        );
        check(
            r#"{"enable_load_balancing":true,"proxy":{"enable_load_balancing":true}}"#,
            r#"{"proxy":{"enable_load_balancing":true}}"#,
        );
    }

    #[test]
    fn two_spellings_that_differ_are_a_problem() {
        check(
            r#"{"enable_load_balancing":true,"proxy":{"enable_load_balancing":false}}"#,
            "f.json:1:26 `enable_load_balancing` and `proxy.enable_load_balancing` say different \
             things",
        );
    }
}
