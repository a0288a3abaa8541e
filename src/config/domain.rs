//! The SNI names that services answer on a shared port.

use std::fmt;
use std::sync::Arc;

/// The longest DNS name.
const LONGEST: usize = 253;

/// A name, or every name one label below another: lower case, without a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// This name.
    Exact(Arc<str>),
    /// `*.` and this: names with one label more.
    Wildcard(Arc<str>),
}

// === impl Domain ===

impl Domain {
    /// Reads `name.example` or `*.name.example`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let name = normal(text.trim());
        if let Some(below) = name.strip_prefix("*.") {
            check(below)?;
            return Ok(Self::Wildcard(below.into()));
        }
        check(&name)?;
        Ok(Self::Exact(name.into()))
    }
}

/// A name as it is compared: in lower case, without one trailing dot (RFC 4343; RFC 6066 section 3
/// knows no trailing dot, and clients send one all the same).
pub fn normal(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_suffix('.').map(str::to_owned).unwrap_or(name)
}

fn check(name: &str) -> Result<(), &'static str> {
    let in_label = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > LONGEST {
        return Err("it is longer than a DNS name can be (253)");
    }
    if name.contains('*') {
        return Err("a `*` stands for the first label only, and for all of it: *.example.com");
    }
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Err("an IP address is never sent as SNI");
    }
    if !name.is_ascii() {
        return Err("write an international name in its ASCII form (xn--…)");
    }
    let good = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(in_label);
    if name.split('.').all(good) { Ok(()) } else { Err("it is no DNS name") }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(below) => write!(f, "*.{below}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_dns_name_whose_first_label_may_be_a_star() {
        let shown = |text| Domain::parse(text).map(|domain| domain.to_string());
        assert_eq!(shown("A.Example.COM."), Ok("a.example.com".to_owned()));
        assert_eq!(shown("*.Example.com"), Ok("*.example.com".to_owned()));
        assert_eq!(shown("_x.a-b.test"), Ok("_x.a-b.test".to_owned()));
        let long = format!("{}.test", "a".repeat(64));
        for wrong in
            ["", "*", "*.", "a.*.b", "*a.b", "a..b", "a b", "10.0.0.1", "ä.test", ".a", &long]
        {
            assert!(Domain::parse(wrong).is_err(), "{wrong}");
        }
    }
}
