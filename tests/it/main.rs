//! All tests of the program from outside, but for those of packages: one file for each promise, one crate for all of them,
//! which is built and linked once. `cargo test --test it tables::` runs the promises of one file.

#![allow(clippy::disallowed_methods, reason = "real programs run in real time")]
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

// What they share: the program and its upstreams, the real ONE client, a real browser, what judges answers, raw HTTP.
mod browser;
mod judge;
mod one;
mod support;
mod wire;

mod access;
mod again;
mod alyx_versions;
mod architecture;
mod attacks;
mod audit;
mod check;
mod cli;
mod coalescing;
mod control;
mod data_directory;
mod demo;
mod docs;
mod durability;
mod failures;
mod faults;
mod files;
mod filters;
mod first_day;
mod fresh_clients;
mod how_old;
mod http;
mod keys_left_out;
mod load;
mod log_in_table;
mod log_ins;
mod miniature;
mod miniature_network;
mod miniature_writes;
mod mirror_background;
mod mirror_catch_up;
mod mirror_changes;
mod mirror_damage;
mod mirror_derived;
mod mirror_fill;
mod mirror_freshness;
mod mirror_json_nulls;
mod mirror_kills;
mod mirror_races;
mod mirror_recordings;
mod mirror_rounds;
mod mirror_server;
mod mirror_sync;
mod mirror_unreadable;
mod mirror_writes;
mod monitoring;
mod one_client;
mod one_script;
mod one_setup;
mod operation;
mod pack;
mod pages;
mod pages_http;
mod politeness;
mod recordings;
mod refusals;
mod reload;
mod rules_at_fault;
mod schema;
mod security;
mod service;
mod settings;
mod snapshot;
mod snapshot_keys;
mod standard;
mod storage;
mod strange_alyx;
mod tables;
mod tls;
mod two_people;
mod upgrade;
mod vouching;
mod walk;
mod writes;
