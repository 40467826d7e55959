//! Connections of one address: no more than so many at once. As many addresses are known as have connections open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::identify::rate::site;

#[derive(Debug, Clone)]
pub struct Addresses {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    address: IpAddr,
    of: Addresses,
}

impl Addresses {
    pub fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// `None`: the address has as many as it may. IPv6 addresses count by their /64.
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = site(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&address).copied().unwrap_or(0);
        if count >= self.most {
            return None;
        }
        open.insert(address, count + 1);
        Some(Place { address, of: self.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&self.address);
            }
        }
    }
}
