//! A real PostgreSQL: primaries, streaming standbys, promotion, and whatever ends a server.
//!
//! It does not run as root: tests that do hand it to Debian's `postgres` account. A cluster with
//! the roles of `ROLES` is made once a version, and copied for each server.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::eventually::eventually;
use crate::harness::port::free_port;

/// The password of every role that has one. It is awkward on purpose.
pub(crate) const PASSWORD: &str = r#"pass "word" \ 'é'"#;

/// What the template holds besides the superuser `postgres`, who needs no password. To be changed
/// with `TEMPLATE`: templates are kept.
const ROLES: &[&str] = &[
    "CREATE ROLE trusted LOGIN",
    "CREATE ROLE scram LOGIN PASSWORD '{}'",
    "CREATE ROLE clear LOGIN PASSWORD '{}'",
    "CREATE ROLE refused LOGIN",
    "SET password_encryption = 'md5'",
    "CREATE ROLE md5 LOGIN PASSWORD '{}'",
];
const TEMPLATE: &str = "1";

/// Who may log in how.
const ACCESS: &str = "\
host all,replication postgres 127.0.0.1/32 trust
host all trusted 127.0.0.1/32 trust
host all scram 127.0.0.1/32 scram-sha-256
host all md5 127.0.0.1/32 md5
host all clear 127.0.0.1/32 password
host all refused 127.0.0.1/32 reject
";

/// Small, quick to start, and of no use after a crash of the machine.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=20",
    "shared_buffers=8MB",
    "fsync=off",
    "autovacuum=off",
    "wal_receiver_status_interval=1s",
    "wal_retrieve_retry_interval=50ms",
];

/// A server in a folder of its own; killed when dropped.
pub(crate) struct Postgres {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Starts a primary.
    pub(crate) fn primary() -> Self {
        let folder = folder();
        copy(&template(), &data(folder.path()));
        Self::start_in(folder, free_port())
    }

    /// Starts a primary that speaks TLS to whoever asks for it; PEM of its certificate and its key.
    pub(crate) fn secured(pem: &str) -> Self {
        let folder = folder();
        let data = data(folder.path());
        copy(&template(), &data);
        let file = data.join("server.pem");
        std::fs::write(&file, pem).expect("the folder can be written to");
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
        if let Some((user, group)) = account() {
            chown(&file, Some(user), Some(group)).expect("root may give it away");
        }
        let settings = "ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.pem'\n";
        let mut file = std::fs::File::options().append(true).open(data.join("postgresql.conf"));
        let file = file.as_mut().expect("a cluster has one");
        file.write_all(settings.as_bytes()).expect("the folder can be written to");
        Self::start_in(folder, free_port())
    }

    /// Starts a streaming standby of `primary`, and waits until it is in step.
    pub(crate) fn standby_of(primary: &Self) -> Self {
        Self::standby_by(primary.port)
    }

    /// The same of the server that is reached by a port, such as a proxy's.
    pub(crate) fn standby_by(port: u16) -> Self {
        let folder = folder();
        let target = data(folder.path());
        let (port, host) = (port.to_string(), "127.0.0.1");
        let arguments: [&OsStr; 8] = [
            "--write-recovery-conf".as_ref(),
            "--checkpoint=fast".as_ref(),
            "--no-sync".as_ref(),
            "--username=postgres".as_ref(),
            "--host".as_ref(),
            host.as_ref(),
            "--port".as_ref(),
            port.as_ref(),
        ];
        done(as_server("pg_basebackup").args(arguments).arg("--pgdata").arg(target));
        let standby = Self::start_in(folder, free_port());
        eventually("the standby streams", || {
            let status = standby.try_sql("SELECT status FROM pg_stat_wal_receiver")?;
            (status == "streaming").then_some(())
        });
        standby
    }

    fn start_in(folder: tempfile::TempDir, port: u16) -> Self {
        let child = launch(folder.path(), port);
        let server = Self { child, port, folder };
        server.answers();
        server
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its address, as a definition writes it.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What a statement of the superuser returns, as `psql -At` prints it, past any proxy.
    #[track_caller]
    pub(crate) fn sql(&self, statement: &str) -> String {
        sql(self.port, statement).unwrap_or_else(|why| panic!("{statement}: {why}"))
    }

    /// The same; `None` if it fails.
    pub(crate) fn try_sql(&self, statement: &str) -> Option<String> {
        sql(self.port, statement).ok()
    }

    /// Makes a standby a primary, and waits until it is one.
    pub(crate) fn promote(&self) {
        assert_eq!(self.sql("SELECT pg_promote()"), "t");
    }

    /// Stops it in good order, as `pg_ctl stop -m fast` does.
    pub(crate) fn stop(&mut self) {
        kill_process(self.pid(), Signal::INT).expect("the server is still there");
        self.child.wait().expect("a child can be awaited");
    }

    /// Takes no more clients, and stops once those that are there have gone.
    pub(crate) fn stop_when_idle(&self) {
        kill_process(self.pid(), Signal::TERM).expect("the server is still there");
    }

    /// Kills it with all its processes, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a child can be awaited");
    }

    /// Starts it again after it was stopped or killed, and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.child = launch(self.folder.path(), self.port);
        self.answers();
    }

    /// Sends a signal to it and all its processes, such as `STOP` and `CONT`.
    pub(crate) fn signal(&self, signal: Signal) {
        // The one that starts the others comes first.
        kill_process(self.pid(), signal).expect("the server is still there");
        for child in children(self.pid()) {
            // It may have ended meanwhile.
            kill_process(child, signal).ok();
        }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log(self.folder.path())).expect("it has a log")
    }

    fn answers(&self) {
        eventually("PostgreSQL answers", || self.try_sql("SELECT 1"));
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let gone = self.child.try_wait().expect("a child can be awaited").is_some();
        if !gone {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("--- the log of PostgreSQL at port {}\n{}", self.port, self.log());
        }
    }
}

/// What a statement of the superuser returns at a port, or why it fails.
pub(crate) fn sql(port: u16, statement: &str) -> Result<String, String> {
    let output = client("psql", port)
        .args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--command", statement])
        .output()
        .expect("psql is installed: `make test` does that");
    let said = |bytes| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

/// A program of PostgreSQL's that connects as the superuser to a port.
pub(crate) fn client(program: &str, port: u16) -> Command {
    let mut command = Command::new(programs().join(program));
    command
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port.to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", "postgres")
        .env("PGCONNECT_TIMEOUT", "60");
    command
}

/// Is it a version whose clients may begin TLS without asking for it?
pub(crate) fn begins_tls_at_once() -> bool {
    let version = programs().parent().and_then(Path::file_name).and_then(OsStr::to_str);
    version.and_then(|version| version.parse::<u32>().ok()).is_some_and(|version| version >= 17)
}

/// Runs a command that has to succeed.
#[track_caller]
pub(crate) fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn launch(folder: &Path, port: u16) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log(folder));
    let log = log.expect("the folder can be written to");
    let settings = SETTINGS.iter().flat_map(|setting| ["-c", setting]);
    as_server("postgres")
        .args(["-p", &port.to_string()])
        .args(settings)
        .arg("-D")
        .arg(data(folder))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("PostgreSQL is installed: `make test` does that")
}

/// A program that runs as the account that may run a server.
fn as_server(program: &str) -> Command {
    let program = programs().join(program);
    let mut command = match account() {
        None => Command::new(program),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
            command.args(["--clear-groups", "--"]).arg(program);
            command
        }
    };
    command.current_dir("/");
    command
}

/// The account to run as instead of root's.
fn account() -> Option<(u32, u32)> {
    rustix::process::geteuid().is_root().then(|| {
        let accounts = std::fs::read_to_string("/etc/passwd").expect("every machine has it");
        let line = accounts.lines().find(|line| line.starts_with("postgres:"));
        let mut fields = line.expect("Debian's package makes it").split(':').skip(2);
        let mut number = || fields.next()?.parse().ok();
        number().zip(number()).expect("a user and a group")
    })
}

/// Where the newest version's programs are.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql")
            .expect("PostgreSQL is installed: `make test` does that");
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
        let versions = versions.map(|entry| entry.expect("a folder can be listed").path());
        versions.max_by_key(number).expect("there is a version").join("bin")
    })
}

/// An empty folder for a server.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    if let Some((user, group)) = account() {
        chown(folder.path(), Some(user), Some(group)).expect("root may give it away");
    }
    folder
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// A cluster that was never started; it outlives the tests, so that only the first run makes it.
fn template() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let version = programs().parent().and_then(Path::file_name).expect("it has a version");
        let name = format!("postgres-{}-{TEMPLATE}", version.display());
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if !kept.exists() {
            let folder = folder();
            make_template(&data(folder.path()));
            let draft = kept.with_extension(std::process::id().to_string());
            copy(&data(folder.path()), &draft);
            // Another run may have been quicker.
            if std::fs::rename(&draft, &kept).is_err() {
                std::fs::remove_dir_all(&draft).expect("it is ours");
            }
        }
        kept
    });
    made.clone()
}

fn make_template(at: &Path) {
    let arguments =
        ["--username=postgres", "--no-sync", "--no-locale", "--encoding=UTF8", "--wal-segsize=1"];
    done(as_server("initdb").args(arguments).arg("--pgdata").arg(at));
    std::fs::write(at.join("pg_hba.conf"), ACCESS).expect("the folder can be written to");
    let password = PASSWORD.replace('\'', "''");
    let statements = ROLES.iter().map(|role| role.replace("{}", &password) + "\n");
    let script = at.with_extension("sql");
    std::fs::write(&script, statements.collect::<String>()).expect("the folder can be written to");
    let script = std::fs::File::open(script).expect("it was just written");
    done(as_server("postgres").args(["--single", "-D"]).arg(at).arg("postgres").stdin(script));
}

fn copy(from: &Path, to: &Path) {
    done(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(from).arg(to));
}

/// The processes that a server has started.
fn children(of: Pid) -> Vec<Pid> {
    let file = format!("/proc/{0}/task/{0}/children", of.as_raw_nonzero());
    let listed = std::fs::read_to_string(file).unwrap_or_default();
    let numbers = listed.split_whitespace().filter_map(|number| number.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}
