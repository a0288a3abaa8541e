//! Random words in random order: whatever comes, the rule holds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::health::leader::{Alarm, LeaderRule, Why};
use crate::health::leader_tests::{Play, key};
use crate::health::rank::Rank;
use crate::health::snapshot::Health;

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Happens {
    /// A pass gives its target this rank.
    Says(char, char, Option<u8>),
    Overdue(char),
    Withdraw(char, bool),
}

fn any_event() -> impl Strategy<Value = Happens> {
    let targets = || prop::sample::select(vec!['a', 'b', 'c']);
    prop_oneof![
        20 => (targets(), prop::sample::select(vec!['+', '+', '-', 'x', '.']), any_rank())
            .prop_map(|(target, word, rank)| Happens::Says(target, word, rank)),
        1 => targets().prop_map(Happens::Overdue),
        1 => (targets(), any::<bool>()).prop_map(|(target, gone)| Happens::Withdraw(target, gone)),
    ]
}

fn any_rank() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![1 => Just(None), 4 => (0..4_u8).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_leader_stands_and_only_a_promoted_one_takes_over(
        events in prop::collection::vec(any_event(), 1..80),
    ) {
        let mut play = Play::of("abc");
        let (mut heard, mut withdrawn) = (BTreeSet::new(), BTreeSet::new());
        // Who has said that it does not lead, and has neither led nor died since.
        let mut stood_back: BTreeMap<char, bool> = BTreeMap::new();
        for event in events {
            let before = play.rule.leader().cloned();
            let ruling = match event {
                Happens::Says(target, word, rank) => {
                    heard.insert(target);
                    if word == '+' {
                        let rank = rank.and_then(|rank| Rank::parse(rank.to_string().as_bytes()));
                        play.rule.ranked(&key(target), rank);
                    }
                    match word {
                        '-' => { stood_back.insert(target, true); }
                        'x' => { stood_back.insert(target, false); }
                        _ => {}
                    }
                    play.says(target, word)
                }
                Happens::Overdue(target) => {
                    heard.insert(target);
                    play.rule.first_probe_overdue(&key(target))
                }
                Happens::Withdraw(target, gone) => {
                    if gone { withdrawn.insert(target); } else { withdrawn.remove(&target); }
                    play.rule.withdraw(&key(target), gone)
                }
            };
            let after = play.rule.leader().cloned();
            let leader = play.leader();
            match &ruling.change {
                None => prop_assert_eq!(&before, &after),
                Some(change) => {
                    prop_assert_eq!((&change.from, &change.to), (&before, &after));
                    prop_assert_ne!(&before, &after);
                    let standing = |name: char| {
                        play.standings[&name].health() == Health::Up && !withdrawn.contains(&name)
                    };
                    let old = before.as_ref().map(|old| old.as_str().chars().next().unwrap());
                    if old.is_some_and(standing) {
                        prop_assert_eq!(change.why, Why::Promoted);
                    }
                    if change.why == Why::Promoted {
                        prop_assert_eq!(stood_back.get(&leader), Some(&true));
                    }
                    if change.why == Why::HighestRank {
                        let others = play.rule.claimants().filter(|other| Some(*other) != after.as_ref());
                        let ranks: Vec<_> = others.map(|other| play.rule.rank(other)).collect();
                        let own = after.as_ref().and_then(|leader| play.rule.rank(leader));
                        prop_assert!(!ranks.is_empty() && ranks.iter().all(|rank| rank.is_some() && *rank < own));
                    }
                    prop_assert_eq!(matches!(change.why, Why::IncumbentDown | Why::IncumbentGone), after.is_none());
                }
            }
            if leader != '-' {
                prop_assert_eq!(play.standings[&leader].health(), Health::Up);
                prop_assert!(!withdrawn.contains(&leader));
                prop_assert_eq!(heard.len(), 3, "it led before everybody was heard");
                if ruling.change.is_some() {
                    stood_back.insert(leader, false);
                }
            }
            if let Some(Alarm::Contended(contenders)) = &ruling.alarm {
                prop_assert!(contenders.len() > 1 && after.is_none());
            }
            one_claimant_is_never_left_out(&play.rule)?;
        }
    }
}

/// Settled, nobody leading: then nobody claims to, or several do.
fn one_claimant_is_never_left_out(rule: &LeaderRule) -> Result<(), TestCaseError> {
    if rule.leader().is_none() && rule.is_settled() {
        let free = rule.claimants().filter(|target| !rule.is_held_back(target)).count();
        prop_assert_eq!(free, 0);
    }
    Ok(())
}
