//! A real redis-server, and just enough of its protocol to talk to it in a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::eventually::eventually;
use crate::harness::port::free_port;

/// Where a test looks at servers from: no network that a test breaks is ever broken for it.
pub(crate) const OBSERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 99);

/// Longer than a healthy server takes to answer, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A redis-server; killed when dropped. It listens at one address of the loopback, and connects
/// to others from there too, so that packets tell who sent them.
pub(crate) struct Redis {
    child: Child,
    address: SocketAddrV4,
    tls_port: u16,
    folder: tempfile::TempDir,
}

impl Redis {
    /// Starts a stand-alone master.
    pub(crate) fn master() -> Self {
        Self::master_at(Ipv4Addr::LOCALHOST)
    }

    /// Starts a stand-alone master that speaks TLS too, and asks for a certificate.
    pub(crate) fn master_over_tls(server: &Path, authority: &Path) -> Self {
        let (tls_port, server) = (free_port(), server.display().to_string());
        let authority = authority.display().to_string();
        let files = ["--tls-cert-file", &server, "--tls-key-file", &server];
        let port = tls_port.to_string();
        let arguments = [&["--tls-port", &port, "--tls-ca-cert-file", &authority], &files[..]];
        let mut redis = Self::start(Ipv4Addr::LOCALHOST, &arguments.concat());
        redis.tls_port = tls_port;
        redis
    }

    /// `tls://127.0.0.1:port`.
    pub(crate) fn tls_url(&self) -> String {
        format!("tls://127.0.0.1:{}", self.tls_port)
    }

    /// Starts a replica of `master`, and waits until it is in step.
    pub(crate) fn replica_of(master: &Self) -> Self {
        Self::replica_at(Ipv4Addr::LOCALHOST, master)
    }

    /// A master at an address of its own.
    pub(crate) fn master_at(ip: Ipv4Addr) -> Self {
        Self::start(ip, &[])
    }

    /// A replica at an address of its own.
    pub(crate) fn replica_at(ip: Ipv4Addr, master: &Self) -> Self {
        let (host, port) = (master.address.ip().to_string(), master.port().to_string());
        let replica = Self::start(ip, &["--replicaof", &host, &port]);
        replica.wait_for_sync();
        replica
    }

    /// Starts one with further arguments, such as a password.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::start(Ipv4Addr::LOCALHOST, arguments)
    }

    fn start(ip: Ipv4Addr, arguments: &[&str]) -> Self {
        let (address, folder) = (SocketAddrV4::new(ip, free_port()), tempfile::tempdir());
        let folder = folder.expect("a temporary folder");
        let child = launch(address, &folder, arguments);
        let redis = Self { child, address, tls_port: 0, folder };
        eventually("redis-server answers", || {
            let reply = redis.observe()?.try_call("PING")?;
            (reply == "+PONG" || reply.starts_with("-NOAUTH")).then_some(())
        });
        redis
    }

    /// Starts it again after it was killed, as a stand-alone master with what it had saved, and
    /// waits until it listens; it may still be loading.
    pub(crate) fn start_again(&mut self, arguments: &[&str]) {
        self.child = launch(self.address, &self.folder, arguments);
        eventually("redis-server listens", || self.observe());
    }

    /// Kills it, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be awaited");
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// One command to the server itself, past any proxy.
    pub(crate) fn call(&self, command: &str) -> String {
        self.observe().expect("the server listens").call(command)
    }

    /// A connection to the server itself, past any proxy; `None` if it does not listen.
    pub(crate) fn observe(&self) -> Option<Client> {
        Client::from(OBSERVER, self.address)
    }

    /// Waits until it is in step with its master.
    pub(crate) fn wait_for_sync(&self) {
        eventually("the replica is in step", || {
            self.info().contains("master_link_status:up").then_some(())
        });
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
        let (ip, port) = (master.address.ip(), master.port());
        assert_eq!(self.call(&format!("REPLICAOF {ip} {port}")), "+OK");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the server is still there");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(address: SocketAddrV4, folder: &tempfile::TempDir, arguments: &[&str]) -> Child {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    Command::new("redis-server")
        .args(["--port", &port, "--bind", &ip, "--bind-source-addr", &ip])
        .args([
            "--protected-mode",
            "no",
            "--enable-debug-command",
            "yes",
            "--save",
            "",
            "--repl-diskless-sync-delay",
            "0",
            "--dir",
        ])
        .arg(folder.path())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed: `make test` does that")
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
        Self::from(Ipv4Addr::UNSPECIFIED, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    }

    /// Connects from one address (or whichever it is) to another, or not.
    pub(crate) fn from(source: Ipv4Addr, address: SocketAddrV4) -> Option<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
        if !source.is_unspecified() {
            socket.bind(&SocketAddrV4::new(source, 0).into()).ok()?;
        }
        socket.connect_timeout(&address.into(), PATIENCE).ok()?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
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

    /// Reads one reply that is a list of bulk strings.
    pub(crate) fn list(&mut self) -> Option<Vec<String>> {
        let length = self.reply()?.strip_prefix('*')?.parse().ok()?;
        (0..length).map(|_| self.reply()).collect()
    }

    /// The connection itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
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
