//! The environment of the process, as a value: its variables, read once, handed in, replaced in
//! tests; and what reads files for it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use crate::config::files::Files;

/// Environment variables, and files.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    files: Files,
}

impl Environment {
    /// Those of this process, as they are now.
    pub fn of_process() -> Self {
        Self { variables: std::env::vars_os().collect(), files: Files::default() }
    }

    /// These.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { variables: pairs.collect(), files: Files::default() }
    }

    /// The same variables, where files are read so.
    #[must_use]
    pub fn reading(&self, files: Files) -> Self {
        Self { variables: self.variables.clone(), files }
    }

    /// What reads files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The value of a variable that names a path; an empty one names none.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// All variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

/// The lowest port that this process may open.
pub fn lowest_port() -> u16 {
    const NET_BIND_SERVICE: u64 = 1 << 10;
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|it| u64::from_str_radix(it.trim(), 16).ok());
    if capabilities.is_none_or(|it| it & NET_BIND_SERVICE != 0) {
        return 0;
    }
    read("/proc/sys/net/ipv4/ip_unprivileged_port_start").trim().parse().unwrap_or(1024)
}

/// Shows the names alone: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
