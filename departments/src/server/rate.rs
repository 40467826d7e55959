//! A department that takes only so many calls in any sliding second, and sends the others away.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
// The runtime's own clock, so that a test can let hours pass.
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

pub(super) struct Rate {
    max: usize,
    /// When the calls of the last second came.
    recent: Mutex<VecDeque<Instant>>,
}

impl Rate {
    pub(super) fn per_second(max: usize) -> Self {
        Self { max, recent: Mutex::default() }
    }

    /// Counts a call in, or answers 429 with the seconds to wait.
    pub(super) fn admit(&self) -> Result<(), Box<Response>> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while recent.front().is_some_and(|first| now.duration_since(*first) >= SECOND) {
            recent.pop_front();
        }
        match recent.front() {
            Some(first) if recent.len() >= self.max => {
                let wait = SECOND - now.duration_since(*first);
                let seconds = wait.as_secs_f64().ceil().max(1.0).to_string();
                let body = Json(json!({"status": "busy", "msg": "请求过于频繁"}));
                Err(Box::new((StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds)], body).into_response()))
            }
            _ => {
                recent.push_back(now);
                Ok(())
            }
        }
    }
}
