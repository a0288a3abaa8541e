//! The memory of the two servers: their roles, their data, and the replication between them. Pure.
//!
//! It knows the rules of Redis that matter in a failover: a replica refuses writes and copies its
//! master, a server that restarts without its data is an empty master, and a master that is made
//! a replica forgets whatever its new master does not have. Replication takes no time here, so
//! that no write is lost for another reason than the failover.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::demo::info::{self, Standing};
use crate::cli::demo::request::Request;
use crate::cli::demo::side::Side;

/// Clients write under keys that begin so; the number of the write follows.
pub const PREFIX: &[u8] = b"write:";

/// Does a server run?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It answers.
    Running,
    /// It is there, and answers nothing.
    Frozen,
    /// Its process is gone, and its data with it.
    Dead,
}

/// What happens to the servers in a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Master and replica change places at one instant.
    Swap,
    /// The process is killed.
    Kill(Side),
    /// It is started again, as an empty master that knows of nobody.
    Restart(Side),
    /// It stops answering.
    Freeze(Side),
    /// It goes on where it stood.
    Thaw(Side),
    /// The two do not hear each other any more; everybody else hears both.
    Cut,
    /// The replica is made a master.
    Promote(Side),
    /// It is made the replica of the other one, heard again if it was not.
    Demote(Side),
}

/// A write of a client, and the server that took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landed {
    /// The number of the write.
    pub number: u64,
    /// The server.
    pub side: Side,
    /// Counts the writes of both servers in the order in which they were taken.
    pub stamp: u64,
    /// When.
    pub at: Instant,
}

/// What a server answers, and whether it hangs up after it.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The bytes.
    pub reply: Vec<u8>,
    /// `QUIT`.
    pub quit: bool,
}

/// The two servers.
#[derive(Debug)]
pub struct Pair {
    servers: [Server; 2],
    /// Do they hear each other?
    linked: bool,
    stamp: u64,
    landed: Vec<Landed>,
    /// The time of the last request.
    now: Instant,
    /// Since when both call themselves master, and how long they did before.
    contested: (Option<Instant>, Duration),
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    condition: Condition,
    /// Whose replica it is.
    follows: Option<SocketAddr>,
    values: HashMap<Vec<u8>, Vec<u8>>,
    lineage: String,
    offset: u64,
    /// Writes of clients, ever.
    taken: u64,
}

// === impl Pair ===

impl Pair {
    /// A master, `A`, and its replica.
    pub fn new(addresses: [SocketAddr; 2], now: Instant) -> Self {
        let [first, second] = addresses.map(Server::new);
        let mut pair = Self {
            servers: [first, second],
            linked: true,
            stamp: 0,
            landed: Vec::new(),
            now,
            contested: (None, Duration::ZERO),
        };
        pair.servers[Side::B.index()].follows = Some(addresses[0]);
        pair.synchronise();
        pair
    }

    /// Lets it happen.
    pub fn perform(&mut self, act: Act, now: Instant) {
        match act {
            Act::Swap => {
                let follows = |side: Side| self.server(side).follows.is_none();
                let was_master = Side::BOTH.map(follows);
                for side in Side::BOTH {
                    let of = self.server(side.other()).address;
                    self.server_mut(side).follows = was_master[side.index()].then_some(of);
                }
            }
            Act::Kill(side) => self.server_mut(side).condition = Condition::Dead,
            Act::Restart(side) => {
                let taken = self.server(side).taken;
                *self.server_mut(side) = Server { taken, ..Server::new(self.server(side).address) };
            }
            Act::Freeze(side) => self.server_mut(side).condition = Condition::Frozen,
            Act::Thaw(side) => self.server_mut(side).condition = Condition::Running,
            Act::Cut => self.linked = false,
            Act::Promote(side) => self.follow(side, None),
            Act::Demote(side) => {
                self.linked = true;
                self.follow(side, Some(self.server(side.other()).address));
            }
        }
        self.settle(now);
    }

    /// Carries out a client's request.
    pub fn answer(&mut self, side: Side, request: &Request, now: Instant) -> Answer {
        let [name, arguments @ ..] = request.as_slice() else {
            return Answer { reply: Vec::new(), quit: false };
        };
        self.now = now;
        let name = name.to_ascii_uppercase();
        let reply = match (name.as_slice(), arguments) {
            (b"PING", []) => simple("PONG"),
            (b"PING", [said]) => bulk(said),
            (b"GET", [key]) => match self.server(side).values.get(key) {
                Some(value) => bulk(value),
                None => b"$-1\r\n".to_vec(),
            },
            (b"SET", [key, value]) => self.write(side, key, value.clone(), simple("OK")),
            (b"INCR", [key]) => self.increment(side, key),
            (b"DBSIZE", []) => integer(self.server(side).values.len() as u64),
            (b"INFO", _) => bulk(self.information(side).as_bytes()),
            (b"ROLE", []) => self.role(side),
            (b"REPLICAOF" | b"SLAVEOF", [host, port]) => self.replica_of(side, host, port),
            (b"QUIT", _) => simple("OK"),
            (b"PING" | b"GET" | b"SET" | b"INCR" | b"DBSIZE" | b"ROLE", _)
            | (b"REPLICAOF" | b"SLAVEOF", _) => {
                let name = String::from_utf8_lossy(&name).to_lowercase();
                error(&format!("ERR wrong number of arguments for '{name}' command"))
            }
            _ => error(&format!("ERR unknown command '{}'", name.escape_ascii())),
        };
        Answer { reply, quit: name == b"QUIT" }
    }

    /// Does it call itself a master?
    pub fn is_master(&self, side: Side) -> bool {
        self.server(side).follows.is_none()
    }

    /// Does it run?
    pub fn condition(&self, side: Side) -> Condition {
        self.server(side).condition
    }

    /// Has it this write of a client?
    pub fn has(&self, side: Side, number: u64) -> bool {
        self.server(side).values.contains_key(&key(number))
    }

    /// Writes of clients that it has taken, ever.
    pub fn taken(&self, side: Side) -> u64 {
        self.server(side).taken
    }

    /// The stamp of the last write.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The first write that a server took after this stamp.
    pub fn first_after(&self, side: Side, stamp: u64) -> Option<Landed> {
        self.landed.iter().find(|landed| landed.side == side && landed.stamp > stamp).copied()
    }

    /// The writes taken since this was asked last, in order.
    pub fn take_landed(&mut self) -> Vec<Landed> {
        std::mem::take(&mut self.landed)
    }

    /// How long both have called themselves master, all in all.
    pub fn contested(&self, now: Instant) -> Duration {
        let (since, before) = self.contested;
        before + since.map_or(Duration::ZERO, |since| now - since)
    }

    fn server(&self, side: Side) -> &Server {
        &self.servers[side.index()]
    }

    fn server_mut(&mut self, side: Side) -> &mut Server {
        &mut self.servers[side.index()]
    }

    fn follow(&mut self, side: Side, whom: Option<SocketAddr>) {
        let server = self.server_mut(side);
        if whom.is_none() && server.follows.is_some() {
            server.lineage = new_lineage();
        }
        server.follows = whom;
    }

    /// What follows from whatever has changed.
    fn settle(&mut self, now: Instant) {
        self.synchronise();
        let claims =
            |side: Side| self.is_master(side) && self.condition(side) == Condition::Running;
        let (since, before) = self.contested;
        self.contested = match (Side::BOTH.into_iter().all(claims), since) {
            (true, None) => (Some(now), before),
            (false, Some(since)) => (None, before + (now - since)),
            (true, Some(_)) | (false, None) => (since, before),
        };
    }

    /// Is it a replica that hears the other one, and that one a master?
    fn is_attached(&self, side: Side) -> bool {
        let (server, other) = (self.server(side), self.server(side.other()));
        self.linked
            && server.follows == Some(other.address)
            && other.follows.is_none()
            && [server, other].iter().all(|it| it.condition == Condition::Running)
    }

    /// A replica that hears its master becomes its copy, and forgets everything else.
    fn synchronise(&mut self) {
        for side in Side::BOTH {
            if !self.is_attached(side) {
                continue;
            }
            let Server { values, lineage, offset, .. } = self.server(side.other());
            let copy = (values.clone(), lineage.clone(), *offset);
            let server = self.server_mut(side);
            (server.values, server.lineage, server.offset) = copy;
        }
    }

    fn write(&mut self, side: Side, key: &[u8], value: Vec<u8>, reply: Vec<u8>) -> Vec<u8> {
        if !self.is_master(side) {
            return error("READONLY You can't write against a read only replica.");
        }
        if let Some(number) = number(key) {
            self.stamp += 1;
            self.landed.push(Landed { number, side, stamp: self.stamp, at: self.now });
            self.server_mut(side).taken += 1;
        }
        if self.is_attached(side.other()) {
            self.server_mut(side.other()).store(key, value.clone());
        }
        self.server_mut(side).store(key, value);
        reply
    }

    fn increment(&mut self, side: Side, key: &[u8]) -> Vec<u8> {
        let old = self.server(side).values.get(key).map_or(b"0".as_slice(), Vec::as_slice);
        let old = std::str::from_utf8(old).ok().and_then(|text| text.parse::<i64>().ok());
        match old.and_then(|old| old.checked_add(1)) {
            None => error("ERR value is not an integer or out of range"),
            Some(new) => {
                let reply = format!(":{new}\r\n").into_bytes();
                self.write(side, key, new.to_string().into_bytes(), reply)
            }
        }
    }

    fn information(&self, side: Side) -> String {
        let server = self.server(side);
        let attached = self.is_attached(side.other());
        let standing = match server.follows {
            None => {
                Standing::Master { replica: attached.then(|| self.server(side.other()).address) }
            }
            Some(of) => Standing::Replica { of, linked: self.is_attached(side) },
        };
        info::replication(standing, &server.lineage, server.offset)
    }

    fn role(&self, side: Side) -> Vec<u8> {
        let server = self.server(side);
        let (text, offset) = (|text: &str| bulk(text.as_bytes()), server.offset);
        match server.follows {
            None => [b"*3\r\n".to_vec(), text("master"), integer(offset), b"*0\r\n".to_vec()],
            Some(of) => [
                [b"*5\r\n".to_vec(), text("slave"), text(&of.ip().to_string())].concat(),
                integer(of.port().into()),
                text(if self.is_attached(side) { "connected" } else { "connect" }),
                integer(offset),
            ],
        }
        .concat()
    }

    fn replica_of(&mut self, side: Side, host: &[u8], port: &[u8]) -> Vec<u8> {
        if host.eq_ignore_ascii_case(b"NO") && port.eq_ignore_ascii_case(b"ONE") {
            self.follow(side, None);
        } else {
            let text = [host, b":", port].concat();
            let text = String::from_utf8_lossy(&text).replace("localhost", "127.0.0.1");
            let Ok(address) = text.parse() else {
                return error("ERR Invalid master address: an IP address and a port");
            };
            self.follow(side, Some(address));
        }
        self.settle(self.now);
        simple("OK")
    }
}

// === impl Server ===

impl Server {
    /// An empty master.
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            condition: Condition::Running,
            follows: None,
            values: HashMap::new(),
            lineage: new_lineage(),
            offset: 0,
            taken: 0,
        }
    }

    fn store(&mut self, key: &[u8], value: Vec<u8>) {
        self.offset += (key.len() + value.len()) as u64;
        self.values.insert(key.to_vec(), value);
    }
}

/// The key of a client's write.
pub fn key(number: u64) -> Vec<u8> {
    [PREFIX, number.to_string().as_bytes()].concat()
}

fn number(key: &[u8]) -> Option<u64> {
    std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?.parse().ok()
}

fn new_lineage() -> String {
    format!("{:032x}{:08x}", fastrand::u128(..), fastrand::u32(..))
}

fn simple(text: &str) -> Vec<u8> {
    format!("+{text}\r\n").into_bytes()
}

fn error(text: &str) -> Vec<u8> {
    format!("-{text}\r\n").into_bytes()
}

fn integer(number: u64) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}
