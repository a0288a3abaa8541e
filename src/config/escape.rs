//! Messages of a check script: escapes undone, holes kept, compiled once.
//!
//! Knows `\r \n \t \\ \xNN` and `${target.host}`, `${target.port}`, `${env:NAME}`,
//! `${file:PATH}`, `${capture.NAME}`; in a check file also `${with.NAME}`. Bytes that the file's
//! own format has decoded already, such as a real CR LF, pass through.

use crate::config::check::{Comparison, Operator, Part, Template};
use crate::config::parameters::Holes;
use crate::config::problem::{Complaint, did_you_mean};
use crate::config::secrets::{self, Piece};

const ESCAPES: &str = "a message knows \\r \\n \\t \\\\ and \\xNN";
const HOLES: [&str; 6] =
    ["target.host", "target.port", "env:NAME", "file:PATH", "capture.NAME", "with.NAME"];

/// Compiles a message.
pub fn template(text: &str, holes: Holes<'_>) -> Result<Template, Complaint> {
    let pieces = pieces(text)?;
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Text(text) => push_bytes(&mut parts, &unescape(text)?),
            Piece::Hole(hole) => parts.push(fill(hole, holes)?),
        }
    }
    Ok(Template { parts })
}

/// Compiles the words of a message. They are split where blanks are written: what a hole brings
/// in, and what is written `\x20`, stays within its word.
pub fn words(text: &str, holes: Holes<'_>) -> Result<Vec<Template>, Complaint> {
    let mut words = Vec::new();
    let mut word: Option<Template> = None;
    for piece in pieces(text)? {
        match piece {
            Piece::Hole(hole) => {
                word.get_or_insert_default().parts.push(fill(hole, holes)?);
            }
            Piece::Text(text) => {
                for (at, run) in text.split(|c: char| c.is_ascii_whitespace()).enumerate() {
                    if at > 0 {
                        words.extend(word.take());
                    }
                    if !run.is_empty() {
                        push_bytes(&mut word.get_or_insert_default().parts, &unescape(run)?);
                    }
                }
            }
        }
    }
    words.extend(word);
    Ok(words)
}

/// Compiles `left operator right`.
pub fn comparison(text: &str, holes: Holes<'_>) -> Result<Comparison, Complaint> {
    const FORM: &str = "write it like ${capture.lag} < 10, with one of < <= == != >= >";
    let found = operators(text);
    let [(at, operator, length)] = found.as_slice() else {
        let what =
            if found.is_empty() { "there is no operator" } else { "there are two operators" };
        return Err(Complaint::new(what, FORM));
    };
    let (left, right) = (text[..*at].trim(), text[at + length..].trim());
    if left.is_empty() || right.is_empty() {
        return Err(Complaint::new("one side of the comparison is empty", FORM));
    }
    let left = template(left, holes)?;
    let right = template(right, holes)?;
    Ok(Comparison { left, operator: *operator, right })
}

/// Reads hexadecimal bytes; blanks between them are fine.
pub fn hex(text: &str) -> Result<Vec<u8>, Complaint> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if let Some(bad) = digits.iter().find(|c| !c.is_ascii_hexdigit()) {
        let what = format!("{bad:?} is no hexadecimal digit");
        return Err(Complaint::new(what, "write bytes like \"00 0d ff\""));
    }
    if digits.len() % 2 == 1 {
        return Err(Complaint::new("half a byte is left over", "write two digits a byte"));
    }
    let nibble = |c: char| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    Ok(digits.chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect())
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Complaint> {
    secrets::pieces(text).map_err(|what| Complaint::new(what, "write $${ for a plain ${"))
}

fn push_bytes(parts: &mut Vec<Part>, bytes: &[u8]) {
    if let Some(Part::Bytes(before)) = parts.last_mut() {
        before.extend_from_slice(bytes);
    } else if !bytes.is_empty() {
        parts.push(Part::Bytes(bytes.to_vec()));
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, Complaint> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let after = &rest[at + 1..];
        let Some(escape) = after.chars().next() else {
            return Err(Complaint::new("a `\\` at the end escapes nothing", ESCAPES));
        };
        let mut used = escape.len_utf8();
        match escape {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '\\' => bytes.push(b'\\'),
            'x' => {
                let digits = after.get(1..3).filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()));
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(byte.ok_or_else(|| {
                    Complaint::new("`\\x` wants two hexadecimal digits after it", ESCAPES)
                })?);
                used = 3;
            }
            other => {
                let what = format!("`\\{}` is no escape", other.escape_debug());
                return Err(Complaint::new(what, ESCAPES));
            }
        }
        rest = &after[used..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

fn fill(hole: &str, holes: Holes<'_>) -> Result<Part, Complaint> {
    if let Some(secret) = secrets::resolve(hole, holes.env, holes.folder) {
        let secret = secret.map_err(|what| Complaint::new(what, ""))?;
        return Ok(Part::Secret(secret.reveal().as_bytes().to_vec()));
    }
    match hole {
        "target.host" => return Ok(Part::TargetHost),
        "target.port" => return Ok(Part::TargetPort),
        _ => {}
    }
    if let Some(parameter) = hole.strip_prefix("with.") {
        return holes.with.map(|with| with.fill(parameter)).ok_or_else(|| {
            let right = "write the value itself; only a file that `check` names has parameters";
            Complaint::new("there are no parameters here", right)
        });
    }
    match hole.strip_prefix("capture.") {
        Some(name) if !name.is_empty() => Ok(Part::Capture(name.into())),
        Some(_) | None => {
            let shown: String = hole.chars().take(60).flat_map(char::escape_debug).collect();
            let right = match did_you_mean(hole, HOLES) {
                Some(meant) => format!("did you mean `${{{meant}}}`?"),
                None => "write $${ for a plain ${".to_owned(),
            };
            Err(Complaint::new(format!("`${{{shown}}}` means nothing here"), right))
        }
    }
}

/// The operators outside of holes: where, which, how long.
fn operators(text: &str) -> Vec<(usize, Operator, usize)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"${") {
            at += text[at..].find('}').unwrap_or(text.len() - at);
            continue;
        }
        let (operator, length) = match (bytes[at], bytes.get(at + 1)) {
            (b'<', Some(b'=')) => (Some(Operator::LessOrEqual), 2),
            (b'>', Some(b'=')) => (Some(Operator::GreaterOrEqual), 2),
            (b'=', Some(b'=')) => (Some(Operator::Equal), 2),
            (b'!', Some(b'=')) => (Some(Operator::NotEqual), 2),
            (b'<', _) => (Some(Operator::Less), 1),
            (b'>', _) => (Some(Operator::Greater), 1),
            (_, _) => (None, 1),
        };
        found.extend(operator.map(|operator| (at, operator, length)));
        at += length;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::environment::Environment;
    use crate::config::parameters::Parameters;

    fn with_holes<T>(use_them: impl FnOnce(Holes<'_>) -> T) -> T {
        let env = Environment::from_pairs([("PASS", "a\\r${b}")]);
        let mut with = Parameters::default();
        with.give("user", "a b\\r", false);
        use_them(Holes { env: &env, folder: Path::new(""), with: Some(&with) })
    }

    fn compile(text: &str) -> Result<Template, Complaint> {
        with_holes(|holes| template(text, holes))
    }

    fn check(text: &str, expected: &[Part]) {
        assert_eq!(compile(text).unwrap().parts, expected, "{text}");
    }

    fn refuse(text: &str, expected: &str) {
        assert_eq!(compile(text).unwrap_err().what, expected, "{text}");
    }

    #[test]
    fn escapes_are_undone_and_holes_kept() {
        let bytes = |bytes: &[u8]| Part::Bytes(bytes.to_vec());
        check("PING\\r\\n", &[bytes(b"PING\r\n")]);
        check("PING\r\n", &[bytes(b"PING\r\n")]);
        check("a\\\\r\\t\\x00\\xfFä", &[bytes(b"a\\r\t\x00\xff\xc3\xa4")]);
        check("", &[]);
        check("${target.host}:${target.port}", &[Part::TargetHost, bytes(b":"), Part::TargetPort]);
        check("x${capture.lag}", &[bytes(b"x"), Part::Capture("lag".into())]);
        check(
            "AUTH ${env:PASS}\\n",
            &[bytes(b"AUTH "), Part::Secret(b"a\\r${b}".to_vec()), bytes(b"\n")],
        );
        check("$${target.host}", &[bytes(b"${target.host}")]);
        check("u=${with.user}${with.x:-y z}", &[bytes(b"u="), bytes(b"a b\\r"), bytes(b"y z")]);
    }

    #[test]
    fn words_are_split_where_blanks_are_written_and_nowhere_else() {
        let bytes = |bytes: &[u8]| Part::Bytes(bytes.to_vec());
        let check = |text: &str, expected: &[&[Part]]| {
            let words = with_holes(|holes| words(text, holes)).unwrap();
            let words: Vec<_> = words.into_iter().map(|word| word.parts).collect();
            assert_eq!(words, expected, "{text}");
        };
        check(
            "  AUTH\t${with.user}  p${target.port}x\r\n",
            &[
                &[bytes(b"AUTH")],
                &[bytes(b"a b\\r")],
                &[bytes(b"p"), Part::TargetPort, bytes(b"x")],
            ],
        );
        check(
            "a\\x20b ${with.none:-} ${with.n:-c d}",
            &[&[bytes(b"a b")], &[bytes(b"")], &[bytes(b"c d")]],
        );
        check(" ", &[]);
    }

    #[test]
    fn what_is_no_message_is_said_plainly() {
        refuse("a\\q", "`\\q` is no escape");
        refuse("a\\", "a `\\` at the end escapes nothing");
        refuse("\\x4", "`\\x` wants two hexadecimal digits after it");
        refuse("\\xgg", "`\\x` wants two hexadecimal digits after it");
        refuse("\\xä", "`\\x` wants two hexadecimal digits after it");
        refuse("${target.hots}", "`${target.hots}` means nothing here");
        refuse("${capture.}", "`${capture.}` means nothing here");
        refuse("${env:NONE}", "the environment variable NONE is not set");
        refuse("${target.host", "a `${` with no `}` after it");
    }

    #[test]
    fn a_comparison_has_one_operator() {
        let compile = |text| with_holes(|holes| comparison(text, holes));
        let compared = compile("${capture.lag} <= 10").unwrap();
        assert_eq!(compared.left.parts, [Part::Capture("lag".into())]);
        assert_eq!(compared.operator, Operator::LessOrEqual);
        assert_eq!(compared.right, Template::literal("10"));
        assert_eq!(compile("a!=b").unwrap().operator, Operator::NotEqual);
        assert!(compile("a = b").is_err());
        assert!(compile("a < b < c").is_err());
        assert!(compile("< 10").is_err());
        assert!(compile("").is_err());
    }

    #[test]
    fn hexadecimal_is_pairs_of_digits() {
        assert_eq!(hex("00 0D ff").unwrap(), [0, 13, 255]);
        assert_eq!(hex("").unwrap(), [0_u8; 0]);
        assert!(hex("0").is_err());
        assert!(hex("0x00").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            if let Ok(compiled) = compile(&text) {
                proptest::prop_assert!(compiled.parts.len() <= text.len() + 1);
            }
            drop(with_holes(|holes| comparison(&text, holes)));
            drop(with_holes(|holes| words(&text, holes)));
            drop(hex(&text));
        }
    }
}
