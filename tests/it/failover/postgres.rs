//! The preset `postgres-primary` in failovers of real PostgreSQL servers: order and counts.

use crate::failover::postgres_scenario::PostgresScenario;

/// Writes that may be lost where both are primaries and the proxy has to ask: what is written in
/// one interval of the checks is 44.
const ONE_INTERVAL: usize = 160;

fn check(scenario: PostgresScenario, bound: usize) {
    let account = scenario.play();
    println!("{account}");
    account.check(bound);
}

#[test]
fn a_primary_that_was_stopped_loses_nothing() {
    let account = PostgresScenario::Stopped.play();
    println!("{account}");
    account.check(0);
    // It sends its standby everything before it ends.
    assert_eq!(account.lost(account.old, account.writes[0].opened), 0, "{account}");
}

#[test]
fn a_primary_that_was_killed_and_is_back_as_one_gets_no_write() {
    check(PostgresScenario::Killed, 0);
}

#[test]
fn a_primary_that_stood_still_and_goes_on_as_one_gets_no_write() {
    check(PostgresScenario::Paused, 0);
}

#[test]
fn a_primary_beside_one_that_was_promoted_loses_one_interval_of_writes() {
    check(PostgresScenario::Split, ONE_INTERVAL);
}
