//! Files off the disk: regular ones only, bounded, read once; nothing here can block.
//!
//! A FIFO, a device, a folder in the place of a file, a text in UTF-16 or one of 1 GB is an
//! error with its name, never a hang.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::config::place::{KeyPath, Place, SourceText};
use crate::config::problem::Problem;
use crate::config::tree::Tree;
use crate::config::{json, toml};

/// No file of settings or definitions may be larger.
pub const FILE_CAP: u64 = 16 * 1024 * 1024;

/// Why a file could not be read; shown after its name.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system said no.
    #[error("{}", cause(.0))]
    Io(#[from] io::Error),
    /// A FIFO, a device, a socket, a folder.
    #[error("it is {0}, not a regular file")]
    NotRegular(&'static str),
    /// Larger than the cap.
    #[error("it is larger than {} MiB", .0 / 1024 / 1024)]
    TooLarge(u64),
    /// Not UTF-8 text.
    #[error("{0}")]
    NotText(String),
}

/// Reads a regular file of at most `cap` bytes.
pub fn read_bytes(path: &Path, cap: u64) -> Result<Vec<u8>, ReadError> {
    // Without NONBLOCK, opening a FIFO would wait for its writer for ever.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let kind = file.metadata()?;
    if !kind.is_file() {
        return Err(ReadError::NotRegular(name_of(&kind)));
    }
    if kind.len() > cap {
        return Err(ReadError::TooLarge(cap));
    }
    bounded(file, cap)
}

/// Reads a regular file of UTF-8 text.
pub fn read_text(path: &Path, cap: u64) -> Result<String, ReadError> {
    let bytes = read_bytes(path, cap)?;
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        return Err(not_text("it begins with a byte order mark: save it as UTF-8 without one"));
    }
    let utf16 = bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
    if utf16 || matches!(bytes.as_slice(), [0, _, ..] | [_, 0, ..]) {
        return Err(not_text("it is UTF-16 or another wide encoding: save it as UTF-8"));
    }
    let line_at = |at: usize| bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(not_text(&format!("line {} holds a NUL byte: it is no text", line_at(at))));
    }
    if let Err(error) = std::str::from_utf8(&bytes) {
        let line = line_at(error.valid_up_to());
        return Err(not_text(&format!("line {line} is not UTF-8: save the file as UTF-8")));
    }
    Ok(String::from_utf8(bytes).expect("checked just above"))
}

/// Reads and parses a `.json` or `.toml` file; what is wrong with it becomes problems, and
/// `asked_by` is where its name was written, if it was written anywhere.
pub fn read_tree(
    path: &Path,
    asked_by: Option<&Place>,
    problems: &mut Vec<Problem>,
) -> Option<Tree> {
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => json::parse,
        Some("toml") => toml::parse,
        Some(_) | None => {
            let why = match path.metadata() {
                Ok(_) => "its name ends neither in .json nor in .toml".to_owned(),
                Err(error) => cause(&error),
            };
            problems.push(unreadable(path, asked_by, &why));
            return None;
        }
    };
    match read_text(path, FILE_CAP) {
        Ok(text) => format(&SourceText::file(path, text), problems),
        Err(error) => {
            problems.push(unreadable(path, asked_by, &error.to_string()));
            None
        }
    }
}

/// The definition or settings files of a folder, by name: `*.json` and `*.toml`, but no hidden
/// ones and not Tyk's companions of a classic definition (`x-oas.json`, `x-mcp.json`).
pub fn list_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let companion = name.ends_with("-oas.json") || name.ends_with("-mcp.json");
        let ours = name.ends_with(".json") || name.ends_with(".toml");
        if ours && !companion && !name.starts_with('.') && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The problem of a file that cannot be read.
pub fn unreadable(path: &Path, asked_by: Option<&Place>, why: &str) -> Problem {
    let this = Place::whole(&SourceText::file(path, String::new()));
    let problem =
        Problem::error(this, KeyPath::root(), format!("cannot read {}: {why}", path.display()));
    match asked_by {
        Some(place) => problem.also(place.clone(), "named here"),
        None => problem,
    }
}

/// What the operating system said, without its error number.
pub fn cause(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "there is no such file".to_owned();
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return "this user may not read it".to_owned();
    }
    if Errno::from_io_error(error) == Some(Errno::LOOP) {
        return "its symbolic links run in a circle".to_owned();
    }
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn bounded(file: File, cap: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    // One more than the cap, so that a file that grew since it was measured is noticed.
    file.take(cap + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > cap { Err(ReadError::TooLarge(cap)) } else { Ok(bytes) }
}

fn not_text(why: &str) -> ReadError {
    ReadError::NotText(why.to_owned())
}

fn name_of(metadata: &std::fs::Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        std::fs::write(&path, bytes).unwrap();
        let said = read_text(&path, 64).unwrap_or_else(|error| error.to_string());
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn only_bounded_utf8_text_is_read() {
        check(b"{}", "{}");
        check(b"", "");
        check(b"\xEF\xBB\xBF{}", "byte order mark");
        check(b"\xFF\xFE{\0}\0", "UTF-16");
        check(b"{\0}\0", "UTF-16");
        check(b"{\n\"a\0\"}", "line 2 holds a NUL");
        check(b"{\n\"\xFF\"}", "line 2 is not UTF-8");
        check(&[b' '; 65], "larger than");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| read_text(path, 64).unwrap_err().to_string();
        assert_eq!(said(folder.path()), "it is a folder, not a regular file");
        assert_eq!(said(Path::new("/dev/zero")), "it is a device, not a regular file");
        let fifo = folder.path().join("f.json");
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(said(&fifo), "it is a FIFO, not a regular file");
        assert_eq!(said(&folder.path().join("none")), "there is no such file");
        let circle = folder.path().join("circle");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        assert_eq!(said(&circle), "its symbolic links run in a circle");
    }

    #[test]
    fn a_folder_is_its_definitions_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.toml", "b-oas.json", ".c.json", "d.txt", "e.json~"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let files = list_folder(folder.path()).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap()).collect();
        assert_eq!(names, ["a.toml", "b.json"]);
    }
}
