//! The keeper: writes to disk what must outlive the process, on a thread of its own.
//!
//! Whoever hands something over never waits: of several states of one service that come while the
//! disk is busy, the newest is written. A change is written at once; what stays the same, now and
//! then, so that a file's age says how long ago its process last knew that it was so.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::model::Service;
use crate::health::kept::{Disbelief, Kept, Owner, whole_seconds};
use crate::health::leader::remembered::Remembered;
use crate::health::state_folder;
use crate::health::wall_clock::WallTime;
use crate::net::names::NameBook;

/// What stays the same is written again at least this often, and more often if it is believed for
/// a short time only.
const REFRESH: Duration = Duration::from_secs(60);
/// So often within the time for which it is believed.
const REFRESHES: u32 = 5;
/// After a failure, until it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Keeps what must outlive the process; or, without a folder, nothing. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Keeper(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    max_age: Duration,
    desk: Mutex<Desk>,
    /// Something is to be written.
    handed: Condvar,
    /// Nothing is.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Desk {
    /// As it is known now.
    newest: BTreeMap<Owner, Kept>,
    /// As it was last written.
    given: BTreeMap<Owner, Kept>,
    /// Whose newest is to be written.
    waiting: BTreeSet<Owner>,
    /// There is a thread.
    is_running: bool,
    /// It writes just now.
    is_writing: bool,
    /// The process ends: whatever is still tried, is tried now.
    is_closing: bool,
}

// === impl Keeper ===

impl Keeper {
    /// A keeper that writes to `folder`, and believes nothing older than `max_age`.
    pub fn new(folder: Option<PathBuf>, max_age: Duration) -> Self {
        let shared = |folder| {
            let (desk, handed, written) = (Mutex::default(), Condvar::new(), Condvar::new());
            Arc::new(Shared { folder, max_age, desk, handed, written })
        };
        Self(folder.map(shared))
    }

    /// What was kept of a service, if it is to be believed; the log says what came of it. Blocks.
    pub fn read(&self, service: &Service, names: &NameBook) -> Option<Remembered> {
        let shared = self.0.as_ref()?;
        let file = Owner::of(service).file_name();
        let name = service.name.as_str();
        match shared.read(&file, service, names) {
            Ok(Some((remembered, age))) => {
                let leader = remembered.leader.as_ref();
                let leader = leader.map_or_else(|| "nobody".to_owned(), ToString::to_string);
                log::info!(service = name; "remembered from {} ago: {leader} led", whole_seconds(age));
                Some(remembered)
            }
            Ok(None) => None,
            Err(why) => {
                let level = match why {
                    Disbelief::TooOld { .. } => log::Level::Info,
                    Disbelief::Unreadable(_)
                    | Disbelief::Malformed(_)
                    | Disbelief::CutOff
                    | Disbelief::Damaged
                    | Disbelief::Foreign(_)
                    | Disbelief::Future(_) => log::Level::Warn,
                };
                let path = shared.folder.join(&file);
                log::log!(
                    level, service = name;
                    "starting without what was remembered: {}: {why}", path.display()
                );
                None
            }
        }
    }

    /// Has what is known of a service written, if it is news or what is on disk grows old.
    pub fn keep(&self, service: &Service, remembered: &Remembered, names: &NameBook) {
        let Some(shared) = &self.0 else { return };
        let kept = Kept::of(service, remembered, names, WallTime::now());
        let owner = kept.of.clone();
        let mut desk = shared.lock();
        if desk.given.get(&owner).is_none_or(|given| shared.is_due(given, &kept)) {
            desk.waiting.insert(owner.clone());
        }
        desk.newest.insert(owner, kept);
        shared.serve(&mut desk);
    }

    /// Has everything written as it is known now, and waits for that, but not longer than `limit`.
    pub fn close_within(&self, limit: Duration) {
        let Some(shared) = &self.0 else { return };
        let mut desk = shared.lock();
        let Desk { newest, given, waiting, is_closing, .. } = &mut *desk;
        *is_closing = true;
        let old = newest.iter().filter(|(owner, kept)| given.get(*owner) != Some(*kept));
        waiting.extend(old.map(|(owner, _)| owner.clone()));
        shared.serve(&mut desk);
        let is_busy = |desk: &mut Desk| !desk.waiting.is_empty() || desk.is_writing;
        let waited = shared.written.wait_timeout_while(desk, limit, is_busy);
        if waited.is_ok_and(|(_, waited)| waited.timed_out()) {
            let folder = shared.folder.display();
            log::warn!("{folder} takes long to write to: who leads may not be remembered");
        }
    }
}

// === impl Shared ===

impl Shared {
    /// What a file says for `service` now, and how old it is.
    fn read(
        &self,
        file: &str,
        service: &Service,
        names: &NameBook,
    ) -> Result<Option<(Remembered, Duration)>, Disbelief> {
        let text = state_folder::read(&self.folder, file);
        let text = text.map_err(|error| Disbelief::Unreadable(error.to_string()))?;
        let Some(text) = text else { return Ok(None) };
        let kept = Kept::parse(&text)?;
        let age = kept.age(service, self.max_age, WallTime::now())?;
        Ok(Some((kept.recall(service, names), age)))
    }

    /// Is it time to write `now`, when `given` was written last?
    fn is_due(&self, given: &Kept, now: &Kept) -> bool {
        let refresh = REFRESH.min(self.max_age / REFRESHES);
        // Set back, the clock makes what is there a file from the future.
        let is_old = given.written.age_at(now.written).map_or(true, |age| age >= refresh);
        is_old || !given.says_the_same(now)
    }

    /// Wakes the thread if there is something to do; starts it if there is none.
    fn serve(self: &Arc<Self>, desk: &mut Desk) {
        if desk.waiting.is_empty() {
            return;
        }
        self.handed.notify_one();
        if desk.is_running {
            return;
        }
        let writer = Writer(Arc::clone(self));
        let thread = std::thread::Builder::new().name("stagedoor-state".to_owned());
        match thread.spawn(move || writer.run()) {
            Ok(_) => desk.is_running = true,
            // It is tried again with whatever comes next.
            Err(error) => log::warn!("no thread to write with who leads: {error}"),
        }
    }

    /// Every change under this lock is sound by itself, whatever panicked.
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread. One that fell is replaced with the next thing to write.
struct Writer(Arc<Shared>);

// === impl Writer ===

impl Writer {
    fn run(&self) -> ! {
        let shared = &self.0;
        let mut failing = BTreeSet::new();
        loop {
            let kept = self.next();
            let name = kept.of.file_name();
            let written = state_folder::write(&shared.folder, &name, &kept.to_text());
            let failed = written.is_err();
            self.tell(&kept.of, written, &mut failing);
            let mut desk = shared.lock();
            desk.is_writing = false;
            if failed {
                desk.given.remove(&kept.of);
            }
            shared.written.notify_all();
            if failed {
                let goes_on = |desk: &mut Desk| !desk.is_closing;
                drop(shared.handed.wait_timeout_while(desk, AGAIN, goes_on));
            }
        }
    }

    /// Waits for something to write.
    fn next(&self) -> Kept {
        let shared = &self.0;
        let mut desk = shared.lock();
        loop {
            if let Some(owner) = desk.waiting.pop_first()
                && let Some(kept) = desk.newest.get(&owner).cloned()
            {
                desk.is_writing = true;
                desk.given.insert(owner, kept.clone());
                return kept;
            }
            desk = shared.handed.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One warning for a folder that cannot be written to, and a word when it can again.
    fn tell(&self, owner: &Owner, written: io::Result<()>, failing: &mut BTreeSet<Owner>) {
        let path = self.0.folder.join(owner.file_name());
        match written {
            Ok(()) => {
                if failing.remove(owner) && failing.is_empty() {
                    log::info!("who leads is written to {} again", self.0.folder.display());
                }
            }
            Err(error) => {
                if failing.is_empty() {
                    log::warn!(
                        service = owner.service.as_str();
                        "who leads is not written to {}: {error}; a restart of the process would \
                         not remember it. Give it another folder with --set state_dir=PATH",
                        path.display()
                    );
                }
                failing.insert(owner.clone());
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut desk = self.0.lock();
        (desk.is_running, desk.is_writing) = (false, false);
        self.0.written.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::config::model::{Balance, Target};
    use crate::config::names::TargetAddress;
    use crate::health::board_harness::service;
    use crate::health::leader::Said;

    const PATIENCE: Duration = Duration::from_secs(60);
    const MAX: Duration = Duration::from_secs(600);

    /// A service with one target that needs no looking up.
    fn led() -> (Service, NameBook) {
        let mut service = service("a", Balance::Leader);
        let address = "127.0.0.1:7001".parse().map(TargetAddress::Ip).unwrap();
        service.pool.targets = vec![Target::at(address)];
        (service, NameBook::default())
    }

    fn saying(service: &Service, said: Option<Said>) -> Remembered {
        let key = service.pool.targets[0].key.clone();
        Remembered { leader: said.map(|_| key.clone()), said: [(key, said)].into() }
    }

    fn file(folder: &Path, service: &Service) -> PathBuf {
        folder.join(Owner::of(service).file_name())
    }

    #[test]
    fn the_newest_of_many_is_what_is_written_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let (service, names) = led();
        let keeper = Keeper::new(Some(folder.path().into()), MAX);
        assert_eq!(keeper.read(&service, &names), None);
        for _ in 0..50 {
            keeper.keep(&service, &saying(&service, None), &names);
            keeper.keep(&service, &saying(&service, Some(Said::Leader)), &names);
        }
        keeper.close_within(PATIENCE);
        let next = Keeper::new(Some(folder.path().into()), MAX);
        let newest = saying(&service, Some(Said::Leader));
        assert_eq!(next.read(&service, &names), Some(newest));
    }

    #[test]
    fn what_stays_the_same_is_not_written_each_time_but_with_its_time_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (service, names) = led();
        let keeper = Keeper::new(Some(folder.path().into()), MAX);
        let written = || {
            Kept::parse(&std::fs::read_to_string(file(folder.path(), &service)).unwrap()).unwrap()
        };
        let said = saying(&service, Some(Said::Leader));
        keeper.keep(&service, &said, &names);
        keeper.close_within(PATIENCE);
        let first = written();
        keeper.keep(&service, &said, &names);
        assert!(keeper.0.as_ref().unwrap().lock().waiting.is_empty(), "nothing new");
        keeper.close_within(PATIENCE);
        let last = written();
        assert!(last.says_the_same(&first));
        let newest = keeper.0.as_ref().unwrap().lock().newest[&last.of].written;
        assert_eq!(last.written.to_string(), newest.to_string());
    }

    #[test]
    fn it_is_due_when_it_is_news_or_old_or_the_clock_was_set_back() {
        let (service, names) = led();
        let now = WallTime::now();
        let kept = |said, written| Kept::of(&service, &saying(&service, said), &names, written);
        let earlier = |seconds| now.before(Duration::from_secs(seconds)).unwrap();
        let check = |max_age, given: Kept, due| {
            let keeper = Keeper::new(Some("/nowhere".into()), Duration::from_secs(max_age));
            assert_eq!(keeper.0.unwrap().is_due(&given, &kept(None, now)), due, "{given:?}");
        };
        check(600, kept(None, now), false);
        check(600, kept(Some(Said::Leader), now), true);
        check(600, kept(None, earlier(59)), false);
        check(600, kept(None, earlier(60)), true);
        check(20, kept(None, earlier(4)), true);
        let back = now.before(Duration::from_secs(100)).unwrap();
        let keeper = Keeper::new(Some("/nowhere".into()), MAX);
        assert!(keeper.0.unwrap().is_due(&kept(None, now), &kept(None, back)));
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_holds_up_nobody_and_is_tried_again() {
        let home = tempfile::tempdir().unwrap();
        let (service, names) = led();
        // No folder can be made below a file, not even by root.
        let blocked = home.path().join("blocked");
        std::fs::write(&blocked, "").unwrap();
        let keeper = Keeper::new(Some(blocked.join("state")), MAX);
        let said = saying(&service, Some(Said::Leader));
        keeper.keep(&service, &said, &names);
        keeper.close_within(PATIENCE);
        std::fs::remove_file(&blocked).unwrap();
        keeper.keep(&service, &said, &names);
        keeper.close_within(PATIENCE);
        assert_eq!(keeper.read(&service, &names), Some(said));
        let mode = std::fs::metadata(&blocked).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "for this user alone");
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let (service, names) = led();
        let keeper = Keeper::default();
        keeper.keep(&service, &saying(&service, Some(Said::Leader)), &names);
        keeper.close_within(PATIENCE);
        assert_eq!(keeper.read(&service, &names), None);
    }
}
