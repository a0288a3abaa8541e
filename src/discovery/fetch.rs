//! One question to a directory, by one deadline over all of it: the bytes of its answer, or why
//! there are none.
//!
//! A document over HTTP is asked for on a connection of its own; a file is read on a thread that may
//! block, and while that has not ended, no other is begun.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{Instant, timeout_at};

use crate::config::discovery::{Directory, Discovery, HttpDirectory};
use crate::config::names::TargetAddress;
use crate::config::target_file;
use crate::discovery::document;
use crate::discovery::list::{Entries, ListFault};
use crate::discovery::look_up::LookUps;
use crate::net::connect::connect;
use crate::net::connectors::Connectors;
use crate::net::dial::Destination;
use crate::net::http::{self, Question};
use crate::net::tuning::Tuning;

/// No document is larger.
const MOST: usize = 1024 * 1024;

/// What is asked with.
#[derive(Clone)]
pub struct Means {
    /// How the names of directories are looked up.
    pub look_ups: LookUps,
    /// What TLS handshakes need.
    pub connectors: Connectors,
    /// A file is being read.
    pub reading: Arc<AtomicBool>,
}

/// Ends the reading of a file, however it ends.
struct Reading(Arc<AtomicBool>);

/// Asks once: the entries that the directory lists.
///
/// # Errors
/// Why there is no list.
pub async fn ask(discovery: &Discovery, means: &Means) -> Result<Entries, ListFault> {
    let deadline = Instant::now() + discovery.timeout;
    let asking = async {
        match &discovery.directory {
            Directory::Http(http) => {
                let body = fetch(http, means, deadline).await.map_err(ListFault::nonsense)?;
                document::read(&body, &http.document)
            }
            Directory::File(path) => {
                let found = read(path, means).await.map_err(ListFault::nonsense)?;
                Ok(Entries { found, left_out: Vec::new() })
            }
        }
    };
    let late = || ListFault::nonsense(format!("no answer within {:?}", discovery.timeout));
    timeout_at(deadline, asking).await.unwrap_or_else(|_| Err(late()))
}

async fn fetch(http: &HttpDirectory, means: &Means, deadline: Instant) -> Result<Vec<u8>, String> {
    let HttpDirectory { host, path, headers, .. } = http;
    let question = Question { method: "GET", path, host, headers, body: &[] };
    let request = question.build().map_err(|what| format!("HTTP cannot say {what}"))?;
    let destination = destination(&http.address, &means.look_ups).await?;
    let connector = http.tls.as_ref().map(|policy| means.connectors.of(policy)).transpose();
    let connector = connector.map_err(|error| error.to_string())?;
    let tuning = Tuning::default();
    let connecting = connect(&destination, &[], connector.as_deref(), deadline, &tuning);
    let peer = connecting.await.map_err(|error| error.to_string().replacen("target ", "", 1))?;
    http::document(peer, request, MOST).await.map_err(|error| error.to_string())
}

async fn destination(address: &TargetAddress, look_ups: &LookUps) -> Result<Destination, String> {
    match address {
        TargetAddress::Ip(address) => Ok(Destination::Ip(*address)),
        TargetAddress::Unix(path) => Ok(Destination::Unix(path.clone())),
        TargetAddress::Name { host, port } => match look_ups.look_up(host).await {
            Some(found) => Ok(Destination::Ip(SocketAddr::new(found?, *port))),
            None => Err(format!("`{host}` is still being looked up")),
        },
    }
}

async fn read(path: &Arc<Path>, means: &Means) -> Result<Vec<crate::config::mould::Found>, String> {
    if means.reading.swap(true, Ordering::AcqRel) {
        return Err("it is still being read since the last time".to_owned());
    }
    let (path, reading) = (Arc::clone(path), Reading(Arc::clone(&means.reading)));
    let reading = actix_rt::task::spawn_blocking(move || {
        let bytes = target_file::read(&path);
        drop(reading);
        target_file::parse(&path, &bytes?)
    });
    reading.await.map_err(|_| "reading it crashed".to_owned())?
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
