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
    payer: Payer,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many are open as may be.
    AtOnce,
    /// As many as one caller may have.
    OfCaller,
}

/// An operation under way, for as long as it is there.
#[derive(Debug)]
pub struct Under(Arc<Sockets>);

impl Sockets {
    pub fn new(bounds: &Bounds, life: Duration) -> Arc<Self> {
        Arc::new(Self { bounds: *bounds, life, open: Mutex::default(), operations: AtomicUsize::new(0) })
    }

    /// A place of whoever the upgrade shows: without a token it is the address's, until [`Place::is_of`] says whose it is.
    pub fn enter(self: &Arc<Self>, payer: Payer) -> Result<Place, Full> {
        let mut open = self.lock();
        if open.count >= self.bounds.at_once_max {
            return Err(Full::AtOnce);
        }
        if !open.add(payer, self.bounds.per_caller_max) {
            return Err(Full::OfCaller);
        }
        open.count += 1;
        Ok(Place { of: Arc::clone(self), payer })
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

impl Open {
    /// One more of a caller's; false: they have as many as they may.
    fn add(&mut self, payer: Payer, most: usize) -> bool {
        let own = self.by_caller.get(&payer).copied().unwrap_or_default();
        if own >= most {
            return false;
        }
        self.by_caller.insert(payer, own + 1);
        true
    }

    fn remove(&mut self, payer: Payer) {
        let left = self.by_caller.get(&payer).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            self.by_caller.remove(&payer);
        } else {
            self.by_caller.insert(payer, left);
        }
    }
}

impl Place {
    /// Whose socket it is; false: they have as many open as they may.
    pub fn is_of(&mut self, payer: Payer) -> bool {
        if self.payer == payer {
            return true;
        }
        let mut open = self.of.lock();
        if !open.add(payer, self.of.bounds.per_caller_max) {
            return false;
        }
        open.remove(self.payer);
        self.payer = payer;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.lock();
        open.count = open.count.saturating_sub(1);
        open.remove(self.payer);
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        self.0.operations.fetch_sub(1, Ordering::Relaxed);
    }
}
