//! Names, asked of whoever knows them: the hosts file, the name servers, and this machine's other
//! ways where those know nothing.
//!
//! What it gives is what was said; which of it counts is `name_list`'s to say. Whether a kind of
//! address is not there, or could only not be asked for, is told apart.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use crate::config::discovery::MOST_ADDRESSES;
use crate::discovery::look_up::LookUps;
use crate::discovery::name_server::NameServers;
use crate::discovery::reading::{Reading, text_of};
use crate::discovery::resolv_conf::{ResolvConf, in_hosts};
use crate::wire::dns::{Data, DnsName, Kind, Offer, Said};

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// So many hosts are asked about at once.
const AT_ONCE: usize = 16;

/// What is asked with, and until when.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The system's own look-ups.
    pub look_ups: &'a LookUps,
    /// Whether a file is being read.
    pub reading: &'a Reading,
    /// These name servers, not those of this machine; none: those.
    pub servers: &'a [SocketAddr],
    /// Nobody is waited for beyond that.
    pub deadline: Instant,
}

/// The addresses of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Those that are known, in any order.
    pub all: Vec<IpAddr>,
    /// For so many seconds; `None`: nobody says.
    pub ttl: Option<u32>,
    /// The kinds that could not be asked for.
    pub missing: Vec<Missing>,
    /// There is such a name, whatever it stands for.
    pub exists: bool,
}

/// Addresses of one kind that could not be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// IPv6 addresses; else IPv4 ones.
    pub is_v6: bool,
    /// Why.
    pub fault: String,
}

/// Who offers a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// Each record, in any order.
    pub all: Vec<Offer>,
    /// For so many seconds.
    pub ttl: u32,
    /// The addresses of their hosts, of so many as there may be targets.
    pub hosts: HashMap<DnsName, Addresses>,
}

/// What this machine says of a name.
struct Machine {
    in_hosts: Vec<IpAddr>,
    conf: ResolvConf,
}

// === impl Asker ===

impl Asker<'_> {
    /// The addresses of a host, which may be none.
    ///
    /// # Errors
    /// Why nobody could be asked.
    pub async fn addresses(&self, host: &Arc<str>) -> Result<Addresses, String> {
        let Machine { in_hosts, conf } = self.machine(host).await?;
        if !in_hosts.is_empty() {
            return Ok(Addresses { all: in_hosts, exists: true, ..Addresses::default() });
        }
        // No name server is asked about `localhost` (RFC 6761).
        if conf.servers.addresses.is_empty() || host.rsplit('.').next() == Some("localhost") {
            return self.by_the_system(host).await;
        }
        let mut exists = false;
        for name in conf.whole(host) {
            let found = pair(&conf.servers, &name, self.deadline).await;
            if !found.all.is_empty() || !found.missing.is_empty() {
                return Ok(found);
            }
            exists |= found.exists;
        }
        if self.servers.is_empty()
            && let Ok(found) = self.by_the_system(host).await
        {
            return Ok(found);
        }
        Ok(Addresses { exists, ..Addresses::default() })
    }

    /// The SRV records of a name, with the addresses of their hosts; there may be none.
    ///
    /// # Errors
    /// Why nobody could be asked.
    pub async fn offers(&self, name: &Arc<str>) -> Result<Offers, String> {
        let Machine { conf, .. } = self.machine(name).await?;
        if conf.servers.addresses.is_empty() {
            let none = "names none, and neither does `discovery.name_servers`";
            return Err(format!("there is no name server to ask: {RESOLV_CONF} {none}"));
        }
        for whole in conf.whole(name) {
            let said = conf.servers.ask(&whole, Kind::Srv, self.deadline).await?;
            let Said::Records { records, ttl } = said else { continue };
            let offers = records.into_iter().filter_map(|record| match record {
                Data::Offer(offer) => Some(offer),
                Data::Address(_) => None,
            });
            let mut all: Vec<_> = offers.collect();
            all.sort_by(order);
            let hosts = self.hosts(&all, &conf.servers).await;
            return Ok(Offers { all, ttl, hosts });
        }
        Ok(Offers::default())
    }

    async fn hosts(&self, all: &[Offer], servers: &NameServers) -> HashMap<DnsName, Addresses> {
        let mut hosts: Vec<&DnsName> = Vec::new();
        for offer in all.iter().filter(|offer| offer.is_somebody()) {
            if hosts.len() < MOST_ADDRESSES && !hosts.contains(&&offer.host) {
                hosts.push(&offer.host);
            }
        }
        let answers = hosts
            .into_iter()
            .map(|host| async move { (host.clone(), pair(servers, host, self.deadline).await) });
        stream::iter(answers).buffer_unordered(AT_ONCE).collect().await
    }

    async fn machine(&self, name: &Arc<str>) -> Result<Machine, String> {
        let (name, servers) = (Arc::clone(name), self.servers.to_vec());
        let read = move || {
            let in_hosts = in_hosts(&text_of(HOSTS)?, &name);
            let conf = match servers.is_empty() {
                true => ResolvConf::parse(&text_of(RESOLV_CONF)?),
                false => ResolvConf::only(&servers),
            };
            Ok(Machine { in_hosts, conf })
        };
        let read = self.reading.apart(read).await;
        read.unwrap_or_else(|why| Err(format!("{HOSTS}, {RESOLV_CONF}: {why}")))
    }

    async fn by_the_system(&self, host: &Arc<str>) -> Result<Addresses, String> {
        let found = self.look_ups.look_up_all(host).await;
        let all = found.unwrap_or_else(|| Err(format!("`{host}` is still being looked up")))?;
        Ok(Addresses { all, exists: true, ..Addresses::default() })
    }
}

/// Both kinds of addresses of a whole name, asked for at once.
async fn pair(servers: &NameServers, name: &DnsName, deadline: Instant) -> Addresses {
    let ask = |kind| servers.ask(name, kind, deadline);
    let (v4, v6) = join(ask(Kind::A), ask(Kind::Aaaa)).await;
    let mut found = Addresses::default();
    for (is_v6, said) in [(false, v4), (true, v6)] {
        match said {
            Ok(Said::Records { records, ttl }) => {
                found.all.extend(records.into_iter().filter_map(|record| match record {
                    Data::Address(ip) => Some(ip),
                    Data::Offer(_) => None,
                }));
                found.ttl = Some(found.ttl.map_or(ttl, |other| other.min(ttl)));
                found.exists = true;
            }
            Ok(Said::NoRecords | Said::CutShort) => found.exists = true,
            Ok(Said::NoName) => {}
            Err(fault) => found.missing.push(Missing { is_v6, fault }),
        }
    }
    found
}

/// The order in which offers count, whatever a name server turns them to.
fn order(one: &Offer, other: &Offer) -> std::cmp::Ordering {
    let key = |offer: &Offer| (offer.priority, std::cmp::Reverse(offer.weight));
    let names = || one.host.cmp(&other.host);
    key(one).cmp(&key(other)).then_with(names).then(one.port.cmp(&other.port))
}
