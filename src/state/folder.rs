//! The folder of what is kept: a file is there whole, as it was or as it is to be, or not at all.
//! Everything here may block: it is for a thread of its own.
//!
//! Who shares the folder (another process with the same home, a container) writes over whole files
//! and is written over: the last one counts.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use crate::state::wall_clock::WallTime;

/// What is longer is not one of ours: a target has about a hundred bytes.
const LONGEST: u64 = 4 << 20;
/// A file that has been half-written for this long has been left behind by a process that died.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// Writes a file whole, readable for this user alone. Makes the folder if it is not there.
///
/// # Errors
/// The system's; what was there before is there then.
pub fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = folder.join(format!("{}{:016x}", unfinished_prefix(name), fastrand::u64(..)));
    let written =
        write_new(&unfinished, text).and_then(|()| fs::rename(&unfinished, folder.join(name)));
    if written.is_err() {
        // It may not even be there, and the first error says more than this one.
        fs::remove_file(&unfinished).ok();
    }
    written
}

/// Reads a file; `None`: there is none. Clears away what died while it wrote this file.
///
/// # Errors
/// The system's, and for what cannot be one of our files.
pub fn read(folder: &Path, name: &str) -> io::Result<Option<String>> {
    clear_left_behind(folder, name);
    // Else a pipe of that name would keep us waiting.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(folder.join(name));
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    if !file.metadata()?.is_file() {
        return Err(wrong("it is no plain file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(wrong("it is too large to be one of stagedoor's"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| wrong("it is not text"))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    // Without this, a power failure could leave the new name with nothing behind it.
    file.sync_all()
}

fn unfinished_prefix(name: &str) -> String {
    format!(".{name}.")
}

fn clear_left_behind(folder: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let prefix = unfinished_prefix(name);
    let is_unfinished = |path: &PathBuf| {
        path.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(prefix.as_bytes()))
    };
    for path in entries.flatten().map(|entry| entry.path()).filter(is_unfinished) {
        let written = fs::symlink_metadata(&path).ok().and_then(|it| WallTime::of_file(&it));
        let age = written.and_then(|written| written.age_at(WallTime::now()).ok());
        if age.is_some_and(|age| age > LEFT_BEHIND) {
            // What cannot be cleared away is in nobody's way.
            fs::remove_file(&path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_written_whole_for_this_user_alone_and_leaves_nothing_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("state/stagedoor");
        assert_eq!(read(&folder, "a").unwrap(), None);
        for text in ["one\n", "two\n"] {
            write(&folder, "a", text).unwrap();
            assert_eq!(read(&folder, "a").unwrap().as_deref(), Some(text));
        }
        assert_eq!(names(&folder), ["a"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("a"))), (0o700, 0o600));
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let home = tempfile::tempdir().unwrap();
        write(home.path(), "a", "one\n").unwrap();
        // No file can take the place of a folder.
        fs::create_dir(home.path().join("b")).unwrap();
        assert!(write(home.path(), "b", "two\n").is_err());
        assert!(write(&home.path().join("a"), "c", "three\n").is_err());
        assert_eq!(read(home.path(), "a").unwrap().as_deref(), Some("one\n"));
        assert_eq!(names(home.path()).len(), 2, "nothing half-written is left");
    }

    #[test]
    fn what_is_no_file_of_ours_is_an_error_and_not_a_hang() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::create_dir(path("folder")).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let pipe = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), pipe, mode, 0).unwrap();
        fs::write(path("bytes"), [0xff, 0xfe]).unwrap();
        fs::write(path("large"), vec![b'x'; usize::try_from(LONGEST).unwrap() + 1]).unwrap();
        for name in ["folder", "pipe", "bytes", "large"] {
            assert!(read(home.path(), name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_a_process_left_behind_is_cleared_away_but_not_what_is_being_written() {
        let home = tempfile::tempdir().unwrap();
        let old = File::create(home.path().join(".a.0123")).unwrap();
        rustix::fs::futimens(
            &old,
            &rustix::fs::Timestamps {
                last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
                last_modification: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
            },
        )
        .unwrap();
        File::create(home.path().join(".a.4567")).unwrap();
        File::create(home.path().join(".b.4567")).unwrap();
        read(home.path(), "a").unwrap();
        let mut left = names(home.path());
        left.sort();
        assert_eq!(left, [".a.4567", ".b.4567"]);
    }
}
