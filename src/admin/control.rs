//! The control socket: a unix socket, mode 0600, that carries commands to the process.
//!
//! A socket that a living instance answers on is left to it: this process then runs without one,
//! and says so. A stale one is replaced.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};

use crate::admin::command::{Ask, Command, Reply};
use crate::net::listen::remove_if_stale;
use crate::supervise::handle::Recipient;
use crate::supervise::tenants;

/// The longest command.
const LONGEST_COMMAND: u64 = 64 * 1024;
/// Within this a connected client has to say its command.
const PATIENCE: Duration = Duration::from_secs(10);
/// Within this the process answers; a reload reads files and checks names.
const ANSWER: Duration = Duration::from_secs(60);
/// Clients served at once.
const CLIENTS: usize = 32;

/// What the server works with.
#[derive(Clone)]
pub struct ControlArgs {
    /// The socket, already bound: it outlives the actor.
    pub socket: Arc<ControlSocket>,
    /// Who carries commands out.
    pub commands: Recipient<Ask>,
}

/// A bound control socket.
#[derive(Debug)]
pub struct ControlSocket {
    listener: std::os::unix::net::UnixListener,
    path: PathBuf,
    file: FileId,
}

/// Which file it is, whatever its name: device and inode.
type FileId = (u64, u64);

/// The actor.
pub struct ControlServer {
    args: ControlArgs,
}

// === impl ControlSocket ===

impl ControlSocket {
    /// Binds `path`, mode 0600.
    ///
    /// # Errors
    /// `AddrInUse` if a living process listens there; else what the system says.
    pub fn bind(path: &Path) -> io::Result<Self> {
        remove_if_stale(path)?;
        Self::take_over(path)
    }

    /// Binds `path`, mode 0600, whoever listens there: whoever connects reaches one of the two.
    ///
    /// # Errors
    /// What the system says.
    pub fn take_over(path: &Path) -> io::Result<Self> {
        // Bound in a private folder and moved: nobody can connect before the mode is set.
        let folder = PrivateFolder::beside(path)?;
        let inside = folder.0.join("s");
        let listener = std::os::unix::net::UnixListener::bind(&inside)?;
        listener.set_nonblocking(true)?;
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o600))?;
        let file = file_id(&inside)?;
        std::fs::rename(&inside, path)?;
        Ok(Self { listener, path: path.to_owned(), file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Clears the path away, at the end of the process. What another has put there meanwhile stays.
    pub fn remove(&self) {
        let removed = match file_id(&self.path) {
            Ok(found) if found != self.file => Ok(()),
            Ok(_) => std::fs::remove_file(&self.path),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            log::warn!(path:% = self.path.display(); "control socket not removed: {error}");
        }
    }
}

fn file_id(path: &Path) -> io::Result<FileId> {
    std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// A folder that only this user can enter, for as long as it is held.
struct PrivateFolder(PathBuf);

// === impl PrivateFolder ===

impl PrivateFolder {
    /// A new one in the folder of `path`, under a name that is no longer than most: the path of a
    /// socket may have 107 bytes.
    fn beside(path: &Path) -> io::Result<Self> {
        let folder = path.with_file_name(format!(".{:08x}", fastrand::u32(..)));
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            log::warn!(path:% = self.0.display(); "private folder not removed: {error}");
        }
    }
}

// === impl ControlServer ===

impl ControlServer {
    /// A server with these means.
    pub fn new(args: ControlArgs) -> Self {
        Self { args }
    }
}

impl Actor for ControlServer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let args = self.args.clone();
        let serving = async move { serve(&args).await };
        ctx.spawn(serving.into_actor(self).map(|error, _, ctx: &mut Context<Self>| {
            log::error!("control socket failed: {error}");
            actix::ActorContext::stop(ctx);
        }));
    }
}

/// Serves clients until the socket itself cannot be used, and returns that error.
async fn serve(args: &ControlArgs) -> io::Error {
    let listener = match args.socket.listener.try_clone().and_then(UnixListener::from_std) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let client = Arc::clone(&clients).acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let commands = args.commands.clone();
                tenants::spawn(async move {
                    if let Err(error) = answer(stream, &commands).await {
                        log::debug!("control client: {error}");
                    }
                    drop(client);
                });
            }
            Err(error) => {
                log::warn!("control socket cannot accept, trying again: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, commands: &Recipient<Ask>) -> io::Result<()> {
    let mut line = Vec::new();
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read.take(LONGEST_COMMAND));
    tokio::time::timeout(PATIENCE, lines.read_until(b'\n', &mut line)).await??;
    let reply = match serde_json::from_slice(&line) {
        Ok(command) => carry_out(command, commands).await,
        Err(error) => Reply::Error(format!("not a command: {error}")),
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    tokio::time::timeout(PATIENCE, write.write_all(&text)).await?
}

async fn carry_out(command: Command, commands: &Recipient<Ask>) -> Reply {
    let (reply, answer) = oneshot::channel();
    if !commands.tell(Ask { command, reply }) {
        return Reply::Error("the process is being restarted or stopped: try again".to_owned());
    }
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) => Reply::Error("the component that should answer crashed over it".to_owned()),
        Err(_) => Reply::Error(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_socket_is_for_its_user_alone_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = ControlSocket::bind(&path).unwrap();
        let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let second = ControlSocket::bind(&path).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        socket.remove();
        assert!(!path.exists());
    }

    #[test]
    fn what_another_process_has_put_in_its_place_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let old = ControlSocket::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let new = ControlSocket::bind(&path).unwrap();
        old.remove();
        assert!(path.exists());
        new.remove();
        assert!(!path.exists());
    }
}
