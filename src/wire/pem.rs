//! PEM text, as people have it: several blocks in any order, text around them, CRLF, a byte order
//! mark, or all of it on one line (as Tyk's definitions carry it).

use base64::Engine;
use rustls::pki_types::pem::{self, SectionKind};

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// One block: what it is, and its DER.
pub type Block = (SectionKind, Vec<u8>);

/// Why a text is no PEM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemFault {
    /// There is no block in it.
    #[error("there is no PEM block in it")]
    Empty,
    /// A block has no end, or not the one that its beginning asks for.
    #[error("the PEM block `{0}` has no end")]
    Unclosed(String),
    /// A block is encrypted.
    #[error("its private key is encrypted, and nobody is there to ask for the password")]
    Encrypted,
    /// What is in a block is no base64.
    #[error("the PEM block `{0}` is not base64")]
    Garbled(String),
}

/// Is this PEM itself, and not the name of something?
pub fn is_inline(text: &str) -> bool {
    text.contains(BEGIN)
}

/// Every block that is known: certificates, keys, revocation lists. Others are passed over.
///
/// # Errors
/// The first thing that is wrong.
pub fn blocks(text: &str) -> Result<Vec<Block>, PemFault> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let behind = &rest[at + BEGIN.len()..];
        let unclosed = |label: &str| PemFault::Unclosed(label.chars().take(40).collect());
        let (label, behind) = behind.split_once(DASHES).ok_or_else(|| unclosed(behind))?;
        let end = format!("-----END {label}-----");
        let (body, behind) = behind.split_once(&end).ok_or_else(|| unclosed(label))?;
        if label.starts_with("ENCRYPTED") || body.contains("ENCRYPTED") {
            return Err(PemFault::Encrypted);
        }
        found.extend(block(label, body, &end)?);
        rest = behind;
    }
    if found.is_empty() { Err(PemFault::Empty) } else { Ok(found) }
}

/// A block as PEM text, with lines of 64 characters.
pub fn write(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("{BEGIN}{label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// One block in the form that parsers take: its base64 on a line of its own.
fn block(label: &str, body: &str, end: &str) -> Result<Option<Block>, PemFault> {
    let body: String = body.split_ascii_whitespace().collect();
    let text = format!("{BEGIN}{label}-----\n{body}\n{end}\n");
    pem::from_buf(&mut text.as_bytes()).map_err(|_| PemFault::Garbled(label.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO: &str = "-----BEGIN CERTIFICATE-----\nAQID\nBAUG\n-----END CERTIFICATE-----\n\
                       -----BEGIN PRIVATE KEY-----\nBwg=\n-----END PRIVATE KEY-----\n";

    fn check(text: &str) {
        let found = blocks(text).unwrap();
        let expected = [
            (SectionKind::Certificate, vec![1, 2, 3, 4, 5, 6]),
            (SectionKind::PrivateKey, vec![7, 8]),
        ];
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn blocks_are_found_however_the_text_is_broken() {
        check(TWO);
        check(&TWO.replace('\n', "\r\n"));
        check(&TWO.replace('\n', " "));
        check(&format!("\u{feff}subject=me\n{TWO}trailing junk"));
        check(&TWO.replace('\n', "").replace("----------", "-----\n-----"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        assert_eq!(blocks("hello"), Err(PemFault::Empty));
        assert_eq!(blocks("-----BEGIN X-----\nAQID"), Err(PemFault::Unclosed("X".to_owned())));
        let garbled = TWO.replace("AQID", "A*ID");
        assert_eq!(blocks(&garbled), Err(PemFault::Garbled("CERTIFICATE".to_owned())));
        let encrypted = TWO.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert_eq!(blocks(&encrypted), Err(PemFault::Encrypted));
        let legacy =
            TWO.replace("Bwg=", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nBwg=");
        assert_eq!(blocks(&legacy), Err(PemFault::Encrypted));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(der in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = write("CERTIFICATE", &der);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            prop_assert_eq!(blocks(&text), Ok(vec![(SectionKind::Certificate, der)]));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}", cut in 0..TWO.len()) {
            drop(blocks(&text));
            drop(blocks(&format!("{}{text}{}", &TWO[..cut], &TWO[cut..])));
        }
    }
}
