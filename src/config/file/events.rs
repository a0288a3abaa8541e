//! `event_handlers` as it is written: who is told of what happens to targets.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::foreign;
use crate::config::file::scalars::Period;
use crate::config::file::transport::DirectoryTransport;

/// Who is told.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventHandlers {
    /// Event → who is told of it, in this order.
    pub events: Option<Events>,
}

/// The events that there are, and who is told of each.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = foreign::events)]
pub struct Events {
    /// A target is down.
    #[serde(rename = "HostDown")]
    pub host_down: Option<Vec<WrittenHandler>>,
    /// A target that was down is up again.
    #[serde(rename = "HostUp")]
    pub host_up: Option<Vec<WrittenHandler>>,
    /// Another target leads, or none does.
    #[serde(rename = "LeaderChanged")]
    pub leader_changed: Option<Vec<WrittenHandler>>,
}

/// One who is told.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenHandler {
    /// What is done: `eh_log_handler` writes a line to the log, `eh_web_hook_handler` sends a
    /// request to a URL. Required.
    pub handler_name: Option<HandlerName>,
    /// How.
    pub handler_meta: Option<HandlerMeta>,
}

/// What is done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum HandlerName {
    /// A line in the log.
    #[serde(rename = "eh_log_handler")]
    Log,
    /// A request to a URL.
    #[serde(rename = "eh_web_hook_handler")]
    Webhook,
}

/// How an event is handled: `prefix` is for the log, everything else for a webhook.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandlerMeta {
    /// What the line in the log begins with. Default: nothing.
    pub prefix: Option<String>,
    /// This handler is checked but told nothing. Default: false.
    pub disabled: Option<bool>,
    /// Tyk's identifier.
    pub id: Option<String>,
    /// What `status` and the log call this webhook. Default: its URL without the path.
    pub name: Option<String>,
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`. Default: POST.
    pub method: Option<String>,
    /// The URL: `http://host:port/path` or `https://host:port/path`. Required for a webhook.
    pub target_path: Option<String>,
    /// The file that the body is made from, with holes such as `${event}` in it. Default: a JSON
    /// object with everything.
    pub template_path: Option<String>,
    /// Further headers, such as a token.
    pub header_map: Option<BTreeMap<String, String>>,
    /// The same event of the same target is not sent again within this. Default: 0, each is sent.
    pub event_timeout: Option<Period>,
    /// Deadline of one whole try. Default: 5s.
    pub timeout: Option<Period>,
    /// TLS to the webhook, where `target_path` is `https://…`.
    pub transport: Option<DirectoryTransport>,
}
