//! Watched files, looked at again and again: which of them hold something new.
//!
//! A look costs a `stat` a file; a file is read only where that says something else than before, or
//! said so a moment ago: what is written twice within one tick of the file system's clock looks the
//! same. Names are followed wherever they lead, so that a file may be written in place, renamed
//! over, or be behind links that are moved (as Kubernetes does), on any file system.

use std::collections::{BTreeMap, HashMap};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::files::{Content, Files, Record};
use crate::config::validate::certificates::FILE_CAP;

/// So many looks after it has changed, a file is read whatever `stat` says.
const READ_AGAIN: u8 = 2;

/// What was seen of watched files.
#[derive(Debug, Default)]
pub struct Lookout {
    seen: HashMap<PathBuf, Seen>,
    /// What cannot be used, so that what was there before still is.
    refused: BTreeMap<PathBuf, Refused>,
}

/// What a look has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What differs from what is in use; empty where nothing new is to be tried.
    pub renewed: BTreeMap<PathBuf, Content>,
    /// What cannot be used, and has stood there for a look: to be told, once.
    pub broken: Vec<(PathBuf, String)>,
    /// What was told to be broken, and holds again what is in use.
    pub mended: Vec<PathBuf>,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    /// Looks at which it is read all the same.
    again: u8,
}

/// What `stat` says of a file: device, inode, size, and when it and its inode changed.
type Stamp = Result<[i128; 5], ErrorKind>;

#[derive(Debug)]
struct Refused {
    content: Content,
    why: String,
    /// It has been told.
    told: bool,
}

// === impl Lookout ===

impl Lookout {
    /// Looks at everything that is watched in the configuration of `record`.
    pub fn look(&mut self, record: &Record) -> Look {
        let (mut look, mut is_new) = (Look::default(), false);
        self.seen.retain(|path, _| record.watched().contains_key(path));
        self.refused.retain(|path, _| record.watched().contains_key(path));
        for (path, in_use) in record.watched() {
            let refused = self.refused.get_mut(path);
            if !is_due(&mut self.seen, path, stamp(path)) {
                look.renewed
                    .extend(refused.map(|it| (path.clone(), it.stands(path, &mut look.broken))));
                continue;
            }
            let now = Files::default().read_pem(path, FILE_CAP);
            match refused {
                _ if now == *in_use => {
                    let mended = self.refused.remove(path).filter(|refused| refused.told);
                    look.mended.extend(mended.map(|_| path.clone()));
                }
                Some(refused) if refused.content == now => {
                    look.renewed.insert(path.clone(), refused.stands(path, &mut look.broken));
                }
                Some(_) | None => {
                    is_new = true;
                    look.renewed.insert(path.clone(), now);
                }
            }
        }
        if !is_new {
            look.renewed.clear();
        }
        look
    }

    /// What of that cannot be used; all else has been taken.
    pub fn refuse(
        &mut self,
        renewed: &BTreeMap<PathBuf, Content>,
        refused: BTreeMap<PathBuf, String>,
    ) {
        self.refused.retain(|path, _| refused.contains_key(path) || !renewed.contains_key(path));
        for (path, why) in refused {
            let Some(content) = renewed.get(&path) else { continue };
            let known = self.refused.get(&path).filter(|known| known.content == *content);
            let told = known.is_some_and(|known| known.told);
            self.refused.insert(path, Refused { content: content.clone(), why, told });
        }
    }

    /// What cannot be used, as far as it has been told.
    pub fn faults(&self) -> BTreeMap<PathBuf, String> {
        let told = self.refused.iter().filter(|(_, refused)| refused.told);
        told.map(|(path, refused)| (path.clone(), refused.why.clone())).collect()
    }

    /// Everything is to be read again: what is in use was read by somebody else.
    pub fn forget(&mut self) {
        self.seen.clear();
    }
}

// === impl Refused ===

impl Refused {
    /// It is still there: whoever wrote it has come to an end.
    fn stands(&mut self, path: &Path, broken: &mut Vec<(PathBuf, String)>) -> Content {
        if !std::mem::replace(&mut self.told, true) {
            broken.push((path.to_owned(), self.why.clone()));
        }
        self.content.clone()
    }
}

/// Is this file to be read?
fn is_due(seen: &mut HashMap<PathBuf, Seen>, path: &Path, stamp: Stamp) -> bool {
    match seen.get_mut(path) {
        Some(seen) if seen.stamp == stamp => {
            let due = seen.again > 0;
            seen.again = seen.again.saturating_sub(1);
            due
        }
        Some(seen) => {
            *seen = Seen { stamp, again: READ_AGAIN };
            true
        }
        None => {
            seen.insert(path.to_owned(), Seen { stamp, again: READ_AGAIN });
            true
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let of = |file: Metadata| {
        let nanos =
            |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        [
            i128::from(file.dev()),
            i128::from(file.ino()),
            i128::from(file.size()),
            nanos(file.mtime(), file.mtime_nsec()),
            nanos(file.ctime(), file.ctime_nsec()),
        ]
    };
    path.metadata().map(of).map_err(|error| error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        folder: tempfile::TempDir,
        record: Record,
        lookout: Lookout,
    }

    impl World {
        /// Two files that are in use, and have been looked at.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = Files::recorded(Record::default());
            for name in ["a", "b"] {
                std::fs::write(folder.path().join(name), "old").unwrap();
                drop(files.read_pem(&folder.path().join(name), FILE_CAP));
            }
            let mut world = Self { folder, record: files.record(), lookout: Lookout::default() };
            for _ in 0..5 {
                assert_eq!(world.look(), Look::default());
            }
            world
        }

        fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.at(name), text).unwrap();
        }

        fn look(&mut self) -> Look {
            self.lookout.look(&self.record)
        }

        /// The files that are to be tried.
        fn renewed(&mut self) -> Vec<PathBuf> {
            self.look().renewed.into_keys().collect()
        }

        fn refuse(&mut self, name: &str) {
            let content: Content = Files::default().read_pem(&self.at(name), FILE_CAP);
            let renewed = BTreeMap::from([(self.at(name), content)]);
            let refused = BTreeMap::from([(self.at(name), "it is broken".to_owned())]);
            self.lookout.refuse(&renewed, refused);
        }
    }

    #[test]
    fn a_file_is_new_once_however_it_was_changed() {
        let mut world = World::new();
        world.write("a", "one");
        let mut check = |change: &dyn Fn(&World)| {
            change(&world);
            let look = world.look();
            assert_eq!(look.renewed.keys().collect::<Vec<_>>(), [&world.at("a")]);
            world.record = world.record.with(&look.renewed);
            world.lookout.refuse(&look.renewed, BTreeMap::new());
            assert_eq!(world.look(), Look::default());
        };
        check(&|world| world.write("a", "two"));
        check(&|world| {
            world.write("c", "by a rename");
            std::fs::rename(world.at("c"), world.at("a")).unwrap();
        });
        check(&|world| {
            world.write("d", "behind a link");
            std::fs::remove_file(world.at("a")).unwrap();
            std::os::unix::fs::symlink(world.at("d"), world.at("a")).unwrap();
        });
        check(&|world| world.write("d", "where it leads"));
    }

    #[test]
    fn what_looks_the_same_is_read_for_some_looks_and_then_no_more() {
        let mut world = World::new();
        let stamp_of = |world: &World| stamp(&world.at("a")).unwrap();
        world.write("a", "new");
        assert_eq!(world.renewed(), [world.at("a")]);
        world.record = world.record.with(&BTreeMap::from([(world.at("a"), Ok(b"new"[..].into()))]));
        // As if it had been written again within one tick of the clock.
        for (text, expected) in [("on1", 1), ("on2", 1), ("on3", 0)] {
            world.write("a", text);
            let now = stamp_of(&world);
            world.lookout.seen.get_mut(&world.at("a")).unwrap().stamp = Ok(now);
            assert_eq!(world.renewed().len(), expected, "{text}");
        }
    }

    #[test]
    fn a_broken_one_is_told_once_it_stands_and_once_only() {
        let mut world = World::new();
        world.write("a", "half");
        assert_eq!(world.renewed(), [world.at("a")]);
        world.refuse("a");
        assert!(world.lookout.faults().is_empty(), "it may be being written");
        let broken = vec![(world.at("a"), "it is broken".to_owned())];
        assert_eq!(world.look(), Look { broken: broken.clone(), ..Look::default() });
        assert_eq!(world.look(), Look::default());
        assert_eq!(world.lookout.faults(), BTreeMap::from_iter(broken));

        world.write("b", "good");
        assert_eq!(world.renewed(), [world.at("a"), world.at("b")], "it may be good beside that");
        world.write("a", "old");
        assert_eq!(world.look().mended, [world.at("a")]);
        assert!(world.lookout.faults().is_empty());
    }

    #[test]
    fn one_that_is_gone_or_has_become_a_folder_is_new_as_well() {
        let mut world = World::new();
        std::fs::remove_file(world.at("a")).unwrap();
        let look = world.look();
        assert!(look.renewed[&world.at("a")].is_err());
        world.lookout.refuse(&look.renewed, BTreeMap::from([(world.at("a"), "gone".to_owned())]));
        assert_eq!(world.look().broken, [(world.at("a"), "gone".to_owned())]);
        std::fs::create_dir(world.at("a")).unwrap();
        assert_eq!(world.renewed(), [world.at("a")]);
    }

    #[test]
    fn what_others_have_read_is_compared_anew() {
        let mut world = World::new();
        world.write("a", "new");
        assert_eq!(world.renewed(), [world.at("a")]);
        // A reload, which had read the old text, overtakes it.
        world.lookout.forget();
        assert_eq!(world.renewed(), [world.at("a")]);
    }
}
