//! `proxy.service_discovery.*` → who is asked for the targets, and how its answer is read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::discovery::{Directory, Discovery, DocumentShape, HttpDirectory};
use crate::config::dot_path::DotPath;
use crate::config::file::discovery::ServiceDiscovery;
use crate::config::file::proxy::Proxy;
use crate::config::file::scalars::Period;
use crate::config::mould::Mould;
use crate::config::place::KeyPath;
use crate::config::transport::Transport;
use crate::config::validate::certificates::Finder;
use crate::config::validate::directory::Party;
use crate::config::validate::limits::at_least;
use crate::config::validate::report::Report;
use crate::config::validate::{directory, http, name_directory, url};

/// Tyk's `default_cache_timeout`.
const INTERVAL: Duration = Duration::from_secs(120);
/// As often as the names of targets are looked up: where nobody says how long an address holds.
const NAMES: Duration = Duration::from_secs(30);
/// Nobody is asked more often.
const SHORTEST: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Are the targets of this service found, whatever may be wrong with how?
pub fn is_on(proxy: &Proxy) -> bool {
    proxy.service_discovery.as_ref().is_some_and(|it| !ways(it).is_empty())
}

/// How the targets are found; its mould is still to be made. `None`: they are written.
pub fn settle(
    proxy: &Proxy,
    transport: &Transport,
    folder: &Path,
    finder: Finder<'_>,
    report: &mut Report<'_>,
) -> Option<Discovery> {
    let written = proxy.service_discovery.as_ref().filter(|_| is_on(proxy))?;
    let at = KeyPath::dotted("proxy.service_discovery");
    let balanced = proxy.enable_load_balancing.unwrap_or(false);
    if let [one, other, ..] = ways(written)[..] {
        let what = format!("`{other}` stands beside `{one}`");
        report.error(&at.key(other), what, "the targets are found in one way");
    }
    let (directory, interval, all) = match (file(written), name(written), srv(written)) {
        (Some(path), ..) => {
            let directory = file_directory(path, folder, &at.key("file"), report);
            (directory, SHORTEST, true)
        }
        (None, Some(name), _) => {
            let directory = name_directory::dns(name, transport, &at.key("dns"), report);
            (directory, interval(written, NAMES, &at, report), true)
        }
        (None, None, Some(name)) => {
            let directory = name_directory::srv(name, transport, &at.key("srv"), report);
            (directory, interval(written, NAMES, &at, report), true)
        }
        (None, None, None) => {
            let directory = http_directory(written, &at, finder, report);
            let interval = interval(written, INTERVAL, &at, report);
            (directory, interval, written.use_target_list.unwrap_or(false))
        }
    };
    if all && !balanced {
        let what = "only the first target that is found gets connections";
        let right = "set enable_load_balancing = true to use all of them";
        report.warning(&at, what, right);
    }
    if directory.as_ref().is_some_and(|directory| directory.tls().is_none()) {
        directory::tell_of_idle(&party(written), report);
    }
    let is_name = matches!(directory, Some(Directory::Name(_) | Directory::Srv(_)));
    let timeout = at_least(written.timeout, TIMEOUT, &at.key("timeout"), report);
    Some(Discovery {
        directory: directory?,
        interval,
        by_ttl: is_name && matches!(written.cache_timeout, None | Some(Period(Duration::ZERO))),
        name_servers: Arc::default(),
        timeout,
        allow_empty: written.allow_empty.unwrap_or(false),
        first_only: !(all && balanced),
        mould: Mould::default(),
    })
}

/// The keys that say how.
fn ways(written: &ServiceDiscovery) -> Vec<&'static str> {
    let ways = [
        ("use_discovery_service", written.use_discovery_service.unwrap_or(false)),
        ("dns", name(written).is_some()),
        ("srv", srv(written).is_some()),
        ("file", file(written).is_some()),
    ];
    ways.into_iter().filter(|(_, is_written)| *is_written).map(|(key, _)| key).collect()
}

fn name(written: &ServiceDiscovery) -> Option<&str> {
    written.dns.as_deref().map(str::trim).filter(|name| !name.is_empty())
}

fn srv(written: &ServiceDiscovery) -> Option<&str> {
    written.srv.as_deref().map(str::trim).filter(|name| !name.is_empty())
}

fn file(written: &ServiceDiscovery) -> Option<&str> {
    written.file.as_deref().map(str::trim).filter(|path| !path.is_empty())
}

fn file_directory(
    path: &str,
    folder: &Path,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<Directory> {
    let path = folder.join(path);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("json" | "toml") => Some(Directory::File(path.into())),
        Some(_) | None => {
            let what = "its name ends neither in .json nor in .toml";
            report.error(at, what, "the file is JSON or TOML, and its name says which");
            None
        }
    }
}

fn interval(
    written: &ServiceDiscovery,
    usual: Duration,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Duration {
    if written.cache_disabled.unwrap_or(false) {
        let what = "nobody waits for a question here: it is asked in the background, each \
                    `cache_timeout`";
        report.warning(&at.key("cache_disabled"), what, "write a short cache_timeout, such as 5s");
    }
    match written.cache_timeout {
        // Tyk's way to write nothing.
        None | Some(Period(Duration::ZERO)) => usual,
        Some(Period(interval)) if interval < SHORTEST => {
            let what = "asked more often than once a second";
            report.warning(&at.key("cache_timeout"), what, "1s is used instead");
            SHORTEST
        }
        Some(Period(interval)) => interval,
    }
}

fn http_directory(
    written: &ServiceDiscovery,
    at: &KeyPath,
    finder: Finder<'_>,
    report: &mut Report<'_>,
) -> Option<Directory> {
    let document = document(written, at, report);
    let headers = http::headers(written.headers.as_ref(), &at.key("headers"), report);
    if written.target_path.as_deref().is_some_and(|path| !path.trim().is_empty()) {
        let what = "a TCP target has no path: this does nothing";
        report.warning(&at.key("target_path"), what, "take it out");
    }
    let at = at.key("query_endpoint");
    let endpoint = written.query_endpoint.as_deref().map(str::trim).filter(|it| !it.is_empty());
    let Some(endpoint) = endpoint else {
        if !report.is_tainted(&at) {
            report.error(&at, "nobody is named to ask for the targets", url::FORM);
        }
        return None;
    };
    let url::Read { is_tls, address, host, path } =
        report.keep(&at, url::read(endpoint, "this is no URL of a document"))?;
    let tls = match is_tls {
        true => Some(directory::policy(&party(written), &address, finder, report)?),
        false => None,
    };
    let directory = HttpDirectory { address, tls, host, path, headers, document };
    Some(Directory::Http(Box::new(directory)))
}

fn party(written: &ServiceDiscovery) -> Party<'_> {
    let at = KeyPath::dotted("proxy.service_discovery");
    Party {
        who: "the directory",
        harm: "whoever it is says where clients are sent",
        table: at.key("transport"),
        written: written.transport.as_ref(),
        url: at.key("query_endpoint"),
    }
}

fn document(written: &ServiceDiscovery, at: &KeyPath, report: &mut Report<'_>) -> DocumentShape {
    let mut path = |key: &str, written: &Option<String>| -> DotPath {
        let read = DotPath::parse(written.as_deref().unwrap_or_default());
        report.keep(&at.key(key), read).unwrap_or_default()
    };
    let shape = DocumentShape {
        is_list: written.endpoint_returns_list.unwrap_or(false),
        is_nested: written.use_nested_query.unwrap_or(false),
        parent: path("parent_data_path", &written.parent_data_path),
        host: path("data_path", &written.data_path),
        port: path("port_data_path", &written.port_data_path),
    };
    let parent_at = at.key("parent_data_path");
    if shape.is_nested && shape.parent.is_empty() && !report.is_tainted(&parent_at) {
        let what = "`use_nested_query` needs to know where the text with JSON in it is";
        report.error(&at.key("use_nested_query"), what, "write its path as parent_data_path");
    }
    if shape.is_list && !shape.is_nested && !shape.parent.is_empty() {
        let what = "the document is a list itself: this does nothing";
        report.warning(&parent_at, what, "take it out, or endpoint_returns_list");
    }
    shape
}
