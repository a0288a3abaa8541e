//! One definition → one service.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::config::address;
use crate::config::environment::Environment;
use crate::config::file::definition::Definition;
use crate::config::model::Service;
use crate::config::names::{ListenAddress, ServiceName};
use crate::config::parameters::Holes;
use crate::config::place::{KeyPath, Place};
use crate::config::problem::Complaint;
use crate::config::tree::Tree;
use crate::config::validate::certificates::Finder;
use crate::config::validate::checks::{Around, Named};
use crate::config::validate::mould::Judging;
use crate::config::validate::report::Report;
use crate::config::validate::{
    access, discovery, events, limits, mould, pool, proxy_protocol, tls, transport,
};

const NAME_LIMIT: usize = 128;

/// What a definition needs to know besides what it says.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The file of the definition.
    pub path: &'a Path,
    /// The environment of the process.
    pub env: &'a Environment,
    /// The node's `listen_address`, where one is written.
    pub listen_address: Option<&'a ListenPlace>,
    /// The node's `discovery.name_servers`.
    pub name_servers: &'a Arc<[SocketAddr]>,
    /// Where certificates are that are named by their IDs.
    pub finder: Finder<'a>,
}

/// A place to listen, without its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenPlace {
    /// This address of the machine.
    Ip(std::net::IpAddr),
    /// A unix socket.
    Unix(std::path::PathBuf),
}

/// A definition that has been read: what other definitions are checked against.
#[derive(Debug)]
pub struct Draft {
    /// The service; good only if no problem is an error.
    pub service: Arc<Service>,
    /// Is it to be started?
    pub active: bool,
    /// Is `service.listen` what was written, or only a stand-in?
    pub listens: bool,
    /// Where its name was written, or the file that it is named after.
    pub name_place: Place,
    /// Where it says where it listens.
    pub listen_place: Place,
    /// Where it says which names it answers.
    pub domain_place: Place,
    /// Where its targets are written.
    pub targets_place: Place,
}

/// Reads a definition whose shape is right.
pub fn service(
    written: &Definition,
    tree: &Tree,
    named: Named,
    facts: Facts<'_>,
    report: &mut Report<'_>,
) -> Draft {
    let listen = listen(written, facts, report);
    let proxy = written.proxy.clone().unwrap_or_default();
    let uptime = written.uptime_tests.clone().unwrap_or_default();
    let transport = transport::transport(written, facts.finder, report);
    let targets = pool::targets(&proxy, &transport, report);
    let mut pool = pool::pool(&proxy, targets, report);
    let folder = facts.path.parent().unwrap_or(Path::new(""));
    let found = discovery::settle(&proxy, &transport, folder, facts.finder, report);
    let holes = Holes { env: facts.env, folder, with: None };
    let around = Around {
        targets: &pool.targets.clone(),
        are_found: discovery::is_on(&proxy),
        transport: &transport,
        holes,
        named,
    };
    let is_balance_written = proxy.balance.is_some();
    let judging = Judging { uptime: &uptime, around: &around, is_balance_written };
    let mould = mould::mould(&judging, &mut pool, found.as_ref(), report);
    let health = mould.health(&pool.targets);
    // One whose targets are found is judged even while there are none.
    let health = health.filter(|health| around.are_found || !health.checks.is_empty());
    let service_name = name(written, facts.path, report);
    let told = events::Around { holes, finder: facts.finder };
    let service = Service {
        name: service_name.clone(),
        source: facts.path.into(),
        listen: listen.clone().unwrap_or(ListenAddress::AnyOnPort(0)),
        protocol: tls::protocol(written, facts.finder, report),
        answers: tls::answers(written, report),
        receiving: proxy_protocol::receiving(written, listen.as_ref(), report),
        access: access::access(written, report),
        pool,
        limits: limits::limits(&written.limits.clone().unwrap_or_default(), report),
        health: health.map(Arc::new),
        discovery: found.map(|found| Arc::new(found.with(mould, facts.name_servers))),
        events: Arc::new(events::handlers(written, service_name.as_str(), told, report)),
    };
    transport::tell_of_nameless(&transport, &service, report);
    proxy_protocol::tell_of_nothing_received(&service, report);
    let at = |key: &str| tree.place_of(&KeyPath::dotted(key));
    let listen_key = if written.listen_port.is_some() { "listen_port" } else { "listen_address" };
    Draft {
        service: Arc::new(service),
        active: written.active.unwrap_or(true),
        listens: listen.is_some(),
        name_place: at("name"),
        listen_place: at(listen_key),
        domain_place: at(if written.domain.is_some() { "domain" } else { listen_key }),
        targets_place: at(if proxy.target_list.is_some() {
            "proxy.target_list"
        } else {
            "proxy.target_url"
        }),
    }
}

/// Where a written `listen_address` points.
pub fn listen_place(written: &str) -> Result<ListenPlace, Complaint> {
    match address::unix(written.trim()) {
        Some(path) => path.map(ListenPlace::Unix),
        None => address::listen_ip(written).map(ListenPlace::Ip),
    }
}

fn name(written: &Definition, path: &Path, report: &mut Report<'_>) -> ServiceName {
    let at = KeyPath::dotted("name");
    let of_file = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let Some(name) = written.name.as_deref() else {
        return ServiceName::new(&of_file.unwrap_or_default());
    };
    let trimmed = name.trim();
    if trimmed.is_empty() {
        report.error(
            &at,
            "the name is empty",
            "write a name, or take the key out: the file's name will do",
        );
    } else if trimmed.chars().any(char::is_control) {
        report.error(&at, "the name holds a control character", "");
    } else if trimmed.len() > NAME_LIMIT {
        report.error(&at, format!("the name is longer than {NAME_LIMIT} bytes"), "");
    }
    ServiceName::new(trimmed)
}

fn listen(
    written: &Definition,
    facts: Facts<'_>,
    report: &mut Report<'_>,
) -> Option<ListenAddress> {
    let (address_at, port_at) = (KeyPath::dotted("listen_address"), KeyPath::dotted("listen_port"));
    let own = written.listen_address.as_deref().filter(|address| !address.trim().is_empty());
    let own = match own {
        Some(own) => Some(report.keep(&address_at, listen_place(own))?),
        None if report.is_tainted(&address_at) => return None,
        None => None,
    };
    match (own.as_ref().or(facts.listen_address), written.listen_port) {
        (Some(ListenPlace::Unix(path)), None) => Some(ListenAddress::Unix(path.clone())),
        (Some(ListenPlace::Unix(_)), Some(_)) if own.is_some() => {
            report.error(
                &port_at,
                "a unix socket has no port",
                "take listen_port or listen_address out",
            );
            None
        }
        (Some(ListenPlace::Ip(ip)), Some(port)) => {
            Some(ListenAddress::Ip(SocketAddr::new(*ip, port)))
        }
        (None | Some(ListenPlace::Unix(_)), Some(port)) => Some(ListenAddress::AnyOnPort(port)),
        (Some(ListenPlace::Ip(_)) | None, None) => {
            if !report.is_tainted(&port_at) {
                report.error(
                    &port_at,
                    "`listen_port` is missing",
                    "write the port to listen on: \"listen_port\": 6379",
                );
            }
            None
        }
    }
}
