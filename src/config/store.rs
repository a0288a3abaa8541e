//! The certificate store: a folder with a PEM file an entry, named after its ID.
//!
//! The folder is for its owner alone, and so is every file in it, from the moment it is made. A
//! file is there whole or not at all. What is in one is `wire::entry`'s to say.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::wire::certificate::Digest;

/// Where it is unless the settings say otherwise; for everybody, so that whoever adds a
/// certificate and the process that presents it mean the same one.
const USUAL_FOLDER: &str = "/etc/stagedoor/certificates";

/// A certificate store. Its folder need not be there: then nothing is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in this folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of an entry.
    pub fn path_of(&self, id: &Digest) -> PathBuf {
        self.folder.join(format!("{id}.pem"))
    }

    /// The entry that is read where this path leads, by whichever way.
    pub fn entry_at(&self, path: &Path) -> Option<Digest> {
        let real = Self::new(self.folder.canonicalize().ok()?);
        real.id_at(&path.canonicalize().ok()?)
    }

    /// The entry whose file this is, if it is one.
    fn id_at(&self, path: &Path) -> Option<Digest> {
        let id = Digest::from_hex(path.file_stem()?.to_str()?)?;
        (self.path_of(&id) == path).then_some(id)
    }

    /// The IDs of all entries, in order.
    ///
    /// # Errors
    /// What the system says.
    pub fn ids(&self) -> io::Result<Vec<Digest>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut ids = Vec::new();
        for entry in entries {
            ids.extend(self.id_at(&entry?.path()));
        }
        ids.sort();
        Ok(ids)
    }

    /// May others than its owner look into it?
    pub fn is_exposed(&self) -> bool {
        self.folder.metadata().is_ok_and(|folder| folder.is_dir() && folder.mode() & 0o077 != 0)
    }

    /// Writes an entry, over the one that is there. Where root does it, the file belongs to whom
    /// the folder belongs: a service that owns its store can read what is added.
    ///
    /// # Errors
    /// What the system says; the entry is as it was.
    pub fn put(&self, id: &Digest, text: &str) -> io::Result<()> {
        self.make_folder()?;
        let unfinished = self.folder.join(format!(".{id}.{:016x}", fastrand::u64(..)));
        let written = self.write(&unfinished, text);
        let put = written.and_then(|()| std::fs::rename(&unfinished, self.path_of(id)));
        if put.is_err() {
            drop(std::fs::remove_file(&unfinished));
        }
        put.and_then(|()| self.settle())
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, id: &Digest) -> io::Result<()> {
        std::fs::remove_file(self.path_of(id))?;
        self.settle()
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        give(&file, &self.folder)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    fn make_folder(&self) -> io::Result<()> {
        if self.folder.is_dir() {
            return Ok(());
        }
        let parent = self.folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            std::fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(0o700).create(&self.folder)?;
        give(&File::open(&self.folder)?, parent.unwrap_or(Path::new(".")))
    }

    /// Has what was changed in the folder written.
    fn settle(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

/// What root makes belongs to whom `model` belongs.
fn give(made: &File, model: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let model = model.metadata()?;
    std::os::unix::fs::fchown(made, Some(model.uid()), Some(model.gid()))
}

impl Default for Store {
    fn default() -> Self {
        Self::new(PathBuf::from(USUAL_FOLDER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_put_is_for_its_owner_alone_and_listed_until_it_is_removed() {
        let around = tempfile::tempdir().unwrap();
        let store = Store::new(around.path().join("deep/er/store"));
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        assert_eq!(store.ids().unwrap(), []);
        assert!(!store.path_of(&one).exists() && !store.is_exposed());
        store.put(&one, "1").unwrap();
        store.put(&two, "2").unwrap();
        store.put(&one, "again").unwrap();
        let mut ids = vec![one, two];
        ids.sort();
        assert_eq!(store.ids().unwrap(), ids);
        assert_eq!(std::fs::read_to_string(store.path_of(&one)).unwrap(), "again");
        assert_eq!((mode(store.folder()), mode(&store.path_of(&one))), (0o700, 0o600));
        assert!(mode(around.path().join("deep").as_path()) & 0o055 != 0, "its parents are not");
        store.remove(&one).unwrap();
        assert_eq!(store.ids().unwrap(), [two]);
        assert!(store.remove(&one).is_err());
        assert_eq!(std::fs::read_dir(store.folder()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_is_put_belongs_to_whom_the_folder_belongs() {
        let folder = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(12_345), Some(54_321)).unwrap();
        }
        let owner = |path: &Path| path.metadata().map(|it| (it.uid(), it.gid())).unwrap();
        for store in [folder.path().to_owned(), folder.path().join("store")].map(Store::new) {
            let id = Digest::of(b"one");
            store.put(&id, "1").unwrap();
            assert_eq!(owner(store.folder()), owner(folder.path()));
            assert_eq!(owner(&store.path_of(&id)), owner(folder.path()));
        }
    }

    #[test]
    fn what_is_no_entry_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let id = Digest::of(b"one");
        for name in [".hidden", "notes.txt", "abc.pem", &format!("{id}.key"), &format!(".{id}.00")]
        {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(store.ids().unwrap(), []);
        assert_eq!(store.id_at(&store.path_of(&id)), Some(id));
        assert_eq!(store.entry_at(&store.path_of(&id)), None, "there is none");
        store.put(&id, "").unwrap();
        let link = folder.path().join("link.pem");
        std::os::unix::fs::symlink(store.path_of(&id), &link).unwrap();
        let around = folder.path().join("../").join(folder.path().file_name().unwrap());
        for path in [&link, &store.path_of(&id), &around.join(format!("{id}.pem"))] {
            assert_eq!(store.entry_at(path), Some(id), "{}", path.display());
        }
        assert_eq!(store.id_at(Path::new(&format!("/elsewhere/{id}.pem"))), None);
    }

    #[test]
    fn a_folder_that_others_may_look_into_is_noticed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        for (mode, expected) in [(0o700, false), (0o750, true), (0o701, true), (0o500, false)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path(), permissions).unwrap();
            assert_eq!(store.is_exposed(), expected, "{mode:o}");
        }
    }
}
