//! What is in force now.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// What is in force, for all who share it. Whoever works with it reads it once, and ends with what they began with.
#[derive(Debug)]
pub struct Current<T>(Arc<ArcSwap<T>>);

impl<T> Current<T> {
    pub fn now(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// From now on it is `next`. Whoever has read the former keeps it to their end.
    pub fn switch(&self, next: T) {
        self.0.store(Arc::new(next));
    }
}

impl<T> From<Arc<T>> for Current<T> {
    fn from(first: Arc<T>) -> Self {
        Self(Arc::new(ArcSwap::new(first)))
    }
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
