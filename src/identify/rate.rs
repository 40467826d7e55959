//! How often callers may ask, and how many calls to departments they may cause: token buckets in bounded memory.
//!
//! A bucket holds a minute's worth and fills evenly. Principals and addresses that have been quiet for longer than that
//! are forgotten, which loses nothing: their buckets are full. The state is no part of a snapshot.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::Identity;
use crate::model::config::rates::{Rate, Rates};

const MINUTE: Duration = Duration::from_secs(60);
/// Principals, and addresses, that are remembered at once: some 10 MiB each.
const PAYERS_MAX: u64 = 100_000;

/// The request comes too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// Whole seconds after which it would pass, at least 1.
    pub retry_after_s: u64,
}

/// What one minute allows, of one thing that is counted (requests, or calls).
#[derive(Debug)]
pub struct Meter {
    principal: Option<u32>,
    anonymous: Option<u32>,
    principals: Cache<[u8; 32], Arc<Bucket>>,
    addresses: Cache<IpAddr, Arc<Bucket>>,
    networks: BTreeMap<String, Arc<Bucket>>,
}

/// Who pays for a request, and whose turn it is where requests wait: the principal, or the address of whoever shows none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payer {
    /// A digest of issuer and id.
    Principal([u8; 32]),
    /// As [`site`] gives it.
    Address(IpAddr),
}

impl Payer {
    pub fn of(identity: &Identity) -> Self {
        match &identity.principal {
            Some(principal) => Self::Principal(digest(&principal.issuer, &principal.id)),
            None => Self::Address(site(identity.address)),
        }
    }
}

/// What a request has paid, to be settled once it is known what it took.
#[derive(Debug, Default)]
pub struct Paid {
    amount: u64,
    buckets: Vec<Arc<Bucket>>,
}

impl Meter {
    /// Counts requests.
    pub fn of_requests(rates: &Rates) -> Self {
        Self::new(rates, |rate| rate.requests_per_minute)
    }

    /// Counts calls to departments.
    pub fn of_calls(rates: &Rates) -> Self {
        Self::new(rates, |rate| rate.upstream_calls_per_minute)
    }

    fn new(rates: &Rates, per_minute: impl Fn(&Rate) -> Option<u32>) -> Self {
        let bucket = |(name, rate): (&String, &Rate)| Some((name.clone(), Arc::new(Bucket::new(per_minute(rate)?))));
        Self {
            principal: per_minute(&rates.principal),
            anonymous: per_minute(&rates.anonymous),
            principals: forgetful(),
            addresses: forgetful(),
            networks: rates.networks.iter().filter_map(bucket).collect(),
        }
    }

    /// Takes an amount from everybody who pays for this caller: the principal (without a token, the address), and the
    /// networks. Nothing is taken where one of them has too little.
    pub fn take(&self, identity: &Identity, amount: u64) -> Result<Paid, Busy> {
        let now = Instant::now();
        let own = match &identity.principal {
            Some(principal) => self.principal.map(|per_minute| {
                let key = digest(&principal.issuer, &principal.id);
                self.principals.get_with(key, || Arc::new(Bucket::new(per_minute)))
            }),
            None => self.address(identity.address),
        };
        let networks = identity.networks.iter().filter_map(|name| self.networks.get(name)).cloned();
        let mut paid = Paid { amount, buckets: Vec::new() };
        for bucket in own.into_iter().chain(networks) {
            if let Err(busy) = bucket.take(amount, now) {
                paid.settle(0);
                return Err(busy);
            }
            paid.buckets.push(bucket);
        }
        Ok(paid)
    }

    /// Charges an address for a request whose token was not accepted, as for one without a token.
    pub fn take_rejected(&self, address: IpAddr) -> Result<(), Busy> {
        self.address(address).map_or(Ok(()), |bucket| bucket.take(1, Instant::now()))
    }

    /// Whether the address could not ask without a token now.
    pub fn is_spent(&self, address: IpAddr) -> Result<(), Busy> {
        self.address(address).map_or(Ok(()), |bucket| bucket.has(1, Instant::now()))
    }

    fn address(&self, address: IpAddr) -> Option<Arc<Bucket>> {
        let per_minute = self.anonymous?;
        Some(self.addresses.get_with(site(address), || Arc::new(Bucket::new(per_minute))))
    }
}

impl Paid {
    /// Gives back what was not used, or takes what was used beyond: the next request waits for that.
    pub fn settle(self, used: u64) {
        for bucket in &self.buckets {
            bucket.settle(self.amount, used);
        }
    }
}

fn forgetful<K: std::hash::Hash + Eq + Send + Sync + 'static>() -> Cache<K, Arc<Bucket>> {
    Cache::builder().max_capacity(PAYERS_MAX).time_to_idle(MINUTE * 10).build()
}

/// An issuer's principal, at a length that callers do not choose.
fn digest(issuer: &str, id: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(issuer.len().to_be_bytes());
    hash.update(issuer.as_bytes());
    hash.update(id.as_bytes());
    hash.finalize().into()
}

/// Whoever has an IPv6 address has 2^64 of them.
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// A token bucket, kept as the moment at which it will be full again (GCRA).
#[derive(Debug)]
struct Bucket {
    /// Nanoseconds in which one token comes.
    interval: u64,
    per_minute: u64,
    /// `None`: it is full.
    full_at: Mutex<Option<Instant>>,
}

impl Bucket {
    fn new(per_minute: u32) -> Self {
        let per_minute = u64::from(per_minute.max(1));
        Self { interval: 60_000_000_000 / per_minute, per_minute, full_at: Mutex::new(None) }
    }

    fn time(&self, amount: u64) -> Duration {
        Duration::from_nanos(self.interval.saturating_mul(amount))
    }

    /// When it would be full again after taking the amount; more than a minute's worth counts as that much, or it could
    /// never be taken.
    fn after(&self, full_at: Option<Instant>, amount: u64, now: Instant) -> Result<Instant, Busy> {
        let after = full_at.map_or(now, |full_at| full_at.max(now)) + self.time(amount.min(self.per_minute));
        let wait = after.saturating_duration_since(now + MINUTE);
        match wait.is_zero() {
            true => Ok(after),
            false => Err(Busy { retry_after_s: wait.as_secs() + u64::from(wait.subsec_nanos() > 0) }),
        }
    }

    fn has(&self, amount: u64, now: Instant) -> Result<(), Busy> {
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.after(*full_at, amount, now).map(|_| ())
    }

    fn take(&self, amount: u64, now: Instant) -> Result<(), Busy> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        *full_at = Some(self.after(*full_at, amount, now)?);
        Ok(())
    }

    fn settle(&self, taken: u64, used: u64) {
        let taken = self.time(taken.min(self.per_minute));
        // One request's debt is bounded by its own limit of calls; a debt of hours would help nobody.
        let used = self.time(used).min(MINUTE * 2);
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        // Taking counts from a full bucket at most, so giving back what was taken never makes it more than full.
        *full_at = full_at.and_then(|full_at| full_at.checked_sub(taken)).map(|full_at| full_at + used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identify::Principal;

    fn caller(principal: Option<&str>, address: &str, networks: &[&str]) -> Identity {
        Identity {
            principal: principal.map(|id| Principal {
                id: id.to_owned(),
                issuer: "test".to_owned(),
                roles: Vec::new(),
                actors: Vec::new(),
                claims: serde_json::Map::new(),
            }),
            networks: networks.iter().map(|name| (*name).to_owned()).collect(),
            ..Identity::at(address.parse().unwrap())
        }
    }

    fn rates(principal: u32, anonymous: u32, network: u32) -> Rates {
        let rate = |n| Rate { requests_per_minute: Some(n), upstream_calls_per_minute: Some(n) };
        Rates {
            principal: rate(principal),
            anonymous: rate(anonymous),
            networks: BTreeMap::from([("out".to_owned(), rate(network))]),
        }
    }

    #[test]
    fn a_bucket_gives_a_minutes_worth_and_fills_evenly() {
        let bucket = Bucket::new(60);
        let start = Instant::now();
        assert!((0..60).all(|_| bucket.take(1, start).is_ok()));
        assert_eq!(bucket.take(1, start), Err(Busy { retry_after_s: 1 }));
        assert_eq!(bucket.take(30, start).unwrap_err().retry_after_s, 30);
        assert_eq!(bucket.take(10, start + Duration::from_secs(10)), Ok(()));
        assert!(bucket.take(1, start + Duration::from_secs(10)).is_err());
        let later = start + Duration::from_secs(3_600);
        assert!((0..60).all(|_| bucket.take(1, later).is_ok()) && bucket.take(1, later).is_err(), "no more than full");
    }

    #[test]
    fn what_was_not_used_comes_back_and_what_was_used_beyond_is_owed() {
        let meter = Meter::of_calls(&rates(100, 100, 1_000));
        let one = caller(Some("a"), "10.0.0.1", &[]);
        meter.take(&one, 90).unwrap().settle(10);
        meter.take(&one, 90).unwrap().settle(190);
        let wait = meter.take(&one, 1).unwrap_err().retry_after_s;
        assert!((60..=62).contains(&wait), "{wait}");
        assert!(meter.take(&caller(Some("b"), "10.0.0.1", &[]), 500).is_ok(), "more than a minute's worth can be had");
    }

    #[test]
    fn principals_pay_for_themselves_wherever_they_are_and_addresses_for_visitors() {
        let meter = Meter::of_requests(&rates(2, 1, 4));
        assert!(meter.take(&caller(Some("a"), "10.0.0.1", &[]), 1).is_ok());
        assert!(meter.take(&caller(Some("a"), "10.0.0.2", &[]), 1).is_ok());
        assert!(meter.take(&caller(Some("a"), "10.0.0.3", &[]), 1).is_err());
        assert!(meter.take(&caller(None, "10.0.0.1", &[]), 1).is_ok());
        assert!(meter.take(&caller(None, "10.0.0.1", &[]), 1).is_err());
        assert!(meter.take_rejected("10.0.0.1".parse().unwrap()).is_err());
        assert!(meter.take(&caller(Some("b"), "10.0.0.1", &[]), 1).is_ok());
        assert!(meter.take(&caller(None, "2001:db8::1", &[]), 1).is_ok());
        assert!(meter.take(&caller(None, "2001:db8::2", &[]), 1).is_err(), "one network of one subscriber");
        assert!(meter.take(&caller(None, "::ffff:10.0.0.1", &[]), 1).is_err(), "a mapped address is the address");
    }

    #[test]
    fn a_network_pays_for_all_of_its_callers_and_takes_nothing_where_it_refuses() {
        let meter = Meter::of_requests(&rates(3, 9, 4));
        let of = |id| caller(Some(id), "203.0.113.1", &["out"]);
        assert!((0..3).all(|_| meter.take(&of("a"), 1).is_ok()));
        assert!(meter.take(&of("a"), 1).is_err(), "a's own; the network still has one");
        assert!(meter.take(&of("b"), 1).is_ok());
        assert!((0..5).all(|_| meter.take(&of("c"), 1).is_err()));
        assert!((0..3).all(|_| meter.take(&caller(Some("c"), "10.0.0.1", &[]), 1).is_ok()), "c paid nothing for those");
    }

    #[test]
    fn memory_is_bounded_however_many_addresses_ask() {
        let meter = Meter::of_requests(&rates(10, 10, 10));
        for n in 0..150_000_u32 {
            let _ = meter.take_rejected(IpAddr::V4(n.into()));
        }
        meter.addresses.run_pending_tasks();
        assert!(meter.addresses.entry_count() <= PAYERS_MAX);
    }
}
