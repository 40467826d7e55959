//! Every department, one line each. Banks and the housing department's SQL file are started apart.

use axum::Router;

use crate::world::World;

/// A department with a server of its own.
pub struct Department {
    /// The source id, as in the gateway's bindings.
    pub id: &'static str,
    /// How long an answer takes, from and to (exclusive); the same request always takes the same time.
    pub latency_ms: (u64, u64),
    pub router: fn(World) -> Router,
    /// Served over TLS, and only to clients with the certificate of `<ID>_CLIENT_CERT`.
    pub mutual_tls: bool,
    /// Calls it takes in any sliding second; the others get 429 with Retry-After.
    pub per_second_max: Option<usize>,
}

pub const DEPARTMENTS: &[Department] = &[
    http("agriculture", (8, 14), crate::agriculture::router),
    http("police", (15, 25), crate::police::router),
    http("civil-affairs", (12, 20), crate::civil_affairs::router),
    http("medical-insurance", (18, 30), crate::medical_insurance::router),
    http("health", (15, 28), crate::health::router),
    Department {
        per_second_max: Some(10),
        ..http("disabled-federation", (120, 121), crate::disabled_federation::router)
    },
    http("education", (10, 20), crate::education::router),
    http("human-resources", (20, 35), crate::human_resources::router),
    http("water", (8, 15), crate::water::router),
    http("natural-resources", (20, 38), crate::natural_resources::router),
    http("market-regulation", (12, 25), crate::market_regulation::router),
    http("finance", (25, 40), crate::finance::router),
    mutual_tls("tax", (20, 35), crate::tax::router),
    http("provident-fund", (15, 25), crate::provident_fund::router),
    http("transport", (8, 16), crate::transport::router),
    http("emergency", (5, 10), crate::emergency::router),
    http("help", (6, 12), crate::help::router),
    http("projects", (10, 18), crate::projects::router),
    http("discipline", (8, 15), crate::discipline::router),
    http("charity", (8, 15), crate::charity::router),
    http("banks-association", (12, 22), crate::banks_association::router),
    http("justice", (8, 15), crate::justice::router),
    http("culture", (5, 10), crate::culture::router),
];

/// Banks with a server of their own.
pub const BANKS: usize = 73;

const fn http(id: &'static str, latency_ms: (u64, u64), router: fn(World) -> Router) -> Department {
    Department { id, latency_ms, router, mutual_tls: false, per_second_max: None }
}

const fn mutual_tls(id: &'static str, latency_ms: (u64, u64), router: fn(World) -> Router) -> Department {
    Department { mutual_tls: true, ..http(id, latency_ms, router) }
}
