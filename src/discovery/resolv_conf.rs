//! What this machine says about names: its name servers (`resolv.conf`) and its hosts file.
//!
//! Pure: text in. As the system's own look-ups read them: what is not understood is passed over.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::discovery::name_server::NameServers;
use crate::wire::dns::{DnsName, dns_name};

/// The system looks at no more.
const MOST_SERVERS: usize = 3;
/// Where name servers listen.
const PORT: u16 = 53;
const PATIENCE: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 2;

/// Who is asked about names, and how names that are not whole are completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// Who is asked; there may be none.
    pub servers: NameServers,
    /// What is added to a name that is not whole, in this order.
    pub search: Vec<String>,
    /// A name with so many dots is first taken for a whole one.
    pub dots: usize,
}

// === impl ResolvConf ===

impl ResolvConf {
    /// These name servers, and only whole names.
    pub fn only(addresses: &[SocketAddr]) -> Self {
        let addresses = addresses.to_vec();
        let servers = NameServers { addresses, attempts: ATTEMPTS, patience: PATIENCE };
        Self { servers, search: Vec::new(), dots: 1 }
    }

    /// What `resolv.conf` says.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::only(&[]);
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    let address = address.map(|ip| SocketAddr::new(ip, PORT));
                    conf.servers.addresses.extend(address);
                }
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("search") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| conf.option(word)),
                Some(_) | None => {}
            }
        }
        conf.servers.addresses.truncate(MOST_SERVERS);
        conf
    }

    /// With the bounds that the system has.
    fn option(&mut self, word: &str) {
        let Some((key, number)) = word.split_once(':') else { return };
        let Ok(number) = number.parse::<u32>() else { return };
        match key {
            "ndots" => self.dots = number.min(15) as usize,
            "timeout" => self.servers.patience = Duration::from_secs(number.clamp(1, 30).into()),
            "attempts" => self.servers.attempts = number.clamp(1, 5),
            _ => {}
        }
    }

    /// The whole names that a name may stand for, the likeliest first.
    pub fn whole(&self, name: &str) -> Vec<DnsName> {
        let alone = dns_name(name);
        let added = self.search.iter().map(|domain| match domain.trim_matches('.') {
            "" => name.to_owned(),
            domain => format!("{name}.{domain}"),
        });
        let added = added.filter_map(|name| dns_name(&name));
        let mut whole: Vec<_> = if name.matches('.').count() >= self.dots {
            alone.into_iter().chain(added).collect()
        } else {
            added.chain(alone).collect()
        };
        let mut seen = Vec::new();
        whole.retain(|name| {
            let is_new = !seen.contains(name);
            seen.push(name.clone());
            is_new
        });
        whole
    }
}

/// The addresses that a hosts file gives a name; none if it is not in there.
pub fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let found = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name)).then_some(address)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(conf: &str, name: &str) -> String {
        let whole = ResolvConf::parse(conf).whole(name);
        whole.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn name_servers_are_read_as_the_system_reads_them() {
        let text = "# generated\nnameserver 10.0.0.2\n; old\nnameserver ::1 # local\n\
                    nameserver fe80::1%nowhere\nnameserver\nsortlist 1.2.3.4\nlookup file bind\n\
                    nameserver 10.0.0.3\nnameserver 10.0.0.4\n\
                    options timeout:1 attempts:99 ndots:5 edns0 ndots:x\n";
        let conf = ResolvConf::parse(text);
        let addresses = ["10.0.0.2:53", "[::1]:53", "10.0.0.3:53"];
        let addresses = addresses.map(|it| it.parse().unwrap()).to_vec();
        let patience = Duration::from_secs(1);
        assert_eq!(conf.servers, NameServers { addresses, attempts: 5, patience });
        assert_eq!((conf.dots, conf.search.len()), (5, 0));
        assert_eq!(ResolvConf::parse("\u{0}\u{ff}"), ResolvConf::only(&[]));
    }

    #[test]
    fn a_name_that_is_not_whole_is_completed() {
        assert_eq!(whole("", "redis"), "redis");
        assert_eq!(whole("search a.test b.test", "redis"), "redis.a.test redis.b.test redis");
        assert_eq!(whole("search a.test", "redis.x"), "redis.x redis.x.a.test");
        assert_eq!(whole("search a.test\noptions ndots:2", "redis.x"), "redis.x.a.test redis.x");
        assert_eq!(whole("search a.test\ndomain c.test", "redis"), "redis.c.test redis");
        assert_eq!(whole("search . a.test", "redis"), "redis redis.a.test");
        let endless = format!("search {}", "x".repeat(300));
        assert_eq!(whole(&endless, "redis"), "redis");
    }

    #[test]
    fn the_hosts_file_gives_every_address_of_a_name() {
        let text = "127.0.0.1 localhost\n10.0.0.1\tredis Redis.test # db.test\n# 10.0.0.2 redis\n\
                    ::1 redis.\nnonsense redis\n";
        let found = |name| {
            let found = in_hosts(text, name);
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found("redis"), "10.0.0.1 ::1");
        assert_eq!(found("redis.test"), "10.0.0.1");
        assert_eq!(found("db.test"), "");
    }
}
