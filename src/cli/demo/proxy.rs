//! The proxy of the demo: this same program as a process of its own, as `stagedoor run` with the
//! definition of the page "TCP proxy", asked over its control socket.
//!
//! The process and its folder are gone when this is dropped, whatever the reason; and the process
//! ends by itself if the demo is killed.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::admin::command::{Command as Asked, Reply};
use crate::admin::view::ServiceView;
use crate::cli::run;
use crate::cli::sources::{RunArgs, SettingsArgs};

/// The page's own definition. Only its addresses are changed, and `hold` is added.
const PAGE: &str = include_str!("../../../examples/redis-sentinel/redis.json");
/// The targets that it names.
const TARGETS: [&str; 2] = ["\"127.0.0.1:7001\"", "\"127.0.0.1:7002\""];
/// How long clients wait while nobody leads.
const HOLD: &str = "10s";
/// It listens within milliseconds.
const START: Duration = Duration::from_secs(10);
/// The port that was free a moment ago may be somebody else's now.
const TRIES: usize = 3;
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(40);
/// It answers within milliseconds.
const ANSWER: Duration = Duration::from_secs(2);
const LONGEST_ANSWER: u64 = 1 << 20;
/// Between being asked to end and being killed.
const FAREWELL: Duration = Duration::from_secs(3);
/// Lines of its log that are kept.
const LINES: usize = 40;

/// A running proxy.
pub struct Proxy {
    child: Child,
    address: SocketAddr,
    log: Log,
    reading: Option<JoinHandle<()>>,
    status: watch::Receiver<Option<ServiceView>>,
    /// Ends with this.
    _looking: JoinSet<()>,
    folder: Folder,
}

/// The last lines of its log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

/// A folder of its own, for this user alone.
struct Folder(PathBuf);

/// What the process does: runs a proxy from the folder that `Proxy::start` has filled, and takes
/// the folder with it, for the case that the demo is gone.
pub fn be(folder: &Path) -> ExitCode {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        eprintln!("stagedoor: cannot tie itself to the demo: {error}");
    }
    let _folder = Folder(folder.to_owned());
    let settings = SettingsArgs { config: vec![folder.join("stagedoor.toml")], set: Vec::new() };
    run::main(&RunArgs { settings, paths: vec![folder.join("redis.json")] })
}

// === impl Proxy ===

impl Proxy {
    /// Starts one in front of these targets and waits until the first of them leads.
    ///
    /// # Errors
    /// If there is no folder, port or process to be had, or if it does not come up.
    pub async fn start(targets: [SocketAddr; 2]) -> anyhow::Result<Self> {
        let mut tries = 1;
        loop {
            let mut proxy = Self::launch(targets)?;
            match proxy.comes_up(targets[0]).await {
                Err(_) if proxy.found_its_port_taken() && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
                Ok(()) => return Ok(proxy),
            }
        }
    }

    fn launch(targets: [SocketAddr; 2]) -> anyhow::Result<Self> {
        let folder = Folder::create()?;
        let address = free_address().context("no port for the proxy")?;
        folder.write("redis.json", &definition(address, targets))?;
        folder.write("stagedoor.toml", SETTINGS)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["demo", "--proxy"]).arg(&folder.0).current_dir(&folder.0);
        // Ctrl-C is for the demo, which ends it in its own time.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let foreign = std::env::vars_os().map(|(name, _)| name);
        for name in foreign.filter(|name| name.as_encoded_bytes().starts_with(b"STAGEDOOR__")) {
            command.env_remove(name);
        }
        command.env("STATE_DIRECTORY", &folder.0);
        let mut child = command.spawn().context("cannot start the proxy")?;
        let log = Log::default();
        let stderr = child.stderr.take().expect("it is piped");
        let reading = std::thread::spawn({
            let log = log.clone();
            move || log.follow(stderr)
        });
        let (told, status) = watch::channel(None);
        let mut looking = JoinSet::new();
        looking.spawn(look(folder.0.join(SOCKET), told));
        let reading = Some(reading);
        Ok(Self { child, address, log, reading, status, _looking: looking, folder })
    }

    async fn comes_up(&mut self, leader: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while self.leader().is_none_or(|leads| leads != leader) {
            if let Some(how) = self.has_ended() {
                bail!("the proxy did not start: {how}{}", self.last_words());
            }
            if Instant::now() > deadline {
                bail!("the proxy did not come up within {START:?}{}", self.last_words());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    fn found_its_port_taken(&mut self) -> bool {
        self.has_ended().is_some() && self.last_words().contains("the address is in use")
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.0.join(SOCKET)
    }

    /// What it says of its service; `None` while it does not answer.
    pub fn service(&self) -> Option<ServiceView> {
        self.status.borrow().clone()
    }

    /// Has it answered when it was asked last?
    pub fn answers(&self) -> bool {
        self.status.borrow().is_some()
    }

    /// The target that it says leads.
    pub fn leader(&self) -> Option<SocketAddr> {
        self.status.borrow().as_ref()?.leader.as_ref()?.parse().ok()
    }

    /// The last lines of its log, the newest last.
    pub fn log(&self, lines: usize) -> Vec<String> {
        self.log.last(lines)
    }

    /// The same for who is told that it has ended, below a sentence.
    pub fn last_words(&self) -> String {
        let lines = self.log(12);
        if lines.is_empty() {
            return String::new();
        }
        lines.iter().fold("\nIts last words:".to_owned(), |said, line| said + "\n  " + line)
    }

    /// How it has ended, if it has.
    pub fn has_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        // Now its last line is on its way, too.
        drop(self.reading.take().map(JoinHandle::join));
        Some(status.to_string())
    }

    /// Ends it as a service manager would.
    pub async fn stop(mut self) {
        // One that has ended already is not to be found, which is as well.
        kill_process(Pid::from_child(&self.child), Signal::TERM).ok();
        let deadline = Instant::now() + FAREWELL;
        while self.has_ended().is_none() && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already, and is not to be found then.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The name of its control socket.
const SOCKET: &str = "control.sock";
const LONGEST_SOCKET: usize = 107;

/// Sessions are not worth a line each here, nor a long farewell.
const SETTINGS: &str = "\
[admin]
socket = \"control.sock\"

[log]
level = \"info,stagedoor::proxy::outcome=off\"

[shutdown]
timeout = \"500ms\"
";

fn definition(listen: SocketAddr, targets: [SocketAddr; 2]) -> String {
    let text = TARGETS.iter().zip(targets).fold(PAGE.to_owned(), |text, (written, target)| {
        text.replace(written, &format!("\"{target}\""))
    });
    let mut definition: Value = serde_json::from_str(&text).expect("what ships is JSON");
    definition["listen_address"] = listen.ip().to_string().into();
    definition["listen_port"] = listen.port().into();
    definition["proxy"]["hold"] = HOLD.into();
    format!("{definition:#}\n")
}

fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Asks it again and again; an answer that does not come is told as none.
async fn look(socket: PathBuf, told: watch::Sender<Option<ServiceView>>) {
    loop {
        let answer = timeout(ANSWER, ask(&socket)).await.ok().and_then(Result::ok);
        told.send_replace(answer);
        sleep(LOOK).await;
    }
}

async fn ask(socket: &Path) -> anyhow::Result<ServiceView> {
    let mut stream = UnixStream::connect(socket).await?;
    let line = format!("{}\n", serde_json::to_string(&Asked::Status)?);
    stream.write_all(line.as_bytes()).await?;
    let mut line = String::new();
    tokio::io::BufReader::new(stream.take(LONGEST_ANSWER)).read_line(&mut line).await?;
    match serde_json::from_str(&line)? {
        Reply::Status(view) => view.services.into_iter().next().context("it serves nothing"),
        Reply::Ok(_) | Reply::Error(_) | Reply::Tree(_) | Reply::Reload(_) | Reply::Upgrade(_) => {
            bail!("{line}")
        }
    }
}

// === impl Log ===

impl Log {
    fn follow(&self, stderr: ChildStderr) {
        let lines = BufReader::new(stderr).lines().map_while(Result::ok);
        for line in lines.filter(|line| !line.trim().is_empty()) {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    }

    fn last(&self, count: usize) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }
}

// === impl Folder ===

impl Folder {
    fn create() -> anyhow::Result<Self> {
        let place = std::env::temp_dir();
        let name = format!("stagedoor-demo-{:08x}", fastrand::u32(..));
        let place = std::path::absolute(place)?.join(name);
        let length = place.join(SOCKET).as_os_str().len();
        if length > LONGEST_SOCKET {
            bail!(
                "the path of a control socket has at most {LONGEST_SOCKET} bytes, and {} has \
                 {length}: name a shorter place with TMPDIR",
                place.join(SOCKET).display()
            );
        }
        let created = std::fs::DirBuilder::new().mode(0o700).create(&place);
        created.with_context(|| {
            format!("cannot create the folder {}: name another place with TMPDIR", place.display())
        })?;
        Ok(Self(place))
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.0.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Demo and proxy both do this; whoever comes second finds nothing.
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != ErrorKind::NotFound
        {
            eprintln!("stagedoor: {} is left behind: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::SettingsSources;
    use crate::config::load::{Sources, load};

    #[test]
    fn the_definition_is_the_pages_own_in_front_of_these_targets() {
        let addresses = ["127.0.0.1:1", "127.0.0.1:70", "127.0.0.1:7001"];
        let [listen, one, two] = addresses.map(|it| it.parse().unwrap());
        let folder = Folder::create().unwrap();
        folder.write("redis.json", &definition(listen, [one, two])).unwrap();
        folder.write("stagedoor.toml", SETTINGS).unwrap();
        let config_files = vec![folder.0.join("stagedoor.toml")];
        let settings = SettingsSources { config_files, ..SettingsSources::default() };
        let paths = vec![folder.0.join("redis.json")];
        let loaded = load(&Sources { settings, paths, ..Sources::default() });
        let model = loaded.model.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        let service = model.services.values().next().unwrap();
        let targets: Vec<&str> = service.pool.targets.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(targets, &addresses[1..]);
        assert_eq!(model.node.control_socket, Some(folder.0.join(SOCKET)));
        let path = folder.0.clone();
        drop(folder);
        assert!(!path.exists());
    }
}
