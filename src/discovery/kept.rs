//! The last good list of a directory, as lines of a page: what a process that starts while its
//! directory is silent begins with. Pure but for `read`.
//!
//! ```text
//! question 5f2a…
//! target 10.0.0.1:6379 | 2 | main
//! target tls://redis-2:6379 | 1 | backup | the spare
//! ```
//!
//! A list is believed only whole, only of the very question that is asked now, and by the rules of
//! now. How old it may be depends on whether anybody looks at its targets before they get clients.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::address::{self, Spoken};
use crate::config::discovery::{Discovery, MOST_ENTRIES};
use crate::config::mould::Found;
use crate::config::names::ListenAddress;
use crate::discovery::list::{Entries, Listed, settle};
use crate::discovery::own;
use crate::state::keeper::Keeper;
use crate::state::page::{BAR, Disbelief, Kind, Owner, Page, escaped, plain};
use crate::state::wall_clock::WallTime;

/// What is kept so.
pub const TARGETS: Kind = Kind {
    word: "targets",
    what: "the list of targets",
    without: "starting without the list of targets that was kept",
};

/// A list that an earlier process heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptList {
    /// The list, by the rules of now.
    pub listed: Listed,
    /// How long ago that process heard it last.
    pub age: Duration,
}

/// How old a list may be. One whose targets are checked may be of any age: a dead address gets no
/// client. Where nobody looks, clients would go to whoever has the address by now.
fn limit(is_checked: bool, max_age: Duration) -> Option<Duration> {
    (!is_checked).then_some(max_age)
}

/// The page that a list is written on.
pub fn page(of: Owner, discovery: &Discovery, listed: &Listed, written: WallTime) -> Page {
    let mut lines = format!("question {}\n", discovery.question());
    for one in &*listed.targets {
        let role = if one.backup { "backup" } else { "main" };
        let mut parts = vec![escaped(&url(one)), one.weight.to_string(), role.to_owned()];
        parts.extend(one.name.as_deref().map(escaped));
        lines.push_str(&format!("target {}\n", parts.join(BAR)));
    }
    Page { kind: TARGETS, of, written, lines }
}

/// What is on a page.
///
/// # Errors
/// If it was not written so, or is the answer to another question.
pub fn of_page(page: &Page, discovery: &Discovery) -> Result<Vec<Found>, Disbelief> {
    let mut lines = page.numbered();
    let asked = lines.next().and_then(|(_, line)| line.strip_prefix("question "));
    let asked = asked.ok_or(Disbelief::Malformed(5))?;
    let mut found = Vec::new();
    for (number, line) in lines {
        let one = line.strip_prefix("target ").and_then(target);
        found.push(one.filter(|_| number <= MOST_ENTRIES + 5).ok_or(Disbelief::Malformed(number))?);
    }
    if asked != discovery.question().to_string() {
        let what = "it is what another directory said, or this one to another question";
        return Err(Disbelief::Other(what.to_owned()));
    }
    Ok(found)
}

/// The list that was kept, if it is to be believed; the log says why not. Blocks.
pub fn read(
    keeper: &Keeper,
    of: &Owner,
    listen: &ListenAddress,
    discovery: &Discovery,
    is_checked: bool,
) -> Option<KeptList> {
    keeper.read(TARGETS, of, |page, age| {
        let found = of_page(page, discovery)?;
        if let Some(max_age) = limit(is_checked, keeper.max_age()).filter(|limit| age > *limit) {
            return Err(Disbelief::TooOld { age, max_age });
        }
        let entries = Entries { found, ..Entries::default() };
        let entries = own::leave_out(entries, listen, own::is_of_this_machine);
        let listed = settle(entries, discovery);
        let listed = listed.map_err(|fault| Disbelief::Other(fault.to_string()))?;
        Ok(KeptList { listed, age })
    })
}

fn url(one: &Found) -> String {
    match one.spoken {
        Spoken::Tcp => one.address.to_string(),
        Spoken::Tls => format!("tls://{}", one.address),
    }
}

fn target(text: &str) -> Option<Found> {
    let mut parts = text.split(BAR);
    let (written, weight, role) = (plain(parts.next()?)?, parts.next()?, parts.next()?);
    let name = parts.next().map(|name| plain(name).map(Into::into));
    let (spoken, address) = address::target(&written).ok()?;
    let weight: NonZeroU32 = weight.parse().ok()?;
    let backup = match role {
        "main" => false,
        "backup" => true,
        _ => return None,
    };
    let one = Found {
        spoken,
        address,
        weight,
        backup,
        name: name.map_or(Some(None), |it| it.map(Some))?,
    };
    (parts.next().is_none() && url(&one) == written).then_some(one)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::discovery::Directory;
    use crate::config::names::ServiceName;
    use crate::discovery::list::tests::spec;
    use crate::state::page::with_its_sum;

    fn owner() -> Owner {
        Owner::new(&ServiceName::new("redis"), &ListenAddress::AnyOnPort(1))
    }

    fn one(url: &str) -> Found {
        let (spoken, address) = address::target(url).unwrap();
        Found::at(spoken, address)
    }

    fn all() -> Vec<Found> {
        let spare = Found {
            weight: NonZeroU32::new(7).unwrap(),
            backup: true,
            name: Some("the | spare\n".into()),
            ..one("tls://redis:2")
        };
        vec![one("10.0.0.1:1"), spare, one("[2001:db8::1]:3"), one("unix:/run/x")]
    }

    fn listed(found: Vec<Found>) -> Listed {
        Listed { targets: found.into(), ..Listed::default() }
    }

    fn written() -> Page {
        page(owner(), &spec(), &listed(all()), "2026-11-23T04:28:20.690Z".parse().unwrap())
    }

    #[test]
    fn it_is_written_as_documented_and_read_back() {
        let lines = "target 10.0.0.1:1 | 1 | main\n\
                     target tls://redis:2 | 7 | backup | the %7c spare%0a\n\
                     target [2001:db8::1]:3 | 1 | main\ntarget unix:/run/x | 1 | main\n";
        let page = written();
        assert!(page.lines.starts_with("question ") && page.lines.ends_with(lines), "{page:?}");
        assert_eq!(of_page(&page, &spec()), Ok(all()));
        let again = Page::parse(TARGETS, &page.to_text()).unwrap();
        assert_eq!(of_page(&again, &spec()), Ok(all()));
    }

    #[test]
    fn what_another_directory_said_is_not_believed() {
        let other = Directory::File(Path::new("other.json").into());
        for other in
            [Discovery { directory: other, ..spec() }, Discovery { first_only: true, ..spec() }]
        {
            let why = of_page(&written(), &other).unwrap_err();
            assert!(matches!(why, Disbelief::Other(_)), "{why}");
        }
    }

    #[test]
    fn half_a_list_is_none() {
        let check = |lines: &str, number| {
            let page = Page { lines: format!("question x\n{lines}\n"), ..written() };
            assert_eq!(of_page(&page, &spec()), Err(Disbelief::Malformed(number)), "{lines}");
        };
        check("target 10.0.0.1:1 | 1 | main\ntarget 10.0.0.1:1 | 1", 7);
        for wrong in [
            "",
            "target",
            "target 10.0.0.1 | 1 | main",
            "target 10.0.0.1:1 | 0 | main",
            "target 10.0.0.1:1 | 1 | other",
            "target tcp://10.0.0.1:1 | 1 | main",
            "target 10.0.0.1:1 | 1 | main | a | b",
            "target 10.0.0.1:1 | 1 | main | %",
            "leads 10.0.0.1:1",
        ] {
            check(wrong, 6);
        }
        check(&vec!["target a:1 | 1 | main"; MOST_ENTRIES + 1].join("\n"), MOST_ENTRIES + 6);
        let none = Page { lines: String::new(), ..written() };
        assert_eq!(of_page(&none, &spec()), Err(Disbelief::Malformed(5)));
    }

    #[test]
    fn age_counts_only_where_nobody_looks_at_the_targets() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(Some(folder.path().into()), Duration::from_secs(600));
        let at = WallTime::now().before(Duration::from_secs(3_600)).unwrap();
        keeper.keep(page(owner(), &spec(), &listed(all()), at));
        // At the end everything is written as it was handed over.
        keeper.close_within(Duration::from_secs(60));
        let listen = ListenAddress::AnyOnPort(1);
        let read = |is_checked| read(&keeper, &owner(), &listen, &spec(), is_checked);
        assert_eq!(read(false), None);
        let kept = read(true).unwrap();
        assert_eq!(kept.age.as_secs() / 60, 60);
        assert_eq!(*kept.listed.targets, all());
    }

    #[test]
    fn a_kept_list_is_held_to_the_rules_of_now() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(Some(folder.path().into()), Duration::from_secs(600));
        let keep = |found| {
            keeper.keep(page(owner(), &spec(), &listed(found), WallTime::now()));
            keeper.close_within(Duration::from_secs(60));
        };
        let read = |port, spec: &Discovery| {
            let kept = read(&keeper, &owner(), &ListenAddress::AnyOnPort(port), spec, false)?;
            Some(kept.listed.targets.len())
        };
        keep(vec![one("127.0.0.1:1"), one("127.0.0.1:2")]);
        assert_eq!(read(3, &spec()), Some(2));
        assert_eq!(read(1, &spec()), Some(1), "it has come to be the service itself");
        keep(vec![]);
        assert_eq!(read(3, &spec()), None);
        assert_eq!(read(3, &Discovery { allow_empty: true, ..spec() }), Some(0));
    }

    proptest! {
        #[test]
        fn any_text_at_all_never_panics(
            lines in prop::collection::vec("(target|question|) ?[0-9a-z:./|% ]{0,40}", 0..8),
            text in "\\PC{0,200}",
        ) {
            let body = format!(
                "stagedoor targets 1\nservice a\nlisten b\nwritten {text}\n{}\n", lines.join("\n")
            );
            for text in [text, with_its_sum(body)] {
                drop(Page::parse(TARGETS, &text).map(|page| of_page(&page, &spec())));
            }
            let page = Page { lines: lines.join("\n"), ..written() };
            drop(of_page(&page, &spec()));
        }
    }
}
