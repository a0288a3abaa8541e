//! What of led services outlives the process, written to disk and read from it.

use std::time::Duration;

use crate::config::model::Service;
use crate::health::kept::{Kept, LEADER};
use crate::health::leader::remembered::Remembered;
use crate::net::names::NameBook;
use crate::state::keeper::Keeper;
use crate::state::page::{Disbelief, Owner, Page, whole_seconds};
use crate::state::wall_clock::WallTime;

/// What was kept of a service, if it is to be believed; the log says what came of it. Blocks.
pub fn read(keeper: &Keeper, service: &Service, names: &NameBook) -> Option<Remembered> {
    let believe = |page: &Page, age: Duration| {
        let kept = Kept::of_page(page)?;
        let max_age = keeper.max_age();
        if age > max_age {
            return Err(Disbelief::TooOld { age, max_age });
        }
        Ok((kept.recall(service, names), age))
    };
    let (remembered, age) = keeper.read(LEADER, &Owner::of(service), believe)?;
    let leader = remembered.leader.as_ref();
    let leader = leader.map_or_else(|| "nobody".to_owned(), ToString::to_string);
    let name = service.name.as_str();
    log::info!(service = name; "remembered from {} ago: {leader} led", whole_seconds(age));
    Some(remembered)
}

/// Has what is known of a service written, if it is news or what is on disk grows old.
pub fn keep(keeper: &Keeper, service: &Service, remembered: &Remembered, names: &NameBook) {
    if keeper.keeps() {
        keeper.keep(Kept::of(service, remembered, names, WallTime::now()).to_page());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::model::{Balance, Target};
    use crate::config::names::TargetAddress;
    use crate::health::board_harness::service;
    use crate::health::leader::Said;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A service with one target that needs no looking up.
    fn led() -> (Service, NameBook) {
        let mut service = service("a", Balance::Leader);
        let address = "127.0.0.1:7001".parse().map(TargetAddress::Ip).unwrap();
        service.pool.targets = vec![Target::at(address)];
        (service, NameBook::default())
    }

    fn keeper(folder: &Path, seconds: u64) -> Keeper {
        Keeper::new(Some(folder.into()), Duration::from_secs(seconds))
    }

    #[test]
    fn what_was_said_is_remembered_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let (service, names) = led();
        let key = service.pool.targets[0].key.clone();
        let said = [(key.clone(), Some(Said::Leader))].into();
        let remembered = Remembered { leader: Some(key), said };
        let first = keeper(folder.path(), 600);
        assert_eq!(read(&first, &service, &names), None);
        keep(&first, &service, &remembered, &names);
        first.close_within(PATIENCE);
        assert_eq!(read(&keeper(folder.path(), 600), &service, &names), Some(remembered));
        assert_eq!(read(&keeper(folder.path(), 0), &service, &names), None, "too old at once");
        keep(&Keeper::default(), &service, &Remembered::default(), &names);
        assert_eq!(read(&Keeper::default(), &service, &names), None);
    }
}
