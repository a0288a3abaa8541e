//! One question to a directory, by one deadline over all of it: the bytes of its answer, or why
//! there are none.
//!
//! A document over HTTP is asked for on a connection of its own; a file is read on a thread that may
//! block, and while that has not ended, no other is begun.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{Instant, timeout_at};

use crate::config::discovery::{
    Directory, Discovery, HttpDirectory, MOST_ADDRESSES, NameDirectory,
};
use crate::config::mould::Found;
use crate::config::names::TargetAddress;
use crate::config::target_file;
use crate::discovery::document;
use crate::discovery::list::{Entries, ListFault};
use crate::discovery::look_up::LookUps;
use crate::net::connect::{Preface, connect};
use crate::net::connectors::Connectors;
use crate::net::dial::Destination;
use crate::net::http::{self, Question};
use crate::net::tuning::Tuning;

/// No document is larger.
const MOST: usize = 1024 * 1024;
/// What would be shown to a directory that asks for it.
const CERTIFICATE: &str = "write it as service_discovery.transport.certificate";

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
            Directory::Name(name) => {
                let addresses = addresses(&name.host, &means.look_ups).await;
                addresses.map(|all| of_name(name, all)).map_err(ListFault::nonsense)
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
    let connecting =
        connect(&destination, Preface::default(), connector.as_deref(), deadline, &tuning);
    let peer = connecting.await.map_err(|error| of_directory(&error.to_string()))?;
    http::document(peer, request, MOST).await.map_err(|error| of_directory(&error.to_string()))
}

/// What went wrong, in words that are meant for targets.
fn of_directory(words: &str) -> String {
    words.replacen("target ", "", 1).replacen("upstream_certificates", CERTIFICATE, 1)
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

async fn addresses(host: &Arc<str>, look_ups: &LookUps) -> Result<Vec<IpAddr>, String> {
    let found = look_ups.look_up_all(host).await;
    let found = found.unwrap_or_else(|| Err(format!("`{host}` is still being looked up")))?;
    if found.is_empty() { Err(format!("`{host}` has no address")) } else { Ok(found) }
}

/// The targets at these addresses, in one order whatever a name server turns them to.
fn of_name(name: &NameDirectory, mut all: Vec<IpAddr>) -> Entries {
    all.sort();
    all.dedup();
    let mut addresses = all.into_iter().map(|ip| SocketAddr::new(ip, name.port));
    let taken = addresses.by_ref().take(MOST_ADDRESSES);
    let found = taken.map(|address| Found::at(name.spoken, TargetAddress::Ip(address))).collect();
    let too_many = |address| format!("{address} is one more than {MOST_ADDRESSES}");
    Entries { found, left_out: addresses.map(too_many).collect() }
}

async fn read(path: &Arc<Path>, means: &Means) -> Result<Vec<Found>, String> {
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::config::address::Spoken;
    use crate::discovery::list::settle;
    use crate::discovery::list::tests::spec;

    fn name() -> NameDirectory {
        NameDirectory { spoken: Spoken::Tcp, host: "redis.test".into(), port: 1 }
    }

    fn means(look_ups: LookUps) -> Means {
        Means { look_ups, connectors: Connectors::default(), reading: Arc::default() }
    }

    /// What becomes of a name server's answer.
    async fn check(answer: Result<Vec<&str>, &str>, expected: &str) {
        let discovery = Discovery { directory: Directory::Name(name()), ..spec() };
        let answer = answer.map(|all| all.iter().map(|ip| ip.parse().unwrap()).collect());
        let answer = answer.map_err(ToOwned::to_owned);
        let means =
            means(LookUps::new(Arc::new(move |_| answer.clone().map_err(io::Error::other))));
        let said = match ask(&discovery, &means).await.and_then(|all| settle(all, &discovery)) {
            Ok(listed) => {
                let shown = listed.targets.iter().map(|one| one.address.to_string());
                shown.chain(listed.remark).collect::<Vec<_>>().join(" ")
            }
            Err(fault) => format!("fault: {fault}"),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn every_address_of_a_name_is_a_target_and_no_answer_is_no_list() {
        actix_rt::System::new().block_on(async {
            let all = vec!["192.0.2.2", "2001:db8::1", "192.0.2.1", "192.0.2.2"];
            check(Ok(all), "192.0.2.1:1 192.0.2.2:1 [2001:db8::1]:1").await;
            check(Ok(vec![]), "fault: `redis.test` has no address").await;
            let unknown = "Name or service not known";
            let fault = format!("fault: `redis.test` cannot be looked up: {unknown}");
            check(Err(unknown), &fault).await;
        });
    }

    #[test]
    fn of_very_many_addresses_only_some_are_targets() {
        let ip = |n: u16| IpAddr::from([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
        let entries = of_name(&name(), (0..300).map(ip).collect());
        assert_eq!((entries.found.len(), entries.left_out.len()), (MOST_ADDRESSES, 236));
    }

    #[test]
    fn a_look_up_that_hangs_costs_the_timeout_and_no_second_one_is_begun() {
        actix_rt::System::new().block_on(async {
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let ended = Mutex::new(ended);
            let timeout = Duration::from_millis(20);
            let discovery = Discovery { directory: Directory::Name(name()), timeout, ..spec() };
            let means = means(LookUps::new(Arc::new(move |_| {
                assert!(ended.lock().unwrap().recv().is_err(), "nobody sends");
                Ok(Vec::new())
            })));
            let said = async || ask(&discovery, &means).await.unwrap_err().to_string();
            assert_eq!(said().await, "no answer within 20ms");
            assert_eq!(said().await, "`redis.test` is still being looked up");
            drop(end);
        });
    }
}
