//! Who asks: tokens and their keys, logins, certificates, revocations, and gateways that speak for callers.

mod certificates;
#[path = "../identity_support/mod.rs"]
mod identity_support;
mod jwks;
mod levels;
mod login;
mod revocation;
#[path = "../support/temporary.rs"]
mod temporary;
