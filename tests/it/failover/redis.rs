//! The page's own definition in failovers of real Redis servers under three Sentinels: order and
//! counts. What they take in time is `make bench-failover`'s.

use crate::failover::scenario::{SHORT, Scenario};
use crate::harness::network::{drop_packets, in_own_network};

/// Writes that may be lost where both servers are alive and the proxy has to ask: what is written
/// in one interval of the checks is 110. Balancing over both loses thousands.
const ONE_INTERVAL: usize = 400;

fn check(scenario: Scenario, bound: usize) {
    let play = || {
        let account = scenario.play(&SHORT);
        println!("{account}");
        if scenario == Scenario::Amnesia {
            account.check_nothing_happened();
        } else {
            account.check(bound);
        }
    };
    if !scenario.cuts() {
        return play();
    }
    in_own_network(|| {
        if drop_packets(&[]) {
            play();
        }
    });
}

#[test]
fn a_master_that_was_killed_and_is_back_empty_gets_no_write() {
    check(Scenario::Killed, 0);
}

#[test]
fn a_master_that_was_killed_and_loads_what_it_had_gets_no_write() {
    check(Scenario::KilledLoading, 0);
}

#[test]
fn a_master_that_stood_still_and_goes_on_gets_no_write() {
    check(Scenario::Paused, 0);
}

#[test]
fn a_master_that_only_the_proxy_reaches_loses_one_interval_of_writes() {
    check(Scenario::Partitioned, ONE_INTERVAL);
}

#[test]
fn a_master_that_nobody_reached_for_a_while_gets_no_write() {
    check(Scenario::Isolated, 0);
}

#[test]
fn a_master_cut_off_with_the_proxy_gets_no_write_an_interval_after_the_healing() {
    check(Scenario::Minority, 2 * ONE_INTERVAL);
}

#[test]
fn a_replica_that_was_killed_and_is_back_as_an_empty_master_gets_no_write() {
    check(Scenario::Amnesia, 0);
}

#[test]
fn a_planned_failover_loses_one_interval_of_writes() {
    check(Scenario::Planned, ONE_INTERVAL);
}

#[test]
fn a_change_of_roles_by_hand_loses_one_interval_of_writes() {
    check(Scenario::Manual, ONE_INTERVAL);
}
