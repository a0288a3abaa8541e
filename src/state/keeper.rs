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

use crate::state::folder;
use crate::state::page::{Disbelief, Kind, Owner, Page};
use crate::state::wall_clock::WallTime;

/// What stays the same is written again at least this often, and more often if it is believed for
/// a short time only.
const REFRESH: Duration = Duration::from_secs(60);
/// So often within the time for which it is believed.
const REFRESHES: u32 = 5;
/// After a failure, until it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a page is kept under.
pub(super) type Shelf = (Kind, Owner);

/// Keeps what must outlive the process; or, without a folder, nothing. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Keeper(pub(super) Option<Arc<Shared>>);

#[derive(Debug)]
pub(super) struct Shared {
    folder: PathBuf,
    max_age: Duration,
    desk: Mutex<Desk>,
    /// Something is to be written.
    handed: Condvar,
    /// Nothing is.
    written: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Desk {
    /// As it is known now.
    pub(super) newest: BTreeMap<Shelf, Page>,
    /// As it was last written.
    given: BTreeMap<Shelf, Page>,
    /// Whose newest is to be written.
    pub(super) waiting: BTreeSet<Shelf>,
    /// There is a thread.
    is_running: bool,
    /// It writes just now.
    is_writing: bool,
    /// The process ends: whatever is still tried, is tried now.
    is_closing: bool,
    /// Nothing is written: another process may write.
    is_paused: bool,
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

    /// Is anything kept at all?
    pub fn keeps(&self) -> bool {
        self.0.is_some()
    }

    /// What is older is not believed where age counts; zero without a folder.
    pub fn max_age(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |shared| shared.max_age)
    }

    /// What was kept, as `believe` makes it of the page and its age; `None`: there is nothing, or it
    /// is not to be believed, and the log says why. Blocks.
    pub fn read<T>(
        &self,
        kind: Kind,
        of: &Owner,
        believe: impl FnOnce(&Page, Duration) -> Result<T, Disbelief>,
    ) -> Option<T> {
        let shared = self.0.as_ref()?;
        let file = of.file_name(kind);
        let read = shared.read(kind, &file).and_then(|page| {
            let aged = page.map(|page| Ok((page.age(of, WallTime::now())?, page))).transpose()?;
            aged.map(|(age, page)| believe(&page, age)).transpose()
        });
        read.unwrap_or_else(|why| {
            let level = match why {
                Disbelief::TooOld { .. } | Disbelief::Other(_) => log::Level::Info,
                Disbelief::Unreadable(_)
                | Disbelief::Malformed(_)
                | Disbelief::CutOff
                | Disbelief::Damaged
                | Disbelief::Foreign(_)
                | Disbelief::Future(_) => log::Level::Warn,
            };
            let (path, without) = (shared.folder.join(&file), kind.without);
            log::log!(level, service = of.service.as_str(); "{without}: {}: {why}", path.display());
            None
        })
    }

    /// Has a page written, if it is news or what is on disk grows old.
    pub fn keep(&self, page: Page) {
        let Some(shared) = &self.0 else { return };
        let shelf = (page.kind, page.of.clone());
        let mut desk = shared.lock();
        let is_due = desk.given.get(&shelf).is_none_or(|given| shared.is_due(given, &page));
        if is_due && !desk.is_paused {
            desk.waiting.insert(shelf.clone());
        }
        desk.newest.insert(shelf, page);
        shared.serve(&mut desk);
    }

    /// Has everything written as it is known now, and waits for that, but not longer than `limit`.
    /// Paused, it writes nothing.
    pub fn close_within(&self, limit: Duration) {
        let Some(shared) = &self.0 else { return };
        let mut desk = shared.lock();
        desk.is_closing = true;
        shared.flush(desk, limit);
    }

    /// Has everything written as `close_within` does; from then on nothing is, until `resume`.
    pub fn pause_within(&self, limit: Duration) {
        let Some(shared) = &self.0 else { return };
        shared.flush(shared.lock(), limit);
        let mut desk = shared.lock();
        desk.is_paused = true;
        desk.waiting.clear();
    }

    /// Has everything written again, as it is known by now: somebody else may have written.
    pub fn resume(&self) {
        let Some(shared) = &self.0 else { return };
        let mut desk = shared.lock();
        let Desk { newest, given, waiting, is_paused, .. } = &mut *desk;
        *is_paused = false;
        given.clear();
        waiting.extend(newest.keys().cloned());
        shared.serve(&mut desk);
    }
}

// === impl Shared ===

impl Shared {
    fn flush(self: &Arc<Self>, mut desk: MutexGuard<'_, Desk>, limit: Duration) {
        if desk.is_paused {
            return;
        }
        let Desk { newest, given, waiting, .. } = &mut *desk;
        let old = newest.iter().filter(|(shelf, page)| given.get(*shelf) != Some(*page));
        waiting.extend(old.map(|(shelf, _)| shelf.clone()));
        self.serve(&mut desk);
        let is_busy = |desk: &mut Desk| !desk.waiting.is_empty() || desk.is_writing;
        let waited = self.written.wait_timeout_while(desk, limit, is_busy);
        if waited.is_ok_and(|(_, waited)| waited.timed_out()) {
            let folder = self.folder.display();
            log::warn!("{folder} takes long to write to: what is known may not be remembered");
        }
    }

    fn read(&self, kind: Kind, file: &str) -> Result<Option<Page>, Disbelief> {
        let text = folder::read(&self.folder, file);
        let text = text.map_err(|error| Disbelief::Unreadable(error.to_string()))?;
        text.map(|text| Page::parse(kind, &text)).transpose()
    }

    /// Is it time to write `now`, when `given` was written last?
    pub(super) fn is_due(&self, given: &Page, now: &Page) -> bool {
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
            Err(error) => log::warn!("no thread to write with what is known: {error}"),
        }
    }

    /// Every change under this lock is sound by itself, whatever panicked.
    pub(super) fn lock(&self) -> MutexGuard<'_, Desk> {
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
            let page = self.next();
            let name = page.of.file_name(page.kind);
            let written = folder::write(&shared.folder, &name, &page.to_text());
            let failed = written.is_err();
            let shelf = (page.kind, page.of);
            self.tell(&shelf, written, &mut failing);
            let mut desk = shared.lock();
            desk.is_writing = false;
            if failed {
                desk.given.remove(&shelf);
            }
            shared.written.notify_all();
            if failed {
                let goes_on = |desk: &mut Desk| !desk.is_closing;
                drop(shared.handed.wait_timeout_while(desk, AGAIN, goes_on));
            }
        }
    }

    /// Waits for something to write.
    fn next(&self) -> Page {
        let shared = &self.0;
        let mut desk = shared.lock();
        loop {
            if let Some(shelf) = desk.waiting.pop_first()
                && let Some(page) = desk.newest.get(&shelf).cloned()
            {
                desk.is_writing = true;
                desk.given.insert(shelf, page.clone());
                return page;
            }
            desk = shared.handed.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One warning for a folder that cannot be written to, and a word when it can again.
    fn tell(&self, shelf: &Shelf, written: io::Result<()>, failing: &mut BTreeSet<Shelf>) {
        let (kind, owner) = shelf;
        let (path, what) = (self.0.folder.join(owner.file_name(*kind)), kind.what);
        match written {
            Ok(()) => {
                if failing.remove(shelf) && failing.is_empty() {
                    log::info!("{what} is written to {} again", self.0.folder.display());
                }
            }
            Err(error) => {
                if failing.is_empty() {
                    log::warn!(
                        service = owner.service.as_str();
                        "{what} is not written to {}: {error}; a restart of the process would not \
                         remember it. Give it another folder with --set state_dir=PATH",
                        path.display()
                    );
                }
                failing.insert(shelf.clone());
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
