//! An HTTP check → one request and the statuses that pass.

use std::collections::BTreeMap;

use base64::Engine;

use crate::config::file::uptime::{ExpectStatus, OneStatus, WrittenCheck};
use crate::config::http_request::HttpRequest;
use crate::config::place::KeyPath;
use crate::config::problem::Complaint;
use crate::config::validate::report::Report;

const STATUS_FORM: &str = "write a status such as 200, \"2xx\" or \"200-299\"";

/// The request of a check. `host` is what stands before the path of its URL.
pub fn request(
    check: &WrittenCheck,
    (host, path): (&str, &str),
    at: &KeyPath,
    report: &mut Report<'_>,
) -> HttpRequest {
    if check.commands.as_ref().is_some_and(|commands| !commands.is_empty()) {
        let right = "take the commands out, or write the URL as tcp://host:port";
        report.error(&at.key("commands"), "an HTTP check runs no commands", right);
    }
    if check.check.is_some() {
        let right = "take `check` out, or write the URL as tcp://host:port";
        report.error(&at.key("check"), "an HTTP check has one request, and no other check", right);
    }
    let path = if path.is_empty() { "/" } else { path };
    let path = path.split('#').next().unwrap_or(path);
    if path.contains(|c: char| c.is_control() || c == ' ') {
        let what = "a URL holds no blanks and no control characters";
        report.error(&at.key("url"), what, "write %20 for a blank");
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let method = check.method.as_deref().map(str::trim).filter(|method| !method.is_empty());
    let method = method.unwrap_or("GET");
    if !is_token(method) {
        let what = format!("{} is no HTTP method", report.quoted(&at.key("method")));
        report.error(&at.key("method"), what, "write GET, HEAD, POST, …");
    }
    HttpRequest {
        method: method.to_ascii_uppercase(),
        path,
        host: host.to_owned(),
        headers: headers(check.headers.as_ref(), &at.key("headers"), report),
        body: body(check.body.as_deref(), &at.key("body"), report),
        expect_status: statuses(check.expect_status.as_ref(), &at.key("expect_status"), report),
    }
}

/// Tells of HTTP keys in a check that is none.
pub fn refuse_in_tcp(check: &WrittenCheck, at: &KeyPath, report: &mut Report<'_>) {
    let said = [
        ("method", check.method.as_ref().is_some_and(|method| !method.is_empty())),
        ("headers", check.headers.as_ref().is_some_and(|headers| !headers.is_empty())),
        ("body", check.body.as_ref().is_some_and(|body| !body.is_empty())),
        ("expect_status", check.expect_status.is_some()),
    ];
    for (key, _) in said.into_iter().filter(|(_, said)| *said) {
        let right = "write the URL as http://host:port/path, or take the key out";
        report.error(&at.key(key), format!("`{key}` belongs to HTTP checks"), right);
    }
}

/// Headers that HTTP can say.
pub fn headers(
    written: Option<&BTreeMap<String, String>>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in written.into_iter().flatten() {
        let at = at.key(name);
        if !is_token(name) {
            report.error(&at, "this is no name of a header", "write letters, digits and `-`");
        } else if value.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
            report.error(&at, "the value of a header holds no line breaks", "");
        } else {
            headers.push((name.clone(), value.clone()));
        }
    }
    headers
}

fn body(written: Option<&str>, at: &KeyPath, report: &mut Report<'_>) -> Vec<u8> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(written.unwrap_or_default());
    decoded.unwrap_or_else(|_| {
        report.error(at, "the body is no base64", "write the body in base64");
        Vec::new()
    })
}

fn statuses(
    written: Option<&ExpectStatus>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Vec<(u16, u16)> {
    let several = match written {
        None => return vec![(200, 200)],
        Some(ExpectStatus::Code(code)) => vec![(at.clone(), OneStatus::Code(*code))],
        Some(ExpectStatus::Range(text)) => vec![(at.clone(), OneStatus::Range(text.clone()))],
        Some(ExpectStatus::Any(several)) => {
            several.iter().enumerate().map(|(index, one)| (at.index(index), one.clone())).collect()
        }
    };
    if several.is_empty() {
        report.error(at, "with no status at all the check can never pass", STATUS_FORM);
    }
    several.into_iter().filter_map(|(at, one)| report.keep(&at, status(&one))).collect()
}

fn status(written: &OneStatus) -> Result<(u16, u16), Complaint> {
    let (low, high) = match written {
        OneStatus::Code(code) => (Some(*code), Some(*code)),
        OneStatus::Range(text) => {
            let text = text.trim();
            let class = text.to_ascii_lowercase();
            if let Some(digit) = class.strip_suffix("xx") {
                let low = digit.parse::<u16>().ok().filter(|digit| *digit < 10);
                (low.map(|digit| digit * 100), low.map(|digit| digit * 100 + 99))
            } else {
                let (low, high) = text.split_once('-').unwrap_or((text, text));
                (low.trim().parse().ok(), high.trim().parse().ok())
            }
        }
    };
    match (low, high) {
        (Some(low), Some(high)) if 100 <= low && low <= high && high <= 599 => Ok((low, high)),
        (_, _) => Err(Complaint::new("this is no HTTP status", STATUS_FORM)),
    }
}

/// A token of RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    let special = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || special(byte))
}
