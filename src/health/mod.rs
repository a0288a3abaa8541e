//! Floor 3: what is known of targets. Knows nothing of sessions.

pub mod supervisor;
#[cfg(test)]
mod supervisor_tests;

pub mod checker;
pub mod codecs;
pub mod dialled;
pub mod publisher;
pub mod recall;
pub mod report;
pub mod staff;

pub mod awake;
pub mod board;
#[cfg(test)]
pub(crate) mod board_harness;
#[cfg(test)]
mod board_led_tests;
#[cfg(test)]
mod board_tests;
#[cfg(test)]
mod board_witness_tests;
pub mod claims;
pub mod detection;
#[cfg(test)]
mod detection_tests;
pub mod doubts;
pub mod effect;
pub mod fault;
pub mod fill;
pub mod found;
pub mod framing;
pub mod http_probe;
pub mod kept;
pub mod kept_connection;
#[cfg(test)]
mod kept_tests;
pub mod lapse;
pub mod leader;
#[cfg(test)]
mod leader_rank_tests;
#[cfg(test)]
mod leader_restart_tests;
#[cfg(test)]
mod leader_tests;
#[cfg(test)]
mod leader_walk_tests;
#[cfg(test)]
mod leader_witness_tests;
pub mod memory;
pub mod needle;
pub mod pattern;
pub mod postgres_probe;
pub mod probe;
#[cfg(test)]
mod probe_tests;
pub mod rank;
pub mod record;
pub mod remembering;
pub mod resp;
pub mod script;
#[cfg(test)]
mod script_harness;
#[cfg(test)]
mod script_tests;
pub mod search;
pub mod securing;
#[cfg(test)]
mod segmentation_tests;
pub mod shown;
pub mod snapshot;
pub mod starttls;
pub mod state;
pub mod support;
pub mod suspicion;
pub mod transcript;
pub mod verdict;
pub mod wait;
pub mod witness;
