//! What is kept on disk of a led service, as lines of a page. Pure.
//!
//! ```text
//! leads redis-1:6379
//! target redis-1:6379 | 10.0.0.1:6379 | leader
//! target redis-2:6379 | 10.0.0.2:6379 | not leader
//! ```
//!
//! A target is remembered with the address that its name stood for, so that somebody else there is
//! nobody.

use crate::config::model::Service;
use crate::config::names::TargetAddress;
use crate::health::leader::Said;
use crate::health::leader::remembered::Remembered;
use crate::net::dial::Destination;
use crate::net::names::NameBook;
use crate::state::page::{BAR, Disbelief, Kind, Owner, Page, escaped, plain};
use crate::state::wall_clock::WallTime;

/// What is kept so.
pub const LEADER: Kind =
    Kind { word: "leader", what: "who leads", without: "starting without what was remembered" };

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

    /// The page that it is written on.
    pub fn to_page(&self) -> Page {
        let mut lines = String::new();
        if let Some(leader) = &self.leads {
            lines.push_str(&format!("leads {}\n", escaped(leader)));
        }
        for KeptTarget { target, at, said } in &self.targets {
            let said = match said {
                Some(Said::Leader) => "leader",
                Some(Said::NotLeader) => "not leader",
                None => "nothing",
            };
            let (target, at) = (escaped(target), escaped(at));
            lines.push_str(&format!("target {target}{BAR}{at}{BAR}{said}\n"));
        }
        Page { kind: LEADER, of: self.of.clone(), written: self.written, lines }
    }

    /// As it is written.
    pub fn to_text(&self) -> String {
        self.to_page().to_text()
    }

    /// What is on a page.
    ///
    /// # Errors
    /// If it was not written so.
    pub fn of_page(page: &Page) -> Result<Self, Disbelief> {
        let (mut leads, mut targets) = (None, Vec::new());
        for (number, line) in page.numbered() {
            let read = match line.split_once(' ') {
                Some(("leads", leader)) if leads.is_none() && targets.is_empty() => {
                    plain(leader).map(|leader| leads = Some(leader))
                }
                Some(("target", rest)) => kept_target(rest).map(|target| targets.push(target)),
                Some(_) | None => None,
            };
            read.ok_or(Disbelief::Malformed(number))?;
        }
        Ok(Self { of: page.of.clone(), written: page.written, leads, targets })
    }

    /// What was written.
    ///
    /// # Errors
    /// If it was not written so, or not to its end.
    pub fn parse(text: &str) -> Result<Self, Disbelief> {
        Self::of_page(&Page::parse(LEADER, text)?)
    }
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
