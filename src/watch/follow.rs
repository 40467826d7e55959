//! Follows the records as they are written, counts them, and keeps what is known of alerts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::alerts::{self, Alert, Alerts};
use super::unusual::Counting;
use crate::audit::{AuditError, AuditStore, Entry, Kind, PAGE_MAX, ReadError, Reader, Search, WeakStore};
use crate::identify::Identity;
use crate::model::config::watch::AlertsConfig;

/// Pages of alerts and acknowledgements that are read at the start.
const RECALL_PAGES_MAX: usize = 10;
/// After the store could not be read, before it is tried again.
const PAUSE: Duration = Duration::from_secs(2);
/// How long an acknowledgement waits to be seen in the records.
const SEEN_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of unusual reading. Cheap to clone.
#[derive(Clone)]
pub struct Watch {
    alerts: Arc<Mutex<Alerts>>,
    store: AuditStore,
    /// The number of the last record that was counted.
    seen: watch::Receiver<i64>,
}

impl Watch {
    /// Reads what is known from the records and follows them on the current runtime, until the last store is gone.
    pub fn start(config: AlertsConfig, store: AuditStore) -> Self {
        let alerts = Arc::new(Mutex::new(Alerts::default()));
        let (sender, seen) = watch::channel(0);
        let follower = Follower {
            alerts: Arc::clone(&alerts),
            counting: Counting::new(config),
            reader: store.reader(),
            store: store.downgrade(),
            seen: sender,
        };
        tokio::spawn(follower.run());
        Self { alerts, store, seen }
    }

    /// Newest first, at most `first`.
    pub fn newest(&self, first: usize, wanted: impl Fn(&Alert) -> bool) -> Vec<Alert> {
        self.alerts().newest().filter(|alert| wanted(alert)).take(first).cloned().collect()
    }

    /// How many were raised since the start.
    pub fn raised(&self) -> u64 {
        self.alerts().raised
    }

    /// How many wait to be acknowledged.
    pub fn open(&self) -> usize {
        self.alerts().newest().filter(|alert| alert.acknowledged.is_none()).count()
    }

    pub fn get(&self, seq: i64) -> Option<Alert> {
        self.alerts().get(seq).cloned()
    }

    /// Acknowledges an alert; it is durable, and seen in [`Self::get`], when this returns.
    pub async fn acknowledge(
        &self,
        alert: i64,
        reason: &str,
        request_id: &str,
        identity: &Identity,
    ) -> Result<(), AuditError> {
        let receipt = self.store.append(alerts::acknowledged(alert, reason, request_id, identity)).await?;
        self.caught_up(receipt.seq).await;
        Ok(())
    }

    /// Waits (not for ever) until the record with this number has been counted.
    pub async fn caught_up(&self, seq: i64) {
        let mut seen = self.seen.clone();
        let _ = tokio::time::timeout(SEEN_TIMEOUT, seen.wait_for(|seen| *seen >= seq)).await;
    }

    fn alerts(&self) -> std::sync::MutexGuard<'_, Alerts> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Follower {
    alerts: Arc<Mutex<Alerts>>,
    counting: Counting,
    reader: Reader,
    store: WeakStore,
    seen: watch::Sender<i64>,
}

impl Follower {
    async fn run(mut self) {
        let at = loop {
            match self.recall().await {
                Ok(at) => break at,
                Err(error) => self.unreadable(&error).await,
            }
        };
        // It must not keep the store alive: the store ends with those who write requests.
        let Some(mut tail) = self.store.upgrade().map(|store| store.follow(at)) else { return };
        self.seen.send_replace(at);
        while let Some(entries) = tail.next().await {
            match entries {
                Ok(entries) => {
                    for entry in &entries {
                        self.take(entry).await;
                    }
                    self.seen.send_replace(entries.last().map_or(0, |entry| entry.seq));
                }
                Err(error) => self.unreadable(&error).await,
            }
        }
    }

    async fn unreadable(&self, error: &ReadError) {
        tracing::error!(%error, "alerts on unusual reading are not looked for");
        tokio::time::sleep(PAUSE).await;
    }

    /// Reads the alerts that are known; gives the record after which counting begins anew.
    async fn recall(&mut self) -> Result<i64, ReadError> {
        let kinds = vec![Kind::Alert, Kind::Acknowledgement];
        let mut search = Search { kinds, first: PAGE_MAX, ..Search::default() };
        let mut recalled = Vec::new();
        for _ in 0..RECALL_PAGES_MAX {
            let page = self.reader.search(&search).await?;
            search.before = page.entries.last().map(|entry| entry.seq);
            recalled.extend(page.entries);
            if !page.has_more {
                break;
            }
        }
        {
            let mut alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
            recalled.iter().rev().for_each(|entry| alerts.take(entry.seq, &entry.record));
            for alert in alerts.newest() {
                self.counting.known(&alert.rule, &alert.who, alert.at);
            }
        }
        let since = Timestamp::now().checked_sub(self.counting.longest()).ok();
        let before = Search { to: since, first: 1, ..Search::default() };
        Ok(self.reader.search(&before).await?.entries.first().map_or(0, |entry| entry.seq))
    }

    /// Counts one record; what is found is recorded, logged and counted.
    async fn take(&mut self, entry: &Entry) {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner).take(entry.seq, &entry.record);
        for unusual in self.counting.see(entry.seq, &entry.record) {
            let Some(store) = self.store.upgrade() else { return };
            // Neither who nor what: the log is for operators, and alerts are not theirs.
            tracing::warn!(rule = %unusual.rule, count = unusual.count, record = entry.seq, "unusual reading");
            self.alerts.lock().unwrap_or_else(PoisonError::into_inner).raised += 1;
            if let Err(error) = store.append(alerts::raised(&unusual, entry.seq)).await {
                tracing::error!(%error, "an alert on unusual reading could not be recorded");
            }
        }
    }
}
