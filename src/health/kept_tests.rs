//! What is kept on disk: read back as it was, or not believed.

use proptest::prelude::*;

use crate::config::model::Balance;
use crate::health::board_harness::{address, key, service};
use crate::health::kept::{Kept, KeptTarget};
use crate::health::leader::Said;
use crate::health::leader::remembered::Remembered;
use crate::net::names::NameBook;
use crate::state::page::{Owner, with_its_sum};
use crate::state::wall_clock::WallTime;

fn book(places: &[(char, [u8; 4])]) -> NameBook {
    let name = |(name, ip): &(char, [u8; 4])| (address(*name).host().into(), Ok((*ip).into()));
    NameBook { names: places.iter().map(name).collect() }
}

/// `a` leads, `b` does not, and nothing is known of `c`.
fn remembered() -> Remembered {
    let said =
        [(key('a'), Some(Said::Leader)), (key('b'), Some(Said::NotLeader)), (key('c'), None)];
    Remembered { leader: Some(key('a')), said: said.into() }
}

fn everywhere() -> NameBook {
    book(&[('a', [10, 0, 0, 1]), ('b', [10, 0, 0, 2]), ('c', [10, 0, 0, 3])])
}

fn kept() -> Kept {
    let service = service("abc", Balance::Leader);
    let written = "2026-11-23T04:28:20.690Z".parse().unwrap();
    Kept::of(&service, &remembered(), &everywhere(), written)
}

#[test]
fn it_is_written_as_documented_and_read_back() {
    let text = kept().to_text();
    let expected = "stagedoor leader 1\nservice redis\nlisten *:6379\n\
        written 2026-11-23T04:28:20.690Z\nleads a:1\n\
        target a:1 | 10.0.0.1:1 | leader\ntarget b:1 | 10.0.0.2:1 | not leader\n\
        target c:1 | 10.0.0.3:1 | nothing\nend ";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(Kept::parse(&text), Ok(kept()));
    let service = service("abc", Balance::Leader);
    assert_eq!(kept().recall(&service, &everywhere()), remembered());
}

#[test]
fn a_target_that_is_gone_or_elsewhere_now_is_not_remembered() {
    let check = |targets: &str, names: NameBook, expected: &str, leader: Option<char>| {
        let recalled = kept().recall(&service(targets, Balance::Leader), &names);
        let keys: Vec<_> = expected.chars().map(key).collect();
        assert_eq!(recalled.said.into_keys().collect::<Vec<_>>(), keys, "{targets}");
        assert_eq!(recalled.leader, leader.map(key), "{targets}");
    };
    check("abcd", everywhere(), "abc", Some('a'));
    check("bc", everywhere(), "bc", None);
    check("abc", book(&[('a', [10, 0, 0, 9]), ('b', [10, 0, 0, 2])]), "b", None);
    check("abc", NameBook::default(), "", None);
}

#[test]
fn what_has_no_address_is_not_kept() {
    let service = service("abc", Balance::Leader);
    let names = book(&[('b', [10, 0, 0, 2])]);
    let kept = Kept::of(&service, &remembered(), &names, WallTime::now());
    assert_eq!(kept.targets.len(), 1);
    assert_eq!(kept.recall(&service, &everywhere()).leader, None);
}

#[test]
fn what_was_cut_off_anywhere_is_not_believed() {
    let text = kept().to_text();
    for end in 0..text.len() {
        assert!(Kept::parse(&text[..end]).is_err(), "cut off at {end}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_back_and_any_damage_is_found(
        service in "\\PC{0,20}", target in ".{0,20}", at in "[ -~]{0,20}",
        place in 0.0..1.0_f64, with in any::<char>(),
    ) {
        let kept = Kept {
            of: Owner { service, listen: "*:1".to_owned() },
            leads: Some(target.clone()),
            targets: vec![KeptTarget { target, at, said: None }],
            ..kept()
        };
        let text = kept.to_text();
        prop_assert_eq!(Kept::parse(&text), Ok(kept));
        let mut damaged: Vec<char> = text.chars().collect();
        let index = (place * damaged.len() as f64) as usize;
        damaged[index] = with;
        let damaged: String = damaged.into_iter().collect();
        prop_assert!(damaged == text || Kept::parse(&damaged).is_err());
    }

    #[test]
    fn any_text_at_all_never_panics(text in "\\PC{0,200}", lines in prop::collection::vec("(target|leads|service|end) .{0,30}", 0..8)) {
        drop(Kept::parse(&text));
        let body = format!("stagedoor leader 1\nservice a\nlisten b\nwritten {text}\n{}\n", lines.join("\n"));
        drop(Kept::parse(&with_its_sum(body)));
    }
}
