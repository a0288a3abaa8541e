//! One question to a directory, by one deadline over all of it: the bytes of its answer, or why
//! there are none.
//!
//! A document over HTTP is asked for on a connection of its own; a file is read on a thread that may
//! block, and while that has not ended, no other is begun.

use std::path::Path;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::config::discovery::{Directory, Discovery, HttpDirectory};
use crate::config::mould::Found;
use crate::config::target_file;
use crate::discovery::connecting::{Endpoint, connect_to, of_no_target};
use crate::discovery::document;
use crate::discovery::list::{Entries, ListFault};
use crate::discovery::look_up::LookUps;
use crate::discovery::name_list;
use crate::discovery::names::Asker;
use crate::discovery::reading::Reading;
use crate::net::connectors::Connectors;
use crate::net::http::{self, Question};

/// No document is larger.
const MOST: usize = 1024 * 1024;
/// What would be shown to a directory that asks for it.
const CERTIFICATE: &str = "service_discovery.transport.certificate";

/// What is asked with.
#[derive(Clone)]
pub struct Means {
    /// How the names of directories are looked up.
    pub look_ups: LookUps,
    /// What TLS handshakes need.
    pub connectors: Connectors,
    /// A file is being read.
    pub reading: Reading,
}

/// Asks once: the entries that the directory lists; `last` are the targets that count.
///
/// # Errors
/// Why there is no list.
pub async fn ask(
    discovery: &Discovery,
    means: &Means,
    last: &[Found],
) -> Result<Entries, ListFault> {
    let deadline = Instant::now() + discovery.timeout;
    let Means { look_ups, reading, .. } = means;
    let asker = Asker { look_ups, reading, servers: &discovery.name_servers, deadline };
    let asking = async {
        match &discovery.directory {
            Directory::Http(http) => {
                let body = fetch(http, means, deadline).await.map_err(ListFault::nonsense)?;
                document::read(&body, &http.document)
            }
            Directory::Name(name) => {
                let addresses = asker.addresses(&name.host).await.map_err(ListFault::nonsense)?;
                name_list::of_addresses(name, addresses, last, discovery.allow_empty)
            }
            Directory::Srv(srv) => {
                let offers = asker.offers(&srv.name).await.map_err(ListFault::nonsense)?;
                name_list::of_offers(srv, &offers, last, discovery.allow_empty)
            }
            Directory::File(path) => {
                let found = read(path, means).await.map_err(ListFault::nonsense)?;
                Ok(Entries { found, ..Entries::default() })
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
    let endpoint =
        Endpoint { address: &http.address, tls: http.tls.as_ref(), certificate_key: CERTIFICATE };
    let peer = connect_to(&endpoint, &means.look_ups, &means.connectors, deadline).await?;
    let document = http::document(peer, request, MOST).await;
    document.map_err(|error| of_no_target(&error.to_string(), CERTIFICATE))
}

async fn read(path: &Arc<Path>, means: &Means) -> Result<Vec<Found>, String> {
    let path = Arc::clone(path);
    let read = move || target_file::parse(&path, &target_file::read(&path)?);
    means.reading.apart(read).await?
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::config::address::Spoken;
    use crate::config::discovery::NameDirectory;
    use crate::discovery::list::tests::spec;

    #[test]
    fn a_look_up_that_hangs_costs_the_timeout_and_no_second_one_is_begun() {
        actix_rt::System::new().block_on(async {
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let ended = Mutex::new(ended);
            // The system's to look up, wherever the tests run.
            let host = "redis.localhost".into();
            let name = NameDirectory { spoken: Spoken::Tcp, host, port: 1 };
            let timeout = Duration::from_millis(20);
            let discovery = Discovery { directory: Directory::Name(name), timeout, ..spec() };
            let look_ups = LookUps::new(Arc::new(move |_| {
                assert!(ended.lock().unwrap().recv().is_err(), "nobody sends");
                Ok(Vec::new())
            }));
            let (connectors, reading) = (Connectors::default(), Reading::default());
            let means = Means { look_ups, connectors, reading };
            let said = async || ask(&discovery, &means, &[]).await.unwrap_err().to_string();
            assert_eq!(said().await, "no answer within 20ms");
            assert_eq!(said().await, "`redis.localhost` is still being looked up");
            drop(end);
        });
    }
}
