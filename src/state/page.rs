//! What is kept of one service in one file, as a text of a few lines. Pure.
//!
//! ```text
//! stagedoor leader 1
//! service Redis
//! listen *:6379
//! written 2026-11-23T04:28:20.690Z
//! leads redis-1:6379
//! end 0c5e4a1f9b7d2e36
//! ```
//!
//! The first four lines and the last are those of every page; what stands between them is its
//! kind's to say. The last line sums up all before it: what was cut off or changed is not believed.

use std::time::Duration;

use crate::config::model::Service;
use crate::config::names::{ListenAddress, ServiceName};
use crate::state::wall_clock::WallTime;

/// Between the parts of a line; escaped within them.
pub const BAR: &str = " | ";
/// The lines before those that are the kind's.
const HEAD: usize = 4;

/// What is kept on a page, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// In the first line, and the ending of the file's name.
    pub word: &'static str,
    /// What people call it: `who leads`.
    pub what: &'static str,
    /// What follows if it is not believed: `starting without what was remembered`.
    pub without: &'static str,
}

/// Whose page it is: a service at a listen address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// The service's name.
    pub service: String,
    /// Where it listens.
    pub listen: String,
}

/// What is kept of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What it is.
    pub kind: Kind,
    /// What it is kept under.
    pub of: Owner,
    /// When all of this was known.
    pub written: WallTime,
    /// What was known, each line with its end.
    pub lines: String,
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
    /// It is of something else than what is meant now, in words.
    #[error("{0}")]
    Other(String),
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

// === impl Owner ===

impl Owner {
    /// Of a service of this name that listens there.
    pub fn new(service: &ServiceName, listen: &ListenAddress) -> Self {
        Self { service: service.to_string(), listen: listen.to_string() }
    }

    /// Of this service.
    pub fn of(service: &Service) -> Self {
        Self::new(&service.name, &service.listen)
    }

    /// The name of its file of a kind: legible, and never that of another owner's.
    pub fn file_name(&self, kind: Kind) -> String {
        let text = format!("{}-{}", self.service, self.listen);
        let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
        let plain: String = plain.take(80).collect();
        let sum = checksum(format!("{}\0{}", self.service, self.listen).as_bytes());
        format!("{plain}-{sum:016x}.{}", kind.word)
    }
}

// === impl Page ===

impl Page {
    /// How old it is at `now`.
    ///
    /// # Errors
    /// If it is not `of` this one, or from the future.
    pub fn age(&self, of: &Owner, now: WallTime) -> Result<Duration, Disbelief> {
        if self.of != *of {
            return Err(Disbelief::Foreign(self.of.clone()));
        }
        self.written.age_at(now).map_err(Disbelief::Future)
    }

    /// Does it say the same, at whatever time?
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.of == other.of && self.lines == other.lines
    }

    /// What was known, line by line, each with its number in the file.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.lines().enumerate().map(|(index, line)| (HEAD + 1 + index, line))
    }

    /// As it is written.
    pub fn to_text(&self) -> String {
        with_its_sum(format!(
            "{}\nservice {}\nlisten {}\nwritten {}\n{}",
            first_line(self.kind),
            escaped(&self.of.service),
            escaped(&self.of.listen),
            self.written,
            self.lines
        ))
    }

    /// What was written; the lines that are the kind's are still to be read.
    ///
    /// # Errors
    /// If it was not written so, or not to its end.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, Disbelief> {
        let body = text.strip_suffix('\n').ok_or(Disbelief::CutOff)?;
        let end = body.rfind('\n').map_or(0, |at| at + 1);
        let sum = body[end..].strip_prefix("end ").ok_or(Disbelief::CutOff)?;
        if sum != format!("{:016x}", checksum(&text.as_bytes()[..end])) {
            return Err(Disbelief::Damaged);
        }
        let mut rest = &text[..end];
        let mut next = |number: usize, word: &str| -> Result<&str, Disbelief> {
            let (line, after) = rest.split_once('\n').ok_or(Disbelief::Malformed(number))?;
            rest = after;
            line.strip_prefix(word).ok_or(Disbelief::Malformed(number))
        };
        if !next(1, &first_line(kind))?.is_empty() {
            return Err(Disbelief::Malformed(1));
        }
        let service = plain(next(2, "service ")?).ok_or(Disbelief::Malformed(2))?;
        let listen = plain(next(3, "listen ")?).ok_or(Disbelief::Malformed(3))?;
        let written = next(HEAD, "written ")?.parse().map_err(|_| Disbelief::Malformed(HEAD))?;
        Ok(Self { kind, of: Owner { service, listen }, written, lines: rest.to_owned() })
    }
}

fn first_line(kind: Kind) -> String {
    format!("stagedoor {} 1", kind.word)
}

/// The whole text: the last line sums up the others.
pub fn with_its_sum(lines: String) -> String {
    let sum = checksum(lines.as_bytes());
    lines + &format!("end {sum:016x}\n")
}

/// A part of a line: without a line's end, and without a bar.
pub fn escaped(text: &str) -> String {
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

/// What a part of a line says; `None`: it was not written so.
pub fn plain(escaped: &str) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { word: "thing", what: "it", without: "without it" };

    fn page() -> Page {
        let of = Owner { service: "re\ndis".into(), listen: "*:6379".into() };
        let written = "2026-11-23T04:28:20.690Z".parse().unwrap();
        Page { kind: KIND, of, written, lines: "one\ntwo\n".into() }
    }

    #[test]
    fn it_is_written_as_documented_and_read_back() {
        let text = page().to_text();
        let expected = "stagedoor thing 1\nservice re%0adis\nlisten *:6379\n\
                        written 2026-11-23T04:28:20.690Z\none\ntwo\nend ";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(Page::parse(KIND, &text), Ok(page()));
        let other = Kind { word: "thin", ..KIND };
        assert_eq!(Page::parse(other, &text), Err(Disbelief::Malformed(1)));
        assert_eq!(page().numbered().collect::<Vec<_>>(), [(5, "one"), (6, "two")]);
    }

    #[test]
    fn what_was_written_after_now_or_is_anothers_has_no_age() {
        let age = |of: &Owner, now: &str| page().age(of, now.parse().unwrap());
        let own = page().of;
        let later = "2026-11-23T04:38:20.690Z";
        assert_eq!(age(&own, later), Ok(Duration::from_secs(600)));
        let future = age(&own, "2026-11-23T04:28:00.690Z").unwrap_err();
        let said = "it is from the future, by 20s: the clock has been set back";
        assert_eq!(future.to_string(), said);
        let moved = Owner { listen: "127.0.0.1:6379".into(), ..own };
        let foreign = age(&moved, later).unwrap_err();
        assert_eq!(foreign.to_string(), "it is of service \"re\ndis\" on *:6379");
        let max_age = Duration::from_secs(600);
        let old = Disbelief::TooOld { age: Duration::from_millis(601_690), max_age };
        let said = "it is 10m 1s old, and older than 10m is not believed";
        assert_eq!(old.to_string(), said);
    }

    #[test]
    fn every_owner_has_a_file_of_its_own_and_a_legible_name() {
        let file = |service: &str, listen: &str| {
            Owner { service: service.to_owned(), listen: listen.to_owned() }.file_name(KIND)
        };
        assert!(file("Redis", "*:6379").starts_with("Redis---6379-"));
        let long = "../".repeat(40);
        let names = [
            file("a", "b"),
            file("a-b", ""),
            file("a", "-b"),
            file(&long, "*:1"),
            file(&long, "*:2"),
            file("Ä", "*:1"),
            file("Ö", "*:1"),
        ];
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name}");
            assert!(name.len() < 120 && !name.contains(['/', '.']) || name.ends_with(".thing"));
            assert!(!name.starts_with('.') && !name.contains('/'), "{name}");
        }
    }
}
