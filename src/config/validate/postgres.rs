//! The table `postgres` of a check file → what is asked of a PostgreSQL server.

use crate::config::check::{Part, PostgresCheck, PostgresLogin, PostgresQuestion, Template};
use crate::config::escape;
use crate::config::file::scalars::Message;
use crate::config::file::uptime::WrittenPostgres;
use crate::config::parameters::Holes;
use crate::config::place::KeyPath;
use crate::config::problem::Complaint;
use crate::config::validate::report::Report;

/// Reads the table.
pub fn postgres(
    written: &WrittenPostgres,
    holes: Holes<'_>,
    report: &mut Report<'_>,
) -> PostgresCheck {
    let at = KeyPath::dotted("postgres");
    let mut text = |key: &str, message: &Option<Message>| {
        let message = message.as_ref()?;
        report.keep_message(&at.key(key), read(&message.0, holes))
    };
    let user = text("user", &written.user).unwrap_or_default();
    let password = text("password", &written.password).unwrap_or_default();
    let database = text("database", &written.database).unwrap_or_default();
    let query = text("query", &written.query);
    let expect = text("expect", &written.expect);
    let lacks = |what: &str| (what.to_owned(), "write user = \"…\": the role that logs in");
    let wrong = match (is_empty(&user), &query) {
        (true, Some(_)) => Some(("query", lacks("there is a query and no user"))),
        (true, None) if !is_empty(&password) => {
            Some(("password", lacks("there is a password and no user")))
        }
        (_, None) if expect.is_some() => {
            let what = "there is an expected answer and no query".to_owned();
            Some(("expect", (what, "write query = \"SELECT …\"")))
        }
        (_, _) => None,
    };
    if let Some((key, (what, right))) = wrong {
        report.error(&at.key(key), what, right);
    }
    if query.as_ref().is_some_and(is_empty) {
        let right = "write a statement, such as SELECT pg_is_in_recovery()";
        report.error(&at.key("query"), "an empty query asks nothing", right);
    }
    let login = (!is_empty(&user)).then_some(PostgresLogin { user, password, database });
    let question = query.map(|query| PostgresQuestion { query, expect });
    PostgresCheck { login, question }
}

fn read(message: &str, holes: Holes<'_>) -> Result<Template, Complaint> {
    let template = escape::template(message, holes)?;
    for part in &template.parts {
        match part {
            Part::Bytes(bytes) | Part::Secret(bytes) if bytes.contains(&0) => {
                return Err(Complaint::new("PostgreSQL takes no NUL byte", "take it out"));
            }
            Part::Bytes(bytes) | Part::Secret(bytes) if std::str::from_utf8(bytes).is_err() => {
                let right = "write its characters as they are";
                return Err(Complaint::new("PostgreSQL is asked in UTF-8", right));
            }
            Part::Capture(_) => {
                let right = "ask for all of it in one query, and expect what it returns";
                return Err(Complaint::new("nothing is captured here", right));
            }
            Part::Bytes(_) | Part::Secret(_) | Part::TargetHost | Part::TargetPort => {}
        }
    }
    Ok(template)
}

fn is_empty(template: &Template) -> bool {
    template.parts.iter().all(|part| match part {
        Part::Bytes(bytes) | Part::Secret(bytes) => bytes.is_empty(),
        Part::TargetHost | Part::TargetPort | Part::Capture(_) => false,
    })
}
