//! The upgrade: the program that is now at our path is started beside us, takes over the listening
//! sockets, and serves; we live on for our sessions, whom our checks go on to rule.
//!
//! Until the newcomer says that it serves, nothing has changed: if it ends, hangs or refuses its
//! configuration, everything goes on here as before.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::admin::view::UpgradeView;
use crate::app::house::House;
use crate::app::newcomer::{Newcomer, Program};
use crate::app::shutdown;
use crate::state::keeper::Keeper;

/// A newcomer that does not serve by then is killed.
const SERVES_WITHIN: Duration = Duration::from_secs(30);
/// A reload that is under way may take this long.
const TURN: Duration = Duration::from_secs(10);
/// A disk that takes longer holds up no upgrade.
const FLUSH: Duration = Duration::from_secs(1);
/// Whoever asked for the upgrade has the answer by then.
const ANSWERED: Duration = Duration::from_millis(500);

/// Whoever asks for an upgrade, and hears what came of it.
type Wanted = oneshot::Sender<Result<UpgradeView, String>>;

/// Where upgrades are asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upgrades(mpsc::UnboundedSender<Wanted>);

/// Carries them out, one at a time.
pub struct Upgrader {
    house: House,
    program: Arc<Program>,
    wanted: mpsc::UnboundedReceiver<Wanted>,
    running: Option<(Wanted, LocalBoxFuture<'static, Result<UpgradeView, String>>)>,
    leaving: Option<LocalBoxFuture<'static, ()>>,
}

// === impl Upgrades ===

impl Upgrades {
    /// Where upgrades are asked for, and where that is heard.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Wanted>) {
        let (wanted, heard) = mpsc::unbounded_channel();
        (Self(wanted), heard)
    }

    /// Has the process upgraded, and waits until its successor serves.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn ask(&self) -> Result<UpgradeView, String> {
        let (wanted, result) = oneshot::channel();
        let gone = || "the process is being stopped".to_owned();
        self.0.send(wanted).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }

    /// Has the process upgraded; the log says what comes of it.
    pub fn tell(&self) {
        let (wanted, _) = oneshot::channel();
        if self.0.send(wanted).is_err() {
            log::warn!("not upgraded: the process is being stopped");
        }
    }
}

// === impl Upgrader ===

impl Upgrader {
    /// Upgrades that process whose house this is, by starting `program`.
    pub fn new(house: House, program: Program, wanted: mpsc::UnboundedReceiver<Wanted>) -> Self {
        Self { house, program: Arc::new(program), wanted, running: None, leaving: None }
    }

    /// Ends when another process serves and no session is left here. Cancel-safe.
    pub async fn done(&mut self) {
        loop {
            tokio::select! {
                Some(wanted) = self.wanted.recv() => self.begin(wanted),
                result = finished(self.running.as_mut().map(|(_, upgrade)| upgrade)) => {
                    self.finish(result);
                }
                () = finished(self.leaving.as_mut()) => return,
            }
        }
    }

    fn begin(&mut self, wanted: Wanted) {
        let refused = if self.leaving.is_some() {
            "another process serves since an upgrade: this one only drains"
        } else if self.running.is_some() {
            "an upgrade is under way"
        } else {
            let upgrade = upgrade(self.house.clone(), Arc::clone(&self.program));
            self.running = Some((wanted, Box::pin(upgrade)));
            return;
        };
        log::warn!("not upgraded: {refused}");
        // Whoever asked may have gone away.
        drop(wanted.send(Err(refused.to_owned())));
    }

    fn finish(&mut self, result: Result<UpgradeView, String>) {
        match &result {
            Ok(UpgradeView { pid, took_ms }) => {
                log::info!("upgraded: process {pid} serves after {took_ms} ms");
                self.leaving = Some(Box::pin(leave(self.house.clone())));
            }
            Err(why) => log::error!("not upgraded, nothing was changed: {why}"),
        }
        if let Some((wanted, _)) = self.running.take() {
            drop(wanted.send(result));
        }
    }
}

async fn finished<T>(future: Option<&mut LocalBoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Dropped before it has ended, it leaves nothing behind: the newcomer is killed.
async fn upgrade(house: House, program: Arc<Program>) -> Result<UpgradeView, String> {
    let turn = tokio::time::timeout(TURN, house.applying.lock()).await;
    let _turn = turn.map_err(|_| "a reload is under way".to_owned())?;
    let began = Instant::now();
    log::info!("upgrade: starting {program}");
    let silence = Silence::over(house.keeper.clone()).await;
    let newcomer = Newcomer::start(&program, &house.sockets)
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    let pid = newcomer.serves_within(SERVES_WITHIN).await?;
    house.is_succeeded.store(true, Ordering::Relaxed);
    silence.for_good();
    house.manager.leave_to(pid);
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(UpgradeView { pid, took_ms })
}

async fn leave(house: House) {
    let limit = house.model.load().node.upgrade_timeout;
    tokio::join!(shutdown::leave(&house, limit), tokio::time::sleep(ANSWERED));
}

/// Nothing is written of what is known, so that what a newcomer writes is not overwritten.
struct Silence(Option<Keeper>);

// === impl Silence ===

impl Silence {
    /// Begins once everything is written that the newcomer is to read.
    async fn over(keeper: Keeper) -> Self {
        let silent = Self(Some(keeper.clone()));
        let pausing = actix_rt::task::spawn_blocking(move || keeper.pause_within(FLUSH));
        if pausing.await.is_err() {
            log::error!("what is known may not be written whole for the new process");
        }
        silent
    }

    fn for_good(mut self) {
        self.0 = None;
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(keeper) = self.0.take() {
            keeper.resume();
        }
    }
}
