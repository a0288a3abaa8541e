//! Places for arbiters, named, and the news that one has a new arbiter.

use std::fmt;
use std::str::FromStr;

use actix::Message;

/// A place for an arbiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SlotId {
    /// The arbiter of the actix `System`: the main thread. For supervisors; never replaced.
    System,
    /// For what must never wait behind traffic.
    Control,
    /// For what serves people.
    Admin,
    /// For traffic, one a core.
    Data(u16),
}

/// Counts the arbiters that a slot has had: 0 is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Generation(pub u64);

/// A slot has a new arbiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct SlotReplaced {
    /// Which slot.
    pub slot: SlotId,
    /// The new arbiter's.
    pub generation: Generation,
    /// What became of the old one.
    pub why: Loss,
    /// Replacements of this slot within the last minute, this one included. Many mean that
    /// something on it blocks or kills arbiters.
    pub recent: u32,
    /// Arbiters of this slot, ever, that hung and have not woken yet: each is a thread that cannot
    /// be taken back.
    pub hung: usize,
}

/// Why an arbiter was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It was stopped: its tasks are gone.
    Dead,
    /// It did not answer: its tasks may wake again.
    Hung,
    /// Somebody asked for it: its tasks go on.
    Requested,
}

/// A text that names no slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no arbiter: `control`, `admin` or `data/0` would be one")]
pub struct NoSuchSlot(String);

// === impl SlotId ===

impl SlotId {
    /// The name of its thread: at most 15 bytes, which is all that the kernel keeps.
    pub(super) fn thread_name(self) -> String {
        match self {
            Self::System => "stagedoor".to_owned(),
            Self::Control => "stagedoor-ctl".to_owned(),
            Self::Admin => "stagedoor-admin".to_owned(),
            Self::Data(number) if number < 10 => format!("stagedoor-data{number}"),
            Self::Data(number) => format!("stagedoor-{number}"),
        }
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Control => f.write_str("control"),
            Self::Admin => f.write_str("admin"),
            Self::Data(number) => write!(f, "data/{number}"),
        }
    }
}

impl FromStr for SlotId {
    type Err = NoSuchSlot;

    fn from_str(text: &str) -> Result<Self, NoSuchSlot> {
        match text {
            "system" => Ok(Self::System),
            "control" => Ok(Self::Control),
            "admin" => Ok(Self::Admin),
            other => other
                .strip_prefix("data/")
                .and_then(|number| number.parse().ok())
                .map(Self::Data)
                .ok_or_else(|| NoSuchSlot(other.escape_debug().to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_read_as_it_is_shown() {
        for slot in
            [SlotId::System, SlotId::Control, SlotId::Admin, SlotId::Data(0), SlotId::Data(17)]
        {
            assert_eq!(slot.to_string().parse(), Ok(slot));
        }
        assert!("data/".parse::<SlotId>().is_err());
        assert!("data/65536".parse::<SlotId>().is_err());
    }

    #[test]
    fn thread_names_fit_into_what_the_kernel_keeps() {
        for slot in
            [SlotId::System, SlotId::Control, SlotId::Admin, SlotId::Data(9), SlotId::Data(65535)]
        {
            assert!(slot.thread_name().len() <= 15, "{}", slot.thread_name());
        }
    }
}
