//! Answers: what is asked of departments for a query, what the caller is told, and what an ill department costs.

mod abstract_types;
mod batches;
mod faults;
mod fuzz;
mod general_contract;
mod items;
mod limits;
mod one_way_or_another;
mod plans;
mod portrait;
mod posts_example;
mod queries;
mod scan_served;
mod scan_sockets;
mod scan_stats;
mod scan_streams;
mod scans;
mod scenario;
mod scenarios;
#[path = "../serve/support/socket.rs"]
mod socket;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/temporary.rs"]
mod temporary;
