//! A certificate store in a folder of its own, and `stagedoor cert` on it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::stagedoor::BINARY;

/// A store that nobody has made yet, in a folder for files of the test's own.
pub(crate) struct Shelf {
    folder: tempfile::TempDir,
}

impl Shelf {
    /// A new one.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A folder for files of the test's own.
    pub(crate) fn around(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the store.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A file of the test's own.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("the folder can be written to");
        path.display().to_string()
    }

    /// The arguments that name the store.
    pub(crate) fn settings(&self) -> [String; 2] {
        ["--set".to_owned(), format!("certificates.folder={}", self.folder().display())]
    }

    /// `stagedoor` with these arguments and this store.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// The same, with a text on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], text: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(text.as_bytes()).expect("it reads");
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    /// Adds a PEM text; its ID.
    pub(crate) fn add(&self, text: &str) -> String {
        let output = self.run_with(&["cert", "add", "-"], text);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it is text").trim_end().to_owned()
    }

    /// What a command says for machines.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Refused with 1, and these words.
    #[track_caller]
    pub(crate) fn refuses(&self, arguments: &[&str], words: &[&str]) {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]), "{said}");
        for words in words {
            assert!(said.contains(words), "misses {words:?} in {said}");
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).args(self.settings()).current_dir(self.folder.path());
        command
    }
}
