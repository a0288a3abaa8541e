//! The newcomer: a process of our own program, started with our arguments and environment, that
//! inherits every listening socket and a line on which it tells that it serves.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;
use std::{env, fmt, io};

use command_fds::{CommandFdExt, FdMapping};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::net::inherited::{SERVES, UPGRADE};
use crate::proxy::sockets::{HandedOver, SocketTable};

/// Where inherited descriptors begin (sd_listen_fds(3)).
const FIRST: i32 = 3;
/// One that has hung up has ended by then, or is ended.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// What a process is started from.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    line: Vec<OsString>,
}

/// A process that is to serve in our place; killed when dropped before it does.
#[derive(Debug)]
pub struct Newcomer {
    child: Option<Child>,
    line: UnixStream,
}

// === impl Program ===

impl Program {
    /// That of this process. To be asked for early: once its file is replaced, the system has
    /// another name for it.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn of_this_process() -> io::Result<Self> {
        Ok(Self { path: env::current_exe()?, line: env::args_os().collect() })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

// === impl Newcomer ===

impl Newcomer {
    /// Starts whatever is at the path of `program` now.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(program: &Program, sockets: &SocketTable) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let HandedOver { lasting, own } = sockets.hand_over()?;
        let count = lasting.len();
        let fds: Vec<OwnedFd> = lasting.into_iter().chain(own).chain([theirs.into()]).collect();
        let mut command = Command::new(&program.path);
        if let [name, arguments @ ..] = &*program.line {
            command.arg0(name).args(arguments);
        }
        command
            .env("LISTEN_FDS", fds.len().to_string())
            .env(UPGRADE, count.to_string())
            // They name this process.
            .env_remove("LISTEN_PID")
            .env_remove("WATCHDOG_PID")
            // They name what a service manager has handed over, and nothing else.
            .env_remove("LISTEN_FDNAMES");
        let mappings =
            (FIRST..).zip(fds).map(|(child_fd, fd)| FdMapping { parent_fd: fd, child_fd });
        command.fd_mappings(mappings.collect()).map_err(io::Error::other)?;
        let child = Some(command.spawn()?);
        // The ends that it has been given are closed here: when it ends, the line does.
        drop(command);
        Ok(Self { child, line: UnixStream::from_std(ours)? })
    }

    /// Waits until it serves; it lives on then. Returns its process id.
    ///
    /// # Errors
    /// Why it does not; it is gone then.
    pub async fn serves_within(mut self, limit: Duration) -> Result<u32, String> {
        let mut word = [0; SERVES.len()];
        match tokio::time::timeout(limit, self.line.read_exact(&mut word)).await {
            Ok(Ok(_)) if word == *SERVES => {
                let child = self.child.take();
                Ok(child.map_or(0, |child| child.id()))
            }
            Ok(Ok(_)) => Err("what was started is no stagedoor".to_owned()),
            Ok(Err(_)) => Err(match self.exit_status().await {
                Some(status) => format!(
                    "the new process has ended before it served ({status}); its own lines in the \
                     log say why"
                ),
                None => "what was started does not say that it serves".to_owned(),
            }),
            Err(_) => Err(format!("the new process did not serve within {limit:?}: killed")),
        }
    }

    async fn exit_status(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let killed = child.kill().and_then(|()| child.wait());
        if let Err(error) = killed {
            log::warn!("process {} could not be killed: {error}", child.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fails(line: &[&str], limit: Duration) -> String {
        let line: Vec<OsString> = line.iter().map(Into::into).collect();
        let program = Program { path: PathBuf::from(&line[0]), line };
        let newcomer = Newcomer::start(&program, &SocketTable::default()).unwrap();
        let pid = newcomer.child.as_ref().unwrap().id();
        let why = newcomer.serves_within(limit).await.unwrap_err();
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::test_kill_process(pid).expect_err("it is gone");
        why
    }

    #[tokio::test]
    async fn what_ends_says_something_else_or_hangs_is_no_successor() {
        let long = Duration::from_secs(60);
        assert!(fails(&["/bin/false"], long).await.contains("exit status: 1"));
        let chatter = ["/bin/sh", "-c", "echo something else >&3; exec sleep 1000"];
        assert!(fails(&chatter, long).await.contains("no stagedoor"));
        let deaf = ["/bin/sh", "-c", "exec 3>&-; exec sleep 1000"];
        assert!(fails(&deaf, long).await.contains("does not say that it serves"));
        let short = Duration::from_millis(1);
        assert!(fails(&["/bin/sleep", "1000"], short).await.contains("within 1ms: killed"));
    }
}
