//! The demo departments: one synthetic world, and two dozen servers with the habits of real ones.
//!
//! [`world`] is a pure function of a seed; each department file reads its facts from it, serves them in its
//! own way, and says in `expected` what a portrait must show. [`registry`] lists the departments,
//! [`server`] runs them.

pub mod agriculture;
#[cfg(test)]
mod ask;
pub mod banks;
pub mod banks_association;
pub mod charity;
pub mod civil_affairs;
pub mod culture;
pub mod disabled_federation;
pub mod discipline;
pub mod education;
pub mod emergency;
pub mod expected;
pub mod finance;
pub mod health;
pub mod help;
pub mod housing;
pub mod human_resources;
pub mod justice;
pub mod market_regulation;
pub mod medical_insurance;
pub mod money;
pub mod natural_resources;
pub mod photo;
pub mod police;
pub mod projects;
pub mod provident_fund;
pub mod registry;
pub mod server;
pub mod standing;
pub mod tax;
pub mod transport;
pub mod water;
pub mod world;

pub use server::{Fault, Logged, Options, Running, start};
pub use world::World;
