//! The repository: its files load, its documents tell what is so, and its tree stays readable.

mod access_scans;
mod commands;
mod contract;
mod docs;
mod load_faults;
mod rules;
mod scans;
mod schema;
#[path = "../support/temporary.rs"]
mod temporary;
mod tidy;
