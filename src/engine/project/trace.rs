//! How each field of one record is read, told step by step: for an integrator who tries a binding by hand.

use serde_json::Value;

use super::held::{is_held, is_value_held};
use super::list::counts;
use super::pick::{elements, pick, pick_one, text_of};
use super::read::pieces;
use crate::base::json::JsonValue;
use crate::base::pointer::Pointer;
use crate::engine::convert::{Converted, convert};
use crate::model::access::RowRights;
use crate::model::binding::conversion::Conversion;
use crate::model::binding::mapping::{Mapping, Over, Read, Trie, Types};
use crate::model::contract::{Contract, SlotId};

/// Elements of one list that are told.
const ELEMENTS_MAX: usize = 50;

/// One field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// `assets.vehicles[0].plate`
    pub path: String,
    /// Where it is read from, from the record.
    pub at: String,
    /// The department's JSON; none where the record has no such place.
    pub raw: Option<String>,
    pub outcome: Outcome,
    /// The slots that it stands in, itself the last; none, where it is not known which.
    pub slots: Vec<SlotId>,
    /// The reader gets nothing of it, for a code that the department withholds.
    pub is_held: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The contract's JSON.
    Value(String),
    /// As [`Self::Value`], of a code that no table knows.
    Unrecognized(String),
    Null,
    /// The record has no such place.
    Missing,
    /// It does not fit the field, and why.
    Unfit(String),
}

/// Where in record and contract the tracing is.
#[derive(Clone, Default)]
struct Here {
    /// The slot's path, and how it is shown.
    slot: String,
    shown: String,
    at: String,
    slots: Vec<SlotId>,
    is_held: bool,
}

/// Every field that a mapping reads of a record, always in the same order. `reader`: whoever has these rights, of whom it is
/// told what departments withhold by code.
pub fn fields(
    contract: &Contract,
    mapping: &Mapping,
    record: JsonValue<'_>,
    reader: Option<&RowRights>,
) -> Vec<Traced> {
    let mut tracer = Tracer { contract, reader, found: Vec::new() };
    tracer.mapping(mapping, record, &Here::default(), None);
    tracer.found
}

struct Tracer<'a> {
    contract: &'a Contract,
    reader: Option<&'a RowRights>,
    found: Vec<Traced>,
}

impl Tracer<'_> {
    /// `of`: only what belongs to this type, where the value is of several.
    fn mapping(&mut self, mapping: &Mapping, record: JsonValue<'_>, here: &Here, of: Option<SlotId>) {
        let wanted = vec![true; mapping.terms.len()];
        let picked = pick(record, mapping, &wanted);
        for entry in &mapping.entries {
            let slot = self.contract.slot(entry.slot);
            let inside = |of: SlotId| slot.parent == Some(of) || self.contract.above(slot.id).any(|above| above == of);
            if of.is_some_and(|of| !inside(of)) {
                continue;
            }
            let path = shown(here, &slot.path);
            let pointer = |term: usize| mapping.terms.get(term).map(Pointer::to_string).unwrap_or_default();
            let at = |term: usize| format!("{}{}", here.at, pointer(term));
            let held = self.reader.and_then(|reader| reader.held.codes.get(&slot.id)).map_or(&[][..], Vec::as_slice);
            let whole = matches!(entry.read, Read::Scalar { .. }) && is_held(record, mapping, slot.id, held);
            let slots: Vec<SlotId> = here.slots.iter().copied().chain([slot.id]).collect();
            let next = |term: Option<usize>, shown: String| Here {
                slot: slot.path.to_string(),
                shown,
                at: term.map_or_else(|| here.at.clone(), at),
                slots: slots.clone(),
                is_held: here.is_held || whole,
            };
            match &entry.read {
                Read::Scalar { at: term, conversion } | Read::Reference { at: term, conversion } => {
                    let raw = picked.get(*term).map(JsonValue::raw);
                    let outcome = raw.map_or(Outcome::Missing, |raw| converted(raw, conversion));
                    self.add(&next(None, path), at(*term), raw, outcome);
                }
                Read::Scalars { over, conversion, split } => {
                    let list = of_list(*over, record, &picked);
                    let told =
                        list.map(|raws| raws.iter().flat_map(|raw| pieces(raw.raw(), split.as_deref())).collect());
                    let left = |raw: &str| is_value_held(raw, conversion, Some(mapping), held);
                    self.scalars(&next(over.term(), path), told, conversion, &left);
                }
                Read::References { over, conversion } => {
                    let list = of_list(*over, record, &picked);
                    let told =
                        list.map(|raws| raws.into_iter().map(|raw| std::borrow::Cow::Borrowed(raw.raw())).collect());
                    self.scalars(&next(over.term(), path), told, conversion, &|_| false);
                }
                Read::Object { at: term, inside, types } => match picked.get(*term) {
                    None => self.add(&next(None, path), at(*term), None, Outcome::Missing),
                    Some(raw) if raw.is_null() => self.add(&next(None, path), at(*term), Some("null"), Outcome::Null),
                    Some(raw) => self.element(inside, types.as_ref(), raw, &next(Some(*term), path)),
                },
                Read::Objects { over, inside, only, types } => {
                    let term = over.term();
                    match of_list(*over, record, &picked) {
                        None => self.add(&next(None, path), term.map(at).unwrap_or_default(), None, Outcome::Missing),
                        Some(all) => {
                            let all = all.into_iter().filter(|element| counts(*element, inside, only.as_ref()));
                            for (n, element) in all.take(ELEMENTS_MAX).enumerate() {
                                let mut inner = next(term, format!("{path}[{n}]"));
                                if term.is_some() {
                                    inner.at.push_str(&format!("/{n}"));
                                }
                                inner.is_held |= is_held(element, inside, slot.id, held);
                                self.element(inside, types.as_ref(), element, &inner);
                            }
                        }
                    }
                }
                Read::Constant(value) => {
                    self.add(&next(None, path), "const".to_owned(), None, Outcome::Value(value.to_string()));
                }
                Read::Instance(_) | Read::Outcome(_) => {}
            }
        }
    }

    fn element(&mut self, inside: &Mapping, types: Option<&Types>, element: JsonValue<'_>, here: &Here) {
        let Some(types) = types else { return self.mapping(inside, element, here, None) };
        let told = pick_one(element, inside, types.at).map(JsonValue::raw);
        let text = told.and_then(text_of);
        let of = text.and_then(|text| types.by_text.get(&*text).copied()).or(types.otherwise);
        match of {
            Some(of) => self.mapping(inside, element, here, Some(of)),
            None => {
                let why = "nothing says of which type it is".to_owned();
                self.add(here, here.at.clone(), told, Outcome::Unfit(why));
            }
        }
    }

    fn scalars(
        &mut self,
        here: &Here,
        raws: Option<Vec<std::borrow::Cow<'_, str>>>,
        conversion: &Conversion,
        is_held: &dyn Fn(&str) -> bool,
    ) {
        let Some(raws) = raws else { return self.add(here, here.at.clone(), None, Outcome::Missing) };
        for (n, raw) in raws.iter().take(ELEMENTS_MAX).enumerate() {
            let shown = format!("{}[{n}]", here.shown);
            let one = Here { shown, is_held: here.is_held || is_held(raw), ..here.clone() };
            self.add(&one, here.at.clone(), Some(raw), converted(raw, conversion));
        }
    }

    fn add(&mut self, here: &Here, at: String, raw: Option<&str>, outcome: Outcome) {
        let (path, slots, is_held) = (here.shown.clone(), here.slots.clone(), here.is_held);
        self.found.push(Traced { path, at, raw: raw.map(str::to_owned), outcome, slots, is_held });
    }
}

/// A slot's path below what is shown of the one above; of another entity: its own path behind that.
fn shown(here: &Here, path: &str) -> String {
    match path.strip_prefix(here.slot.as_str()) {
        Some(rest) if here.slot.is_empty() || rest.starts_with('.') => format!("{}{rest}", here.shown),
        _ => format!("{}.{path}", here.shown),
    }
}

fn of_list<'r>(over: Over, record: JsonValue<'r>, picked: &super::pick::Picked<'r>) -> Option<Vec<JsonValue<'r>>> {
    match over {
        Over::Records => Some(vec![record]),
        Over::Array(term) => Some(elements(picked.get(term)?)),
        Over::Instances => Some(Vec::new()),
    }
}

fn converted(raw: &str, conversion: &Conversion) -> Outcome {
    let mut out = Vec::new();
    let outcome = convert(raw, conversion, &mut out);
    let text = String::from_utf8_lossy(&out).into_owned();
    match outcome {
        Ok(Converted::Value) => Outcome::Value(text),
        Ok(Converted::Unrecognized) => Outcome::Unrecognized(text),
        Ok(Converted::Null) => Outcome::Null,
        Err(error) => Outcome::Unfit(error.reason.to_owned()),
    }
}

/// Members of a record that no field reads: where they are (`*` for each element of a list), and an example.
pub fn unread(mapping: &Mapping, record: &Value, known: &[&Pointer]) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut tries = vec![(mapping, &mapping.trie)];
    records_of(mapping, &mut tries);
    look(record, &tries, known, "", &mut found);
    found
}

/// Lists whose elements are the records themselves.
fn records_of<'m>(mapping: &'m Mapping, tries: &mut Vec<(&'m Mapping, &'m Trie)>) {
    for entry in &mapping.entries {
        if let Read::Objects { over: Over::Records, inside, .. } = &entry.read {
            tries.push((inside, &inside.trie));
            records_of(inside, tries);
        }
    }
}

fn look(value: &Value, tries: &[(&Mapping, &Trie)], known: &[&Pointer], at: &str, found: &mut Vec<(String, Value)>) {
    let mut here = tries.to_vec();
    let mut listed = Vec::new();
    for (mapping, trie) in tries {
        let Some(term) = trie.term else { continue };
        let mut whole = true;
        for entry in &mapping.entries {
            match &entry.read {
                Read::Object { at, inside, .. } if *at == term => {
                    here.push((inside, &inside.trie));
                    whole = false;
                }
                Read::Objects { over: Over::Array(at), inside, .. } if *at == term => {
                    listed.push((&**inside, &inside.trie));
                    whole = false;
                }
                _ => {}
            }
        }
        // A value that is read as it is; a type's name, or what is tested, is read too.
        if whole && !at.is_empty() {
            return;
        }
    }
    if known.iter().any(|pointer| !pointer.is_root() && pointer.to_string() == at) {
        return;
    }
    match value {
        Value::Array(all) if !listed.is_empty() => {
            all.iter().for_each(|element| look(element, &listed, known, &format!("{at}/*"), found));
        }
        Value::Object(members) if listed.is_empty() || members.is_empty() => {
            for (name, inside) in members {
                let below: Vec<_> =
                    here.iter().filter_map(|(mapping, trie)| Some((*mapping, trie.child(name.as_bytes())?))).collect();
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                let leads = known.iter().any(|pointer| pointer.to_string().starts_with(&at));
                if below.is_empty() && !leads {
                    if !found.iter().any(|(there, _)| *there == at) {
                        found.push((at, inside.clone()));
                    }
                } else {
                    look(inside, &below, known, &at, found);
                }
            }
        }
        Value::Object(_) => look(value, &listed, known, &format!("{at}/*"), found),
        _ => {}
    }
}
