//! The keeper over real folders.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::state::keeper::Keeper;
use crate::state::page::{Kind, Owner, Page};
use crate::state::wall_clock::WallTime;

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

#[test]
fn while_it_pauses_nothing_is_written_and_then_all_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = keeper(folder.path());
    keeper.keep(says("before"));
    keeper.pause_within(PATIENCE);
    assert_eq!(read(&keeper).as_deref(), Some("before"));
    keeper.keep(says("meanwhile"));
    keeper.close_within(PATIENCE);
    assert_eq!(read(&keeper).as_deref(), Some("before"));
    let other = Keeper::new(Some(folder.path().into()), MAX);
    other.keep(says("other"));
    other.close_within(PATIENCE);
    keeper.resume();
    keeper.close_within(PATIENCE);
    assert_eq!(read(&keeper).as_deref(), Some("meanwhile"));
    keeper.pause_within(PATIENCE);
    other.keep(says("another"));
    other.close_within(PATIENCE);
    // Nothing is new: it is written again all the same.
    keeper.resume();
    keeper.close_within(PATIENCE);
    assert_eq!(read(&keeper).as_deref(), Some("meanwhile"));
}
