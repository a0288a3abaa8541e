//! Searching a stream for bytes: each byte is looked at once, whatever came before.

use crate::health::found::{Found, Match};

/// Knuth-Morris-Pratt: each byte is looked at once, whatever came before.
#[derive(Debug)]
pub struct Needle {
    bytes: Vec<u8>,
    /// For each prefix: the length of the longest shorter prefix that ends it too.
    borders: Vec<usize>,
    matched: usize,
    fed: usize,
    found: Found,
}

impl Needle {
    /// A search for `bytes`; the empty one is found at once.
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut borders = vec![0; bytes.len()];
        let mut border = 0;
        for at in 1..bytes.len() {
            while border > 0 && bytes[at] != bytes[border] {
                border = borders[border - 1];
            }
            border += usize::from(bytes[at] == bytes[border]);
            borders[at] = border;
        }
        let found = if bytes.is_empty() { Found::At(0) } else { Found::NotYet };
        Self { bytes, borders, matched: 0, fed: 0, found }
    }

    /// The next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) -> Found {
        for byte in bytes {
            self.fed += 1;
            if self.found != Found::NotYet {
                continue;
            }
            while self.matched > 0 && *byte != self.bytes[self.matched] {
                self.matched = self.borders[self.matched - 1];
            }
            self.matched += usize::from(*byte == self.bytes[self.matched]);
            if self.matched == self.bytes.len() {
                self.found = Found::At(self.fed);
            }
        }
        self.found
    }

    /// The match in `stream`, if it is found in there.
    pub fn matched(&self, stream: &[u8]) -> Option<Match> {
        match self.found {
            Found::At(end) if end <= stream.len() => Some(Match { end, captures: Vec::new() }),
            Found::At(_) | Found::NotYet | Found::TooCostly(_) => None,
        }
    }

    /// How many bytes it has been fed.
    pub fn fed(&self) -> usize {
        self.fed
    }
}
