//! The straight way of a field into the answer.
//!
//! Of entities that are alike, and of the elements of a list, most fields are decided alike: permitted in full, withheld in
//! nothing, read from one place of one record. That is decided once; of each of them only values are read and written.
//! Whatever is not so for one (no record, a failure, several records) goes the long way, which decides and tells everything.

use std::rc::Rc;

use smallvec::{SmallVec, smallvec};

use super::pick::pick_into;
use super::read::{Filling, RowView};
use super::write::{Inside, Writer};
use crate::base::code::ItemState;
use crate::base::json::JsonValue;
use crate::engine::convert::{Converted, convert_value};
use crate::engine::frame::RowAnswer;
use crate::engine::operation::{Selection, What};
use crate::engine::plan::{FetchId, embedded_mapping};
use crate::model::binding::EndpointId;
use crate::model::binding::conversion::Combine;
use crate::model::binding::mapping::{Mapping, Read};
use crate::model::contract::{Shape, Slot, SlotId};

/// Sets of fields that are remembered.
const KNOWN_MAX: usize = 64;

/// How each field of a set gets into the answer.
#[derive(Debug)]
pub(super) struct Straight {
    ways: Vec<Way>,
    /// Nearly always one.
    records: SmallVec<[Sought; 1]>,
    /// How many values there are, of all records.
    values: usize,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Long,
    /// The entity's own key.
    Key(SlotId),
    /// The value at a place.
    Value {
        slot: SlotId,
        /// Of its record, among the records.
        record: usize,
        /// Of its entry, in the record's mapping.
        entry: usize,
        /// Its own, among the values of all records.
        value: usize,
    },
}

/// Where a record is, and what is sought in it.
#[derive(Debug)]
struct Sought {
    record: Record,
    /// By term of its mapping: where its value goes.
    places: Vec<Option<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    /// The element itself.
    Element,
    /// The record that named the entity.
    Embedded,
    Answer(FetchId, EndpointId),
}

/// The sets of fields that were met, each with whose they are. What is known by its address lives as long as the answer
/// is written: plans, mappings, what may be had of entities. Of selections that is not so sure: each way names its field.
#[derive(Default)]
pub(super) struct Known {
    sets: Vec<Met>,
}

struct Met {
    set: Set,
    /// None: all of its fields go the long way.
    straight: Option<Rc<Straight>>,
    /// More than once.
    again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set {
    /// The node of the entity, or the mapping of the elements.
    of: usize,
    rights: usize,
    selections: usize,
}

/// A set's ways, with the values of one entity or element.
pub(super) struct Values<'i> {
    straight: Rc<Straight>,
    /// By record, once it is read.
    records: SmallVec<[Looked<'i>; 4]>,
    values: SmallVec<[Option<JsonValue<'i>>; 16]>,
}

#[derive(Clone, Copy)]
enum Looked<'i> {
    NotYet,
    /// There is not one record with members. What there is, the long way says.
    None,
    /// By this mapping.
    Found(&'i Mapping),
}

fn address<T: ?Sized>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}

impl Writer<'_> {
    /// The fields' ways, where any of them is straight. It pays for a set that is written once, too: to decide on a field
    /// takes less than the long way, which decides the same.
    pub(super) fn straight<'i, 'v: 'i>(
        &mut self,
        inside: &Inside<'i, 'v>,
        selections: &[Selection],
    ) -> Option<Values<'i>> {
        let view = inside.view();
        let is_plain = match inside {
            Inside::Row(view) => {
                view.row.subjects.is_empty()
                    && view.row.over_quota.is_empty()
                    && std::ptr::eq(view.rights, &raw const *view.row.rights)
            }
            Inside::Element { raw, told, .. } => raw.is_object() && told.part.is_none() && told.remarks.is_empty(),
        };
        if !is_plain || !self.is_caller() {
            return None;
        }
        let of = match inside {
            Inside::Row(view) => address(view.node),
            Inside::Element { mapping, .. } => address(*mapping),
        };
        let set = Set { of, rights: address(view.rights), selections: selections.as_ptr().addr() };
        let straight = match self.known.sets.iter_mut().find(|met| met.set == set) {
            Some(met) => {
                met.again = true;
                met.straight.clone()
            }
            None => {
                let place = self.known.place()?;
                let straight = self.ways(inside, selections).map(Rc::new);
                let met = Met { set, straight: straight.clone(), again: false };
                match self.known.sets.get_mut(place) {
                    Some(known) => *known = met,
                    None => self.known.sets.push(met),
                }
                straight
            }
        }?;
        let records = smallvec![Looked::NotYet; straight.records.len()];
        let values = smallvec![None; straight.values];
        Some(Values { straight, records, values })
    }

    fn ways(&self, inside: &Inside<'_, '_>, selections: &[Selection]) -> Option<Straight> {
        let ways = Vec::with_capacity(selections.len());
        let mut straight = Straight { ways, records: SmallVec::new(), values: 0 };
        for selection in selections {
            let way = match &selection.what {
                What::Slot(id) => self.way(inside, self.snapshot.contract.slot(*id), &mut straight),
                _ => Way::Long,
            };
            straight.ways.push(way);
        }
        straight.ways.iter().any(|way| !matches!(way, Way::Long)).then_some(straight)
    }

    fn way(&self, inside: &Inside<'_, '_>, slot: &Slot, straight: &mut Straight) -> Way {
        let view = inside.view();
        let is_whole = || {
            self.permitted(view, slot.id)
                && !view.rights.masks.contains_key(&slot.id)
                && self.held(view, slot.id).is_empty()
        };
        if !matches!(slot.shape, Shape::Leaf(_)) || !is_whole() {
            return Way::Long;
        }
        let (record, mapping) = match inside {
            Inside::Element { mapping, .. } => (Record::Element, *mapping),
            Inside::Row(view) => match view.filling(slot.id) {
                Filling::Key => return Way::Key(slot.id),
                Filling::Embedded(mapping, _, _) => (Record::Embedded, mapping),
                // Several records' values are put together, and a sum is written as sums are.
                Filling::Answer(fetched) if fetched.entry.absent.is_none() && fetched.entry.combine != Combine::Sum => {
                    let Some(fetch) = fetched.fetch else { return Way::Long };
                    (Record::Answer(fetch, fetched.endpoint.id), &fetched.endpoint.mapping)
                }
                _ => return Way::Long,
            },
        };
        let Some(entry) = mapping.place(slot.id) else { return Way::Long };
        let Some(Read::Scalar { at, .. }) = mapping.entries.get(entry).map(|entry| &entry.read) else {
            return Way::Long;
        };
        let known = straight.records.iter().position(|sought| sought.record == record);
        let record = known.unwrap_or_else(|| {
            straight.records.push(Sought { record, places: vec![None; mapping.terms.len()] });
            straight.records.len() - 1
        });
        let place = straight.records.get_mut(record).and_then(|sought| sought.places.get_mut(*at));
        let Some(place) = place else { return Way::Long };
        let value = *place.get_or_insert_with(|| {
            straight.values += 1;
            straight.values - 1
        });
        Way::Value { slot: slot.id, record, entry, value }
    }

    /// Writes a field that goes the straight way here, and says what came of it; none: it does not, and nothing is written.
    pub(super) fn straightly<'i, 'v: 'i>(
        &mut self,
        values: &mut Values<'i>,
        at: usize,
        selection: &Selection,
        inside: &Inside<'i, 'v>,
    ) -> Option<ItemState> {
        let What::Slot(selected) = &selection.what else { return None };
        match values.straight.ways.get(at)? {
            Way::Key(slot) if slot == selected => {
                Some(self.key(inside.view(), self.snapshot.contract.slot(*slot)).state)
            }
            Way::Value { slot, record, entry, value } if slot == selected => {
                let looked = values.records.get_mut(*record)?;
                if let Looked::NotYet = looked {
                    *looked = values.straight.records.get(*record)?.look(inside, &mut values.values);
                }
                let Looked::Found(mapping) = looked else { return None };
                let entry = mapping.entries.get(*entry).filter(|entry| entry.slot == *slot)?;
                let Read::Scalar { conversion, .. } = &entry.read else { return None };
                let Some(value) = values.values.get(*value).copied().flatten() else {
                    if entry.required {
                        return None;
                    }
                    self.null();
                    return Some(ItemState::NoRecord);
                };
                let start = self.out.len();
                match convert_value(value, conversion, &mut self.out) {
                    Ok(Converted::Null) => Some(ItemState::NoRecord),
                    Ok(Converted::Value | Converted::Unrecognized) if self.out.get(start..) != Some(b"null") => {
                        Some(ItemState::Answered)
                    }
                    _ => {
                        self.out.truncate(start);
                        None
                    }
                }
            }
            _ => None,
        }
    }
}

impl Known {
    /// Where one more is kept: where there are too many, in the place of one that was met once, and else nowhere.
    fn place(&self) -> Option<usize> {
        if self.sets.len() < KNOWN_MAX {
            Some(self.sets.len())
        } else {
            self.sets.iter().position(|known| !known.again)
        }
    }
}

impl Sought {
    /// Reads the record and puts what is sought in it in its place.
    fn look<'i, 'v: 'i>(&self, inside: &Inside<'i, 'v>, values: &mut [Option<JsonValue<'i>>]) -> Looked<'i> {
        let found = match (self.record, inside) {
            (Record::Element, Inside::Element { raw, mapping, .. }) => Some((*mapping, *raw)),
            (Record::Embedded, Inside::Row(view)) => {
                embedded_mapping(view.snapshot, &view.plan.nodes, &view.node.origin)
                    .and_then(|(mapping, _)| Some((mapping, view.row.embedded.as_ref()?.value())))
            }
            (Record::Answer(fetch, endpoint), Inside::Row(view)) => answered(view, fetch, endpoint),
            _ => None,
        };
        let Some((mapping, record)) = found.filter(|(_, record)| record.is_object()) else { return Looked::None };
        pick_into(record, &mapping.trie, &|term| self.places.get(term).copied().flatten(), values);
        Looked::Found(mapping)
    }
}

/// The one record that a fetch brought of the entity.
fn answered<'v>(view: &RowView<'v>, fetch: FetchId, endpoint: EndpointId) -> Option<(&'v Mapping, JsonValue<'v>)> {
    let RowAnswer::Parts(parts) = view.answers.get(fetch).copied().flatten()?.get(view.at)? else { return None };
    let [part] = &**parts else { return None };
    let Ok([record]) = part.outcome.as_deref() else { return None };
    let mapping = &view.snapshot.bindings.endpoint(endpoint).mapping;
    part.remarks.is_empty().then(|| (mapping, record.value()))
}
