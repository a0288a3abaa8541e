//! What there is to see at one moment: plain data between the stage and the picture.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cli::demo::side::Side;
use crate::cli::demo::tally::{Report, Troubles};

/// Everything that a picture shows.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Since the start.
    pub elapsed: Duration,
    /// Where clients reach the proxy.
    pub listen: SocketAddr,
    /// Its control socket.
    pub socket: String,
    /// What is being played.
    pub title: String,
    /// What has happened in it, and when.
    pub happened: Vec<(Duration, String)>,
    /// The servers.
    pub servers: [ServerScene; 2],
    /// The clients.
    pub clients: ClientScene,
    /// The failovers so far.
    pub reports: Vec<Report>,
    /// The last lines of the proxy's log.
    pub log: Vec<String>,
}

/// What a server answers when it is asked for its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// `role:master`.
    Master,
    /// `role:slave`.
    Replica,
    /// It accepts, and says nothing.
    Silent,
    /// It refuses the connection.
    Dead,
}

/// One server.
#[derive(Debug, Clone)]
pub struct ServerScene {
    /// Which.
    pub side: Side,
    /// Its address.
    pub address: SocketAddr,
    /// What it answers.
    pub says: Says,
    /// Its health, as the proxy has it.
    pub health: String,
    /// Does it lead?
    pub leads: bool,
    /// Writes that it took.
    pub taken: u64,
    /// The same in each of the last moments, the newest last.
    pub pulse: Vec<u64>,
}

/// The clients.
#[derive(Debug, Clone)]
pub struct ClientScene {
    /// How many there are.
    pub count: usize,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Clients whose write is long on its way.
    pub waiting: usize,
    /// For how long the slowest has waited up to now.
    pub longest: Duration,
    /// What they have met in this failover.
    pub troubles: Troubles,
}
