//! Reading of files by whoever may not block: on another thread, and never twice at once.
//!
//! A file may lie on a disk that hangs. While a reading has not ended, no other is begun.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::read::{ReadError, read_bytes};

/// A hosts file that keeps advertisements away is large; nobody's is larger.
const MOST: u64 = 16 * 1024 * 1024;

/// Tells whether a file is being read; a clone tells of the same.
#[derive(Debug, Clone, Default)]
pub struct Reading(Arc<AtomicBool>);

/// Ends a reading, however it ends.
struct Begun(Reading);

// === impl Reading ===

impl Reading {
    /// What `read` gives, which may block.
    ///
    /// # Errors
    /// If the last one has not ended, or this one panics.
    pub async fn apart<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        if self.0.swap(true, Ordering::AcqRel) {
            return Err("it is still being read since the last time".to_owned());
        }
        let begun = Begun(self.clone());
        let reading = actix_rt::task::spawn_blocking(move || {
            let read = read();
            drop(begun);
            read
        });
        reading.await.map_err(|_| "reading it crashed".to_owned())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

/// A text file of this machine; empty if there is no such file.
///
/// # Errors
/// Why it cannot be read.
pub fn text_of(path: &str) -> Result<String, String> {
    match read_bytes(Path::new(path), MOST) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(ReadError::Missing) => Ok(String::new()),
        Err(error) => Err(format!("{path} cannot be read: {error}")),
    }
}
