//! Following the records as they become durable.

use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, watch};

use super::reader::{Entry, ReadError, Reader};
use super::store::{Head, Receipt, Waiting};

/// Records on their way to who follows; what does not fit is read from the store.
const WAITING_MAX: usize = 256;
/// A record of more subjects is not kept waiting in memory.
const SUBJECTS_MAX: usize = 1_000;
/// Records given at once.
const CHUNK: usize = 500;

/// Where the writer hands records over to who follows them.
pub(super) type Following = Arc<OnceLock<mpsc::Sender<Entry>>>;

/// The records after a number, each once and in their order: those of this process as they were written, without reading
/// them again, all others from the store.
pub struct Tail {
    reader: Reader,
    head: watch::Receiver<Head>,
    fresh: mpsc::Receiver<Entry>,
    /// Handed over, but records before it were not.
    early: Option<Entry>,
    at: i64,
}

impl Tail {
    /// Only the first of a store has records handed over; others read.
    pub(super) fn new(reader: Reader, head: watch::Receiver<Head>, following: &Following, at: i64) -> Self {
        let (sender, fresh) = mpsc::channel(WAITING_MAX);
        let _ = following.set(sender);
        Self { reader, head, fresh, early: None, at }
    }

    /// The next records, once there are any; `None`: there will be no more. After an error it can be asked again.
    pub async fn next(&mut self) -> Option<Result<Vec<Entry>, ReadError>> {
        loop {
            // Records are handed over before they are told of.
            let told = self.head.borrow_and_update().seq;
            let mut entries: Vec<Entry> = std::iter::from_fn(|| self.handed_over()).take(CHUNK).collect();
            if entries.is_empty() && told > self.at {
                entries = match self.reader.after(self.at, CHUNK).await {
                    Ok(entries) => entries,
                    Err(error) => return Some(Err(error)),
                };
            }
            match entries.last() {
                Some(last) => {
                    self.at = last.seq;
                    return Some(Ok(entries));
                }
                None => self.head.changed().await.ok()?,
            }
        }
    }

    fn handed_over(&mut self) -> Option<Entry> {
        loop {
            let entry = match self.early.take() {
                Some(entry) => entry,
                None => self.fresh.try_recv().ok()?,
            };
            if entry.seq == self.at.saturating_add(1) {
                self.at = entry.seq;
                return Some(entry);
            }
            if entry.seq > self.at {
                self.early = Some(entry);
                return None;
            }
        }
    }
}

/// Hands over what has become durable.
pub(super) fn hand_over(following: &Following, group: &mut [Waiting], receipts: &[Receipt], segment: u32) {
    let Some(follower) = following.get() else { return };
    for (waiting, receipt) in group.iter_mut().zip(receipts) {
        let Some(record) = waiting.record.take().filter(|_| waiting.subjects.len() <= SUBJECTS_MAX) else { continue };
        let entry = Entry { seq: receipt.seq, segment, hash: receipt.hash.clone(), record: *record };
        let _ = follower.try_send(entry);
    }
}
