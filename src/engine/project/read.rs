//! Reading the slots of one entity from what its sources answered.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use smallvec::SmallVec;

use super::fetched::{Fetched, Picks, Wanted};
use super::pick::{Picked, elements, pick_one, text_of};
use super::write::{Mode, Writer};
use crate::base::code::ErrorCode;
use crate::base::json::{Held, JsonValue};
use crate::engine::convert::{Converted, convert, is_passed_on};
use crate::engine::frame::{Failure, Frame, Part, Remark, Row, RowAnswer};
use crate::engine::operation::Selection;
use crate::engine::plan::{Node, Plan, Stage};
use crate::model::access::RowRights;
use crate::model::binding::conversion::Conversion;
use crate::model::binding::mapping::{Entry, Mapping, Over, Read};
use crate::model::binding::{Endpoint, SourceId};
use crate::model::contract::{Shape, SlotId};
use crate::model::snapshot::Snapshot;

/// Values of one slot: nearly always one.
pub type Texts = SmallVec<[Arc<str>; 1]>;

/// One entity with everything that is known of it so far.
pub struct RowView<'a> {
    pub snapshot: &'a Snapshot,
    pub plan: &'a Plan,
    pub node: &'a Node,
    pub row: &'a Row,
    /// What the caller may have: of the row, or of one of the entities that a list of it tells of.
    pub rights: &'a RowRights,
    pub at: usize,
    pub answers: &'a [Option<&'a [RowAnswer]>],
    pub stage: Stage,
    /// The frame it is a row of, once execution is done: entities below are read through it.
    pub frame: Option<&'a Frame>,
    /// What is wanted of rows like it, where many are read.
    pub wanted: Option<&'a Wanted<'a>>,
    pub(super) picks: Picks<'a>,
}

/// What fills a slot of an entity.
pub enum Filling<'a> {
    /// The entity's own key.
    Key,
    /// The record that named the entity, and whose it is.
    Embedded(&'a Mapping, &'a Entry, SourceId),
    /// A fetch's answer.
    Answer(Fetched<'a>),
    /// Rules, by the place of the derived field.
    Derived(usize),
    /// Its own parts, one by one.
    Parts,
    /// No source, yet.
    Nobody,
}

/// An entity as a record names it.
pub struct Named {
    pub key: Option<Arc<str>>,
    pub record: Option<Held>,
}

impl<'a> RowView<'a> {
    pub fn new(
        snapshot: &'a Snapshot,
        plan: &'a Plan,
        node: &'a Node,
        row: &'a Row,
        at: usize,
        answers: &'a [Option<&'a [RowAnswer]>],
        stage: Stage,
    ) -> Self {
        Self {
            snapshot,
            plan,
            node,
            row,
            rights: &row.rights,
            at,
            answers,
            stage,
            frame: None,
            wanted: None,
            picks: Picks::new(node.fetches.len()),
        }
    }

    /// The same entity, as far as it tells of one of which the caller has these rights.
    pub fn of_subject(&self, rights: &'a RowRights) -> Self {
        let of_row = Self::new(self.snapshot, self.plan, self.node, self.row, self.at, self.answers, self.stage);
        Self { rights, ..of_row }
    }

    /// What fills this very slot.
    pub fn filling(&self, slot: SlotId) -> Filling<'a> {
        if self.snapshot.contract.entity(self.node.entity).key == slot {
            return Filling::Key;
        }
        if self.node.embedded.contains(slot)
            && let Some((mapping, source)) =
                crate::engine::plan::embedded_mapping(self.snapshot, &self.plan.nodes, &self.node.origin)
            && let Some(entry) = mapping.entry(slot)
        {
            return Filling::Embedded(mapping, entry, source);
        }
        if let Some(id) = self.snapshot.bindings.provider(slot) {
            let endpoint = self.snapshot.bindings.endpoint(id);
            if let Some(entry) = endpoint.mapping.entry(slot) {
                return Filling::Answer(self.fetched(endpoint, slot, entry));
            }
        }
        if self.snapshot.bindings.awaited.contains(&slot) {
            return Filling::Nobody;
        }
        self.snapshot.derived_of(slot).map_or(Filling::Parts, Filling::Derived)
    }

    /// What an endpoint answered for this entity, of the fetch that holds the slot.
    pub fn fetched(&self, endpoint: &'a Endpoint, slot: SlotId, entry: &'a Entry) -> Fetched<'a> {
        const NOT_ASKED: &RowAnswer = &RowAnswer::NotAsked;
        let fetch = self.node.fetch_of(endpoint.id, slot, self.stage);
        let answer = fetch.and_then(|fetch| self.answers.get(fetch).copied().flatten()?.get(self.at));
        Fetched { fetch, answer: answer.unwrap_or(NOT_ASKED), endpoint, entry }
    }

    /// A slot's value, or the values of a list, as texts: what calls are made with. Nothing there: an empty list.
    pub fn texts(&self, slot: SlotId) -> Result<Texts, Failure> {
        match self.filling(slot) {
            Filling::Key => Ok(self.row.key.iter().cloned().collect()),
            Filling::Embedded(mapping, entry, _) => {
                let record = self.row.embedded.as_ref().map_or_else(|| JsonValue::null(), |record| record.value());
                Ok(entry_texts(record, mapping, entry))
            }
            Filling::Answer(fetched) => {
                let Fetched { endpoint, entry, .. } = fetched;
                let mut texts = Texts::new();
                let place = place_of(&endpoint.mapping, entry);
                for part in fetched.parts()? {
                    in_full(part, &place, endpoint)?;
                    for record in part.outcome.as_deref().map_err(|failure| *failure)? {
                        texts.extend(entry_texts(record.value(), &endpoint.mapping, entry));
                    }
                }
                Ok(texts)
            }
            Filling::Nobody => Err(Failure::NOBODY),
            Filling::Derived(_) => Ok(Texts::new()),
            Filling::Parts => self.texts_in_object(slot),
        }
    }

    /// As [`Self::texts`], for a slot inside an object that is read as a whole.
    fn texts_in_object(&self, slot: SlotId) -> Result<Texts, Failure> {
        let mut path = vec![slot];
        for above in self.snapshot.contract.above(slot) {
            match self.filling(above) {
                Filling::Answer(Fetched { endpoint, entry, .. }) => {
                    let place = place_inside(&endpoint.mapping, entry, &path);
                    for part in self.fetched(endpoint, slot, entry).parts()? {
                        in_full(part, &place, endpoint)?;
                        for record in part.outcome.as_deref().map_err(|failure| *failure)? {
                            let texts = texts_inside(record.value(), &endpoint.mapping, entry, &path);
                            if !texts.is_empty() {
                                return Ok(texts);
                            }
                        }
                    }
                    return Ok(Texts::new());
                }
                Filling::Embedded(mapping, entry, _) => {
                    let record = self.row.embedded.as_ref().map_or_else(|| JsonValue::null(), |record| record.value());
                    return Ok(texts_inside(record, mapping, entry, &path));
                }
                _ => path.insert(0, above),
            }
        }
        Ok(Texts::new())
    }

    /// The named slots as the contract's JSON, for a condition of a binding; as [`Self::rule_facts`].
    pub fn facts(&self, slots: &[SlotId]) -> (Value, Option<Failure>) {
        let mut reads: Vec<Selection> = Vec::new();
        for slot in slots {
            let mut path: Vec<SlotId> = self.snapshot.contract.above(*slot).collect();
            path.reverse();
            path.push(*slot);
            let mut level = &mut reads;
            for slot in path {
                level = &mut crate::engine::plan::enter(level, self.snapshot, slot).children;
            }
        }
        self.rule_facts(&reads, Mode::Gateway)
    }

    /// What a rule reads, as the contract's JSON; what is unavailable is absent, and the first reason for that.
    pub fn rule_facts(&self, reads: &[Selection], mode: Mode<'_>) -> (Value, Option<Failure>) {
        let mut writer = Writer::new(self.snapshot, mode);
        writer.entity_object(self, reads);
        let missing = writer.first_failure();
        (serde_json::from_slice(&writer.into_bytes()).unwrap_or(Value::Null), missing)
    }

    /// The entities that a slot names, or why its source did not name them: half a list is not a list.
    pub fn entities(&self, slot: SlotId) -> Result<Vec<Named>, Failure> {
        let (Shape::Entity(target) | Shape::EntityList(target)) = self.snapshot.contract.slot(slot).shape else {
            return Ok(Vec::new());
        };
        let key = self.snapshot.contract.entity(target).key;
        let mut found = Vec::new();
        let over_quota = |source| match self.stage == Stage::Answer && self.row.over_quota.contains(&source) {
            true => Err(Failure::over_quota(source)),
            false => Ok(()),
        };
        match self.filling(slot) {
            Filling::Embedded(mapping, entry, source) => {
                over_quota(source)?;
                if let Some(record) = &self.row.embedded {
                    let bad = |_| Failure::unavailable(ErrorCode::SourceBadAnswer, source);
                    record_entities(record, mapping, entry, key, &mut found).map_err(bad)?;
                }
            }
            Filling::Answer(fetched) => {
                let Fetched { endpoint, entry, .. } = fetched;
                over_quota(endpoint.source)?;
                let bad = |_| Failure::unavailable(ErrorCode::SourceBadAnswer, endpoint.source);
                let place = match &entry.read {
                    Read::Objects { inside, .. } => {
                        let named = inside.entry(key).map(|entry| place_of(inside, entry)).unwrap_or_default();
                        [place_of(&endpoint.mapping, entry), named].concat()
                    }
                    _ => place_of(&endpoint.mapping, entry),
                };
                for part in fetched.parts()? {
                    in_full(part, &place, endpoint)?;
                    for record in part.outcome.as_deref().map_err(|failure| *failure)? {
                        record_entities(record, &endpoint.mapping, entry, key, &mut found).map_err(bad)?;
                    }
                }
            }
            Filling::Nobody => return Err(Failure::NOBODY),
            Filling::Key | Filling::Derived(_) | Filling::Parts => {}
        }
        Ok(found)
    }
}

/// Where an entry is read in a record.
fn place_of(mapping: &Mapping, entry: &Entry) -> Vec<Box<str>> {
    entry.read.term().and_then(|term| mapping.terms.get(term)).map_or(Vec::new(), |at| at.segments().to_vec())
}

/// Where the last slot of `path` is, down through the objects that the others are.
fn place_inside(mapping: &Mapping, entry: &Entry, path: &[SlotId]) -> Vec<Box<str>> {
    let mut place = place_of(mapping, entry);
    if let (Some((next, rest)), Read::Object { inside, .. }) = (path.split_first(), &entry.read)
        && let Some(entry) = inside.entry(*next)
    {
        place.extend(place_inside(inside, entry, rest));
    }
    place
}

/// Nothing is asked with part of a value: it would be another's, or nobody's.
fn in_full(part: &Part, place: &[Box<str>], endpoint: &Endpoint) -> Result<(), Failure> {
    match Remark::is_masked(&part.remarks, place) {
        true => Err(Failure::undetermined(ErrorCode::InputMissing, endpoint.source)),
        false => Ok(()),
    }
}

/// One entry's values in a record, as texts.
fn entry_texts(record: JsonValue<'_>, mapping: &Mapping, entry: &Entry) -> Texts {
    let mut texts = Texts::new();
    let mut add = |value: JsonValue<'_>, conversion: &Conversion, split: Option<&str>| {
        let plain = value.plain().filter(|text| split.is_none() && is_passed_on(text, conversion));
        if let Some(text) = plain {
            return texts.push(text.into());
        }
        for piece in pieces(value.raw(), split) {
            let mut out = Vec::new();
            if matches!(convert(&piece, conversion, &mut out), Ok(Converted::Value | Converted::Unrecognized)) {
                texts.extend(std::str::from_utf8(&out).ok().and_then(text_of).map(Arc::<str>::from));
            }
        }
    };
    match &entry.read {
        Read::Scalar { at, conversion } | Read::Reference { at, conversion } => {
            if let Some(value) = pick_one(record, mapping, *at) {
                add(value, conversion, None);
            }
        }
        Read::Scalars { over, conversion, split } => {
            elements_in(record, mapping, *over).into_iter().for_each(|value| add(value, conversion, split.as_deref()));
        }
        Read::References { over, conversion } => {
            elements_in(record, mapping, *over).into_iter().for_each(|value| add(value, conversion, None));
        }
        Read::Constant(value) => {
            texts.extend(text_of(value).filter(|text| text != "null").map(Arc::<str>::from));
        }
        Read::Object { .. } | Read::Objects { .. } | Read::Instance(_) | Read::Outcome(_) => {}
    }
    texts
}

/// The values of the last slot of `path`, down through the objects that the others are.
fn texts_inside(record: JsonValue<'_>, mapping: &Mapping, entry: &Entry, path: &[SlotId]) -> Texts {
    let Some((next, rest)) = path.split_first() else { return entry_texts(record, mapping, entry) };
    let Read::Object { at, inside, .. } = &entry.read else { return Texts::new() };
    match (pick_one(record, mapping, *at), inside.entry(*next)) {
        (Some(value), Some(entry)) => texts_inside(value, inside, entry, rest),
        _ => Texts::new(),
    }
}

/// A text that is a list, cut; anything else as it is.
pub fn pieces<'a>(raw: &'a str, split: Option<&str>) -> impl Iterator<Item = Cow<'a, str>> {
    let cut: Option<Vec<Cow<'a, str>>> = split.filter(|_| raw.starts_with('"')).and_then(|separator| {
        let text = text_of(raw)?;
        let pieces = text.split(separator).map(str::trim).filter(|piece| !piece.is_empty());
        Some(pieces.map(|piece| Cow::Owned(Value::String(piece.to_owned()).to_string())).collect())
    });
    let whole = cut.is_none().then_some(Cow::Borrowed(raw));
    whole.into_iter().chain(cut.unwrap_or_default())
}

/// There is no list where one has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoList;

/// The elements a list reading goes over in one record. `required`: that there is no list is an error.
pub fn over_elements<'r>(
    record: JsonValue<'r>,
    picked: &Picked<'r>,
    over: Over,
    required: bool,
) -> Result<Vec<JsonValue<'r>>, NoList> {
    match over {
        Over::Records => Ok(vec![record]),
        Over::Array(term) => match picked.get(term) {
            Some(list) => Ok(elements(list)),
            None if required => Err(NoList),
            None => Ok(Vec::new()),
        },
        Over::Instances => Ok(Vec::new()),
    }
}

/// As [`over_elements`], of a record of which nothing is picked.
pub fn elements_in<'r>(record: JsonValue<'r>, mapping: &Mapping, over: Over) -> Vec<JsonValue<'r>> {
    match over {
        Over::Records => vec![record],
        Over::Array(term) => pick_one(record, mapping, term).map(elements).unwrap_or_default(),
        Over::Instances => Vec::new(),
    }
}

fn record_entities(
    record: &Held,
    mapping: &Mapping,
    entry: &Entry,
    key: SlotId,
    found: &mut Vec<Named>,
) -> Result<(), NoList> {
    match &entry.read {
        Read::Objects { over, inside, only, .. } => {
            for element in elements_in(record.value(), mapping, *over) {
                if !element.is_object() && !element.is_null() {
                    return Err(NoList);
                }
                if super::list::counts(element, inside, only.as_ref()) {
                    found.push(named(inside, key, &record.beside(element)));
                }
            }
        }
        Read::Reference { .. } | Read::References { .. } => {
            let keys = entry_texts(record.value(), mapping, entry).into_iter();
            found.extend(keys.map(|key| Named { key: Some(key), record: None }));
        }
        _ => {}
    }
    Ok(())
}

/// The entity that a record describes.
pub fn named(mapping: &Mapping, key: SlotId, record: &Held) -> Named {
    let key = mapping.entry(key).and_then(|entry| entry_texts(record.value(), mapping, entry).into_iter().next());
    Named { key, record: Some(record.clone()) }
}
