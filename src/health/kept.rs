//! What is kept on disk of a led service, as a text of a few lines. Pure.
//!
//! ```text
//! stagedoor leader 1
//! service Redis
//! listen *:6379
//! written 2026-11-23T04:28:20.690Z
//! leads redis-1:6379
//! target redis-1:6379 | 10.0.0.1:6379 | leader
//! target redis-2:6379 | 10.0.0.2:6379 | not leader
//! end 0c5e4a1f9b7d2e36
//! ```
//!
//! The last line sums up all before it: what was cut off or changed is not believed. A target is
//! remembered with the address that its name stood for, so that somebody else there is nobody.

use std::time::Duration;

use crate::config::model::Service;
use crate::config::names::TargetAddress;
use crate::health::leader::Said;
use crate::health::leader::remembered::Remembered;
use crate::health::wall_clock::WallTime;
use crate::net::dial::Destination;
use crate::net::names::NameBook;

const FIRST_LINE: &str = "stagedoor leader 1";
/// Between the parts of a line; escaped within them.
const BAR: &str = " | ";

/// What is kept of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it is kept under.
    pub of: Owner,
    /// When all of this was known.
    pub written: WallTime,
    /// Who leads.
    pub leads: Option<String>,
    /// What each target said.
    pub targets: Vec<KeptTarget>,
}

/// Whose memory it is: a service at a listen address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// The service's name.
    pub service: String,
    /// Where it listens.
    pub listen: String,
}

/// What is kept of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTarget {
    /// Which one.
    pub target: String,
    /// The address that it had.
    pub at: String,
    /// Its last conclusive word.
    pub said: Option<Said>,
}

/// Why what was kept is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// This line is not as it should be.
    #[error("line {0} is not as stagedoor writes it")]
    Malformed(usize),
    /// Its end is missing.
    #[error("its end is missing")]
    CutOff,
    /// Its last line does not sum up the others.
    #[error("it was damaged or edited: the last line does not fit the others")]
    Damaged,
    /// It is of another service or listen address.
    #[error("it is of service \"{}\" on {}", .0.service, .0.listen)]
    Foreign(Owner),
    /// It was written after now.
    #[error("it is from the future, by {}: the clock has been set back", whole_seconds(*.0))]
    Future(Duration),
    /// It is older than what is believed.
    #[error("it is {} old, and older than {} is not believed", whole_seconds(*.age), humantime::format_duration(*.max_age))]
    TooOld {
        /// How old it is.
        age: Duration,
        /// `state_max_age`.
        max_age: Duration,
    },
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

// === impl Owner ===

impl Owner {
    /// Of this service.
    pub fn of(service: &Service) -> Self {
        Self { service: service.name.to_string(), listen: service.listen.to_string() }
    }

    /// The name of its file: legible, and never that of another owner's.
    pub fn file_name(&self) -> String {
        let text = format!("{}-{}", self.service, self.listen);
        let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
        let plain: String = plain.take(80).collect();
        let sum = checksum(format!("{}\0{}", self.service, self.listen).as_bytes());
        format!("{plain}-{sum:016x}.leader")
    }
}

// === impl Kept ===

impl Kept {
    /// What is to be kept of a service now. A target whose name stands for no address is left out.
    pub fn of(
        service: &Service,
        remembered: &Remembered,
        names: &NameBook,
        written: WallTime,
    ) -> Self {
        let target = |(key, at): (_, String)| {
            let said = *remembered.said.get(key)?;
            Some(KeptTarget { target: key.to_string(), at, said })
        };
        let leads = remembered.leader.as_ref().map(ToString::to_string);
        let targets = service.pool.targets.iter();
        let placed = targets.filter_map(|one| Some((&one.key, place(&one.address, names)?)));
        Self {
            of: Owner::of(service),
            written,
            leads,
            targets: placed.filter_map(target).collect(),
        }
    }

    /// How old it is at `now`.
    ///
    /// # Errors
    /// If it is not to be believed of `service`.
    pub fn age(
        &self,
        service: &Service,
        max_age: Duration,
        now: WallTime,
    ) -> Result<Duration, Disbelief> {
        if self.of != Owner::of(service) {
            return Err(Disbelief::Foreign(self.of.clone()));
        }
        let age = self.written.age_at(now).map_err(Disbelief::Future)?;
        if age > max_age { Err(Disbelief::TooOld { age, max_age }) } else { Ok(age) }
    }

    /// Does it say the same, at whatever time?
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.of == other.of && self.leads == other.leads && self.targets == other.targets
    }

    /// What it means for a service now: targets that are no longer there, or elsewhere, are left
    /// out.
    pub fn recall(&self, service: &Service, names: &NameBook) -> Remembered {
        let mut remembered = Remembered::default();
        for one in &service.pool.targets {
            let at = place(&one.address, names);
            let kept = self.targets.iter().find(|kept| kept.target == one.key.as_str());
            let Some(kept) = kept.filter(|kept| at.as_ref() == Some(&kept.at)) else { continue };
            remembered.said.insert(one.key.clone(), kept.said);
            if self.leads.as_deref() == Some(one.key.as_str()) {
                remembered.leader = Some(one.key.clone());
            }
        }
        remembered
    }

    /// As it is written.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{FIRST_LINE}\nservice {}\nlisten {}\nwritten {}\n",
            escaped(&self.of.service),
            escaped(&self.of.listen),
            self.written
        );
        if let Some(leader) = &self.leads {
            text.push_str(&format!("leads {}\n", escaped(leader)));
        }
        for KeptTarget { target, at, said } in &self.targets {
            let said = match said {
                Some(Said::Leader) => "leader",
                Some(Said::NotLeader) => "not leader",
                None => "nothing",
            };
            let (target, at) = (escaped(target), escaped(at));
            text.push_str(&format!("target {target}{BAR}{at}{BAR}{said}\n"));
        }
        with_its_sum(text)
    }

    /// What was written.
    ///
    /// # Errors
    /// If it was not written so, or not to its end.
    pub fn parse(text: &str) -> Result<Self, Disbelief> {
        let body = text.strip_suffix('\n').ok_or(Disbelief::CutOff)?;
        let end = body.rfind('\n').map_or(0, |at| at + 1);
        let sum = body[end..].strip_prefix("end ").ok_or(Disbelief::CutOff)?;
        if sum != format!("{:016x}", checksum(&text.as_bytes()[..end])) {
            return Err(Disbelief::Damaged);
        }
        let mut lines = text[..end].lines().enumerate().map(|(index, line)| (index + 1, line));
        let mut next = |number: usize, word: &str| -> Result<&str, Disbelief> {
            let line = lines.next().and_then(|(_, line)| line.strip_prefix(word));
            line.ok_or(Disbelief::Malformed(number))
        };
        next(1, FIRST_LINE)?;
        let service = plain(next(2, "service ")?).ok_or(Disbelief::Malformed(2))?;
        let listen = plain(next(3, "listen ")?).ok_or(Disbelief::Malformed(3))?;
        let written = next(4, "written ")?.parse().map_err(|_| Disbelief::Malformed(4))?;
        let (mut leads, mut targets) = (None, Vec::new());
        for (number, line) in lines {
            let read = match line.split_once(' ') {
                Some(("leads", leader)) if leads.is_none() && targets.is_empty() => {
                    plain(leader).map(|leader| leads = Some(leader))
                }
                Some(("target", rest)) => kept_target(rest).map(|target| targets.push(target)),
                Some(_) | None => None,
            };
            read.ok_or(Disbelief::Malformed(number))?;
        }
        Ok(Self { of: Owner { service, listen }, written, leads, targets })
    }
}

/// The whole text: the last line sums up the others.
pub fn with_its_sum(lines: String) -> String {
    let sum = checksum(lines.as_bytes());
    lines + &format!("end {sum:016x}\n")
}

fn kept_target(text: &str) -> Option<KeptTarget> {
    let mut parts = text.split(BAR);
    let (target, at, said) = (parts.next()?, parts.next()?, parts.next()?);
    let said = match said {
        "leader" => Some(Said::Leader),
        "not leader" => Some(Said::NotLeader),
        "nothing" => None,
        _ => return None,
    };
    let target = KeptTarget { target: plain(target)?, at: plain(at)?, said };
    parts.next().is_none().then_some(target)
}

/// Where a target is now, as text.
fn place(address: &TargetAddress, names: &NameBook) -> Option<String> {
    match names.resolve(address).ok()? {
        Destination::Ip(address) => Some(address.to_string()),
        Destination::Unix(path) => Some(path.to_string_lossy().into_owned()),
    }
}

/// On one line, and without a bar.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || c == '%' || c == '|' {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                escaped.push_str(&format!("%{byte:02x}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn plain(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// For people.
pub fn whole_seconds(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
}

/// FNV-1a, 64 bits: finds damage, not malice.
fn checksum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
