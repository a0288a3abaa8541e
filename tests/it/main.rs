//! Behaviour, as one test binary: a file a behaviour, one harness.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod harness;

mod accepting;
mod admission;
mod asking;
mod asking_names;
mod balancing;
#[cfg(feature = "chaos")]
mod chaos;
mod checking;
mod closing;
mod crowd;
mod crowd_tls;
mod definitions;
mod demo;
mod dialling;
mod discovering;
mod discovering_checks;
mod discovering_https;
mod discovering_names;
mod discovering_srv;
mod docs;
mod ending;
#[cfg(feature = "chaos")]
mod failing;
mod failover;
mod faults;
mod flooding;
mod floors;
mod formats;
mod handshaking;
mod holding;
mod inheriting;
mod meaning;
mod mutual;
mod mutual_table;
mod named;
mod naming;
mod nginx;
mod originating;
mod pausing;
mod pem_files;
mod postgres;
mod postgres_presets;
mod postgres_tls;
mod postgres_tls_targets;
mod presenting;
mod presets;
mod probing;
mod proxy_protocol;
mod proxy_protocol_out;
mod proxy_protocol_peers;
mod proxy_protocol_received;
mod proxy_protocol_rules;
mod ranking;
mod redis_leader;
mod referring;
mod relaying;
mod reloading;
mod remembering;
mod renewing;
mod renewing_targets;
mod reporting;
mod settings;
mod shipped;
mod starttls;
mod stopping;
mod storing;
mod supervision;
mod terminating;
mod tls_checks;
mod tls_keys;
mod verdicts;
mod witnessing;
