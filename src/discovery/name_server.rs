//! One question to name servers, by one deadline: over UDP, and over TCP where the answer does not
//! fit.
//!
//! Each question has a number and a port that nobody can guess, and what does not answer it is not
//! heard: another number, another question, another sender. They are asked one after the other, in
//! their order, and a later one early where an earlier one fails; those asked before may still
//! answer. Nobody is waited for beyond the deadline.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use crate::wire::dns::{DnsName, DnsQuestion, Kind, Said};

/// What a datagram may hold; nobody is told that it might be more than 512 bytes.
const LARGEST_DATAGRAM: usize = 4096;

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServers {
    /// The first of them first.
    pub addresses: Vec<SocketAddr>,
    /// So often each of them.
    pub attempts: u32,
    /// After so long at most, the next of them.
    pub patience: Duration,
}

// === impl NameServers ===

impl NameServers {
    /// What the first of them says that can say anything.
    ///
    /// # Errors
    /// What each of them did instead.
    pub async fn ask(&self, name: &DnsName, kind: Kind, deadline: Instant) -> Result<Said, String> {
        let step = self.step(deadline);
        let round = step * u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
        let mut waiting = self.addresses.iter().enumerate();
        let mut asked = FuturesUnordered::new();
        let mut faults = Vec::new();
        loop {
            if let Some((index, address)) = waiting.next() {
                let answer = self.ask_one(*address, (name, kind), round, deadline);
                asked.push(async move { (index, answer.await) });
            }
            let end = if waiting.len() == 0 {
                asked.next().await
            } else {
                timeout_at(Instant::now() + step, asked.next()).await.ok().flatten()
            };
            match end {
                Some((_, Ok(said))) => return Ok(said),
                Some((index, Err(fault))) => faults.push((index, fault)),
                None => {}
            }
            if waiting.len() == 0 && asked.is_empty() {
                faults.sort();
                let faults: Vec<_> = faults.into_iter().map(|(_, fault)| fault).collect();
                return Err(faults.join("; "));
            }
        }
    }

    /// From one of them to the next: so short that each has its turn, as often as it has.
    fn step(&self, deadline: Instant) -> Duration {
        let turns = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
        let turns = turns.saturating_mul(self.attempts).max(1);
        (deadline.saturating_duration_since(Instant::now()) / turns).min(self.patience)
    }

    async fn ask_one(
        &self,
        server: SocketAddr,
        (name, kind): (&DnsName, Kind),
        round: Duration,
        deadline: Instant,
    ) -> Result<Said, String> {
        let question = DnsQuestion::new(name, kind, number()?);
        let asking = async {
            let said = over_udp(server, &question, self.attempts, round).await?;
            if said == Said::CutShort { over_tcp(server, &question).await } else { Ok(said) }
        };
        let said = timeout_at(deadline, asking).await;
        let said = said.unwrap_or_else(|_| Err("it does not answer".to_owned()));
        said.map_err(|fault| format!("name server {server}: {fault}"))
    }
}

/// A number that nobody can guess.
fn number() -> Result<u16, String> {
    let mut bytes = [0; 2];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "there is no randomness to ask with")?;
    Ok(u16::from_be_bytes(bytes))
}

/// Asks again each `round`; listens until it is dropped.
async fn over_udp(
    server: SocketAddr,
    question: &DnsQuestion,
    attempts: u32,
    round: Duration,
) -> Result<Said, String> {
    let plain = |error: io::Error| error.to_string();
    let any = match server {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    // The kernel picks the port at random, and passes on only what comes from that server's.
    let socket = UdpSocket::bind((any, 0)).await.map_err(plain)?;
    socket.connect(server).await.map_err(plain)?;
    for _ in 1..attempts {
        socket.send(question.bytes()).await.map_err(plain)?;
        if let Ok(said) = timeout_at(Instant::now() + round, heard(&socket, question)).await {
            return said;
        }
    }
    socket.send(question.bytes()).await.map_err(plain)?;
    heard(&socket, question).await
}

async fn heard(socket: &UdpSocket, question: &DnsQuestion) -> Result<Said, String> {
    let mut datagram = vec![0; LARGEST_DATAGRAM];
    loop {
        let length = socket.recv(&mut datagram).await.map_err(|error| error.to_string())?;
        if question.is_answered_by(&datagram[..length]) {
            return question.read(&datagram[..length]);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &DnsQuestion) -> Result<Said, String> {
    let answer = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(question.bytes().len()).expect("a question is short");
        stream.write_all(&[&length.to_be_bytes(), question.bytes()].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = answer.await;
    let answer = answer.map_err(|error| format!("its whole answer, over TCP: {error}"))?;
    let said = question.read(&answer)?;
    if said == Said::CutShort {
        return Err("its answer is cut short even over TCP".to_owned());
    }
    Ok(said)
}
