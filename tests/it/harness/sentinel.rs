//! Three real Redis Sentinels that watch one master, each at an address of its own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::redis::{Client, OBSERVER, Redis};

/// Where they are.
pub(crate) const SENTINELS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(127, 0, 0, 4), Ipv4Addr::new(127, 0, 0, 5), Ipv4Addr::new(127, 0, 0, 6)];

/// What they call the master.
pub(crate) const MASTER: &str = "mymaster";

/// The three; two of them have to agree. Killed when dropped.
pub(crate) struct Sentinels {
    all: Vec<Sentinel>,
}

struct Sentinel {
    child: Child,
    address: SocketAddrV4,
    _folder: tempfile::TempDir,
}

/// How soon they act.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Haste {
    /// So long must the master be silent to be taken for down.
    pub(crate) down_after: Duration,
    /// How often they ask servers for their roles and tell each other of them, instead of every
    /// 10 s and 2 s. An old master that is back is made a replica after four times this.
    pub(crate) period: Option<Duration>,
}

impl Sentinels {
    /// Starts them, and waits until each knows the others and a replica.
    pub(crate) fn watching(master: &Redis, haste: Haste) -> Self {
        let all = SENTINELS.map(|ip| Sentinel::start(ip, master.address(), haste.down_after));
        let sentinels = Self { all: all.into() };
        // Their first words to each other come after one period of their own.
        for sentinel in &sentinels.all {
            let known = |count: &str| {
                let mut client = sentinel.observe()?;
                client.send(&format!("SENTINEL MASTER {MASTER}"))?;
                let fields = client.list()?;
                let at = fields.iter().position(|field| field == count)?;
                fields.get(at + 1)?.parse::<usize>().ok()
            };
            eventually("the Sentinels know each other and the replica", || {
                (known("num-other-sentinels")? == 2 && known("num-slaves")? == 1).then_some(())
            });
        }
        if let Some(period) = haste.period {
            sentinels.all.iter().for_each(|sentinel| sentinel.hurry(period));
        }
        sentinels
    }

    /// Where they listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddrV4> {
        self.all.iter().map(|sentinel| sentinel.address).collect()
    }

    /// Which address each of them takes for the master's.
    pub(crate) fn believe(&self) -> Vec<SocketAddrV4> {
        let believed = |sentinel: &Sentinel| {
            let mut client = sentinel.observe().expect("a Sentinel listens");
            client.send(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER}"));
            let pair = client.list().expect("a Sentinel answers");
            let address = format!("{}:{}", pair[0], pair[1]);
            address.parse().expect("it speaks of addresses")
        };
        self.all.iter().map(believed).collect()
    }

    /// Has the first one fail the master over, which nothing is wrong with.
    pub(crate) fn fail_over(&self) {
        eventually("a Sentinel agrees to fail over", || {
            let said = self.all[0].observe()?.try_call(&format!("SENTINEL FAILOVER {MASTER}"))?;
            (said == "+OK").then_some(())
        });
    }
}

impl Sentinel {
    fn start(ip: Ipv4Addr, master: SocketAddrV4, down_after: Duration) -> Self {
        let (address, folder) = (SocketAddrV4::new(ip, free_port()), tempfile::tempdir());
        let folder = folder.expect("a temporary folder");
        let file = folder.path().join("sentinel.conf");
        let lines = [
            format!("bind {ip}\nbind-source-addr {ip}\nport {}", address.port()),
            format!("dir {}\nprotected-mode no", folder.path().display()),
            format!("sentinel announce-ip {ip}\nsentinel announce-port {}", address.port()),
            format!("sentinel monitor {MASTER} {} {} 2", master.ip(), master.port()),
            format!("sentinel down-after-milliseconds {MASTER} {}", down_after.as_millis()),
            format!("sentinel failover-timeout {MASTER} 10000"),
        ];
        std::fs::write(&file, lines.join("\n") + "\n").expect("the folder can be written to");
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed: `make test` does that");
        let sentinel = Self { child, address, _folder: folder };
        eventually("the Sentinel answers", || sentinel.observe()?.try_call("PING"));
        sentinel
    }

    fn hurry(&self, period: Duration) {
        let period = period.as_millis();
        let command = format!("SENTINEL DEBUG info-period {period} publish-period {period}");
        assert_eq!(self.observe().expect("a Sentinel listens").call(&command), "+OK");
    }

    fn observe(&self) -> Option<Client> {
        Client::from(OBSERVER, self.address)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be awaited");
    }
}
