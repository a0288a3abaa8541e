//! Bytes that a peer chose, made fit to be shown: in a log line, on a terminal, in a transcript.

use std::fmt;

/// Shows bytes as text: printable ASCII as it is, the rest as `\r`, `\n`, `\t`, `\\`, `\"`, `\xNN`.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_move_a_cursor_or_end_a_quote_is_left() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(Escaped(bytes).to_string(), expected);
        check(b"+PONG\r\n", "+PONG\\r\\n");
        check(b"\x1b[2J\"\\", "\\x1b[2J\\\"\\\\");
        check("é".as_bytes(), "\\xc3\\xa9");
    }
}
