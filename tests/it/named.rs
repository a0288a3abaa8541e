//! Checks that are named: presets, a user's own files, and the parameters of both.

use stagedoor::config::check::CheckKind;
use stagedoor::config::load::{Loaded, Sources, load};

use crate::harness::stagedoor::stagedoor;

/// A check with parameters of every kind.
const OWN: &str = "\
commands = [
  { name = \"send_resp\", message = 'GET ${with.key} ${with.field:-a b}', unless = \"hash\" },
  { name = \"send_resp\", message = 'HGET ${with.key} ${with.hash}', when = \"hash\" },
  { name = \"expect\", message = '${with.value:-$}' },
]
";

/// Loads a definition whose tables below `[uptime_tests]` are these.
fn loaded(tests: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("own.toml", OWN);
    write("secret", "hunter2\n");
    write(
        "service.toml",
        &format!("listen_port = 1\n[proxy]\ntarget_url = \"a:1\"\n[uptime_tests]\n{tests}\n"),
    );
    load(&Sources { paths: vec![folder.path().join("service.toml")], ..Sources::default() })
}

fn accept(tests: &str) -> String {
    let loaded = loaded(tests);
    assert!(loaded.problems.is_empty(), "{tests}: {:#?}", loaded.problems);
    let model = loaded.model.unwrap();
    let service = model.services.values().next().unwrap();
    let checks = &service.health.as_ref().unwrap().checks;
    let script = |kind: &CheckKind| match kind {
        CheckKind::Script(script) => format!("{:?}", script.steps),
        CheckKind::Http(_) => panic!("no script"),
        CheckKind::Postgres(asked) => format!("{asked:?}"),
    };
    checks.iter().map(|check| script(&check.kind)).collect()
}

/// The only problem of a definition, at which line, and its advice.
#[track_caller]
fn refuse(tests: &str, line: usize, what: &str, right: &str) {
    let loaded = loaded(tests);
    let [problem] = loaded.problems.as_slice() else { panic!("{tests}: {:#?}", loaded.problems) };
    assert!(problem.is_error() && loaded.model.is_none());
    assert_eq!(problem.what, what, "{tests}");
    assert_eq!(problem.place.position().line, line + 4, "{tests}: {problem:?}");
    let said = problem.right.as_deref().unwrap_or_default();
    assert!(said.contains(right), "{tests}: {said}");
}

#[test]
fn parameters_fill_a_check_and_defaults_what_is_not_given() {
    let steps = accept("check = \"own.toml\"\nwith = { key = \"k 1\" }");
    assert!(steps.contains("\"GET\"") && steps.contains("\"k 1\"") && steps.contains("\"a b\""));
    assert!(!steps.contains("HGET"), "{steps}");
    let steps = accept("check = \"own.toml\"\nwith = { key = \"k\", hash = \"h\", value = \"v\" }");
    assert!(steps.contains("HGET") && steps.contains("\"h\"") && steps.contains("\"v\""));
    assert!(!steps.contains("\"GET\""), "{steps}");
}

#[test]
fn a_check_of_one_address_may_be_named_too() {
    let steps = accept(
        "check_list = [{ url = \"a:1\", check = \"redis-sentinel\", with = { master = \"m\" } }]",
    );
    assert!(steps.contains("get-master-addr-by-name"), "{steps}");
    accept("[[uptime_tests.check_list]]\nurl = \"a:1\"\ncheck = \"redis\"");
}

#[test]
fn what_came_from_outside_and_every_password_is_a_secret() {
    for with in ["key = \"${file:secret}\"", "key = \"k\", hash = \"${file:secret}\""] {
        let steps = accept(&format!("check = \"own.toml\"\nwith = {{ {with} }}"));
        assert!(steps.contains("Secret(***)") && !steps.contains("hunter2"), "{steps}");
    }
    let steps = accept("check = \"redis\"\nwith = { password = \"hunter2\" }");
    assert!(steps.contains("Secret(***)") && !steps.contains("hunter2"), "{steps}");
}

#[test]
fn what_is_lacking_is_named_where_the_check_is() {
    let lacks = "the check \"own.toml\" needs the parameter `key`";
    refuse("check = \"own.toml\"", 1, lacks, "with = { key = \"…\" }");
    let lacks = "the check \"redis-sentinel\" needs the parameter `master`";
    refuse("\ncheck = \"redis-sentinel\"", 2, lacks, "master");
    let lacks = "the check \"redis\" needs the parameter `password`";
    refuse("check = \"redis\"\nwith.user = \"app\"", 1, lacks, "password");
}

#[test]
fn what_no_check_asks_for_is_refused() {
    let what = "the check has no parameter `pasword`";
    refuse("check = \"redis\"\nwith.pasword = \"x\"", 2, what, "did you mean `password`?");
    let what = "the check has no parameter `colour`";
    refuse("check = \"redis\"\nwith.colour = \"x\"", 2, what, "password, user");
    let what = "there is no `check` with these parameters";
    refuse("with.user = \"x\"\ncommands = []", 1, what, "name a preset or a file");
    let what = "this is no name of a parameter";
    refuse("check = \"redis\"\nwith = { \"a b\" = \"x\" }", 2, what, "letters");
}

#[test]
fn a_word_that_is_no_preset_is_told_with_those_that_are() {
    let what = "there is no preset `redis-mastr`";
    refuse("check = \"redis-mastr\"", 1, what, "did you mean `redis-master`?");
    refuse("check = \"nosql\"", 1, "there is no preset `nosql`", "redis, redis-master");
}

#[test]
fn a_check_is_written_in_one_way() {
    let what = "`check` stands beside `commands`";
    let command = "{ name = \"expect\", message = \"x\" }";
    refuse(
        &format!(
            "[[uptime_tests.check_list]]\nurl = \"a:1\"\ncheck = \"redis\"\ncommands = [{command}]"
        ),
        3,
        what,
        "a check has commands",
    );
    refuse(
        "[[uptime_tests.check_list]]\nurl = \"http://a:1/\"\ntarget = \"a:1\"\ncheck = \"redis\"",
        4,
        "an HTTP check has one request, and no other check",
        "tcp://",
    );
    refuse(
        "commands = [{ name = \"expect\", message = \"x\", when = \"y\" }]",
        1,
        "`when` asks for a parameter, and there are none here",
        "only a file",
    );
    let what = "there are no parameters here";
    refuse("commands = [{ name = \"expect\", message = '${with.x}' }]", 1, what, "only a file");
}

#[test]
fn a_postgres_table_is_read_before_it_runs() {
    let refused = |table: &str, expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("own.toml", table).unwrap();
        let service =
            "listen_port = 1\nproxy.target_url = \"a:1\"\nuptime_tests.check = \"own.toml\"";
        write("service.toml", service).unwrap();
        let paths = vec![folder.path().join("service.toml")];
        let loaded = load(&Sources { paths, ..Sources::default() });
        let told = loaded.problems.iter().find(|problem| problem.what.contains(expected));
        let told = told.unwrap_or_else(|| panic!("{table}: {:#?}", loaded.problems));
        assert!(told.is_error() && told.place.source().name.ends_with("own.toml"));
    };
    refused("[postgres]\nquery = \"SELECT 1\"", "there is a query and no user");
    refused("[postgres]\npassword = \"x\"", "there is a password and no user");
    refused("[postgres]\nuser = \"x\"\nexpect = \"1\"", "an expected answer and no query");
    refused("[postgres]\nuser = \"x\"\nquery = \"\"", "an empty query asks nothing");
    refused("[postgres]\nuser = 'a\\x00'", "PostgreSQL takes no NUL byte");
    refused("[postgres]\nuser = 'a\\xff'", "PostgreSQL is asked in UTF-8");
    refused("[postgres]\nuser = \"${capture.x}\"", "nothing is captured here");
    refused("[postgres]\nuser = 'a'\n[[commands]]\nname = 'wait'", "stands beside `postgres`");
    refused("framing = 'resp'\n[postgres]\nuser = 'a'", "`framing` stands beside `postgres`");
    refused("[postgres]\nuser = 'a'\nqurey = 'x'", "there is no key `qurey` here");
    refused("description = 'x'", "this check asks nothing");
}

#[test]
fn a_postgres_login_keeps_its_secrets() {
    let shown =
        accept("check = \"postgres-primary\"\nwith = { user = \"app\", password = \"hunter2\" }");
    assert!(shown.contains("app") && shown.contains("Secret(***)"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let lacks = "the check \"postgres-primary\" needs the parameter `user`";
    refuse("check = \"postgres-primary\"", 1, lacks, "user");
}

#[test]
fn probe_takes_parameters_and_says_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("own.toml"), OWN).unwrap();
    let refused = |arguments: &[&str], expected: &[&str]| {
        let line = [&["probe"], arguments, &["--target", "127.0.0.1:1"]].concat();
        let output = stagedoor(&line, folder.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        for expected in expected {
            assert!(said.contains(expected), "misses {expected:?} in:\n{said}");
        }
    };
    refused(&["own.toml"], &["own.toml needs the parameter `key`", "--with key=…"]);
    refused(&["redis-sentinel"], &["redis-sentinel needs the parameter `master`"]);
    refused(&["redis", "--with", "pasword=x"], &["no parameter `pasword`", "`password`"]);
    refused(&["redis", "--with", "password"], &["--with names no parameter", "NAME=VALUE"]);
    refused(&["redis", "--with", "user=${env:NONE_1}"], &["--with user: ", "NONE_1 is not set"]);
    refused(&["redis-mastr"], &["no preset `redis-mastr`", "did you mean `redis-master`?"]);
    let service = "listen_port = 1\nproxy.target_url = \"a:1\"\nuptime_tests.check = \"redis\"";
    std::fs::write(folder.path().join("service.toml"), service).unwrap();
    refused(&["service.toml", "--with", "user=x"], &["--with goes with one check file or preset"]);
}
