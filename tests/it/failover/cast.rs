//! Who takes part in a failover of Redis: two servers, three Sentinels, the proxy. Each at an
//! address of its own, so that each can be cut off from each.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::failover::moments::Watch;
use crate::harness::eventually::{eventually, within};
use crate::harness::page;
use crate::harness::port::free_port;
use crate::harness::redis::{Client, OBSERVER, Redis};
use crate::harness::sentinel::{Haste, Sentinels};
use crate::harness::stagedoor::Stagedoor;

/// Where the proxy and its clients are.
pub(crate) const PROXY: Ipv4Addr = Ipv4Addr::LOCALHOST;
pub(crate) const OLD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
pub(crate) const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// All of them.
pub(crate) struct Cast {
    pub(crate) old: Redis,
    pub(crate) new: Redis,
    /// None where a person does their work.
    pub(crate) sentinels: Option<Sentinels>,
    pub(crate) stagedoor: Stagedoor,
    /// Where the proxy listens.
    pub(crate) listen: u16,
}

impl Cast {
    /// Starts them all; the old master leads then.
    pub(crate) fn assemble(haste: Option<Haste>) -> Self {
        let (old, listen) = (Redis::master_at(OLD), free_port());
        let new = Redis::replica_at(NEW, &old);
        let sentinels = haste.map(|haste| Sentinels::watching(&old, haste));
        // The page's own definition, and what it lacks: clients that come meanwhile wait.
        let mut definition = page::definition(listen, &[new.address(), old.address()]);
        definition["proxy"]["hold"] = json!("60s");
        let quiet = "log.level=info,stagedoor::proxy::outcome=warn";
        let stagedoor = Stagedoor::run_with(&definition, &["--set", quiet]);
        stagedoor.logged(&format!("target {} leads", old.address()));
        Self { old, new, sentinels, stagedoor, listen }
    }

    /// Begins to look whether the new server is promoted.
    pub(crate) fn watch_promotion(&self) -> Watch {
        let (address, mut kept) = (self.new.address(), None);
        Watch::start(move || {
            // Sentinel closes the connections of whom it promotes.
            let client = kept.take().or_else(|| Client::from(OBSERVER, address));
            let info = client.and_then(|mut client| {
                let info = client.try_call("INFO replication");
                kept = Some(client).filter(|_| info.is_some());
                info
            });
            info.is_some_and(|info| info.contains("role:master"))
        })
    }

    /// Waits until the new server leads.
    pub(crate) fn wait_until_switched(&self) {
        self.stagedoor.logged(&format!("target {} leads", self.new.address()));
    }

    /// Waits until a server has claimed the lead in vain. On a machine that is slow enough it is
    /// made a replica before the proxy has asked it once.
    pub(crate) fn wait_until_waiting(&self, server: &Redis) {
        let claim = format!("{} claims the lead too", server.address());
        let is_replica = || {
            let info = server.observe()?.try_call("INFO replication")?;
            Some(info.contains("role:slave"))
        };
        eventually("it claims the lead, or is a replica", || {
            let claims = self.stagedoor.log().iter().any(|line| line.contains(&claim));
            (claims || is_replica() == Some(true)).then_some(())
        });
    }

    /// Waits until the proxy has met a server that nobody listens for any more.
    pub(crate) fn wait_until_refused(&self, server: &Redis) {
        let is_it = |target: &Value| target["address"] == server.address().to_string();
        eventually("the proxy notices that nobody listens", || {
            let status = self.stagedoor.status();
            let targets = status["services"][0]["targets"].as_array()?.clone();
            let target = targets.into_iter().find(is_it)?;
            target["checks"][0].to_string().contains("refused").then_some(())
        });
    }

    /// Waits until Sentinels have made a server a replica, as they do within some seconds. That
    /// they do is not what is tested: one that stays a master must get no write either.
    pub(crate) fn wait_until_replica(server: &Redis) {
        let made = within(Duration::from_secs(30), || {
            // Which closes all its connections, perhaps this one.
            let info = server.observe()?.try_call("INFO replication")?;
            info.contains("role:slave").then_some(())
        });
        if made.is_none() {
            println!("Sentinels have not made {} a replica", server.address());
        }
    }

    /// Waits until every Sentinel takes a server for the master. Do they?
    pub(crate) fn is_believed(&self, server: &Redis) -> bool {
        let Some(sentinels) = &self.sentinels else { return true };
        let believed =
            || sentinels.believe().iter().all(|it| *it == server.address()).then_some(());
        within(Duration::from_secs(60), believed).is_some()
    }

    /// Where the Sentinels are.
    pub(crate) fn sentinels(&self) -> Vec<Ipv4Addr> {
        let addresses = self.sentinels.iter().flat_map(Sentinels::addresses);
        addresses.map(|address| *address.ip()).collect()
    }
}

/// Everything that a server has.
pub(crate) fn kept_by(server: &Redis) -> BTreeSet<String> {
    let mut client = server.observe().expect("it listens");
    client.send("KEYS *").expect("it reads");
    client.list().expect("it answers").into_iter().collect()
}
