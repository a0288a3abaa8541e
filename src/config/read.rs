//! Files off the disk: regular ones only, bounded; nothing here can block.
//!
//! A FIFO, a device, a folder in the place of a file or one of 1 GB is an error with its name, never
//! a hang.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Why a file could not be read; shown after its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// The operating system said no.
    #[error("{0}")]
    Refused(String),
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

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::Missing;
        }
        Self::Refused(cause(&error))
    }
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

    #[test]
    fn no_more_is_read_than_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        std::fs::write(&path, [b' '; 65]).unwrap();
        assert_eq!(read_bytes(&path, 64), Err(ReadError::TooLarge(64)));
        assert_eq!(read_bytes(&path, 65).unwrap().len(), 65);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| read_bytes(path, 64).unwrap_err().to_string();
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
