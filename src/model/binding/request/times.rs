//! How long an endpoint's calls may take, in place of what holds for its source.

use std::time::Duration;

use super::CallTemplate;
use crate::model::binding::format::Endpoint;

/// What the endpoint says of it itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    timeout: Option<Duration>,
    first_byte: Option<Duration>,
}

impl CallTemplate {
    pub fn with_times_of(mut self, endpoint: &Endpoint) -> Self {
        self.times = Times {
            timeout: endpoint.timeout_ms.map(Duration::from_millis),
            first_byte: endpoint.first_byte_ms.as_ref().map(|ms| Duration::from_millis(ms.value)),
        };
        self
    }

    pub fn timeout(&self) -> Option<Duration> {
        self.times.timeout
    }

    /// How long an answer may take to begin.
    pub fn first_byte(&self) -> Option<Duration> {
        self.times.first_byte
    }
}
