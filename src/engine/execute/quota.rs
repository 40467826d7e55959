//! Quotas of sources by role: counted before a source is asked, outside the snapshot, so that a reload does not begin them
//! anew. Nothing is kept of an entity but a hash under a key that lives as long as the process.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Execution;
use crate::base::code::ErrorCode;
use crate::engine::frame::{Failure, Row};
use crate::engine::operation::{Selection, What};
use crate::engine::plan::{FetchNode, Node, NodeId, Now};
use crate::model::access::SlotSet;
use crate::model::binding::hand::Quota;
use crate::model::binding::hand::format::Per;
use crate::model::binding::{Source, SourceId};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);
/// Quotas that are counted at once; beyond that, those that count nothing any more make room, and else none is given.
const WINDOWS_MAX: usize = 10_000;

/// What one use is counted against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    key: Key,
    calls_per_minute: Option<u32>,
}

/// By source: what its calls are counted against.
pub(super) type Charges = BTreeMap<SourceId, Vec<Charge>>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    source: Arc<str>,
    role: Arc<str>,
    network: Option<Arc<str>>,
    /// Of a quota that each principal has.
    principal: Option<Arc<str>>,
}

/// What was used of one quota.
#[derive(Debug, Default)]
struct Window {
    /// When each call was made; no more than may be made in a minute.
    calls: std::collections::VecDeque<Instant>,
    /// When each entity was first counted; no more than may be counted in a day.
    entities: HashMap<u64, Instant>,
}

impl Window {
    fn forget(&mut self, now: Instant) {
        while self.calls.front().is_some_and(|at| now.duration_since(*at) >= MINUTE) {
            self.calls.pop_front();
        }
        self.entities.retain(|_, at| now.duration_since(*at) < DAY);
    }

    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.entities.is_empty()
    }
}

/// All quotas of a gateway.
#[derive(Debug, Default)]
pub struct Quotas {
    windows: Mutex<HashMap<Key, Window>>,
    hash: RandomState,
}

/// How much of one quota is used now: where each principal has one, of that which is used most.
#[derive(Debug, Clone, Copy)]
pub struct Used<'q> {
    pub quota: &'q Quota,
    /// In the last minute.
    pub calls: u64,
    /// In the last 24 hours.
    pub entities: u64,
}

impl Quotas {
    /// How much of the source's quotas is used.
    pub fn used<'q>(&self, source: &'q Source) -> Vec<Used<'q>> {
        let now = Instant::now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |quota: &'q Quota| {
            let network = quota.network.as_ref().map(|network| &network.name);
            let of_quota = |key: &Key| {
                key.source == source.id
                    && key.role == quota.role.name
                    && key.network.as_ref() == network
                    && key.principal.is_some() == (quota.per == Per::Principal)
            };
            let mut used = Used { quota, calls: 0, entities: 0 };
            for (_, window) in windows.iter_mut().filter(|(key, _)| of_quota(key)) {
                window.forget(now);
                used.calls = used.calls.max(u64::try_from(window.calls.len()).unwrap_or(u64::MAX));
                used.entities = used.entities.max(u64::try_from(window.entities.len()).unwrap_or(u64::MAX));
            }
            used
        };
        source.hand.quotas.iter().map(of).collect()
    }

    /// Counts a call against each; false, and nothing counted, where one has no more.
    pub(super) fn take_call(&self, charges: &[Charge], now: Instant) -> bool {
        let limited: Vec<(&Key, usize)> = charges
            .iter()
            .filter_map(|charge| Some((&charge.key, usize::try_from(charge.calls_per_minute?).unwrap_or(usize::MAX))))
            .collect();
        if limited.is_empty() {
            return true;
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = limited.iter().all(|(key, most)| {
            window(&mut windows, key, now).is_some_and(|window| {
                window.forget(now);
                window.calls.len() < *most
            })
        });
        if has_room {
            for (key, _) in limited {
                if let Some(window) = windows.get_mut(key) {
                    window.calls.push_back(now);
                }
            }
        }
        has_room
    }

    /// How many more calls there are within the minute, of that which has the least; none: calls are not counted.
    pub(super) fn calls_left(&self, charges: &[Charge], now: Instant) -> Option<usize> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let left = charges.iter().filter_map(|charge| {
            let most = usize::try_from(charge.calls_per_minute?).unwrap_or(usize::MAX);
            let used = windows.get_mut(&charge.key).map_or(0, |window| {
                window.forget(now);
                window.calls.len()
            });
            Some(most.saturating_sub(used))
        });
        left.min()
    }

    /// Counts an entity, unless it is counted already; false where there is no room.
    fn take_entity(&self, key: &Key, most: u32, entity: &(u32, Arc<str>), now: Instant) -> bool {
        let hash = self.hash.hash_one(entity);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(window) = window(&mut windows, key, now) else { return false };
        let counted = |window: &Window| window.entities.get(&hash).is_some_and(|at| now.duration_since(*at) < DAY);
        if counted(window) {
            return true;
        }
        if window.entities.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            window.forget(now);
        }
        let room = window.entities.len() < usize::try_from(most).unwrap_or(usize::MAX);
        if room {
            window.entities.insert(hash, now);
        }
        room
    }
}

/// The window of a quota, made where it is new and there is room for it.
fn window<'w>(windows: &'w mut HashMap<Key, Window>, key: &Key, now: Instant) -> Option<&'w mut Window> {
    if !windows.contains_key(key) && windows.len() >= WINDOWS_MAX {
        windows.retain(|_, window| {
            window.forget(now);
            !window.is_empty()
        });
        if windows.len() >= WINDOWS_MAX {
            return None;
        }
    }
    Some(windows.entry(key.clone()).or_default())
}

impl Execution<'_> {
    /// Counts every entity against the quotas of the sources that something of it is asked of; says what calls are to be
    /// counted against. Marks the rows for which a source gives no more.
    pub(super) fn charge(&self, node: (NodeId, &Node), rows: &mut [Row], now: Now<'_>) -> Charges {
        let mut charges = Charges::new();
        for source in self.sources_with_quotas() {
            let mut over = false;
            for row in rows.iter_mut() {
                let asked = self.asked_of(source, node, row, now);
                if asked.is_empty() || row.over_quota.contains(&source) {
                    continue;
                }
                let key = row.key.clone().unwrap_or_default();
                let entity = (u32::try_from(node.1.entity.index()).unwrap_or(u32::MAX), key);
                match self.charged(source, row, &asked, Some(&entity)) {
                    Some(charged) => {
                        let all = charges.entry(source).or_default();
                        for charge in charged {
                            if !all.contains(&charge) {
                                all.push(charge);
                            }
                        }
                    }
                    None => {
                        row.over_quota.push(source);
                        over = true;
                    }
                }
            }
            if over {
                self.calls.note(source, Some(ErrorCode::QuotaExceeded));
            }
        }
        charges
    }

    /// What the call of a listing or lookup is counted against: it is made before any entity is known.
    pub(super) fn charges_of_listing(&self, selection: &Selection, source: SourceId) -> Result<Vec<Charge>, Failure> {
        let Some(node) = self.node_of(selection) else { return Ok(Vec::new()) };
        if !self.sources_with_quotas().any(|with| with == source) {
            return Ok(Vec::new());
        }
        let row = Row {
            rights: self.rights.under(self.rights.permits.keys().copied().collect()).into(),
            ..super::rows::nobody()
        };
        let asked = self.plan.node(node).shown.clone();
        self.charged(source, &row, &asked, None).ok_or_else(|| Failure::over_quota(source))
    }

    fn node_of(&self, selection: &Selection) -> Option<NodeId> {
        let What::Query(_) = selection.what else { return None };
        // A scan is alone in its operation, and lists several divisions by one root.
        let of = |(root, _): &(&Selection, &Option<NodeId>)| {
            std::ptr::eq(*root, selection) || self.plan.operation.scan.is_some()
        };
        self.plan.operation.roots.iter().zip(&self.plan.roots).find(of).and_then(|(_, node)| *node)
    }

    fn sources_with_quotas(&self) -> impl Iterator<Item = SourceId> + '_ {
        let sources = self.snapshot.bindings.sources.iter().enumerate();
        sources
            .filter(|(_, source)| !source.hand.quotas.is_empty())
            .filter_map(|(at, _)| u32::try_from(at).ok().map(SourceId))
    }

    /// What is shown of an entity from a source, and the derived slots whose rules read of it.
    fn asked_of(&self, source: SourceId, (id, node): (NodeId, &Node), row: &Row, now: Now<'_>) -> SlotSet {
        let mut asked = SlotSet::new();
        let bindings = &self.snapshot.bindings;
        let of_source =
            |(at, fetch): &(usize, &FetchNode)| now.has(id, *at) && bindings.endpoint(fetch.endpoint).source == source;
        for (_, fetch) in node.fetches.iter().enumerate().filter(of_source) {
            asked.union(&row.rights.of_source(&fetch.shown, source));
            for subjects in row.subjects.iter() {
                let one_by_one = self.snapshot.subjects.one_by_one_of(fetch.endpoint);
                asked.union(&fetch.shown.intersection(one_by_one).intersection(&subjects.of_some));
            }
            let derived = fetch.hidden.derived.keys().filter(|slot| row.rights.slots.contains(**slot));
            derived.for_each(|slot| asked.insert(*slot));
        }
        let embedded = crate::engine::plan::embedded_mapping(self.snapshot, &self.plan.nodes, &node.origin);
        if embedded.is_some_and(|(_, of)| of == source) {
            asked.union(&node.embedded.intersection(&node.shown).intersection(&row.rights.slots));
        }
        asked
    }

    /// Charges the roles whose grants give what is asked: none where roles without a quota do, else as few as give it all.
    /// `None`: something of it only roles give that have no more.
    fn charged(
        &self,
        source: SourceId,
        row: &Row,
        asked: &SlotSet,
        entity: Option<&(u32, Arc<str>)>,
    ) -> Option<Vec<Charge>> {
        let mut left = SlotSet::new();
        let mut limited: Vec<(Arc<str>, SlotSet)> = Vec::new();
        let mut free = SlotSet::new();
        for (role, slots) in self.giving(row, asked) {
            left.union(&slots);
            if self.quotas_of(source, &role).next().is_none() {
                free.union(&slots);
            } else {
                limited.push((role, slots));
            }
        }
        free.iter().for_each(|slot| left.remove(slot));
        let mut charged = Vec::new();
        for (role, slots) in limited {
            if !slots.intersects(&left) {
                continue;
            }
            let charges: Vec<(Charge, Option<u32>)> =
                self.quotas_of(source, &role).map(|quota| self.charge_of(source, quota)).collect();
            let now = Instant::now();
            let has_room = charges.iter().all(|(charge, most)| match (most, entity) {
                (Some(most), Some(entity)) => self.quotas.take_entity(&charge.key, *most, entity, now),
                _ => true,
            });
            if has_room {
                slots.iter().for_each(|slot| left.remove(slot));
                charged.extend(charges.into_iter().map(|(charge, _)| charge));
            }
        }
        left.is_empty().then_some(charged)
    }

    /// The roles whose grants give any of the slots under the row's relations, and what each gives.
    fn giving(&self, row: &Row, asked: &SlotSet) -> Vec<(Arc<str>, SlotSet)> {
        let mut found: Vec<(Arc<str>, SlotSet)> = Vec::new();
        let through = |relation| row.rights.relations.contains(relation) || row.rights.through.contains(relation);
        let grants = self.rights.key.iter().filter_map(|at| self.snapshot.access.grants.get(*at));
        for grant in grants.filter(|grant| through(&grant.relation) || !row.subjects.is_empty()) {
            let slots = grant.slots.intersection(asked);
            if slots.is_empty() {
                continue;
            }
            match found.iter_mut().find(|(role, _)| *role == grant.role) {
                Some((_, known)) => known.union(&slots),
                None => found.push((Arc::clone(&grant.role), slots)),
            }
        }
        found
    }

    fn quotas_of<'q>(&'q self, source: SourceId, role: &'q str) -> impl Iterator<Item = &'q Quota> {
        let here = |quota: &&Quota| {
            let network = quota.network.as_ref();
            network.is_none_or(|network| self.asking.networks.iter().any(|name| **name == *network.name))
        };
        let quotas = &self.snapshot.bindings.source(source).hand.quotas;
        quotas.iter().filter(move |quota| *quota.role.name == *role).filter(here)
    }

    fn charge_of(&self, source: SourceId, quota: &Quota) -> (Charge, Option<u32>) {
        let id = self.asking.principal.get("id").and_then(serde_json::Value::as_str).unwrap_or_default();
        let key = Key {
            source: Arc::clone(&self.snapshot.bindings.source(source).id),
            role: Arc::clone(&quota.role.name),
            network: quota.network.as_ref().map(|network| Arc::clone(&network.name)),
            principal: (quota.per == Per::Principal).then(|| id.into()),
        };
        (Charge { key, calls_per_minute: quota.calls_per_minute }, quota.entities_per_day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(principal: &str) -> Key {
        Key { source: "s".into(), role: "r".into(), network: None, principal: Some(principal.into()) }
    }

    #[test]
    fn entities_are_counted_once_in_any_24_hours() {
        let (quotas, start) = (Quotas::default(), Instant::now());
        let take = |id: &str, at: Duration| quotas.take_entity(&key("a"), 2, &(0, id.into()), start + at);
        assert!(take("1", Duration::ZERO) && take("2", MINUTE) && take("1", MINUTE));
        assert!(!take("3", DAY - MINUTE));
        assert!(take("3", DAY), "the first is a day ago");
        assert!(!take("4", DAY) && take("2", DAY));
        assert!(quotas.take_entity(&key("b"), 2, &(0, "4".into()), start + DAY), "another principal's");
    }

    #[test]
    fn calls_are_counted_in_any_60_seconds() {
        let (quotas, start) = (Quotas::default(), Instant::now());
        let charge = [Charge { key: key("a"), calls_per_minute: Some(2) }];
        let take = |seconds| quotas.take_call(&charge, start + Duration::from_secs(seconds));
        assert!(take(0) && take(59) && !take(59));
        assert!(take(60) && !take(118) && take(119));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (quotas, start) = (Quotas::default(), Instant::now());
        let take = |at: usize, when| quotas.take_entity(&key(&at.to_string()), 1, &(0, "1".into()), when);
        assert!((0..WINDOWS_MAX).all(|at| take(at, start)));
        assert!(!take(WINDOWS_MAX, start + MINUTE), "no room, and none that has ended");
        assert!(take(WINDOWS_MAX, start + DAY));
    }
}
