//! A document of a discovery service → the targets that it lists.
//!
//! Pure, and written for what comes off the wire: any bytes at all give a list or a fault in words,
//! which say what was found at which path. The paths mean what they mean to Tyk, and where Tyk
//! makes nothing of a document that says clearly what it means (an entry that is a plain text, a
//! single instance where a list is expected, blanks before a nested list), that is understood too.
//!
//! An entry that is no target is left out and told; the others count.

use serde_json::Value;

use crate::config::address;
use crate::config::discovery::{DocumentShape, MOST_ENTRIES};
use crate::config::dot_path::DotPath;
use crate::config::mould::Found;
use crate::discovery::list::{Entries, ListFault};
use crate::telemetry::escape::Escaped;

/// What is shown of what a document says is at most this long.
const SHOWN: usize = 60;

/// Reads a document.
///
/// # Errors
/// What there is instead of a list.
pub fn read(body: &[u8], shape: &DocumentShape) -> Result<Entries, ListFault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ListFault::nonsense("the answer is empty"));
    }
    let document = json(body, "the answer")?;
    let mut entries = Entries::default();
    for (place, item) in items(document, shape)? {
        if entries.count() == MOST_ENTRIES {
            return Err(ListFault::nonsense(format!(
                "the answer lists more than {MOST_ENTRIES} targets"
            )));
        }
        match target(&item, shape) {
            Ok(found) => entries.found.push(found),
            Err(why) => entries.left_out.push(format!("{place}: {why}")),
        }
    }
    Ok(entries)
}

fn json(text: &[u8], what: &str) -> Result<Value, ListFault> {
    serde_json::from_slice(text).map_err(|error| {
        let begin = text.trim_ascii_start();
        let begin = Escaped(&begin[..begin.len().min(SHOWN)]);
        // Where it breaks tells a truncated answer from one of another kind.
        ListFault::nonsense(format!("{what} is no JSON ({error}); it begins with \"{begin}\""))
    })
}

/// Every entry of the list, and what it is called in messages.
fn items(document: Value, shape: &DocumentShape) -> Result<Vec<(String, Value)>, ListFault> {
    if !shape.is_list {
        if document.is_array() {
            let what = "the answer is a list, and endpoint_returns_list is not set";
            return Err(ListFault::nonsense(what));
        }
        return at_parent(document, shape, "");
    }
    let Value::Array(list) = document else {
        let what = format!("the answer is {}, no list", kind(&document));
        return Err(ListFault::nonsense(what));
    };
    let entries = list.into_iter().enumerate();
    if !shape.is_nested {
        return Ok(entries.map(|(index, item)| (format!("entry {index}"), item)).collect());
    }
    let mut all = Vec::new();
    for (index, item) in entries {
        if all.len() > MOST_ENTRIES {
            // Whoever counts them says so.
            break;
        }
        all.extend(at_parent(item, shape, &format!("entry {index}, "))?);
    }
    Ok(all)
}

/// The entries of what is at `parent_data_path`.
fn at_parent(
    value: Value,
    shape: &DocumentShape,
    place: &str,
) -> Result<Vec<(String, Value)>, ListFault> {
    let found = find(&value, &shape.parent).map_err(ListFault::nonsense)?;
    let shown = if shape.parent.is_empty() { "the document" } else { "" };
    let place = format!("{place}{shown}{}", shape.parent);
    let owned;
    let list = if shape.is_nested {
        let Value::String(text) = found else {
            let what = format!("{place} is {}, no text with JSON in it", kind(found));
            return Err(ListFault::nonsense(what));
        };
        owned = json(text.as_bytes(), &format!("the text at {place}"))?;
        &owned
    } else {
        found
    };
    match list {
        Value::Array(list) => {
            let named = list.iter().enumerate();
            Ok(named.map(|(index, item)| (format!("{place}.{index}"), item.clone())).collect())
        }
        // One instance, where several would be a list (Eureka); else a table of them by name.
        Value::Object(table) if find(list, &shape.host).is_err() && !shape.host.is_empty() => {
            let below: Vec<_> = table.iter().filter(|(_, item)| item.is_object()).collect();
            if below.is_empty() {
                let why = find(list, &shape.host).err().unwrap_or_default();
                return Err(ListFault::nonsense(format!("{place}: {why}")));
            }
            let shown = |key: &str| cut(&key.escape_debug().to_string());
            Ok(below
                .into_iter()
                .map(|(key, item)| (format!("{place}.{}", shown(key)), item.clone()))
                .collect())
        }
        Value::Object(_) => Ok(vec![(place, list.clone())]),
        Value::String(_) if shape.host.is_empty() => Ok(vec![(place, list.clone())]),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {
            let what = format!("{place} is {}, neither a list nor a table", kind(list));
            Err(ListFault::nonsense(what))
        }
    }
}

/// The target that an entry describes.
fn target(item: &Value, shape: &DocumentShape) -> Result<Found, String> {
    let there = find(item, &shape.host)?;
    let host = there.as_str().map(str::trim);
    let host = host.ok_or_else(|| format!("{} is {}, no text", at(&shape.host), kind(there)))?;
    if host.is_empty() {
        return Err(format!("{} is an empty text", at(&shape.host)));
    }
    let text = if shape.port.is_empty() {
        host.to_owned()
    } else {
        with_port(host, port(find(item, &shape.port)?, &shape.port)?)?
    };
    let (spoken, address) = address::target(&text).map_err(|complaint| {
        format!("\"{}\" is no target: {}", cut(&text.escape_debug().to_string()), complaint.what)
    })?;
    match address.port() {
        0 => Err("it is no host and port".to_owned()),
        _ => Ok(Found::at(spoken, address)),
    }
}

/// A port as documents have it: a number, a text, or the first of a list of them.
fn port(value: &Value, path: &DotPath) -> Result<u16, String> {
    let first = match value {
        Value::Array(ports) => ports
            .first()
            .ok_or_else(|| format!("{} is an empty list: there is no port", at(path)))?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            value
        }
    };
    let number = match first {
        // Tyk cuts fractions off; a whole number may be written as one.
        Value::Number(number) => number.as_f64().filter(|it| it.fract() == 0.0),
        Value::String(text) => text.trim().parse::<u32>().ok().map(f64::from),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(format!("{} is {}, no port", at(path), kind(first)));
        }
    };
    let fits = number.filter(|number| (1.0..=65535.0).contains(number));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it fits")]
    fits.map(|number| number as u16).ok_or_else(|| {
        let shown = cut(&first.to_string());
        format!("{} is {}, and a port is 1 to 65535", at(path), shown.escape_debug())
    })
}

/// A host, perhaps with a scheme before it, and the port from elsewhere.
fn with_port(host: &str, port: u16) -> Result<String, String> {
    let url = address::split(host);
    let scheme = url.scheme.map_or(String::new(), |scheme| format!("{scheme}://"));
    let bare = url.authority;
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(format!("{scheme}[{bare}]:{port}"));
    }
    let end = bare.rfind(']').map_or(0, |at| at + 1);
    match bare[end..].rsplit_once(':').map(|(_, own)| own) {
        None => Ok(format!("{scheme}{bare}:{port}")),
        Some(own) if own.parse() == Ok(port) => Ok(format!("{scheme}{bare}")),
        Some(_) => {
            let shown = cut(&host.escape_debug().to_string());
            Err(format!("\"{shown}\" has a port already, and port_data_path says {port}"))
        }
    }
}

/// What is at a path, or where it breaks off.
fn find<'a>(value: &'a Value, path: &DotPath) -> Result<&'a Value, String> {
    let mut here = value;
    for (index, step) in path.steps().iter().enumerate() {
        let below = match here {
            Value::Object(table) => table.get(step),
            Value::Array(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        here = below.ok_or_else(|| {
            let there = match index {
                0 => "it".to_owned(),
                _ => format!("`{}`", path.steps()[..index].join(".")),
            };
            format!("there is no `{path}`: {there} is {} without `{step}`", kind(here))
        })?;
    }
    Ok(here)
}

fn at(path: &DotPath) -> String {
    if path.is_empty() { "it".to_owned() } else { format!("`{path}`") }
}

/// What a value is, for people.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `list`, `nested`, then paths by their first letters.
    fn shape(words: &str) -> DocumentShape {
        let mut shape = DocumentShape::default();
        for word in words.split_whitespace() {
            let path = |path| DotPath::parse(path).unwrap();
            match word.split_once('=') {
                Some(("parent", it)) => shape.parent = path(it),
                Some(("data", it)) => shape.host = path(it),
                Some(("port", it)) => shape.port = path(it),
                Some(_) | None if word == "list" => shape.is_list = true,
                Some(_) | None if word == "nested" => shape.is_nested = true,
                Some(_) | None => panic!("{word}"),
            }
        }
        shape
    }

    fn check(document: &str, paths: &str, expected: &str) {
        let said = match read(document.as_bytes(), &shape(paths)) {
            Ok(entries) => {
                let shown = |found: &Found| match found.spoken {
                    address::Spoken::Tcp => found.address.to_string(),
                    address::Spoken::Tls => format!("tls://{}", found.address),
                };
                let found = entries.found.iter().map(shown);
                let left_out = entries.left_out.iter().map(|why| format!("({why})"));
                found.chain(left_out).collect::<Vec<_>>().join(" ")
            }
            Err(fault) => format!("fault: {fault}"),
        };
        assert_eq!(said, expected, "{document} by {paths}");
    }

    #[test]
    fn the_documents_of_tyks_users_say_what_they_mean() {
        let consul = r#"[{"Address":"10.1.10.12","ServicePort":8000},{"Address":"10.1.10.13","ServicePort":8001}]"#;
        let paths = "list data=Address port=ServicePort";
        check(consul, paths, "10.1.10.12:8000 10.1.10.13:8001");
        let health = r#"[{"Service":{"Address":"10.0.0.1","Port":80}}]"#;
        check(health, "list data=Service.Address port=Service.Port", "10.0.0.1:80");
        let etcd = r#"{"node":{"value":"10.0.0.9:6000"}}"#;
        check(etcd, "data=node.value", "10.0.0.9:6000");
        let etcd = r#"{"node":{"value":"tcp://10.0.0.9:6000"}}"#;
        check(etcd, "data=node.value", "10.0.0.9:6000");
        let nested = "nested parent=node.value data=hostname port=port";
        let one = r#"{"node":{"value":"{\"hostname\":\"h\",\"port\":\"80\"}"}}"#;
        check(one, nested, "h:80");
        let many = r#"{"node":{"value":"[{\"hostname\":\"a\",\"port\":\"80\"},{\"hostname\":\"b\",\"port\":\"81\"}]"}}"#;
        check(many, nested, "a:80 b:81");
        check(&many.replace("\"[", "\" ["), nested, "a:80 b:81");
        let data = r#"[{"Data":"{\"h\":\"a\",\"p\":80}"},{"Data":"[{\"h\":\"b\",\"p\":81}]"}]"#;
        check(data, "list nested parent=Data data=h port=p", "a:80 b:81");
        let tasks = r#"{"tasks":[{"host":"m1","ports":[80,81]},{"host":"m2","ports":[82]}]}"#;
        check(tasks, "parent=tasks data=host port=ports", "m1:80 m2:82");
        let two = r#"{"tasks":[{"host":"m1","ports":[80,81]}]}"#;
        check(two, "parent=tasks data=host port=ports.1", "m1:81");
        let paths = "parent=application.instance data=hostName port=port.$";
        let eureka = r#"{"application":{"instance":[{"hostName":"e1","port":{"$":"60565"}},{"hostName":"e2","port":{"$":"1"}}]}}"#;
        check(eureka, paths, "e1:60565 e2:1");
        let single = r#"{"application":{"instance":{"hostName":"e1","port":{"$":60565,"@enabled":"true"}}}}"#;
        check(single, paths, "e1:60565");
        let map = r#"{"n":{"y":{"ip":"10.0.0.2","p":2},"x":{"ip":"10.0.0.1","p":1}}}"#;
        check(map, "parent=n data=ip port=p", "10.0.0.1:1 10.0.0.2:2");
        check(r#"["10.0.0.1:80","tls://b:81"]"#, "list", "10.0.0.1:80 tls://b:81");
        check(r#"{"hosts":["a:1","b:2"]}"#, "parent=hosts", "a:1 b:2");
        let nomad = r#"[{"Address":"2001:db8::1","Port":25000}]"#;
        check(nomad, "list data=Address port=Port", "[2001:db8::1]:25000");
        check(r#"[{"a":"[::1]:5","p":5}]"#, "list data=a port=p", "[::1]:5");
        check(r#"[{"a":"tls://h","p":5.0}]"#, "list data=a port=p", "tls://h:5");
    }

    #[test]
    fn what_is_no_target_is_left_out_and_told() {
        let paths = "list data=a port=p";
        let check = |entry: &str, expected: &str| {
            check(&format!(r#"[{{"a":"ok","p":1}},{entry}]"#), paths, expected);
        };
        check(r#"{"p":1}"#, "ok:1 (entry 1: there is no `a`: it is a table without `a`)");
        check(r#"{"a":7,"p":1}"#, "ok:1 (entry 1: `a` is a number, no text)");
        check(r#"{"a":" ","p":1}"#, "ok:1 (entry 1: `a` is an empty text)");
        check(r#"{"a":"h"}"#, "ok:1 (entry 1: there is no `p`: it is a table without `p`)");
        let port = "ok:1 (entry 1: `p` is 0, and a port is 1 to 65535)";
        check(r#"{"a":"h","p":0}"#, port);
        check(r#"{"a":"h","p":65536}"#, &port.replace(" 0,", " 65536,"));
        check(r#"{"a":"h","p":80.5}"#, &port.replace(" 0,", " 80.5,"));
        check(
            r#"{"a":"h","p":1e400}"#.replace("1e400", "\"x\"").as_str(),
            &port.replace(" 0,", " \\\"x\\\","),
        );
        check(r#"{"a":"h","p":[]}"#, "ok:1 (entry 1: `p` is an empty list: there is no port)");
        check(r#"{"a":"h","p":null}"#, "ok:1 (entry 1: `p` is null, no port)");
        let twice = "ok:1 (entry 1: \"h:2\" has a port already, and port_data_path says 3)";
        check(r#"{"a":"h:2","p":3}"#, twice);
        let http =
            "ok:1 (entry 1: \"http://h:1\" is no target: `http://` is no scheme of a TCP target)";
        check(r#"{"a":"http://h","p":1}"#, http);
        check("7", "ok:1 (entry 1: there is no `a`: it is a number without `a`)");
    }

    #[test]
    fn what_is_no_list_is_a_fault_in_words() {
        check("", "list", "fault: the answer is empty");
        check(" \n", "list", "fault: the answer is empty");
        check("{}", "list", "fault: the answer is a table, no list");
        check("[]", "data=a", "fault: the answer is a list, and endpoint_returns_list is not set");
        let none = "fault: there is no `n.x`: `n` is null without `x`";
        check(r#"{"n":null}"#, "parent=n.x data=a", none);
        check(r#"{"n":null}"#, "parent=n data=a", "fault: n is null, neither a list nor a table");
        let none = "fault: the document: there is no `a`: it is a table without `a`";
        check(r#"{"hosts":["a:1"]}"#, "data=a", none);
        let text = "fault: n is a number, no text with JSON in it";
        check(r#"{"n":1}"#, "nested parent=n data=a", text);
        let begins = |document: &str, expected: &str| {
            let fault = read(document.as_bytes(), &shape("list")).unwrap_err().to_string();
            assert!(
                fault.starts_with("the answer is no JSON (") && fault.ends_with(expected),
                "{fault}"
            );
        };
        begins("<html>503</html>", "it begins with \"<html>503</html>\"");
        begins(r#"[{"Address":"10.1"#, r#"it begins with "[{\"Address\":\"10.1""#);
        begins("\u{1b}[2J", "\"\\x1b[2J\"");
        begins(&"[".repeat(100_000), &format!("\"{}\"", "[".repeat(SHOWN)));
    }

    #[test]
    fn an_empty_list_is_a_list_and_a_very_long_one_is_not() {
        check("[]", "list data=a", "");
        check(r#"{"n":[]}"#, "parent=n data=a", "");
        let long = |count| format!("[{}]", vec!["\"a:1\""; count].join(","));
        assert_eq!(
            read(long(MOST_ENTRIES).as_bytes(), &shape("list")).unwrap().count(),
            MOST_ENTRIES
        );
        check(&long(MOST_ENTRIES + 1), "list", "fault: the answer lists more than 1000 targets");
        let many = "fault: the answer lists more than 1000 targets";
        check(&long(100_000).replace("a:1", ""), "list", many);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(body in prop::collection::vec(any::<u8>(), 0..200)) {
            for paths in ["list", "list nested parent=a data=b port=c", "parent=a data=b port=c"] {
                drop(read(&body, &shape(paths)));
            }
        }

        #[test]
        fn no_document_breaks_it(value in "[\\[\\]{}:,\"a0-9.n ]{0,60}") {
            for paths in ["list data=a port=0", "data=a.0", "nested data=a", ""] {
                drop(read(value.as_bytes(), &shape(paths)));
            }
        }
    }
}
