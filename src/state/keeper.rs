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
type Shelf = (Kind, Owner);

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
    newest: BTreeMap<Shelf, Page>,
    /// As it was last written.
    given: BTreeMap<Shelf, Page>,
    /// Whose newest is to be written.
    waiting: BTreeSet<Shelf>,
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
        if desk.given.get(&shelf).is_none_or(|given| shared.is_due(given, &page)) {
            desk.waiting.insert(shelf.clone());
        }
        desk.newest.insert(shelf, page);
        shared.serve(&mut desk);
    }

    /// Has everything written as it is known now, and waits for that, but not longer than `limit`.
    pub fn close_within(&self, limit: Duration) {
        let Some(shared) = &self.0 else { return };
        let mut desk = shared.lock();
        let Desk { newest, given, waiting, is_closing, .. } = &mut *desk;
        *is_closing = true;
        let old = newest.iter().filter(|(shelf, page)| given.get(*shelf) != Some(*page));
        waiting.extend(old.map(|(shelf, _)| shelf.clone()));
        shared.serve(&mut desk);
        let is_busy = |desk: &mut Desk| !desk.waiting.is_empty() || desk.is_writing;
        let waited = shared.written.wait_timeout_while(desk, limit, is_busy);
        if waited.is_ok_and(|(_, waited)| waited.timed_out()) {
            let folder = shared.folder.display();
            log::warn!("{folder} takes long to write to: what is known may not be remembered");
        }
    }
}

// === impl Shared ===

impl Shared {
    fn read(&self, kind: Kind, file: &str) -> Result<Option<Page>, Disbelief> {
        let text = folder::read(&self.folder, file);
        let text = text.map_err(|error| Disbelief::Unreadable(error.to_string()))?;
        text.map(|text| Page::parse(kind, &text)).transpose()
    }

    /// Is it time to write `now`, when `given` was written last?
    fn is_due(&self, given: &Page, now: &Page) -> bool {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const MAX: Duration = Duration::from_secs(600);
    const KIND: Kind = Kind { word: "thing", what: "it", without: "without it" };

    fn owner() -> Owner {
        Owner { service: "redis".into(), listen: "*:1".into() }
    }

    fn page(said: &str, written: WallTime) -> Page {
        Page { kind: KIND, of: owner(), written, lines: format!("{said}\n") }
    }

    fn says(said: &str) -> Page {
        page(said, WallTime::now())
    }

    fn read(keeper: &Keeper) -> Option<String> {
        keeper.read(KIND, &owner(), |page, _| Ok(page.lines.trim_end().to_owned()))
    }

    fn written(folder: &Path) -> Page {
        let text = std::fs::read_to_string(folder.join(owner().file_name(KIND))).unwrap();
        Page::parse(KIND, &text).unwrap()
    }

    fn keeper(folder: &Path) -> Keeper {
        Keeper::new(Some(folder.into()), MAX)
    }

    #[test]
    fn the_newest_of_many_is_what_is_written_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let first = keeper(folder.path());
        assert_eq!(read(&first), None);
        for _ in 0..50 {
            first.keep(says("old"));
            first.keep(says("new"));
        }
        first.close_within(PATIENCE);
        let next = keeper(folder.path());
        assert_eq!(read(&next).as_deref(), Some("new"));
        let other = Owner { listen: "*:2".into(), ..owner() };
        assert_eq!(next.read(KIND, &other, |_, _| Ok(())), None);
        let kind = Kind { word: "other", ..KIND };
        assert_eq!(next.read(kind, &owner(), |_, _| Ok(())), None);
    }

    #[test]
    fn what_stays_the_same_is_not_written_each_time_but_with_its_time_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = keeper(folder.path());
        keeper.keep(says("so"));
        keeper.close_within(PATIENCE);
        let first = written(folder.path());
        keeper.keep(says("so"));
        assert!(keeper.0.as_ref().unwrap().lock().waiting.is_empty(), "nothing new");
        keeper.close_within(PATIENCE);
        let last = written(folder.path());
        assert!(last.says_the_same(&first));
        let newest = keeper.0.as_ref().unwrap().lock().newest[&(KIND, owner())].written;
        assert_eq!(last.written.to_string(), newest.to_string());
    }

    #[test]
    fn it_is_due_when_it_is_news_or_old_or_the_clock_was_set_back() {
        let now = WallTime::now();
        let earlier = |seconds| now.before(Duration::from_secs(seconds)).unwrap();
        let check = |max_age, given: Page, due| {
            let keeper = Keeper::new(Some("/nowhere".into()), Duration::from_secs(max_age));
            assert_eq!(keeper.0.unwrap().is_due(&given, &page("so", now)), due, "{given:?}");
        };
        check(600, page("so", now), false);
        check(600, page("else", now), true);
        check(600, page("so", earlier(59)), false);
        check(600, page("so", earlier(60)), true);
        check(20, page("so", earlier(4)), true);
        let keeper = keeper(Path::new("/nowhere"));
        assert!(keeper.0.unwrap().is_due(&page("so", now), &page("so", earlier(100))));
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_holds_up_nobody_and_is_tried_again() {
        let home = tempfile::tempdir().unwrap();
        // No folder can be made below a file, not even by root.
        let blocked = home.path().join("blocked");
        std::fs::write(&blocked, "").unwrap();
        let keeper = keeper(&blocked.join("state"));
        keeper.keep(says("so"));
        keeper.close_within(PATIENCE);
        std::fs::remove_file(&blocked).unwrap();
        keeper.keep(says("so"));
        keeper.close_within(PATIENCE);
        assert_eq!(read(&keeper).as_deref(), Some("so"));
        let mode = std::fs::metadata(&blocked).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "for this user alone");
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let keeper = Keeper::default();
        keeper.keep(says("so"));
        keeper.close_within(PATIENCE);
        assert_eq!(read(&keeper), None);
        assert!(!keeper.keeps());
    }

    #[test]
    fn what_was_written_after_now_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = keeper(folder.path());
        keeper.keep(page("so", WallTime::now().after(Duration::from_secs(3600)).unwrap()));
        keeper.close_within(PATIENCE);
        assert_eq!(read(&keeper), None);
    }
}
