//! Turns: only so many requests are worked on at once, and only so many wait for that, in turn by who asks. What is more is
//! turned away before its body is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{StatusCode, header};
use tokio::time::Instant;

use super::door::Refusal;
use crate::admin::MetricsText;
use crate::base::places::{NoPlace, Place, Places, Room};
use crate::engine::error::RequestError;
use crate::identify::rate::Payer;
use crate::model::config::admission::Admission;

/// What a request holds as long as anything is worked on for it, whether or not anybody still waits for its answer. The
/// operations of a batch share one.
#[derive(Debug, Clone)]
pub struct Turn {
    _place: Arc<Place<Payer>>,
}

/// Hands out turns, and counts whom it turned away.
#[derive(Debug)]
pub(super) struct Turns {
    places: Places<Payer>,
    waiting: Duration,
    /// By [`reasons`].
    turned_away: [AtomicU64; 4],
}

/// Each reason, and what it is called in metrics.
fn reasons() -> [(NoPlace, &'static str); 4] {
    [
        (NoPlace::Full, "full"),
        (NoPlace::LaneFull, "caller"),
        (NoPlace::TooLate, "too_late"),
        (NoPlace::MadeRoom, "made_room"),
    ]
}

impl Turns {
    pub fn new(admission: &Admission) -> Self {
        let room = Room {
            per_lane_max: Some(admission.in_flight_per_caller_max),
            waiting_max: admission.waiting_max,
            waiting_per_lane_max: admission.waiting_per_caller_max,
        };
        Self {
            places: Places::new(admission.in_flight_max, None, room),
            waiting: admission.waiting,
            turned_away: Default::default(),
        }
    }

    /// Refuses who would not even wait, before any of the body is read.
    pub fn look(&self, payer: &Payer) -> Result<(), Refusal> {
        match self.places.turns_away(payer) {
            Some(why) => Err(self.refusal(why)),
            None => Ok(()),
        }
    }

    /// A turn, now or as soon as it comes.
    pub async fn take(&self, payer: &Payer) -> Result<Turn, Refusal> {
        let entered = self.places.enter(payer, Instant::now() + self.waiting).await;
        let (place, _) = entered.map_err(|why| self.refusal(why))?;
        Ok(Turn { _place: Arc::new(place) })
    }

    /// Counts it, too.
    fn refusal(&self, why: NoPlace) -> Refusal {
        let counts = reasons().into_iter().zip(&self.turned_away);
        counts.filter(|((reason, _), _)| *reason == why).for_each(|(_, count)| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        // By then, all who wait now have had their turn or are gone.
        let retry_after_s = self.waiting.as_millis().div_ceil(1_000);
        let retry_after_s = u64::try_from(retry_after_s).unwrap_or(1).max(1);
        let of_caller = why == NoPlace::LaneFull;
        let error = Box::new(RequestError::overloaded(of_caller, retry_after_s));
        Refusal { status: StatusCode::SERVICE_UNAVAILABLE, error, headers: Vec::new() }
            .with(header::RETRY_AFTER, retry_after_s.to_string())
    }

    pub fn count(&self, text: &mut MetricsText) {
        let (under_way, waiting) = self.places.counts();
        text.single("huxiang_requests_in_flight", "gauge", "Requests that are worked on.", under_way);
        text.single("huxiang_requests_waiting", "gauge", "Requests that wait to be worked on.", waiting);
        let help = "Requests that were turned away by why: full, caller (waits with too many), too_late (waited too long), \
                    made_room (for a caller with fewer).";
        text.family("huxiang_requests_turned_away_total", "counter", help);
        for ((_, reason), count) in reasons().into_iter().zip(&self.turned_away) {
            text.sample(&[("reason", reason)], count.load(Ordering::Relaxed));
        }
    }
}
