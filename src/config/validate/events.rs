//! `event_handlers.*` → who is told of which event, and how.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::events::{Action, BodyTemplate, EventHandlers, EventKind, Handler, Webhook};
use crate::config::file::definition::Definition;
use crate::config::file::events::{Events, HandlerMeta, HandlerName, WrittenHandler};
use crate::config::file::scalars::Period;
use crate::config::parameters::Holes;
use crate::config::place::KeyPath;
use crate::config::problem::{Complaint, did_you_mean};
use crate::config::text::read_text;
use crate::config::validate::certificates::Finder;
use crate::config::validate::directory::Party;
use crate::config::validate::limits::at_least;
use crate::config::validate::report::Report;
use crate::config::validate::{body, directory, http, url};

/// One whole try.
const TIMEOUT: Duration = Duration::from_secs(5);
/// No template is larger.
const TEMPLATE_CAP: u64 = 64 * 1024;
/// Tyk's, without its habit to take anything else for GET.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// What a request says by itself.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

/// What handlers are read with.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Where the values of holes come from, and what relative paths are relative to.
    pub holes: Holes<'a>,
    /// Where certificates are that are named by their IDs.
    pub finder: Finder<'a>,
}

/// Who is told of the events of a service that is called so.
pub fn handlers(
    written: &Definition,
    name: &str,
    around: Around<'_>,
    report: &mut Report<'_>,
) -> EventHandlers {
    let api_id = written.api_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
    let events = written.event_handlers.clone().and_then(|it| it.events).unwrap_or_default();
    let Events { host_down, host_up, leader_changed } = events;
    let lists = [
        (EventKind::HostDown, host_down),
        (EventKind::HostUp, host_up),
        (EventKind::LeaderChanged, leader_changed),
    ];
    let mut handlers = Vec::new();
    for (kind, list) in lists {
        let at = KeyPath::dotted("event_handlers.events").key(kind.as_str());
        for (index, written) in list.into_iter().flatten().enumerate() {
            let action = action(&written, &at.index(index), around, report);
            handlers.extend(action.map(|action| Handler { kind, index, action }));
        }
    }
    EventHandlers { api_id: api_id.unwrap_or(name).into(), handlers }
}

/// What one handler does; `None`: nothing.
fn action(
    written: &WrittenHandler,
    at: &KeyPath,
    around: Around<'_>,
    report: &mut Report<'_>,
) -> Option<Action> {
    let meta = written.handler_meta.clone().unwrap_or_default();
    let meta_at = at.key("handler_meta");
    let is_on = !meta.disabled.unwrap_or(false);
    match written.handler_name {
        Some(HandlerName::Log) => {
            refuse_of_webhook(&meta, &meta_at, report);
            let prefix = meta.prefix.unwrap_or_default().trim().into();
            is_on.then_some(Action::Log(prefix))
        }
        Some(HandlerName::Webhook) => {
            if meta.prefix.is_some_and(|prefix| !prefix.is_empty()) {
                let right = "write handler_name = \"eh_log_handler\", or take it out";
                report.error(&meta_at.key("prefix"), "`prefix` belongs to eh_log_handler", right);
            }
            let webhook = webhook(written, &meta_at, around, report);
            webhook.filter(|_| is_on).map(|webhook| Action::Webhook(Arc::new(webhook)))
        }
        None => {
            let name_at = at.key("handler_name");
            if !report.is_tainted(&name_at) {
                let right = "write \"eh_web_hook_handler\" or \"eh_log_handler\"";
                report.error(&name_at, "`handler_name` is missing", right);
            }
            None
        }
    }
}

fn refuse_of_webhook(meta: &HandlerMeta, at: &KeyPath, report: &mut Report<'_>) {
    let text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let time = |time: Option<Period>| time.is_some_and(|time| time != Period(Duration::ZERO));
    let said = [
        ("method", text(&meta.method)),
        ("target_path", text(&meta.target_path)),
        ("template_path", text(&meta.template_path)),
        ("header_map", meta.header_map.as_ref().is_some_and(|map| !map.is_empty())),
        ("event_timeout", time(meta.event_timeout)),
        ("timeout", time(meta.timeout)),
        ("transport", meta.transport.is_some()),
    ];
    for (key, _) in said.into_iter().filter(|(_, said)| *said) {
        let right = "write handler_name = \"eh_web_hook_handler\", or take it out";
        report.error(&at.key(key), format!("`{key}` belongs to eh_web_hook_handler"), right);
    }
}

fn webhook(
    written: &WrittenHandler,
    at: &KeyPath,
    around: Around<'_>,
    report: &mut Report<'_>,
) -> Option<Webhook> {
    let meta = written.handler_meta.clone().unwrap_or_default();
    let method = report.keep(&at.key("method"), method(meta.method.as_deref()));
    let name = name(meta.name.as_deref(), &at.key("name"), report);
    let (headers, is_json) = headers(&meta, &at.key("header_map"), report);
    let body = body(&meta, is_json, &at.key("template_path"), around, report);
    let timeout = at_least(meta.timeout, TIMEOUT, &at.key("timeout"), report);
    let party = Party {
        who: "the webhook",
        harm: "whoever it is learns what happens here, and every header",
        table: at.key("transport"),
        written: meta.transport.as_ref(),
        url: at.key("target_path"),
    };
    let target = meta.target_path.as_deref().map(str::trim).filter(|url| !url.is_empty());
    let Some(target) = target else {
        if !report.is_tainted(&party.url) && !meta.disabled.unwrap_or(false) {
            report.error(&party.url, "nobody is named to send the event to", url::FORM);
        }
        return None;
    };
    let read = report.keep(&party.url, url::read(target, "this is no URL of a webhook"))?;
    let tls = if read.is_tls {
        Some(directory::policy(&party, &read.address, around.finder, report)?)
    } else {
        directory::tell_of_idle(&party, report);
        None
    };
    Some(Webhook {
        name,
        address: read.address,
        tls,
        method: method?,
        host: read.host,
        path: read.path,
        headers,
        body: body?,
        cool_down: meta.event_timeout.map_or(Duration::ZERO, |Period(time)| time),
        timeout,
    })
}

fn method(written: Option<&str>) -> Result<&'static str, Complaint> {
    let Some(written) = written.map(str::trim).filter(|method| !method.is_empty()) else {
        return Ok("POST");
    };
    let known = METHODS.into_iter().find(|method| method.eq_ignore_ascii_case(written));
    known.ok_or_else(|| {
        let right = match did_you_mean(written, METHODS) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("write {}", METHODS.join(", ")),
        };
        Complaint::new("a webhook is sent by no such method", right)
    })
}

fn name(written: Option<&str>, at: &KeyPath, report: &mut Report<'_>) -> String {
    let name = written.unwrap_or_default().trim();
    if name.chars().any(char::is_control) {
        report.error(at, "the name holds a control character", "");
    }
    name.to_owned()
}

/// Its headers, with what the body is; and whether that is JSON.
fn headers(
    meta: &HandlerMeta,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> (Vec<(String, String)>, bool) {
    let mut headers = http::headers(meta.header_map.as_ref(), at, report);
    for (name, _) in &headers {
        if FRAMING.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            let what = "a request says this by itself";
            report.error(&at.key(name), what, "take it out");
        }
    }
    let what_it_is = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let Some((_, what_it_is)) = what_it_is else {
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        return (headers, true);
    };
    let is_json = what_it_is.to_ascii_lowercase().contains("json");
    (headers, is_json)
}

fn body(
    meta: &HandlerMeta,
    is_json: bool,
    at: &KeyPath,
    around: Around<'_>,
    report: &mut Report<'_>,
) -> Option<BodyTemplate> {
    let path = meta.template_path.as_deref().map(str::trim).filter(|path| !path.is_empty());
    let Some(path) = path else { return Some(BodyTemplate::default()) };
    let Holes { env, folder, .. } = around.holes;
    let path = Path::new(folder).join(path);
    let told = |complaint: Complaint| {
        let what = format!("{} cannot be used: {}", path.display(), complaint.what);
        Complaint { what, ..complaint }
    };
    let text = read_text(&path, TEMPLATE_CAP, env.files());
    let text = text.map_err(|error| Complaint::new(error.to_string(), ""));
    let template = text.and_then(|text| body::template(&text, &path, is_json, env));
    report.keep(at, template.map_err(told))
}
