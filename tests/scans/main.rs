//! Scans held against an independent reference: a plain program over the generator of the demo's data, the contract's and the
//! bindings' files, which shares no code with the gateway.
//!
//! `CASES=1000` draws as many, `SEED=7` others, `CASE=12` that one alone and prints it.

mod agreement;
mod condition;
mod contract;
mod derived;
mod document;
mod draw;
mod facts;
mod gateway;
mod kleene;
mod laws;
mod meaning;
mod page;
mod questions;
mod reference;
mod small;
mod smaller;
mod sources;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/temporary.rs"]
mod temporary;

use std::sync::OnceLock;

use departments::World;
use facts::Files;

/// As many households a village as show every exception, twice.
const HOUSEHOLDS: u32 = 42;

/// One for all tests: portraits are made once.
fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| Files::read(World::new(1, HOUSEHOLDS)))
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
