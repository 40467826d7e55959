//! `huxiang demo`: what it shows and serves, and its bindings against its departments.

#[path = "../authorization/access_oracle.rs"]
mod access_oracle;
mod attempt;
mod endpoints;
mod levels;
mod portrait;
mod scanning;
mod serving;
mod sources;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/temporary.rs"]
mod temporary;
