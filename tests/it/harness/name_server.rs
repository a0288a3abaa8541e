//! A name server that answers as it is told to, well or badly, over UDP and TCP on one port.
//!
//! Its answers are bytes, so that it can lie.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The kind of an IPv4 address.
pub(crate) const A: u16 = 1;
/// The kind of an alias.
pub(crate) const CNAME: u16 = 5;
/// The kind of an IPv6 address.
pub(crate) const AAAA: u16 = 28;
/// The kind of an offered service.
pub(crate) const SRV: u16 = 33;

/// Flags of an answer: there is such a name.
pub(crate) const NO_ERROR: u16 = 0x8180;
/// It did not fit.
pub(crate) const TRUNCATED: u16 = 0x8380;
/// The name server has failed.
pub(crate) const SERVFAIL: u16 = 0x8182;
/// There is no such name.
pub(crate) const NXDOMAIN: u16 = 0x8183;

type Answer = Arc<dyn Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync>;

/// One question, as it arrived.
pub(crate) struct Asked {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// It came over TCP.
    pub(crate) is_tcp: bool,
    /// Who asks, to be lied to from elsewhere.
    pub(crate) from: SocketAddr,
    /// Its name and kind have been asked for so often, with this one.
    pub(crate) nth: usize,
}

#[derive(Default)]
struct State {
    answers: HashMap<(String, u16), Answer>,
    asked: HashMap<(String, u16), usize>,
    /// The number and the port of each question over UDP.
    heard: Vec<(u16, u16)>,
}

/// A name server on a port of its own; its threads end with the test process.
pub(crate) struct NameServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl NameServer {
    /// One that knows no name.
    pub(crate) fn new() -> Self {
        Self::with(sockets())
    }

    /// The same at this address, in a network of the test's own.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let udp = UdpSocket::bind(address).expect("nobody else is in this network");
        Self::with((udp, TcpListener::bind(address).expect("nobody else is in this network")))
    }

    fn with((udp, tcp): (UdpSocket, TcpListener)) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let address = tcp.local_addr().expect("a bound socket has an address");
        std::thread::spawn({
            let state = Arc::clone(&state);
            move || {
                let mut buffer = [0; 4096];
                while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                    for answer in answers(&state, &buffer[..length], from, false) {
                        drop(udp.send_to(&answer, from));
                    }
                }
            }
        });
        std::thread::spawn({
            let state = Arc::clone(&state);
            move || {
                for mut stream in tcp.incoming().map_while(Result::ok) {
                    let Ok(from) = stream.peer_addr() else { continue };
                    let mut length = [0; 2];
                    let mut bytes = Vec::new();
                    let read = stream.read_exact(&mut length).and_then(|()| {
                        bytes.resize(usize::from(u16::from_be_bytes(length)), 0);
                        stream.read_exact(&mut bytes)
                    });
                    if read.is_err() {
                        continue;
                    }
                    for answer in answers(&state, &bytes, from, true) {
                        let length = u16::try_from(answer.len()).expect("it fits").to_be_bytes();
                        drop(stream.write_all(&[&length[..], &answer].concat()));
                    }
                }
            }
        });
        Self { address, state }
    }

    /// Answers questions for this kind of this name so from now on: none, one or several times.
    pub(crate) fn answers(
        &self,
        name: &str,
        kind: u16,
        answer: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) {
        lock(&self.state).answers.insert((name.to_owned(), kind), Arc::new(answer));
    }

    /// Answers with these records.
    pub(crate) fn says(&self, name: &str, kind: u16, records: Vec<Vec<u8>>) {
        self.answers(name, kind, move |asked| vec![asked.answer(NO_ERROR, &records)]);
    }

    /// The name has these addresses and no others, for so many seconds.
    pub(crate) fn has(&self, name: &str, ttl: u32, addresses: &[IpAddr]) {
        for (kind, is_v6) in [(A, false), (AAAA, true)] {
            let of_kind = addresses.iter().filter(|ip| ip.is_ipv6() == is_v6);
            self.says(name, kind, of_kind.map(|ip| address(name, ttl, *ip)).collect());
        }
    }

    /// How often a kind of a name has been asked for.
    pub(crate) fn asked(&self, name: &str, kind: u16) -> usize {
        lock(&self.state).asked.get(&(name.to_owned(), kind)).copied().unwrap_or(0)
    }

    /// The number and the port of each question so far.
    pub(crate) fn heard(&self) -> Vec<(u16, u16)> {
        lock(&self.state).heard.clone()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The argument that has it asked.
    pub(crate) fn setting(&self) -> String {
        format!("discovery.name_servers=[\"{}\"]", self.address)
    }
}

impl Asked {
    /// An answer to it.
    pub(crate) fn answer(&self, flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let count = u16::try_from(records.len()).expect("there are not that many");
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        bytes[6..8].copy_from_slice(&count.to_be_bytes());
        bytes.extend(records.concat());
        bytes
    }
}

/// A record.
pub(crate) fn record(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("it fits");
    let fixed = [&kind.to_be_bytes()[..], &[0, 1], &ttl.to_be_bytes(), &length.to_be_bytes()];
    [&name(owner)[..], &fixed.concat(), data].concat()
}

/// An address of a name.
pub(crate) fn address(owner: &str, ttl: u32, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => record(owner, A, ttl, &ip.octets()),
        IpAddr::V6(ip) => record(owner, AAAA, ttl, &ip.octets()),
    }
}

/// An alias.
pub(crate) fn alias(owner: &str, ttl: u32, target: &str) -> Vec<u8> {
    record(owner, CNAME, ttl, &name(target))
}

/// An SRV record: priority, weight and port.
pub(crate) fn offer(owner: &str, ttl: u32, numbers: [u16; 3], host: &str) -> Vec<u8> {
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    record(owner, SRV, ttl, &[numbers, name(host)].concat())
}

/// A name as it is sent.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> = labels
        .flat_map(|label| {
            let length = u8::try_from(label.len()).expect("a label is short");
            [&[length], label.as_bytes()].concat()
        })
        .collect();
    bytes.push(0);
    bytes
}

/// One port for both.
fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = tcp.local_addr().expect("a bound socket has an address");
        if let Ok(udp) = UdpSocket::bind(address) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both");
}

fn answers(state: &Mutex<State>, bytes: &[u8], from: SocketAddr, is_tcp: bool) -> Vec<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while bytes[at] != 0 {
        let end = at + 1 + usize::from(bytes[at]);
        labels.push(String::from_utf8_lossy(&bytes[at + 1..end]).into_owned());
        at = end;
    }
    let key = (labels.join("."), u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]));
    let (nth, answer) = {
        let mut state = lock(state);
        if !is_tcp {
            state.heard.push((u16::from_be_bytes([bytes[0], bytes[1]]), from.port()));
        }
        let nth = state.asked.entry(key.clone()).or_default();
        *nth += 1;
        (*nth, state.answers.get(&key).cloned())
    };
    let asked = Asked { bytes: bytes.to_vec(), is_tcp, from, nth };
    answer.map_or_else(|| vec![asked.answer(NXDOMAIN, &[])], |answer| answer(&asked))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
