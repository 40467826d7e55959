//! What a socket costs that never began.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::App;

/// Charges the address of an upgrade for it once it is dropped, as for a refused request, unless its connection was begun (which is
/// a request of whoever it says it is) or refused at a price: places are not for who only opens sockets, however those end.
pub struct Fee<G> {
    app: Arc<App<G>>,
    address: IpAddr,
    is_due: bool,
}

impl<G> Fee<G> {
    pub fn new(app: &Arc<App<G>>, address: IpAddr) -> Self {
        Self { app: Arc::clone(app), address, is_due: true }
    }

    /// Somebody else was charged, or the address itself was already.
    pub fn paid(&mut self) {
        self.is_due = false;
    }
}

impl<G> Drop for Fee<G> {
    fn drop(&mut self) {
        if self.is_due {
            // Where it has nothing left, its next upgrade is refused.
            let _ = self.app.requests.take_rejected(self.address);
        }
    }
}
