//! Access: who is told what, under which conditions, and what nobody finds out by asking otherwise.

#[path = "../authorization/access_oracle.rs"]
mod access_oracle;
mod adjustment;
mod attack;
mod bands;
mod callers;
mod commands;
mod derived_values;
mod doors;
mod gate;
mod grant_conditions;
mod hand;
mod masked_keys;
mod persons;
mod recognition;
mod recognition_facts;
mod scan_approvals;
mod scan_persons;
mod scan_traces;
mod scans;
mod second_persons;
mod set_clock;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/temporary.rs"]
mod temporary;
