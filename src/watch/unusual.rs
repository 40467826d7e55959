//! The rules of `alerts:`, counted per principal over the looks in their order. Without IO; memory is bounded.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::look::{Look, Seen};
use crate::audit::{AuditRecord, Who};
use crate::model::config::watch::{AlertRule, AlertsConfig, When};

/// What is counted at once, of all principals together. Beyond it, who was seen longest ago is forgotten.
const COUNTED_MAX: usize = 1_000_000;
const PRINCIPALS_MAX: usize = 50_000;

/// A rule that held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusual {
    pub rule: Arc<str>,
    pub who: Who,
    pub at: Timestamp,
    /// How many were counted.
    pub count: usize,
}

/// The state of the rules.
pub struct Counting {
    config: AlertsConfig,
    principals: HashMap<(String, String), Principal>,
    counted: usize,
    counted_max: usize,
}

struct Principal {
    last: Timestamp,
    /// By rule.
    rules: Vec<Counted>,
}

/// What one rule counts of one principal; empty until the time after an alert has passed.
#[derive(Default)]
struct Counted {
    what: HashSet<u64>,
    order: VecDeque<(Timestamp, u64)>,
    /// No second alert before.
    quiet_until: Option<Timestamp>,
}

impl Counting {
    pub fn new(config: AlertsConfig) -> Self {
        Self { config, principals: HashMap::new(), counted: 0, counted_max: COUNTED_MAX }
    }

    /// The longest time that a rule looks back.
    pub fn longest(&self) -> SignedDuration {
        self.config.rules.iter().map(within).max().unwrap_or_default()
    }

    /// An alert that is known already: the same rule does not hold again for this principal in the time around it.
    pub fn known(&mut self, rule: &str, who: &Who, at: Timestamp) {
        let Some(index) = self.config.rules.iter().position(|known| *known.name == *rule) else { return };
        let Some(until) = self.config.rules.get(index).and_then(|rule| at.checked_add(within(rule)).ok()) else {
            return;
        };
        let counted = self.principal(who, at).rules.get_mut(index);
        if let Some(counted) = counted {
            counted.quiet_until = counted.quiet_until.max(Some(until));
        }
    }

    /// Counts a record; gives the rules that hold with it.
    pub fn see(&mut self, seq: i64, record: &AuditRecord) -> Vec<Unusual> {
        let config = self.config.clone();
        let Some(look) = Look::of(record, &config) else { return Vec::new() };
        let mut found = Vec::new();
        for (at, rule) in config.rules.iter().enumerate() {
            if record.acting().iter().any(|role| rule.except_roles.contains(role)) {
                continue;
            }
            if let Some(count) = self.count(at, rule, seq, &look) {
                found.push(Unusual { rule: Arc::clone(&rule.name), who: look.who.clone(), at: look.at, count });
            }
        }
        self.forget();
        found
    }

    /// Counts a look for one rule; how many, where it holds.
    fn count(&mut self, at: usize, rule: &AlertRule, seq: i64, look: &Look<'_>) -> Option<usize> {
        let counted = self.principal(look.who, look.at).rules.get_mut(at)?;
        let before = counted.what.len();
        let held = counted.look(rule, seq, look);
        let after = counted.what.len();
        self.counted = (self.counted + after).saturating_sub(before);
        held
    }

    fn principal(&mut self, who: &Who, at: Timestamp) -> &mut Principal {
        let rules = self.config.rules.len();
        let principal = self
            .principals
            .entry((who.issuer.clone(), who.id.clone()))
            .or_insert_with(|| Principal { last: at, rules: (0..rules).map(|_| Counted::default()).collect() });
        principal.last = principal.last.max(at);
        principal
    }

    /// Keeps within the bounds: first those whose looks are all too old to count, then who was seen longest ago.
    fn forget(&mut self) {
        if self.counted <= self.counted_max && self.principals.len() <= PRINCIPALS_MAX {
            return;
        }
        let newest = self.principals.values().map(|principal| principal.last).max().unwrap_or_default();
        let old = newest.checked_sub(self.longest()).unwrap_or(newest);
        self.principals.retain(|_, principal| principal.last >= old);
        let mut by_age: Vec<(Timestamp, (String, String))> =
            self.principals.iter().map(|(who, principal)| (principal.last, who.clone())).collect();
        by_age.sort();
        let size = |principal: &Principal| principal.rules.iter().map(|rule| rule.what.len()).sum::<usize>();
        self.counted = self.principals.values().map(size).sum();
        for (_, who) in by_age {
            // To well below the bounds, so that this is not done at every record.
            if self.counted <= self.counted_max / 2 && self.principals.len() <= PRINCIPALS_MAX / 2 {
                break;
            }
            if let Some(gone) = self.principals.remove(&who) {
                self.counted = self.counted.saturating_sub(size(&gone));
            }
        }
        tracing::warn!("more reading than is watched at once: alerts may come late or not at all");
    }
}

impl Counted {
    fn look(&mut self, rule: &AlertRule, seq: i64, look: &Look<'_>) -> Option<usize> {
        if self.quiet_until.is_some_and(|until| look.at < until) {
            return None;
        }
        self.expire(look.at, within(rule));
        let of = |all: &[Seen<'_>]| -> Vec<u64> {
            let counted = all.iter().filter(|seen| rule.entity.as_deref().is_none_or(|entity| entity == seen.entity));
            counted.map(|seen| seen.subject).collect()
        };
        match rule.when {
            When::Any => self.add(look.at, &of(&look.seen)),
            When::Night if look.at_night => self.add(look.at, &of(&look.seen)),
            When::Night => {}
            When::Unrelated => self.add(look.at, &of(&look.unrelated)),
            When::AfterRefusals => {
                // Refusals are told apart by their records' numbers.
                if look.was_tried {
                    self.add(look.at, &[seq.unsigned_abs()]);
                    self.keep_newest(rule.count);
                }
                // A look that shows something takes none of them back: else one's own household in between would.
                if look.seen.is_empty() {
                    return None;
                }
            }
        }
        let count = self.what.len();
        if count < rule.count {
            return None;
        }
        self.clear();
        self.quiet_until = look.at.checked_add(within(rule)).ok();
        Some(count)
    }

    fn add(&mut self, at: Timestamp, what: &[u64]) {
        for one in what.iter().filter(|one| !self.what.contains(*one)).collect::<HashSet<_>>() {
            self.what.insert(*one);
            self.order.push_back((at, *one));
        }
    }

    /// More than hold a rule need not be counted.
    fn keep_newest(&mut self, most: usize) {
        while self.order.len() > most {
            let Some((_, what)) = self.order.pop_front() else { return };
            self.what.remove(&what);
        }
    }

    fn expire(&mut self, now: Timestamp, within: SignedDuration) {
        while let Some((at, what)) = self.order.front().copied() {
            if now.duration_since(at) <= within {
                break;
            }
            self.order.pop_front();
            self.what.remove(&what);
        }
    }

    fn clear(&mut self) {
        self.what.clear();
        self.order.clear();
    }
}

fn within(rule: &AlertRule) -> SignedDuration {
    SignedDuration::from_mins(i64::from(rule.within_minutes))
}

#[cfg(test)]
mod tests;
