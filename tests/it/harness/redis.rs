//! A real redis-server, and just enough of its protocol to talk to it in a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::eventually::eventually;
use crate::harness::port::free_port;

/// A running redis-server; killed when dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Redis {
    /// Starts a stand-alone master.
    pub(crate) fn master() -> Self {
        Self::start(free_port(), &[])
    }

    /// Starts a replica of `master`, and waits until it is in step.
    pub(crate) fn replica_of(master: &Self) -> Self {
        let replica =
            Self::start(free_port(), &["--replicaof", "127.0.0.1", &master.port.to_string()]);
        eventually("the replica is in step", || {
            replica.info().contains("master_link_status:up").then_some(())
        });
        replica
    }

    /// Starts one with further arguments, such as a password.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::start(free_port(), arguments)
    }

    fn start(port: u16, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--repl-diskless-sync-delay", "0", "--dir"])
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed: `make test` does that");
        let redis = Self { child, port, _folder: folder };
        eventually("redis-server answers", || {
            let mut client = Client::try_connect(port)?;
            let reply = client.try_call("PING")?;
            (reply == "+PONG" || reply.starts_with("-NOAUTH")).then_some(())
        });
        redis
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// One command to the server itself, past any proxy.
    pub(crate) fn call(&self, command: &str) -> String {
        Client::connect(self.port).call(command)
    }

    /// `INFO replication`.
    pub(crate) fn info(&self) -> String {
        self.call("INFO replication")
    }

    /// Makes it a master.
    pub(crate) fn promote(&self) {
        assert_eq!(self.call("REPLICAOF NO ONE"), "+OK");
    }

    /// Makes it a replica of `master`.
    pub(crate) fn demote_under(&self, master: &Self) {
        assert_eq!(self.call(&format!("REPLICAOF 127.0.0.1 {}", master.port)), "+OK");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the server is still there");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be awaited");
    }
}

/// A client of a Redis server, or of a proxy before one.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects to a port of the loopback.
    pub(crate) fn connect(port: u16) -> Self {
        Self::try_connect(port).expect("somebody listens")
    }

    /// Connects, or not.
    pub(crate) fn try_connect(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        Some(Self { stream: BufReader::new(stream) })
    }

    /// Sends a command and returns its reply: a bulk string's content, or the line as it is.
    pub(crate) fn call(&mut self, command: &str) -> String {
        self.try_call(command).unwrap_or_else(|| panic!("no reply to {command}"))
    }

    /// The same; `None` once the connection is gone.
    pub(crate) fn try_call(&mut self, command: &str) -> Option<String> {
        self.send(command)?;
        self.reply()
    }

    /// Sends a command without waiting for its reply.
    pub(crate) fn send(&mut self, command: &str) -> Option<()> {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).ok()
    }

    /// Reads one reply.
    pub(crate) fn reply(&mut self) -> Option<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        let Some(length) = line.strip_prefix('$').filter(|length| *length != "-1") else {
            return Some(line.to_owned());
        };
        let mut body = vec![0; length.parse::<usize>().ok()? + 2];
        self.stream.read_exact(&mut body).ok()?;
        body.truncate(body.len() - 2);
        String::from_utf8(body).ok()
    }

    /// Waits until the other side has closed the connection, cleanly or not.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
