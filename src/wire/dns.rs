//! Questions to name servers, and what their answers say (RFC 1035, RFC 2782).
//!
//! Bytes only: which name server is asked, and for how long, is up to others. An answer counts for
//! nothing but the name that was asked for and those that it is an alias of: whatever else it holds
//! is not looked at. Whatever a name server sends, the work and the memory are in proportion to it.

use std::collections::HashMap;
use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::name::{Name, ParsedName, ToName};
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, ParsedRecord, Rtype};
use domain::rdata::{A, Aaaa, Cname, Srv};

/// So many aliases lead from a name to its records at most.
pub(super) const MOST_ALIASES: usize = 16;
pub(super) const BROKEN: &str = "its answer is broken";

/// A name, as DNS knows it: with all its labels; upper and lower case are the same.
pub type DnsName = Name<Vec<u8>>;

/// What is asked about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Its IPv4 addresses.
    A,
    /// Its IPv6 addresses.
    Aaaa,
    /// Which hosts offer a service.
    Srv,
}

/// One question.
#[derive(Debug, Clone)]
pub struct DnsQuestion {
    name: DnsName,
    kind: Kind,
    bytes: Vec<u8>,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// These are there.
    Records {
        /// At least one, in the order of the answer.
        records: Vec<Data>,
        /// For so many seconds, the aliases on the way to them included.
        ttl: u32,
    },
    /// There is no such name.
    NoName,
    /// There is such a name, and it has no records of this kind.
    NoRecords,
    /// It did not fit into a datagram.
    CutShort,
}

/// What one record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An address of the name.
    Address(IpAddr),
    /// A host that offers the service.
    Offer(Offer),
}

/// A host that offers a service: an SRV record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Offer {
    /// The lowest is used first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// Its port; 0 is none.
    pub port: u16,
    /// Its name; the root, if there is decidedly nobody.
    pub host: DnsName,
}

/// The name that is written so; `None` if that can be none.
pub fn dns_name(text: &str) -> Option<DnsName> {
    DnsName::vec_from_str(text).ok()
}

// === impl DnsQuestion ===

impl DnsQuestion {
    /// A question; nobody who does not see it may be able to guess its `id`.
    pub fn new(name: &DnsName, kind: Kind, id: u16) -> Self {
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(id);
        message.header_mut().set_rd(true);
        let mut message = message.question();
        message.push((name, kind.rtype())).expect("one question fits into a message");
        Self { name: name.clone(), kind, bytes: message.finish() }
    }

    /// As it is sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Is that an answer to this question: with its id, and about its name and kind?
    pub fn is_answered_by(&self, bytes: &[u8]) -> bool {
        let question = Message::from_octets(self.bytes()).expect("it is a message");
        Message::from_octets(bytes).is_ok_and(|answer| answer.is_answer(&question))
    }

    /// What an answer to this question says.
    ///
    /// # Errors
    /// Why it says nothing: the name server has failed, or is not understood.
    pub fn read(&self, bytes: &[u8]) -> Result<Said, String> {
        let message = Message::from_octets(bytes).map_err(|_| BROKEN)?;
        if !self.is_answered_by(bytes) || message.header().opcode() != Opcode::QUERY {
            return Err("it answers another question".to_owned());
        }
        match message.header().rcode() {
            Rcode::NXDOMAIN => return Ok(Said::NoName),
            Rcode::NOERROR if message.header().tc() => return Ok(Said::CutShort),
            Rcode::NOERROR => {}
            failure => return Err(format!("it says {failure}")),
        }
        let records = Records::of(&message, self.kind).map_err(|_| BROKEN)?;
        records.about(&self.name)
    }
}

// === impl Offer ===

impl Offer {
    /// Does it name a host and a port at all?
    pub fn is_somebody(&self) -> bool {
        !self.host.is_root() && self.port != 0
    }
}

// === impl Kind ===

impl Kind {
    fn rtype(self) -> Rtype {
        match self {
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
            Self::Srv => Rtype::SRV,
        }
    }

    fn data(self, record: &ParsedRecord<'_, [u8]>) -> Result<Option<Data>, ParseError> {
        Ok(match self {
            Self::A => record.to_record::<A>()?.map(|one| Data::Address(one.data().addr().into())),
            Self::Aaaa => {
                record.to_record::<Aaaa>()?.map(|one| Data::Address(one.data().addr().into()))
            }
            Self::Srv => record.to_record::<Srv<ParsedName<_>>>()?.map(|one| {
                let srv = one.data();
                let (priority, weight, port) = (srv.priority(), srv.weight(), srv.port());
                Data::Offer(Offer { priority, weight, port, host: srv.target().to_vec() })
            }),
        })
    }
}

/// The records of an answer that matter, each with the seconds that it holds for.
#[derive(Debug, Default)]
struct Records {
    aliases: HashMap<DnsName, (DnsName, u32)>,
    data: HashMap<DnsName, Vec<(Data, u32)>>,
}

// === impl Records ===

impl Records {
    fn of(message: &Message<&[u8]>, kind: Kind) -> Result<Self, ParseError> {
        let mut records = Self::default();
        for record in message.for_slice().answer()? {
            let record = record?;
            if record.class() != Class::IN {
                continue;
            }
            // One that is negative stands for none (RFC 2181, 8).
            let ttl = Some(record.ttl().as_secs()).filter(|ttl| *ttl <= i32::MAX as u32);
            let (owner, ttl) = (record.owner().to_vec(), ttl.unwrap_or(0));
            if let Some(alias) = record.to_record::<Cname<ParsedName<_>>>()? {
                let target = alias.data().cname().to_vec();
                records.aliases.entry(owner).or_insert((target, ttl));
            } else if let Some(data) = kind.data(&record)? {
                records.data.entry(owner).or_default().push((data, ttl));
            }
        }
        Ok(records)
    }

    /// What they say about a name, by way of its aliases.
    fn about(mut self, name: &DnsName) -> Result<Said, String> {
        let (mut name, mut ttl) = (name.clone(), u32::MAX);
        for _ in 0..=MOST_ALIASES {
            if let Some(found) = self.data.remove(&name) {
                let ttl = found.iter().map(|(_, ttl)| *ttl).fold(ttl, u32::min);
                let records = found.into_iter().map(|(data, _)| data).collect();
                return Ok(Said::Records { records, ttl });
            }
            match self.aliases.get(&name) {
                Some((target, of_alias)) => {
                    ttl = ttl.min(*of_alias);
                    name = target.clone();
                }
                None => return Ok(Said::NoRecords),
            }
        }
        Err("its aliases (CNAME) lead nowhere".to_owned())
    }
}
