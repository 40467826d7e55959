//! Drift: where answers stop matching their binding. Kept of it are places and shapes, never a value.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;

use crate::base::json::{Json, JsonValue};
use crate::engine::convert::{Converted, convert};
use crate::engine::frame::{Row, RowAnswer, Said};
use crate::engine::plan::{FetchNode, Stage};
use crate::engine::project::pick::{elements, pick};
use crate::engine::project::read::pieces;
use crate::model::access::SlotSet;
use crate::model::binding::conversion::{Conversion, Kind as Of};
use crate::model::binding::mapping::{Mapping, Over, Read};
use crate::model::contract::SlotId;
use crate::model::snapshot::Snapshot;

/// Records of one fetch that are looked at, and elements of one list.
const RECORDS_MAX: usize = 64;
const ELEMENTS_MAX: usize = 16;
/// Characters of a shape.
const SHAPE_MAX: usize = 48;
/// Answers of an endpoint that are all looked at, after a start or a change of files; later ones are looked at by turns.
const ALL_OF_FIRST: u64 = 256;
const ONE_IN: u64 = 16;
/// What is kept; the files bound it, but for former versions.
const ENDPOINTS_MAX: usize = 4_096;
const PLACES_MAX: usize = 1_024;
/// A member is missed only once it is known how often it is there.
const KNOWN_AFTER: u64 = 20;
/// What is there as often as before stays away so often by chance once in a million: −ln 10⁻⁶.
const UNLIKELY: u64 = 14;

/// How an answer does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A code that no table knows, or that the enumeration does not have.
    NewCode,
    /// A member that was there is in none of the answers any more.
    MissingField,
    /// A value of a type or a form that the conversion does not read.
    ChangedForm,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewCode => "NEW_CODE",
            Self::MissingField => "MISSING_FIELD",
            Self::ChangedForm => "CHANGED_FORM",
        }
    }
}

/// One way in which the answers of an endpoint do not match, since it was first seen.
#[derive(Debug, Clone)]
pub struct Drift {
    pub endpoint: Arc<str>,
    pub path: Arc<str>,
    pub kind: Kind,
    /// Values that did not match; of a missing field, records without it.
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// The first example's: `"000000"`, `array of 3`. Digits are 0, letters a.
    pub shape: String,
}

/// How often a member was there.
#[derive(Debug, Default)]
struct Presence {
    looked: u64,
    there: u64,
    /// Records in a row without it, up to now.
    away: u64,
}

impl Presence {
    /// Takes what one fetch showed; whether it is missing where it should be.
    fn take(&mut self, looked: u64, there: u64) -> bool {
        if there == 0 {
            self.away = self.away.saturating_add(looked);
        } else {
            self.looked = self.looked.saturating_add(looked + self.away);
            self.there = self.there.saturating_add(there);
            self.away = 0;
        }
        self.looked >= KNOWN_AFTER && self.away.saturating_mul(self.there) > self.looked.saturating_mul(UNLIKELY)
    }
}

/// By source, then by endpoint.
type Sources = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<OfEndpoint>>>;

/// What is known of all sources' drift, by source and endpoint; it outlives reloads.
#[derive(Debug, Default)]
pub struct Drifts(RwLock<Sources>);

/// What is known of one endpoint's. Requests do not wait for one another here.
#[derive(Debug, Default)]
struct OfEndpoint {
    /// Since the start, or since files were changed.
    answers: AtomicU64,
    known: Mutex<Known>,
}

impl OfEndpoint {
    /// Whether the next answer's turn has come.
    fn is_due(&self) -> bool {
        let before = self.answers.fetch_add(1, Relaxed);
        before < ALL_OF_FIRST || before.is_multiple_of(ONE_IN)
    }
}

/// By field of the contract.
#[derive(Debug, Default)]
struct Known {
    presences: HashMap<Arc<str>, Presence>,
    drifts: BTreeMap<(Arc<str>, Kind), Drift>,
}

/// What one fetch showed.
#[derive(Default)]
struct Seen {
    /// Records (or elements) that were looked at for a slot, and how many had its member.
    members: BTreeMap<SlotId, (u64, u64)>,
    misfits: Vec<(SlotId, Kind, String)>,
}

impl Drifts {
    /// Of one source, by endpoint and path.
    pub fn of(&self, source: &str) -> Vec<Drift> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let endpoints = all.get(source).into_iter().flat_map(BTreeMap::values);
        let drifts = |endpoint: &Arc<OfEndpoint>| -> Vec<Drift> {
            let known = endpoint.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.drifts.values().cloned().collect()
        };
        endpoints.flat_map(drifts).collect()
    }

    /// Files were changed: all of the next answers are looked at.
    pub fn begin_anew(&self) {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.values().flat_map(BTreeMap::values).for_each(|endpoint| endpoint.answers.store(0, Relaxed));
    }

    /// `None`: there is no room for another.
    fn endpoint(&self, source: &Arc<str>, name: &Arc<str>) -> Option<Arc<OfEndpoint>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(source).and_then(|endpoints| endpoints.get(name)) {
            return Some(Arc::clone(found));
        }
        drop(known);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_full = all.values().map(BTreeMap::len).sum::<usize>() >= ENDPOINTS_MAX;
        let endpoints = all.entry(Arc::clone(source)).or_default();
        if is_full && !endpoints.contains_key(name) {
            return None;
        }
        Some(Arc::clone(endpoints.entry(Arc::clone(name)).or_default()))
    }

    /// Looks at what a fetch brought, as far as the caller may have it, where it is its turn.
    pub(super) fn look(&self, snapshot: &Snapshot, fetch: &FetchNode, rows: &[Row], answers: &[RowAnswer]) {
        let endpoint = snapshot.bindings.endpoint(fetch.endpoint);
        if fetch.stage != Stage::Answer {
            return;
        }
        let source = &snapshot.bindings.source(endpoint.source).id;
        let Some(known) = self.endpoint(source, &endpoint.name).filter(|known| known.is_due()) else { return };
        let mut seen = Seen::default();
        let mut left = RECORDS_MAX;
        for (row, answer) in rows.iter().zip(answers).filter(|(row, _)| !row.over_quota.contains(&endpoint.source)) {
            let RowAnswer::Parts(parts) = answer else { continue };
            let wanted = row.rights.of_source(&fetch.shown, endpoint.source);
            // What a gateway below masks has a form of its own.
            let told = parts.iter().filter(|part| part.remarks.iter().all(|remark| remark.what != Said::Masked));
            for record in told.filter_map(|part| part.outcome.as_ref().ok()).flatten().take(left) {
                left -= 1;
                seen.object(record.value(), &endpoint.mapping, &wanted);
            }
        }
        if seen.members.is_empty() && seen.misfits.is_empty() {
            return;
        }
        let place = |slot| -> Arc<str> { snapshot.contract.full_path(slot).into() };
        let of = (source, &endpoint.name);
        // Where another request counts now, this one is passed over.
        let Ok(mut known) = known.known.try_lock() else { return };
        for (slot, (looked, there)) in seen.members {
            let place = place(slot);
            if !known.presences.contains_key(&place) && known.presences.len() >= PLACES_MAX {
                continue;
            }
            if known.presences.entry(Arc::clone(&place)).or_default().take(looked, there) {
                known.note(of, place, Kind::MissingField, looked, "nothing".to_owned());
            }
        }
        for (slot, kind, shape) in seen.misfits {
            known.note(of, place(slot), kind, 1, shape);
        }
    }
}

impl Known {
    /// Counts it; the first of its kind at its place is logged.
    fn note(
        &mut self,
        (source, endpoint): (&Arc<str>, &Arc<str>),
        path: Arc<str>,
        kind: Kind,
        count: u64,
        shape: String,
    ) {
        let now = Timestamp::now();
        let key = (path, kind);
        if let Some(drift) = self.drifts.get_mut(&key) {
            drift.count = drift.count.saturating_add(count);
            drift.last_at = now;
            return;
        }
        if self.drifts.len() >= PLACES_MAX {
            return;
        }
        let path = Arc::clone(&key.0);
        tracing::warn!(%source, %endpoint, %path, kind = kind.as_str(), %shape, "answers no longer match the binding");
        let endpoint = Arc::clone(endpoint);
        self.drifts.insert(key, Drift { endpoint, path, kind, count, first_at: now, last_at: now, shape });
    }
}

impl Seen {
    fn object(&mut self, record: JsonValue<'_>, mapping: &Mapping, wanted: &SlotSet) {
        let picked = pick(record, mapping, &mapping.wanted_terms(|slot| wanted.contains(slot)));
        for entry in mapping.entries.iter().filter(|entry| wanted.contains(entry.slot)) {
            let slot = entry.slot;
            let term = match &entry.read {
                Read::Scalar { at, .. } | Read::Reference { at, .. } | Read::Object { at, .. } => Some(*at),
                Read::Scalars { over, .. } | Read::References { over, .. } | Read::Objects { over, .. } => over.term(),
                Read::Constant(_) | Read::Instance(_) | Read::Outcome(_) => continue,
            };
            let raw = match term {
                Some(term) => {
                    let raw = picked.get(term);
                    let (looked, there) = self.members.entry(slot).or_default();
                    (*looked, *there) = (*looked + 1, *there + u64::from(raw.is_some()));
                    raw
                }
                None => Some(record),
            };
            let Some(raw) = raw else { continue };
            match &entry.read {
                Read::Scalar { conversion, .. } | Read::Reference { conversion, .. } => {
                    self.value(slot, raw.raw(), conversion)
                }
                Read::Scalars { over, conversion, split } => self.list(slot, raw, *over, conversion, split.as_deref()),
                Read::References { over, conversion } => self.list(slot, raw, *over, conversion, None),
                Read::Object { inside, types: None, .. } => self.inside(slot, raw, inside, wanted),
                // Of several types, or of those that count alone, each has members of its own.
                Read::Objects { over: Over::Array(_), inside, types: None, only: None } => {
                    for element in elements(raw).into_iter().take(ELEMENTS_MAX) {
                        self.inside(slot, element, inside, wanted);
                    }
                }
                Read::Objects { over: Over::Records, inside, types: None, only: None } => {
                    self.inside(slot, raw, inside, wanted);
                }
                _ => {}
            }
        }
    }

    fn inside(&mut self, slot: SlotId, raw: JsonValue<'_>, inside: &Mapping, wanted: &SlotSet) {
        match raw.raw() {
            "null" | "\"\"" => {}
            _ if raw.is_object() => self.object(raw, inside, wanted),
            other => self.misfits.push((slot, Kind::ChangedForm, shape(other))),
        }
    }

    fn list(&mut self, slot: SlotId, raw: JsonValue<'_>, over: Over, conversion: &Conversion, split: Option<&str>) {
        let listed = if matches!(over, Over::Array(_)) { elements(raw) } else { vec![raw] };
        for element in listed.into_iter().take(ELEMENTS_MAX) {
            for piece in pieces(element.raw(), split).take(ELEMENTS_MAX) {
                self.value(slot, &piece, conversion);
            }
        }
    }

    fn value(&mut self, slot: SlotId, raw: &str, conversion: &Conversion) {
        // What is large is not read twice.
        if conversion.image {
            return;
        }
        let is_scalar = !raw.trim_start().starts_with(['{', '[']);
        let kind = match convert(raw, conversion, &mut Vec::new()) {
            Ok(Converted::Unrecognized) => Kind::NewCode,
            Err(_) if is_scalar && matches!(conversion.kind, Of::Enum(_)) => Kind::NewCode,
            Err(_) => Kind::ChangedForm,
            Ok(Converted::Value | Converted::Null) => return,
        };
        self.misfits.push((slot, kind, shape(raw)));
    }
}

/// What a value looks like, without what it says.
fn shape(raw: &str) -> String {
    let raw = raw.trim();
    match raw.chars().next() {
        Some('{') => "object".to_owned(),
        Some('[') => {
            format!("array of {}", Json::read(raw.to_owned()).map_or(0, |list| list.root().elements().count()))
        }
        Some('t' | 'f') => "boolean".to_owned(),
        Some('"') => {
            let text: String = serde_json::from_str(raw).unwrap_or_default();
            let (length, masked) = (text.chars().count(), masked(&text));
            if length > SHAPE_MAX { format!("\"{masked}…\" of {length}") } else { format!("\"{masked}\"") }
        }
        _ => masked(raw),
    }
}

fn masked(text: &str) -> String {
    let mask = |c: char| match c {
        c if c.is_numeric() => '0',
        c if c.is_alphabetic() => 'a',
        c if c.is_ascii_punctuation() || c == ' ' => c,
        _ => '.',
    };
    text.chars().take(SHAPE_MAX).map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_tell_no_value() {
        for (raw, told) in [
            ("\"2026-05-01\"", "\"0000-00-00\""),
            ("\"张三 x1\"", "\"aa a0\""),
            ("-12.50", "-00.00"),
            ("true", "boolean"),
            ("{\"a\": 1}", "object"),
            ("[1, 2]", "array of 2"),
            ("null", "aaaa"),
        ] {
            assert_eq!(shape(raw), told);
        }
        let long = format!("\"{}\"", "7".repeat(1_000));
        assert_eq!(shape(&long), format!("\"{}…\" of 1000", "0".repeat(SHAPE_MAX)));
    }

    #[test]
    fn all_of_the_first_answers_are_looked_at_and_later_ones_by_turns_until_files_change() {
        let drifts = Drifts::default();
        let endpoint = drifts.endpoint(&"people".into(), &"person".into()).expect("there is room");
        let looked = |answers: u64| (0..answers).filter(|_| endpoint.is_due()).count();
        assert_eq!(looked(256), 256);
        assert_eq!(looked(1_600), 100);
        drifts.begin_anew();
        assert_eq!(looked(256), 256);
    }

    #[test]
    fn a_member_is_missed_only_where_its_absence_is_no_chance() {
        let mut always = Presence::default();
        assert!((0..100).all(|_| !always.take(1, 1)));
        assert_eq!((1..).position(|_| always.take(1, 0)), Some(14), "what was always there is soon missed");
        let mut seldom = Presence::default();
        for _ in 0..50 {
            assert!(!seldom.take(9, 0) && !seldom.take(1, 1));
        }
        assert!((0..140).all(|_| !seldom.take(1, 0)) && seldom.take(1, 0), "what is there once in ten");
        let mut new = Presence::default();
        assert!(!new.take(5, 5) && !new.take(1_000, 0), "what is hardly known is not missed");
    }
}
