//! One definition → one service.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::config::address;
use crate::config::check::{Check, HealthSpec};
use crate::config::environment::Environment;
use crate::config::file::definition::Definition;
use crate::config::model::{Balance, Pool, Service};
use crate::config::names::{ListenAddress, ServiceName};
use crate::config::parameters::Holes;
use crate::config::place::{KeyPath, Place};
use crate::config::problem::Complaint;
use crate::config::tree::Tree;
use crate::config::validate::certificates::Finder;
use crate::config::validate::checks::{self, Around, Named};
use crate::config::validate::report::Report;
use crate::config::validate::{
    access, leader, limits, pool, proxy_protocol, rank, tls, transport, witness,
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
    let disabled = uptime.disabled.unwrap_or(false);
    let folder = facts.path.parent().unwrap_or(Path::new(""));
    let holes = Holes { env: facts.env, folder, with: None };
    let header = pool.sending.map(|sending| sending.version);
    let around = Around { targets: &pool.targets, header, transport: &transport, holes, named };
    // Switched off checks are read all the same: they are meant to be switched on again.
    let mut list = checks::checks(&uptime, &around, report);
    if disabled {
        list.clear();
    }
    leader::settle(&mut pool, &list, proxy.balance.is_some(), report);
    let led = pool.balance == Balance::Leader;
    let witness = witness::settle(&uptime, &pool, &transport, holes, report).filter(|_| !disabled);
    rank::settle(uptime.rank.as_ref(), &pool, &mut list, holes, report);
    let thresholds = checks::thresholds(uptime.config.as_ref(), led, report);
    tell_of_unchecked(&pool, &list, report);
    let health = HealthSpec { checks: list, thresholds, witness };
    let asked: Vec<Arc<Check>> = health.all_checks().cloned().collect();
    transport::tell_of_idle(&transport, &pool.targets, &asked, report);
    let service = Service {
        name: name(written, facts.path, report),
        source: facts.path.into(),
        listen: listen.clone().unwrap_or(ListenAddress::AnyOnPort(0)),
        protocol: tls::protocol(written, facts.finder, report),
        answers: tls::answers(written, report),
        receiving: proxy_protocol::receiving(written, listen.as_ref(), report),
        access: access::access(written, report),
        pool,
        limits: limits::limits(&written.limits.clone().unwrap_or_default(), report),
        health: (!health.checks.is_empty()).then(|| Arc::new(health)),
    };
    transport::tell_of_nameless(&transport, &service, report);
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

fn tell_of_unchecked(pool: &Pool, checks: &[Arc<Check>], report: &mut Report<'_>) {
    let at = KeyPath::dotted("uptime_tests");
    let flag_at = KeyPath::dotted("proxy.check_host_against_uptime_tests");
    if !pool.check_health || pool.balance == Balance::Leader {
        return;
    }
    if checks.is_empty() {
        let what = "there is no check that runs, so every target is taken to be up";
        report.warning(&flag_at, what, "write uptime_tests.check_list, or uptime_tests.commands");
        return;
    }
    for target in &pool.targets {
        if !checks.iter().any(|check| check.target.as_ref() == Some(&target.key)) {
            let what =
                format!("{} has no check: it gets connections whatever becomes of it", target.name);
            report.warning(&at, what, "give every target a check");
        }
    }
}
