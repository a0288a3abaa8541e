//! How many witnesses back a target: what the leader rule knows of them. Pure.

/// How many witnesses back a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Support {
    /// So many agree now.
    pub now: u32,
    /// The agreement of so many stands.
    pub standing: u32,
    /// So many have not been heard, and have time left.
    pub awaited: u32,
}

// === impl Support ===

impl Support {
    /// Enough agree now for it to come to lead.
    pub fn is_enough(self, agree: u32) -> bool {
        self.now >= agree
    }

    /// Enough agreements stand for it to go on leading, or may yet turn out to.
    pub fn still_holds(self, agree: u32) -> bool {
        self.standing.saturating_add(self.awaited) >= agree
    }
}
