//! A configuration with renewed certificates: everything as it was read, but for files that are
//! watched, as far as they are good.
//!
//! Every rule holds for a renewed certificate as for the first one, since the configuration is
//! loaded anew, from its record. One broken file keeps no other from being taken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::files::{Content, Record};
use crate::config::load::{Loaded, Sources, load_through};
use crate::config::problem::Problem;

/// What came of renewed files.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// The configuration with those that are good; `None`: none is.
    pub loaded: Option<Loaded>,
    /// Those that are not, each with the reason.
    pub refused: BTreeMap<PathBuf, String>,
}

/// Puts what watched files hold now into the configuration of `record`.
pub fn refresh(
    sources: &Sources,
    record: &Record,
    renewed: &BTreeMap<PathBuf, Content>,
) -> Refreshed {
    let mut sieve = Sieve { sources, record: record.clone(), kept: Refreshed::default() };
    let (readable, lost): (Vec<(&PathBuf, &Content)>, Vec<_>) =
        renewed.iter().partition(|(_, content)| content.is_ok());
    sieve.sift(&readable);
    for (path, content) in lost {
        if let Err(error) = content {
            sieve.kept.refused.insert(path.clone(), format!("it cannot be read: {error}"));
        }
    }
    sieve.kept
}

struct Sieve<'a> {
    sources: &'a Sources,
    /// With what has been taken.
    record: Record,
    kept: Refreshed,
}

// === impl Sieve ===

impl Sieve<'_> {
    /// Takes those that are good, by halves: one broken file among thousands is found in a dozen
    /// steps.
    fn sift(&mut self, files: &[(&PathBuf, &Content)]) {
        if files.is_empty() {
            return;
        }
        let mut loaded = load_through(self.sources, self.record.with(files.iter().copied()));
        if loaded.model.is_some() {
            self.record = loaded.record.clone();
            self.kept.loaded = Some(loaded);
            return;
        }
        if let [(path, _)] = files {
            let why = why(&mut loaded.problems, path);
            self.kept.refused.insert((*path).clone(), why);
            return;
        }
        let (first, second) = files.split_at(files.len() / 2);
        self.sift(first);
        self.sift(second);
    }
}

/// What is wrong with a file: without it there was no error.
fn why(problems: &mut Vec<Problem>, path: &Path) -> String {
    problems.retain(Problem::is_error);
    let Some(first) = problems.first() else { return "it cannot be used".to_owned() };
    let what = first.what.replacen(&path.display().to_string(), "it", 1);
    match &first.right {
        Some(right) => format!("{what}: {right}"),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::config::model::Protocol;
    use crate::config::origin::Configuration;

    fn made(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (certificate.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn content(text: &str) -> Content {
        Ok(Arc::from(text.as_bytes()))
    }

    /// Services `0`, `1`, … with a certificate each, loaded from a folder.
    fn services(folder: &Path, count: usize) -> (Sources, Record) {
        for index in 0..count {
            let (certificate, key) = made(&format!("old-{index}.test"));
            std::fs::write(folder.join(format!("{index}.pem")), certificate + &key).unwrap();
            let text = format!(
                r#"{{ "listen_port": {}, "name": "{index}", "protocol": "tls",
                     "certificates": "{index}.pem", "proxy": {{ "target_url": "127.0.0.1:9" }} }}"#,
                2000 + index
            );
            std::fs::write(folder.join(format!("{index}.json")), text).unwrap();
        }
        let sources = Sources { paths: vec![folder.to_owned()], ..Sources::default() };
        let loaded = load_through(&sources, Record::default());
        assert!(loaded.model.is_some(), "{:#?}", loaded.problems);
        (sources, loaded.record)
    }

    fn presented(refreshed: Refreshed) -> Vec<String> {
        let Some(mut loaded) = refreshed.loaded else { return Vec::new() };
        let model = Configuration::of(&mut loaded).unwrap().model;
        let names = model.services.values().map(|service| match &service.protocol {
            Protocol::Tls(end) => end.certificates[0].certificate.facts.names[0].clone(),
            Protocol::Tcp | Protocol::TlsPassthrough => String::new(),
        });
        names.collect()
    }

    #[test]
    fn good_files_are_taken_whatever_is_wrong_with_others() {
        let folder = tempfile::tempdir().unwrap();
        let (sources, record) = services(folder.path(), 5);
        let at = |index: usize| folder.path().join(format!("{index}.pem"));
        let (new, key) = made("new.test");
        let renewed = BTreeMap::from([
            (at(0), content(&format!("{new}{key}"))),
            (at(1), content(&new)),
            (at(2), content(&(new.clone() + &made("x.test").1))),
            (at(3), Err(crate::config::read::ReadError::Missing)),
            (at(4), content(&format!("{key}{new}"))),
        ]);
        let refreshed = refresh(&sources, &record, &renewed);
        let refused: Vec<_> = refreshed.refused.values().map(String::as_str).collect();
        assert_eq!(refreshed.refused.keys().cloned().collect::<Vec<_>>(), [at(1), at(2), at(3)]);
        assert!(
            refused[0].starts_with("it cannot be used: there is no private key"),
            "{refused:?}"
        );
        assert!(refused[1].contains("does not belong to its first certificate"), "{refused:?}");
        assert_eq!(refused[2], "it cannot be read: there is no such file");
        let names = presented(refreshed);
        assert_eq!(names, ["new.test", "old-1.test", "old-2.test", "old-3.test", "new.test"]);
    }

    #[test]
    fn whatever_else_has_changed_stays_out() {
        let folder = tempfile::tempdir().unwrap();
        let (sources, record) = services(folder.path(), 2);
        std::fs::write(folder.path().join("0.json"), "{ half").unwrap();
        std::fs::remove_file(folder.path().join("1.json")).unwrap();
        std::fs::remove_file(folder.path().join("1.pem")).unwrap();
        let (new, key) = made("new.test");
        let renewed = BTreeMap::from([(folder.path().join("0.pem"), content(&(new + &key)))]);
        let refreshed = refresh(&sources, &record, &renewed);
        assert!(refreshed.refused.is_empty(), "{refreshed:?}");
        assert_eq!(presented(refreshed), ["new.test", "old-1.test"]);
    }
}
