//! The question that a directory is asked: which lists stand for each other.
//!
//! A list that was heard counts for as long as the same is asked of the same directory. How it is
//! spoken to and who we say that we are is no part of that: certificates and tokens are renewed.

use crate::config::address::Spoken;
use crate::config::discovery::{Directory, Discovery, DocumentShape, HttpDirectory};
use crate::wire::certificate::Digest;

/// Headers that say who asks, whatever their case. Further ones end so.
const OF_WHOEVER_ASKS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];
const ENDINGS: [&str; 3] = ["-token", "-key", "-secret"];

// === impl Discovery ===

impl Discovery {
    /// What is asked of whom, and how much of the answer is taken, summed up. It tells nothing of
    /// what a token might be.
    pub fn question(&self) -> Digest {
        let taken = if self.first_only { "first" } else { "all" };
        let parts = [vec![taken.to_owned()], self.directory.question()].concat();
        // No two lists of texts are the same text.
        let text: String = parts.iter().map(|part| format!("{}:{part}\n", part.len())).collect();
        Digest::of(text.as_bytes())
    }
}

// === impl Directory ===

impl Directory {
    fn question(&self) -> Vec<String> {
        match self {
            Self::Http(http) => http.question(),
            Self::Name(name) => {
                let spoken = text_of(name.spoken);
                vec!["dns".into(), spoken, name.host.to_string(), name.port.to_string()]
            }
            Self::Srv(srv) => vec!["srv".into(), text_of(srv.spoken), srv.name.to_string()],
            Self::File(path) => vec!["file".into(), path.to_string_lossy().into_owned()],
        }
    }
}

// === impl HttpDirectory ===

impl HttpDirectory {
    fn question(&self) -> Vec<String> {
        let DocumentShape { is_list, is_nested, parent, host, port } = &self.document;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let paths = [parent, host, port].map(ToString::to_string);
        let asked = [self.address.to_string(), self.host.clone(), self.path.clone()];
        let mut parts = vec![scheme.to_owned(), is_list.to_string(), is_nested.to_string()];
        parts.extend(asked.into_iter().chain(paths));
        let counts = |(name, _): &&(String, String)| !is_of_whoever_asks(name);
        for (name, value) in self.headers.iter().filter(counts) {
            parts.extend([name.to_ascii_lowercase(), value.clone()]);
        }
        parts
    }
}

fn text_of(spoken: Spoken) -> String {
    match spoken {
        Spoken::Tcp => "tcp".to_owned(),
        Spoken::Tls => "tls".to_owned(),
    }
}

fn is_of_whoever_asks(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    OF_WHOEVER_ASKS.contains(&&*header) || ENDINGS.iter().any(|ending| header.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::address;
    use crate::config::discovery::{NameDirectory, SrvDirectory};
    use crate::config::dot_path::DotPath;
    use crate::config::mould::Mould;
    use crate::config::transport::{Transport, Trust};

    fn http() -> HttpDirectory {
        HttpDirectory {
            address: address::target("consul:8500").unwrap().1,
            tls: None,
            host: "consul:8500".into(),
            path: "/v1?dc=a".into(),
            headers: vec![("X-Consul-Token".into(), "one".into()), ("X-Space".into(), "a".into())],
            document: DocumentShape::default(),
        }
    }

    fn of(change: impl FnOnce(&mut HttpDirectory)) -> Digest {
        let mut http = http();
        change(&mut http);
        question(Directory::Http(Box::new(http)))
    }

    fn question(directory: Directory) -> Digest {
        let once = Duration::from_secs(1);
        let discovery = Discovery {
            directory,
            interval: once,
            by_ttl: false,
            name_servers: Arc::default(),
            timeout: once,
            allow_empty: false,
            first_only: false,
            mould: Mould::default(),
        };
        discovery.question()
    }

    #[test]
    fn whoever_asks_and_how_is_no_part_of_the_question() {
        let address = http().address;
        let policy = |transport: Transport| Some(Arc::new(transport.policy(&address).unwrap()));
        let over_tls = policy(Transport::default());
        let lax = policy(Transport { trust: Trust::Anyone, ..Transport::default() });
        assert_eq!(of(|http| http.tls = over_tls), of(|http| http.tls = lax));
        assert_eq!(of(|_| ()), of(|http| http.headers[0].1 = "two".into()));
        for secret in ["authorization", "COOKIE", "X-Vault-Token", "X-Api-Key"] {
            assert_eq!(of(|_| ()), of(|http| http.headers.push((secret.into(), "x".into()))));
        }
    }

    #[test]
    fn everything_else_is() {
        let path = |text| DotPath::parse(text).unwrap();
        let mut all = HashSet::from([
            of(|_| ()),
            of(|http| http.tls = Transport::default().policy(&http.address).map(Arc::new)),
            of(|http| http.path.push('b')),
            of(|http| http.host = "other".into()),
            of(|http| http.address = address::target("consul:8501").unwrap().1),
            of(|http| http.headers[1].1 = "b".into()),
            of(|http| http.headers.truncate(1)),
            of(|http| http.document.is_list = true),
            of(|http| http.document.is_nested = true),
            of(|http| http.document.parent = path("a")),
            of(|http| http.document.host = path("a")),
            of(|http| http.document.port = path("a")),
        ]);
        assert_eq!(all.len(), 12);
        let name = |spoken, port| {
            question(Directory::Name(NameDirectory { spoken, host: "a".into(), port }))
        };
        all.extend([name(Spoken::Tcp, 1), name(Spoken::Tls, 1), name(Spoken::Tcp, 2)]);
        let srv = |spoken| question(Directory::Srv(SrvDirectory { spoken, name: "a".into() }));
        all.extend([srv(Spoken::Tcp), srv(Spoken::Tls)]);
        all.extend(["a", "b"].map(|path| question(Directory::File(Path::new(path).into()))));
        assert_eq!(all.len(), 19);
    }
}
