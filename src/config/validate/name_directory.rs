//! `proxy.service_discovery.dns` and `srv` → names that stand for several targets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::address::{self, Spoken};
use crate::config::discovery::{Directory, NameDirectory, SrvDirectory};
use crate::config::file::settings::Settings;
use crate::config::names::TargetAddress;
use crate::config::place::KeyPath;
use crate::config::problem::Complaint;
use crate::config::transport::{Asked, Transport};
use crate::config::validate::report::Report;

/// Where name servers listen.
const PORT: u16 = 53;
/// So many name servers at most.
const MOST_SERVERS: usize = 8;

/// A name whose every address is a target.
pub fn dns(
    name: &str,
    transport: &Transport,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<Directory> {
    let (spoken, address) = report.keep(at, address::target(name))?;
    let TargetAddress::Name { host, port } = address else {
        let what = "this is one address, and no name that stands for several";
        report.error(at, what, "write it as proxy.target_list");
        return None;
    };
    can_prove(spoken, transport, &host, at, report)?;
    Some(Directory::Name(NameDirectory { spoken, host, port }))
}

/// A name whose SRV records say what the targets are.
pub fn srv(
    name: &str,
    transport: &Transport,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<Directory> {
    let form = "write the name alone, such as \"_redis._tcp.redis.internal\"";
    if address::split(name).authority.contains([':', '[']) {
        report.error(at, "SRV records say the ports themselves", form);
        return None;
    }
    // What reads an address wants a port.
    let read = address::target(&format!("{}:1", name.trim_end_matches('/')));
    let read = read.map_err(|complaint| Complaint::new(complaint.what, form));
    let (spoken, address) = report.keep(at, read)?;
    let TargetAddress::Name { host: name, .. } = address else {
        report.error(at, "this is an address, and no name", form);
        return None;
    };
    let host: Vec<&str> = name.split('.').skip_while(|label| label.starts_with('_')).collect();
    can_prove(spoken, transport, &host.join("."), at, report)?;
    Some(Directory::Srv(SrvDirectory { spoken, name }))
}

/// Over TLS, targets at addresses that a name server gives prove a name that it does not give.
fn can_prove(
    spoken: Spoken,
    transport: &Transport,
    host: &str,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<()> {
    if spoken == Spoken::Tls && !matches!(transport.asked, Asked::Name(_)) {
        let what = "a target that is found by its address has no name to prove";
        let right = format!("write proxy.transport.ssl_server_name = \"{host}\"");
        report.error(at, what, right);
        return None;
    }
    Some(())
}

/// The node's `discovery.name_servers`; none: those of this machine.
pub fn servers(written: &Settings, report: &mut Report<'_>) -> Arc<[SocketAddr]> {
    let list = written.discovery.as_ref().and_then(|it| it.name_servers.as_deref());
    let list = list.unwrap_or_default();
    let at = KeyPath::dotted("discovery.name_servers");
    if list.len() > MOST_SERVERS {
        let what = format!("more than {MOST_SERVERS} name servers");
        report.error(&at, what, "write those that are near; they are asked in this order");
    }
    let read = list.iter().enumerate();
    let read = read.filter_map(|(index, text)| report.keep(&at.index(index), server(text.trim())));
    read.collect()
}

/// One of them.
fn server(text: &str) -> Result<SocketAddr, Complaint> {
    let form = "write an IP address, with a port or without: \"10.0.0.2\", \"[::1]:5353\"";
    let read = match text.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, PORT),
        Err(_) => match address::host_and_port(text, Some(PORT)) {
            Ok(TargetAddress::Ip(address)) => address,
            Ok(TargetAddress::Name { .. } | TargetAddress::Unix(_)) => {
                return Err(Complaint::new("this is no IP address", form));
            }
            Err(complaint) => return Err(Complaint::new(complaint.what, form)),
        },
    };
    if read.ip().is_unspecified() || read.ip().is_multicast() {
        return Err(Complaint::new("no name server listens at this address", form));
    }
    Ok(read)
}
