//! Sources: how departments of every protocol are asked, what guards them, and the commands that try a binding.

#[path = "../support/alone.rs"]
mod alone;
mod attempt;
mod bindings;
mod check;
mod ciphers;
mod egress;
mod forms;
mod graphql;
mod guards;
#[path = "../identity_support/mod.rs"]
mod identity_support;
mod listings;
mod load;
mod platforms;
mod project;
mod rest;
mod secrets;
mod sessions;
mod sharing;
mod signing;
mod soap;
mod sql;
mod support;
#[path = "../support/temporary.rs"]
mod temporary;
mod tls;
