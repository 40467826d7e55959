//! Where traces go, and which requests are traced.

use http::{HeaderName, HeaderValue};

use super::Pem;
use super::egress::EgressConfig;
use super::format::TracesEntry;
use super::reader::Reader;
use crate::model::binding::connection::sign::Secret;
use crate::model::yaml;

const QUEUE_MAX: u64 = 4_096;

/// Traces, to an OpenTelemetry collector.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    /// Where spans are posted.
    pub url: String,
    pub headers: Vec<(HeaderName, Secret)>,
    /// The authorities of the collector's server; `None`: the system's.
    pub ca: Option<Pem>,
    /// The share of requests that are traced where nobody has decided yet.
    pub ratio: f64,
    /// Whoever asks may decide, and not only listed proxies.
    pub trust_parents: bool,
    /// The name it goes by.
    pub service: String,
    /// Spans that wait for the collector; further ones are dropped.
    pub queue_max: usize,
    pub egress: EgressConfig,
}

impl Reader<'_> {
    pub(super) fn traces(&mut self, entry: &TracesEntry, egress: &EgressConfig) -> Option<TracesConfig> {
        let url = self.fill(&entry.url);
        let url = self.url(&entry.url, url, egress);
        let mut headers = Vec::new();
        for (name, at) in &entry.headers {
            let value = self.fill(at);
            match (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
                (Ok(name), Ok(_)) => headers.push((name, Secret::new(value))),
                _ => {
                    self.fault(at, format!("`{name}` cannot be sent as a header"), "letters, digits and `-`; one line")
                }
            }
        }
        let ratio = entry.ratio.as_ref().map_or(1.0, |at| {
            if !(0.0..=1.0).contains(&at.value) {
                let hint = "from 0 (none) to 1 (all); 0.1 is every tenth";
                self.faults.add(self.text, yaml::span(at), "`traces.ratio` is not a share", hint);
            }
            at.value
        });
        let queue_max = self.within("queue_max", &entry.queue_max, 1..=1_000_000, QUEUE_MAX);
        Some(TracesConfig {
            url: url?,
            headers,
            ca: entry.ca.as_ref().map(|at| self.pem(at)),
            ratio,
            trust_parents: entry.trust_parents,
            service: entry.service.clone().unwrap_or_else(|| "huxiang".to_owned()),
            queue_max: usize::try_from(queue_max).unwrap_or(usize::MAX),
            egress: egress.clone(),
        })
    }
}
