//! When a read is tried again, and after how long.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use jiff::Timestamp;

/// First wait where the source names none; doubled with each try.
const FIRST: Duration = Duration::from_millis(50);
/// What a further try costs, where a first one earns `limits.retries_percent`.
const TRY: u64 = 100;
/// No more is kept than for so many tries; so many there are at the start.
const KEPT_MAX: u64 = 10 * TRY;

/// Further tries that are left: a share of the first ones, so that a source in need is not asked twice as much.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU64);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU64::new(KEPT_MAX))
    }
}

impl Budget {
    /// A first try.
    pub fn earn(&self, percent: u32) {
        let more = |left: u64| Some(left.saturating_add(percent.into()).min(KEPT_MAX)).filter(|next| *next != left);
        let _ = self.0.fetch_update(Relaxed, Relaxed, more);
    }

    /// Whether there may be a further one.
    pub fn spend(&self) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(TRY)).is_ok()
    }
}

/// Statuses that say "not now".
pub(crate) fn is_not_now(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// How long to wait before try number `tries` (from 0): as `Retry-After` says, or longer with each. Never alike for those
/// that failed together.
pub(crate) fn wait(headers: Option<&HeaderMap>, tries: u32) -> Duration {
    match headers.and_then(named) {
        Some(named) => named.saturating_add(part(FIRST)),
        None => {
            let usual = FIRST.saturating_mul(1 << tries.min(10));
            usual / 2 + part(usual)
        }
    }
}

/// What `Retry-After` says, in seconds or as a date.
pub(crate) fn named(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO))
}

/// From nothing to the whole, at random.
fn part(of: Duration) -> Duration {
    // Each RandomState has keys of its own.
    let parts = u32::try_from(RandomState::new().build_hasher().finish() % 1_000).unwrap_or(0);
    of * parts / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_tries_are_a_share_of_the_first_ones() {
        let budget = Budget::default();
        let spent = (0..1_000).filter(|_| {
            budget.earn(20);
            budget.spend()
        });
        assert!((200..=210).contains(&spent.count()));
    }

    #[test]
    fn waits_differ_and_are_never_shorter_than_named() {
        let waits: std::collections::BTreeSet<Duration> = (0..20).map(|_| wait(None, 2)).collect();
        assert!(waits.len() > 5, "{waits:?}");
        assert!(waits.iter().all(|wait| (FIRST * 2..=FIRST * 6).contains(wait)), "{waits:?}");
        let headers = HeaderMap::from_iter([(RETRY_AFTER, http::HeaderValue::from_static("3"))]);
        assert!((0..20).all(|_| wait(Some(&headers), 0) >= Duration::from_secs(3)));
    }
}
