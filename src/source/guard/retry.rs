//! When a read is tried again, and after how long.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use jiff::Timestamp;

/// First wait where the source names none; doubled with each try.
const FIRST: Duration = Duration::from_millis(50);

/// Statuses that say "not now".
pub(crate) fn is_not_now(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// How long to wait before try number `tries` (from 0): as `Retry-After` says, in seconds or as a date.
pub(crate) fn wait(headers: Option<&HeaderMap>, tries: u32) -> Duration {
    let named = headers.and_then(|headers| headers.get(RETRY_AFTER)).and_then(|value| value.to_str().ok());
    named.and_then(|value| after(value.trim())).unwrap_or_else(|| FIRST.saturating_mul(1 << tries.min(10)))
}

fn after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO))
}
