//! Where a search of a stream stands, and what it found.

/// Where a search stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Not decided by the bytes so far.
    NotYet,
    /// Decided by this many bytes, counted from where the search began.
    At(usize),
    /// By this many bytes the regex had used up its memory.
    TooCostly(usize),
}

/// A match: where it ends, and what its named groups hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Match {
    /// Behind its last byte, counted from where the search began.
    pub end: usize,
    /// The named groups that took part.
    pub captures: Vec<(String, Vec<u8>)>,
}
