//! The greeting: what happens before a session is routed. On a shared port the client's hello says
//! whose the connection is; where TLS is ended, it is ended here. One deadline over all of it,
//! counted from the accept.
//!
//! No target hears of a client that has not come this far.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Accepted;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::StartHandshake;

use crate::config::transport::Starttls;
use crate::net::hello::{self, Alert, Hello, HelloFault};
use crate::net::peer::Peer;
use crate::net::socket::Socket;
use crate::net::stream::Stream;
use crate::proxy::admission::{Admission, admit};
use crate::proxy::ending::Ending;
use crate::proxy::live::{HelloPort, LiveCell, LivePort, LiveService};
use crate::proxy::meter::Meter;
use crate::proxy::outcome::Ledger;
use crate::proxy::turnstile::in_turns;
use crate::routing::hello::{HelloTable, NoAnswer};

/// A client whose service is known.
pub struct Greeted {
    /// The service.
    pub live: Arc<LiveService>,
    /// The client.
    pub client: Peer,
    /// What has been heard of it; most clients are not listened to.
    pub heard: Option<Box<Heard>>,
    /// To be held for as long as its session lives.
    pub admission: Admission,
}

/// What a client has said before it has a target.
#[derive(Debug)]
pub struct Heard {
    /// The name that it has asked for (SNI).
    pub name: Option<String>,
    /// How its target has to be asked for the TLS that it has been promised.
    pub starttls: Option<Starttls>,
    /// What its target has still to hear.
    pub said: Vec<u8>,
}

impl Greeted {
    /// A client that has nothing to say before it is relayed.
    pub fn plain(live: Arc<LiveService>, client: Arc<Socket>, admission: Admission) -> Self {
        Self { live, client: Peer::from(client), heard: None, admission }
    }
}

impl Heard {
    /// Gives the target what it has still to hear.
    ///
    /// # Errors
    /// It does not take it, or not `within` this time.
    pub async fn pass_on(
        self: Box<Self>,
        target: &mut Peer,
        meter: &Meter,
        within: Duration,
    ) -> io::Result<()> {
        let mut left = &*self.said;
        let passing = async {
            while !left.is_empty() {
                let count = target.write(left).await?;
                meter.to_target.add(count);
                left = &left[count..];
            }
            target.flush().await
        };
        timeout(within, passing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Greets a client that came to `port` at `since`.
///
/// # Errors
/// How the session ends that does not come to be one; the client has been told, where TLS has
/// words for it.
pub async fn greet(
    client: Arc<Socket>,
    port: &HelloPort,
    services: &LiveCell,
    since: Instant,
    ledger: &mut Ledger,
) -> Result<Greeted, Ending> {
    ledger.greeting();
    let until = since + port.handshake_timeout;
    let mut hello = match timeout_at(until, hello::read_hello(&client)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(HelloFault::Silent | HelloFault::Cut)) => return Err(Ending::ClientLeft),
        Ok(Err(fault @ (HelloFault::NotTls(_) | HelloFault::Postgres(_) | HelloFault::Io(_)))) => {
            return Err(Ending::NoHello(fault.to_string()));
        }
        Err(_) => return Err(Ending::GreetingTimeout),
    };
    ledger.asked_for(hello.name.as_deref());
    let live = match pick(&port.table, services, &hello) {
        Ok(live) => live,
        Err(nobody) => {
            hello::refuse(&client, alert(nobody)).await;
            return Err(Ending::Unanswered(nobody));
        }
    };
    ledger.belongs_to(&live);
    let admission = admit(&live, ledger.client().ip(), since).map_err(Ending::Denied)?;
    let until = since + live.service().limits.handshake_timeout;
    let name = hello.name.take();
    let is_promised = hello.after_request && !live.service().ends_tls();
    let starttls = is_promised.then_some(Starttls::Postgres);
    let (client, said) = if live.service().ends_tls() {
        // Nobody else has to hear it, and a session that lives for long is made behind it.
        drop(hello.bytes);
        // A client that is passed through must not be as large as one whose TLS is ended.
        (Box::pin(end_tls(client, hello.accepted, &live, until)).await?, Vec::new())
    } else {
        (Peer::from(client), hello.bytes)
    };
    let heard = Some(Box::new(Heard { name, starttls, said }));
    Ok(Greeted { live, client, heard, admission })
}

/// Whose it is by the rules of now: those of a moment ago may have been looser.
fn pick(
    table: &HelloTable<Arc<LiveService>>,
    services: &LiveCell,
    hello: &Hello,
) -> Result<Arc<LiveService>, NoAnswer> {
    let alpn: Vec<&[u8]> = hello.alpn.iter().map(Vec::as_slice).collect();
    let services = services.load();
    let listen = table.iter().next().map(|live| &live.service().listen);
    let newest = listen.and_then(|listen| services.at(listen));
    let table = match newest.map(|port| &**port) {
        Some(LivePort::Hello(port)) => &port.table,
        Some(LivePort::One(_)) | None => table,
    };
    table.pick(hello.name.as_deref(), &alpn).cloned()
}

fn alert(nobody: NoAnswer) -> Alert {
    match nobody {
        NoAnswer::NameMissing | NoAnswer::NameUnknown => Alert::UnrecognizedName,
        NoAnswer::ProtocolUnknown => Alert::NoApplicationProtocol,
    }
}

/// Ends TLS.
async fn end_tls(
    client: Arc<Socket>,
    hello: Box<Accepted>,
    live: &LiveService,
    until: Instant,
) -> Result<Peer, Ending> {
    let Some(tls) = &live.tls else {
        let why = "TLS cannot be ended here: the log says why".to_owned();
        return Err(Ending::Hindered(why));
    };
    let handshake = StartHandshake::from_parts(*hello, Stream::from(client));
    // Its first step, and the dearest, is taken before there is a stream.
    let handshake = async { handshake.into_stream(Arc::clone(tls.config())).await };
    match timeout_at(until, in_turns(handshake)).await {
        Ok(Ok(stream)) => {
            if let Err(error) = tls.judge_resumed(stream.get_ref().1) {
                stream.get_ref().0.socket().abort();
                return Err(Ending::NoHandshake(error.to_string()));
            }
            Ok(Peer::from(stream))
        }
        Ok(Err(error)) => Err(Ending::NoHandshake(error.to_string())),
        Err(_) => Err(Ending::GreetingTimeout),
    }
}
