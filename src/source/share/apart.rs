//! Keys that go out by themselves for a while: the calls they were gathered in came to nothing, be it for the sake of one.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// So long.
pub const APART: Duration = Duration::from_secs(10);

/// No more of them at once; the first ones gather again before their time.
const KEYS_MAX: usize = 10_000;

#[derive(Debug)]
pub struct Apart<B> {
    until: HashMap<Key<B>, Instant>,
    /// The same, as they came; one that came again stands here again.
    came: VecDeque<(Instant, Key<B>)>,
}

/// Of one endpoint: its batch, by identity.
#[derive(Debug)]
struct Key<B>(Arc<B>, Arc<str>);

impl<B> Clone for Key<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), Arc::clone(&self.1))
    }
}

impl<B> PartialEq for Key<B> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) && self.1 == other.1
    }
}

impl<B> Eq for Key<B> {}

impl<B> Hash for Key<B> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
        self.1.hash(state);
    }
}

impl<B> Default for Apart<B> {
    fn default() -> Self {
        Self { until: HashMap::new(), came: VecDeque::new() }
    }
}

impl<B> Apart<B> {
    /// Whether one of the keys is kept apart.
    pub fn holds(&mut self, batch: &Arc<B>, keys: &[Arc<str>]) -> bool {
        // The clock is only looked at where there are any.
        if self.came.is_empty() {
            return false;
        }
        self.forget(Instant::now());
        keys.iter().any(|key| self.until.contains_key(&Key(Arc::clone(batch), Arc::clone(key))))
    }

    pub fn keep(&mut self, batch: &Arc<B>, keys: &[Arc<str>], now: Instant) {
        self.forget(now);
        for key in keys {
            let key = Key(Arc::clone(batch), Arc::clone(key));
            self.until.insert(key.clone(), now + APART);
            self.came.push_back((now + APART, key));
            if self.came.len() > KEYS_MAX {
                self.forget_first();
            }
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.came.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((until, key)) = self.came.pop_front() else { return };
        if self.until.get(&key).is_some_and(|last| *last <= until) {
            self.until.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_kept_apart_for_a_while_and_no_more_of_them_than_so_many() {
        let batch = Arc::new(1);
        let key = |n: usize| [Arc::from(n.to_string())];
        let mut apart = Apart::default();
        let now = Instant::now();
        (0..KEYS_MAX + 5).for_each(|n| apart.keep(&batch, &key(n), now));
        assert_eq!((apart.until.len(), apart.came.len()), (KEYS_MAX, KEYS_MAX));
        assert!(!apart.holds(&batch, &key(4)) && apart.holds(&batch, &key(5)));
        assert!(!apart.holds(&Arc::new(1), &key(5)), "another endpoint's");
        // One that came again stays from then on.
        apart.keep(&batch, &key(6), now + APART / 2);
        apart.forget(now + APART);
        assert!(apart.holds(&batch, &key(6)));
        assert_eq!(apart.until.len(), 1);
        apart.forget(now + APART * 2);
        assert!(apart.until.is_empty() && apart.came.is_empty());
    }
}
