//! `enable_proxy_protocol`, `proxy_protocol_*`, `proxy.send_proxy_protocol` → who tells whom of
//! clients.

use crate::config::file::definition::{Definition, WrittenOthers};
use crate::config::file::proxy::{Proxy, WrittenExtra, WrittenHeader};
use crate::config::model::Service;
use crate::config::names::ListenAddress;
use crate::config::network::Network;
use crate::config::place::KeyPath;
use crate::config::proxy_protocol::{Extras, Others, Receiving, Sending};
use crate::config::validate::report::Report;
use crate::wire::proxy_header::header::Version;

/// What is expected at the beginning of a connection to `listen`; `None`: payload, from anybody.
pub fn receiving(
    written: &Definition,
    listen: Option<&ListenAddress>,
    report: &mut Report<'_>,
) -> Option<Receiving> {
    let from = networks(written.proxy_protocol_from.as_deref(), report);
    if !written.enable_proxy_protocol.unwrap_or(false) {
        tell_of_idle(written, report);
        return None;
    }
    let is_unix = matches!(listen, Some(ListenAddress::Unix(_)));
    let from_at = KeyPath::dotted("proxy_protocol_from");
    if from.is_some() && is_unix {
        let what = "the clients of a unix socket have no addresses";
        let right = "take it out: whoever may open the socket may send a header";
        report.error(&from_at, what, right);
    }
    if from.is_none() && !is_unix && !report.is_tainted(&from_at) {
        let what = "anyone may say to be any client: a PROXY header is believed whoever sends it";
        let right = "name those that send one: proxy_protocol_from = [\"10.0.0.0/8\"]";
        report.warning(&KeyPath::dotted("enable_proxy_protocol"), what, right);
    }
    let others_at = KeyPath::dotted("proxy_protocol_others");
    if written.proxy_protocol_others.is_some() && from.is_none() {
        let what = "there are no others: without proxy_protocol_from anyone may send a header";
        report.error(&others_at, what, "write proxy_protocol_from, or take it out");
    }
    let others = match written.proxy_protocol_others {
        None | Some(WrittenOthers::Refuse) => Others::Refused,
        Some(WrittenOthers::Direct) => Others::Direct,
    };
    Some(Receiving { from, others, optional: written.proxy_protocol_optional.unwrap_or(false) })
}

fn networks(written: Option<&[String]>, report: &mut Report<'_>) -> Option<Vec<Network>> {
    let written = written?;
    let at = KeyPath::dotted("proxy_protocol_from");
    if written.is_empty() {
        let what = "the list is empty: nobody could send a header, and one is required";
        report.error(&at, what, "name those that send one, or take the list out: anyone may then");
    }
    let entries = written.iter().enumerate();
    let read =
        entries.filter_map(|(index, text)| report.keep(&at.index(index), Network::parse(text)));
    Some(read.collect())
}

/// Rules that nobody asked for.
fn tell_of_idle(written: &Definition, report: &mut Report<'_>) {
    let keys = [
        ("proxy_protocol_from", written.proxy_protocol_from.is_some()),
        ("proxy_protocol_others", written.proxy_protocol_others.is_some()),
        ("proxy_protocol_optional", written.proxy_protocol_optional == Some(true)),
    ];
    for (key, _) in keys.into_iter().filter(|(_, is_written)| *is_written) {
        let what = format!("`{key}` does nothing: no PROXY header is expected");
        let right = "write enable_proxy_protocol = true, or take it out";
        report.warning(&KeyPath::dotted(key), what, right);
    }
}

/// What targets are told of the client; `None`: nothing.
pub fn sending(proxy: &Proxy, report: &mut Report<'_>) -> Option<Sending> {
    let at = KeyPath::dotted("proxy.proxy_protocol_tlvs");
    let list = proxy.proxy_protocol_tlvs.as_deref().unwrap_or_default();
    let mut extras = Extras::default();
    for extra in list {
        match extra {
            WrittenExtra::Sni => extras.sni = true,
            WrittenExtra::Alpn => extras.alpn = true,
            WrittenExtra::Tls => extras.tls = true,
            WrittenExtra::UniqueId => extras.unique_id = true,
            WrittenExtra::Received => extras.received = true,
        }
    }
    let version = match proxy.send_proxy_protocol {
        Some(WrittenHeader::V2) => Version::V2,
        Some(WrittenHeader::V1) => {
            if !list.is_empty() {
                let what = "a header of version 1 has no room for them";
                report.error(&at, what, "write send_proxy_protocol = \"v2\", or take them out");
            }
            Version::V1
        }
        None => {
            if !list.is_empty() {
                let what = "they are sent in a PROXY header, and none is sent";
                report.error(&at, what, "write send_proxy_protocol = \"v2\", or take them out");
            }
            return None;
        }
    };
    Some(Sending { version, extras })
}

/// What is received is to be passed on, and nothing is received.
pub fn tell_of_nothing_received(service: &Service, report: &mut Report<'_>) {
    let is_passed_on = service.pool.sending.is_some_and(|sending| sending.extras.received);
    if is_passed_on && service.receiving.is_none() {
        let what = "`received` does nothing: no PROXY header is expected, and none is read";
        let right = "write enable_proxy_protocol = true, or take it out";
        report.warning(&KeyPath::dotted("proxy.proxy_protocol_tlvs"), what, right);
    }
}
