//! The files of a configuration, read through a record of what was in them.
//!
//! A load reads each file once, and keeps what it has read. A load through the record of another
//! one sees what that one saw, whatever has become of the files since: so a renewed certificate can
//! be put into the configuration in force, and nothing else that lies half-edited on the disk.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::read::{ReadError, list_folder, read_bytes};

/// What is in a file, or why that cannot be said.
pub type Content = Result<Arc<[u8]>, ReadError>;

/// What reads files. By default it remembers nothing.
#[derive(Clone, Default)]
pub struct Files(Option<Arc<Mutex<Record>>>);

/// What was found on the disk.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Definitions, settings, checks, secrets.
    texts: BTreeMap<PathBuf, Content>,
    /// Certificates, keys and revocation lists: what is watched.
    pem: BTreeMap<PathBuf, Content>,
    /// What was in folders of definitions.
    folders: BTreeMap<PathBuf, Result<Vec<PathBuf>, ReadError>>,
    /// What was a folder.
    are_folders: BTreeMap<PathBuf, bool>,
    /// What was there at all.
    present: BTreeMap<PathBuf, Result<bool, ReadError>>,
}

// === impl Files ===

impl Files {
    /// Answers as this record does, and adds to it what is not in it.
    pub fn recorded(record: Record) -> Self {
        Self(Some(Arc::new(Mutex::new(record))))
    }

    /// Everything that has been read.
    pub fn record(&self) -> Record {
        self.0.as_deref().map(|record| locked(record).clone()).unwrap_or_default()
    }

    /// What is in a regular file of at most `cap` bytes.
    pub fn read(&self, path: &Path, cap: u64) -> Content {
        let read = || read_bytes(path, cap).map(Arc::from);
        self.remembered(path, |record| &mut record.texts, read)
    }

    /// The same for one that is watched.
    pub fn read_pem(&self, path: &Path, cap: u64) -> Content {
        let read = || read_bytes(path, cap).map(Arc::from);
        self.remembered(path, |record| &mut record.pem, read)
    }

    /// The definition or settings files of a folder, by name.
    ///
    /// # Errors
    /// What the system says.
    pub fn list(&self, folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
        let list = || list_folder(folder).map_err(ReadError::from);
        self.remembered(folder, |record| &mut record.folders, list)
    }

    /// Is this a folder?
    pub fn is_folder(&self, path: &Path) -> bool {
        self.remembered(path, |record| &mut record.are_folders, || path.is_dir())
    }

    /// Is anything there?
    ///
    /// # Errors
    /// This user may not look.
    pub fn holds(&self, path: &Path) -> Result<bool, ReadError> {
        let look = || path.try_exists().map_err(ReadError::from);
        self.remembered(path, |record| &mut record.present, look)
    }

    /// What the record says, or what the disk says, which is then recorded.
    fn remembered<T: Clone>(
        &self,
        path: &Path,
        of: impl Fn(&mut Record) -> &mut BTreeMap<PathBuf, T>,
        find: impl FnOnce() -> T,
    ) -> T {
        let Some(record) = &self.0 else { return find() };
        if let Some(known) = of(&mut locked(record)).get(path) {
            return known.clone();
        }
        let found = find();
        of(&mut locked(record)).insert(path.to_owned(), found.clone());
        found
    }
}

fn locked(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    // Every change is one call of `BTreeMap`: sound whatever panicked.
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files")
    }
}

// === impl Record ===

impl Record {
    /// What is watched, each with what it held.
    pub fn watched(&self) -> &BTreeMap<PathBuf, Content> {
        &self.pem
    }

    /// The same with other contents of files that are watched.
    #[must_use]
    pub fn with<'a>(&self, renewed: impl IntoIterator<Item = (&'a PathBuf, &'a Content)>) -> Self {
        let mut record = self.clone();
        let renewed = renewed.into_iter();
        record.pem.extend(renewed.map(|(path, content)| (path.clone(), content.clone())));
        record
    }
}

/// Shows the names alone: there are keys and passwords in these files.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.texts.keys().chain(self.pem.keys())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: Content) -> String {
        String::from_utf8_lossy(&content.unwrap()).into_owned()
    }

    #[test]
    fn what_was_read_is_what_is_seen_again_whatever_becomes_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
        std::fs::write(&path, "one").unwrap();
        let files = Files::recorded(Record::default());
        assert_eq!(text(files.read(&path, 9)), "one");
        assert!(!files.holds(&other).unwrap() && files.is_folder(folder.path()));
        assert_eq!(files.list(folder.path()).unwrap(), std::slice::from_ref(&path));
        assert_eq!(files.read(&other, 9).unwrap_err().to_string(), "there is no such file");

        std::fs::write(&path, "two").unwrap();
        std::fs::write(&other, "new").unwrap();
        let again = Files::recorded(files.record());
        assert_eq!(text(again.read(&path, 9)), "one");
        assert!(again.read(&other, 9).is_err() && !again.holds(&other).unwrap());
        assert_eq!(again.list(folder.path()).unwrap().len(), 1);
        assert_eq!(text(Files::default().read(&path, 9)), "two", "the disk itself");
    }

    #[test]
    fn only_what_is_watched_can_be_renewed_in_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("both.pem");
        std::fs::write(&path, "one").unwrap();
        let files = Files::recorded(Record::default());
        assert_eq!((text(files.read(&path, 9)), text(files.read_pem(&path, 9))).0, "one");
        let renewed: Content = Ok(Arc::from(*b"two"));
        let record = files.record().with([(&path, &renewed)]);
        assert_eq!(record.watched().len(), 1);
        let files = Files::recorded(record.clone());
        assert_eq!(text(files.read(&path, 9)), "one", "a secret stays what it was");
        assert_eq!(text(files.read_pem(&path, 9)), "two");
        assert!(!format!("{record:?} {files:?}").contains("one"), "and is never shown");
    }
}
