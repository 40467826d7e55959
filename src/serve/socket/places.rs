//! Sockets that are open: so many at once, and so many of one caller.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::admin::MetricsText;
use crate::identify::rate::Payer;
use crate::model::config::sockets::Sockets as Bounds;

/// Places of sockets, and what came of those that are closed.
#[derive(Debug)]
pub struct Sockets {
    pub(super) bounds: Bounds,
    /// A socket that has been open for longer takes no further operation.
    pub(super) life: Duration,
    open: Mutex<Open>,
    operations: AtomicUsize,
}

#[derive(Debug, Default)]
struct Open {
    count: usize,
    /// None is 0.
    by_caller: HashMap<Payer, usize>,
    /// By close code; 0: without one.
    closed: BTreeMap<u16, u64>,
}

/// The place of a socket, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    of: Arc<Sockets>,
    payer: Option<Payer>,
}

/// An operation under way, for as long as it is there.
#[derive(Debug)]
pub struct Under(Arc<Sockets>);

impl Sockets {
    pub fn new(bounds: &Bounds, life: Duration) -> Arc<Self> {
        Arc::new(Self { bounds: *bounds, life, open: Mutex::default(), operations: AtomicUsize::new(0) })
    }

    /// `None`: as many are open as may be.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.lock();
        if open.count >= self.bounds.at_once_max {
            return None;
        }
        open.count += 1;
        Some(Place { of: Arc::clone(self), payer: None })
    }

    pub fn operation(self: &Arc<Self>) -> Under {
        self.operations.fetch_add(1, Ordering::Relaxed);
        Under(Arc::clone(self))
    }

    pub fn closed(&self, code: Option<u16>) {
        *self.lock().closed.entry(code.unwrap_or_default()).or_default() += 1;
    }

    pub fn count(&self, text: &mut MetricsText) {
        let (count, closed) = {
            let open = self.lock();
            (open.count, open.closed.clone())
        };
        text.single("huxiang_sockets_open", "gauge", "WebSockets that are open.", count);
        let under_way = self.operations.load(Ordering::Relaxed);
        text.single("huxiang_socket_operations", "gauge", "Operations under way on WebSockets.", under_way);
        let help = "WebSockets that are closed, by the gateway's close code; 0: the client closed it, or was gone.";
        text.family("huxiang_sockets_closed_total", "counter", help);
        for (code, count) in closed {
            text.sample(&[("code", &code.to_string())], count);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Only ever changed whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whose socket it is; false: they have as many open as they may.
    pub fn is_of(&mut self, payer: Payer) -> bool {
        let mut open = self.of.lock();
        let own = open.by_caller.entry(payer).or_default();
        if self.payer.is_some() || *own >= self.of.bounds.per_caller_max {
            return false;
        }
        *own += 1;
        self.payer = Some(payer);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.lock();
        open.count = open.count.saturating_sub(1);
        let Some(payer) = self.payer else { return };
        let left = open.by_caller.get(&payer).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            open.by_caller.remove(&payer);
        } else {
            open.by_caller.insert(payer, left);
        }
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        self.0.operations.fetch_sub(1, Ordering::Relaxed);
    }
}
