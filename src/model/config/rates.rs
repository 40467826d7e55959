//! `rates:`: how often callers may ask, and how many calls to departments they may cause, within a minute.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::fault::{Faults, SourceText, did_you_mean};
use crate::model::yaml::{self, Spanned};

/// As it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RatesEntry {
    /// Each principal, wherever it asks from.
    pub principal: RateEntry,
    /// Each address, for requests without a token and those whose token is not accepted.
    pub anonymous: RateEntry,
    /// All callers of a network together, by its name.
    pub networks: BTreeMap<String, Spanned<RateEntry>>,
}

/// What one of them may have in a minute.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RateEntry {
    /// Requests in any minute.
    pub requests_per_minute: Option<Spanned<u32>>,
    /// Calls to departments in any minute.
    pub upstream_calls_per_minute: Option<Spanned<u32>>,
}

/// Rates, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates {
    pub principal: Rate,
    pub anonymous: Rate,
    pub networks: BTreeMap<String, Rate>,
}

/// `None`: not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    pub requests_per_minute: Option<u32>,
    pub upstream_calls_per_minute: Option<u32>,
}

/// Where the file does not say otherwise: more than people ask, less than a loop does.
const PRINCIPAL: Rate = Rate { requests_per_minute: Some(6_000), upstream_calls_per_minute: Some(600_000) };
const ANONYMOUS: Rate = Rate { requests_per_minute: Some(600), upstream_calls_per_minute: Some(60_000) };

impl Rates {
    pub(super) fn read<'n>(
        entry: &RatesEntry,
        known: impl Iterator<Item = &'n str> + Clone,
        file: &Arc<SourceText>,
        faults: &mut Faults,
    ) -> Self {
        let mut networks = BTreeMap::new();
        for (name, rate) in &entry.networks {
            if known.clone().all(|other| other != name) {
                let hint = did_you_mean(name, known.clone(), "networks are declared under `networks`");
                faults.add(file, yaml::place(rate), format!("there is no network `{name}`"), hint);
            }
            networks.insert(name.clone(), read(&rate.value, Rate::default(), file, faults));
        }
        Self {
            principal: read(&entry.principal, PRINCIPAL, file, faults),
            anonymous: read(&entry.anonymous, ANONYMOUS, file, faults),
            networks,
        }
    }
}

fn read(entry: &RateEntry, otherwise: Rate, file: &Arc<SourceText>, faults: &mut Faults) -> Rate {
    let mut one = |at: &Option<Spanned<u32>>, otherwise: Option<u32>| {
        let Some(at) = at else { return otherwise };
        if at.value == 0 {
            let hint = "write how many a minute may have; to shut a network out, take it out of the roles";
            faults.add(file, yaml::span(at), "a rate of 0 lets nothing through", hint);
        }
        Some(at.value)
    };
    Rate {
        requests_per_minute: one(&entry.requests_per_minute, otherwise.requests_per_minute),
        upstream_calls_per_minute: one(&entry.upstream_calls_per_minute, otherwise.upstream_calls_per_minute),
    }
}
