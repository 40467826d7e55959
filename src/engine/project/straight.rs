//! The straight way of a field into the answer.
//!
//! Of entities that are alike, and of the elements of a list, most fields are decided alike: permitted in full, withheld in
//! nothing, read from one place of one record. That is decided once; of each of them only values are read and written.
//! Whatever is not so for one (no value, a failure, several records) goes the long way, which decides and tells everything.

use std::cell::OnceCell;
use std::rc::Rc;

use super::fetched::{Fetched, PickedPart};
use super::pick::{Picked, pick};
use super::read::{Filling, RowView};
use super::write::{Inside, Writer, Written};
use crate::base::json::JsonValue;
use crate::engine::convert::{Converted, convert};
use crate::engine::operation::{Selection, What};
use crate::engine::plan::{FetchId, embedded_mapping};
use crate::model::binding::EndpointId;
use crate::model::binding::conversion::Combine;
use crate::model::binding::mapping::{Mapping, Read, Term};
use crate::model::contract::{Shape, Slot, SlotId};

/// Sets of fields that are remembered.
const KNOWN_MAX: usize = 64;

/// How each field of a set gets into the answer.
#[derive(Debug)]
pub(super) struct Straight {
    ways: Vec<Way>,
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Long,
    /// The entity's own key.
    Key(SlotId),
    /// A value of the record at a place.
    Value {
        slot: SlotId,
        place: usize,
        at: Term,
    },
}

/// Where a record is, and what is wanted of it.
#[derive(Debug)]
struct Place {
    record: Record,
    wanted: Vec<bool>,
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
    sets: Vec<(Set, Option<Rc<Straight>>)>,
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
    /// By place, once it is read; none: there is not one record there.
    found: Vec<OnceCell<Option<Found<'i>>>>,
}

/// One record's values.
struct Found<'i> {
    mapping: &'i Mapping,
    values: Picks<'i>,
}

enum Picks<'i> {
    Own(Picked<'i>),
    /// With all that is wanted of the entity's answer: of its one record.
    Shared(Rc<[PickedPart<'i>]>),
}

fn address<T: ?Sized>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}

impl Writer<'_> {
    /// The fields' ways, from the second time on that such fields are written: most sets are written once.
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
        let Some(at) = self.known.sets.iter().position(|(known, _)| *known == set) else {
            self.known.add(set);
            return None;
        };
        let known = self.known.sets.get(at).and_then(|(_, straight)| straight.clone());
        let straight = known.unwrap_or_else(|| {
            let made = Rc::new(self.ways(inside, selections));
            if let Some((_, straight)) = self.known.sets.get_mut(at) {
                *straight = Some(Rc::clone(&made));
            }
            made
        });
        let found = straight.places.iter().map(|_| OnceCell::new()).collect();
        Some(Values { straight, found })
    }

    fn ways(&self, inside: &Inside<'_, '_>, selections: &[Selection]) -> Straight {
        let mut places = Vec::new();
        let ways = selections.iter().map(|selection| match &selection.what {
            What::Slot(id) => self.way(inside, self.snapshot.contract.slot(*id), &mut places),
            _ => Way::Long,
        });
        Straight { ways: ways.collect(), places }
    }

    fn way(&self, inside: &Inside<'_, '_>, slot: &Slot, places: &mut Vec<Place>) -> Way {
        let view = inside.view();
        let is_whole = self.permitted(view, slot.id)
            && !view.rights.masks.contains_key(&slot.id)
            && self.held(view, slot.id).is_empty();
        if !is_whole || !matches!(slot.shape, Shape::Leaf(_)) {
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
        let Some(Read::Scalar { at, .. }) = mapping.entry(slot.id).map(|entry| &entry.read) else { return Way::Long };
        let known = places.iter().position(|place| place.record == record);
        let place = known.unwrap_or_else(|| {
            places.push(Place { record, wanted: vec![false; mapping.terms.len()] });
            places.len() - 1
        });
        if let Some(wanted) = places.get_mut(place).and_then(|place| place.wanted.get_mut(*at)) {
            *wanted = true;
        }
        Way::Value { slot: slot.id, place, at: *at }
    }

    /// Writes a field that goes the straight way here; none: it does not, and nothing is written.
    pub(super) fn straightly<'i, 'v: 'i>(
        &mut self,
        values: &Values<'i>,
        at: usize,
        selection: &Selection,
        inside: &Inside<'i, 'v>,
    ) -> Option<Written> {
        let What::Slot(selected) = &selection.what else { return None };
        match values.straight.ways.get(at)? {
            Way::Key(slot) if slot == selected => Some(self.key(inside.view(), self.snapshot.contract.slot(*slot))),
            Way::Value { slot, place, at } if slot == selected => {
                let found = values.found.get(*place)?;
                let found = found.get_or_init(|| values.straight.places.get(*place)?.found(inside)).as_ref()?;
                let Read::Scalar { conversion, .. } = &found.mapping.entry(*slot)?.read else { return None };
                let value = found.value(*at)?;
                let start = self.out.len();
                match convert(value.raw(), conversion, &mut self.out) {
                    Ok(Converted::Value | Converted::Unrecognized) if self.out.get(start..) != Some(b"null") => {
                        Some(Written::answered())
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
    /// Where there are too many, in the place of one that was met once.
    fn add(&mut self, set: Set) {
        if self.sets.len() < KNOWN_MAX {
            return self.sets.push((set, None));
        }
        if let Some(place) = self.sets.iter_mut().find(|(_, straight)| straight.is_none()) {
            *place = (set, None);
        }
    }
}

impl<'i> Found<'i> {
    fn value(&self, at: Term) -> Option<JsonValue<'i>> {
        match &self.values {
            Picks::Own(picked) => picked.get(at),
            Picks::Shared(parts) => {
                let [PickedPart { records: Ok(records), .. }] = &**parts else { return None };
                records.first().and_then(|(_, picked)| picked.get(at))
            }
        }
    }
}

impl Place {
    /// None: there is not one record, or it has no members. What that is the long way says.
    fn found<'i, 'v: 'i>(&self, inside: &Inside<'i, 'v>) -> Option<Found<'i>> {
        let (mapping, record) = match (self.record, inside) {
            (Record::Element, Inside::Element { raw, mapping, .. }) => (*mapping, *raw),
            (Record::Embedded, Inside::Row(view)) => {
                let (mapping, _) = embedded_mapping(view.snapshot, &view.plan.nodes, &view.node.origin)?;
                (mapping, view.row.embedded.as_ref()?.value())
            }
            (Record::Answer(fetch, endpoint), Inside::Row(view)) => return answered(view, fetch, endpoint),
            _ => return None,
        };
        let own = || Found { mapping, values: Picks::Own(pick(record, mapping, &self.wanted)) };
        record.is_object().then(own)
    }
}

/// The one record that a fetch brought of the entity, with what is picked of it for all its fields.
fn answered<'v>(view: &RowView<'v>, fetch: FetchId, endpoint: EndpointId) -> Option<Found<'v>> {
    let answer = view.answers.get(fetch).copied().flatten()?.get(view.at)?;
    let endpoint = view.snapshot.bindings.endpoint(endpoint);
    let entry = endpoint.mapping.entries.first()?;
    let parts = Fetched { fetch: Some(fetch), answer, endpoint, entry }.picked(view).ok()?;
    let [PickedPart { part, records: Ok(records) }] = &*parts else { return None };
    let [(record, _)] = records.as_slice() else { return None };
    let is_plain = part.remarks.is_empty() && record.is_object();
    is_plain.then(|| Found { mapping: &endpoint.mapping, values: Picks::Shared(Rc::clone(&parts)) })
}
