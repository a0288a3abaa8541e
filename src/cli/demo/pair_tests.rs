//! The rules of the two servers, by what their clients hear.

use std::time::Duration;

use tokio::time::Instant;

use crate::cli::demo::pair::{Act, Condition, Pair};
use crate::cli::demo::side::Side::{self, A, B};

fn pair() -> Pair {
    Pair::new(
        ["127.0.0.1:7001".parse().unwrap(), "127.0.0.1:7002".parse().unwrap()],
        Instant::now(),
    )
}

fn say(pair: &mut Pair, side: Side, line: &str) -> String {
    let request = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    String::from_utf8(pair.answer(side, &request, Instant::now()).reply).unwrap()
}

fn write(pair: &mut Pair, side: Side, number: u64) -> String {
    say(pair, side, &format!("SET write:{number} x"))
}

#[test]
fn a_replica_copies_its_master_and_refuses_writes() {
    let mut pair = pair();
    assert_eq!(write(&mut pair, A, 1), "+OK\r\n");
    assert!(write(&mut pair, B, 2).starts_with("-READONLY "));
    assert!(say(&mut pair, B, "INCR n").starts_with("-READONLY "));
    assert_eq!(say(&mut pair, A, "INCR n"), ":1\r\n");
    assert_eq!(say(&mut pair, B, "GET n"), "$1\r\n1\r\n");
    assert!(pair.has(A, 1) && pair.has(B, 1) && !pair.has(B, 2));
    assert_eq!((pair.taken(A), pair.taken(B)), (1, 0));
    assert!(say(&mut pair, A, "INFO replication").contains("role:master\r\nconnected_slaves:1"));
    assert!(say(&mut pair, B, "INFO").contains("role:slave\r\n"));
    assert!(say(&mut pair, A, "ROLE").starts_with("*3\r\n$6\r\nmaster\r\n"));
    assert!(say(&mut pair, B, "ROLE").ends_with("$9\r\nconnected\r\n:10\r\n"));
}

#[test]
fn what_is_no_command_is_an_error_in_the_words_of_redis() {
    let mut pair = pair();
    assert_eq!(say(&mut pair, A, "PING"), "+PONG\r\n");
    assert_eq!(say(&mut pair, A, "ping x"), "$1\r\nx\r\n");
    assert_eq!(say(&mut pair, A, "GET nothing"), "$-1\r\n");
    assert_eq!(say(&mut pair, A, "FLY x"), "-ERR unknown command 'FLY'\r\n");
    assert_eq!(say(&mut pair, A, "F\r\nX"), "-ERR unknown command 'F\\r\\nX'\r\n");
    assert!(say(&mut pair, A, "SET x").starts_with("-ERR wrong number of arguments for 'set'"));
    say(&mut pair, A, "SET x y");
    assert!(say(&mut pair, A, "INCR x").starts_with("-ERR value is not an integer"));
    assert!(say(&mut pair, A, "REPLICAOF nowhere 1").starts_with("-ERR Invalid master"));
    assert!(pair.answer(A, &vec![b"quit".to_vec()], Instant::now()).quit);
}

#[test]
fn a_demoted_master_forgets_what_its_new_master_does_not_have() {
    let mut pair = pair();
    write(&mut pair, A, 1);
    pair.perform(Act::Cut, Instant::now());
    write(&mut pair, A, 2);
    pair.perform(Act::Promote(B), Instant::now());
    write(&mut pair, A, 3);
    write(&mut pair, B, 4);
    pair.perform(Act::Demote(A), Instant::now());
    let kept: Vec<u64> = (1..=4).filter(|number| pair.has(A, *number)).collect();
    assert_eq!(kept, [1, 4]);
    let landed: Vec<(u64, Side)> =
        pair.take_landed().iter().map(|landed| (landed.number, landed.side)).collect();
    assert_eq!(landed, [(1, A), (2, A), (3, A), (4, B)]);
    assert!(pair.take_landed().is_empty());
}

#[test]
fn a_swap_loses_nothing_and_a_restart_everything() {
    let mut pair = pair();
    write(&mut pair, A, 1);
    pair.perform(Act::Swap, Instant::now());
    assert!(write(&mut pair, A, 2).starts_with("-READONLY "));
    write(&mut pair, B, 3);
    assert!(pair.has(A, 1) && pair.has(A, 3));
    pair.perform(Act::Kill(B), Instant::now());
    pair.perform(Act::Promote(A), Instant::now());
    pair.perform(Act::Restart(B), Instant::now());
    assert!(!pair.has(B, 3) && pair.has(A, 3));
    assert!(say(&mut pair, B, "INFO replication").contains("role:master"));
    assert_eq!(pair.taken(B), 1);
}

#[test]
fn a_replica_copies_its_master_also_where_that_comes_back_empty() {
    let mut pair = pair();
    write(&mut pair, A, 1);
    pair.perform(Act::Kill(A), Instant::now());
    assert!(pair.has(B, 1));
    pair.perform(Act::Restart(A), Instant::now());
    assert!(!pair.has(B, 1));
}

#[test]
fn the_roles_may_be_changed_over_the_wire() {
    let mut pair = pair();
    assert_eq!(say(&mut pair, B, "REPLICAOF NO ONE"), "+OK\r\n");
    assert!(pair.is_master(B));
    write(&mut pair, A, 1);
    assert_eq!(say(&mut pair, A, "SLAVEOF localhost 7002"), "+OK\r\n");
    assert!(!pair.is_master(A) && !pair.has(A, 1));
}

#[test]
fn the_time_with_two_masters_is_that_in_which_both_answer_so() {
    let mut pair = pair();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    pair.perform(Act::Freeze(A), at(1));
    pair.perform(Act::Promote(B), at(2));
    assert_eq!(pair.contested(at(9)), Duration::ZERO);
    pair.perform(Act::Thaw(A), at(10));
    assert_eq!(pair.contested(at(13)), Duration::from_secs(3));
    pair.perform(Act::Demote(A), at(14));
    assert_eq!(pair.contested(at(20)), Duration::from_secs(4));
    assert_eq!(pair.condition(A), Condition::Running);
}
