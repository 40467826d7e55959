//! What a fetch answered for one entity, its records gone through once for everything that is wanted of them.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use super::element::{NotSo, Told, object_at};
use super::errors::Cause;
use super::held::is_held;
use super::list;
use super::pick::{Picked, pick, text_of};
use super::read::RowView;
use super::typed::Typed;
use super::write::{Mode, Writer, Written};
use crate::base::code::{ErrorCode, ItemState};
use crate::base::json::{Held, JsonValue};
use crate::engine::convert::combine::combine;
use crate::engine::convert::{Converted, convert_value};
use crate::engine::frame::{Failure, Part, Remark, Row, RowAnswer};
use crate::engine::operation::Selection;
use crate::engine::plan::FetchId;
use crate::model::access::RowRights;
use crate::model::access::hand::Clause;
use crate::model::binding::conversion::{Combine, Conversion};
use crate::model::binding::mapping::{Entry, Mapping, Over, Read};
use crate::model::binding::{Endpoint, SourceId};
use crate::model::contract::Slot;

/// A slot's reading, and the answer it is read from.
#[derive(Clone, Copy)]
pub struct Fetched<'a> {
    /// `None`: the plan has no such fetch.
    pub fetch: Option<FetchId>,
    pub answer: &'a RowAnswer,
    pub endpoint: &'a Endpoint,
    pub entry: &'a Entry,
}

/// One part's records with their wanted values.
pub struct PickedPart<'a> {
    pub part: &'a Part,
    /// A record that is not JSON spoils its part.
    pub records: Result<Vec<(JsonValue<'a>, Picked<'a>)>, Failure>,
}

/// The picked records of each fetch of one entity, made when they are first read.
#[derive(Default)]
pub struct Picks<'a> {
    by_fetch: OnceCell<Vec<OnceCell<Rc<[PickedPart<'a>]>>>>,
    fetches: usize,
}

impl<'a> Picks<'a> {
    pub fn new(fetches: usize) -> Self {
        Self { by_fetch: OnceCell::new(), fetches }
    }

    fn of(&self, fetch: FetchId, make: impl FnOnce() -> Rc<[PickedPart<'a>]>) -> Rc<[PickedPart<'a>]> {
        // Many entities are only asked for, and not read.
        let by_fetch = self.by_fetch.get_or_init(|| (0..self.fetches).map(|_| OnceCell::new()).collect());
        match by_fetch.get(fetch) {
            Some(cell) => Rc::clone(cell.get_or_init(make)),
            None => make(),
        }
    }
}

/// Which terms of a mapping are wanted.
type Terms = Rc<[bool]>;

/// The terms that are wanted of each fetch of the rows of one frame: the same for rows that are alike.
#[derive(Default)]
pub struct Wanted<'a> {
    by_fetch: RefCell<Vec<Option<(&'a Row, Terms)>>>,
}

impl<'a> Wanted<'a> {
    fn of(&self, fetch: FetchId, row: &'a Row, make: impl FnOnce() -> Terms) -> Terms {
        let mut all = self.by_fetch.borrow_mut();
        if let Some((_, known)) = all.get(fetch).and_then(Option::as_ref).filter(|(before, _)| before.is_like(row)) {
            return Rc::clone(known);
        }
        let made = make();
        if all.len() <= fetch {
            all.resize(fetch + 1, None);
        }
        if let Some(place) = all.get_mut(fetch) {
            *place = Some((row, Rc::clone(&made)));
        }
        made
    }
}

impl<'a> Fetched<'a> {
    /// The parts of the answer, or why there are none. "Nothing to ask with" is no parts.
    pub fn parts(&self) -> Result<&'a [Part], Failure> {
        let source = self.endpoint.source;
        match self.answer {
            RowAnswer::Parts(parts) => Ok(parts),
            RowAnswer::NoKey => Ok(&[]),
            RowAnswer::Missing(failure) => Err(*failure),
            RowAnswer::NotAsked => {
                Err(Failure { state: ItemState::Undetermined, code: ErrorCode::InputMissing, source: Some(source) })
            }
        }
    }

    /// The records with everything picked that the plan wants of them and this entity's relations give.
    pub fn picked(&self, view: &RowView<'a>) -> Result<Rc<[PickedPart<'a>]>, Failure> {
        let parts = self.parts()?;
        let Some(id) = self.fetch else { return Ok(Rc::from([])) };
        let Some(fetch) = view.node.fetches.get(id) else { return Ok(Rc::from([])) };
        let mapping = &self.endpoint.mapping;
        Ok(view.picks.of(id, || {
            let row = view.row;
            let terms = || {
                let mut wanted = mapping.wanted_terms(|slot| {
                    fetch.hidden.contains(slot)
                        || (fetch.shown.contains(slot)
                            && (row.rights.slots.contains(slot) || row.in_part(slot).is_some()))
                });
                let dated = self.endpoint.valid_on.as_ref().filter(|_| view.node.tells_days());
                if let Some(term) = dated.and_then(|dated| wanted.get_mut(dated.at)) {
                    *term = true;
                }
                wanted.into()
            };
            let wanted = view.wanted.map_or_else(terms, |known| known.of(id, row, terms));
            parts.iter().map(|part| self.pick_part(part, mapping, &wanted)).collect()
        }))
    }

    /// The day the records are of, where they say it; the latest of several.
    pub fn valid_on(&self, view: &RowView<'a>) -> Option<String> {
        let dated = self.endpoint.valid_on.as_ref()?;
        let day = |picked: &Picked<'a>| {
            let mut json = Vec::new();
            convert_value(picked.get(dated.at)?, &dated.conversion, &mut json).ok()?;
            text_of(std::str::from_utf8(&json).ok()?).map(Cow::into_owned)
        };
        let parts = self.picked(view).ok()?;
        let slot = self.entry.slot;
        // Where only what is told of some is shown, so is its day.
        let of = |key: Option<&std::sync::Arc<str>>| match view.row.in_part(slot) {
            Some(subjects) => key
                .and_then(|key| subjects.rights.get(key))
                .filter(|rights| rights.slots.contains(slot))
                .map(|rights| &**rights),
            None => Some(view.rights),
        };
        let kept = |rights: &'a RowRights| rights.held.codes.get(&slot).map_or(&[][..], Vec::as_slice);
        let told = match &self.entry.read {
            Read::Objects { over: Over::Records, inside, .. } => Some(&**inside),
            // What is left out of a list inside a record leaves the record there, and its day.
            Read::Objects { .. } | Read::Scalars { over: Over::Array(_), .. } => None,
            _ => Some(&self.endpoint.mapping),
        };
        let mut latest = None;
        for part in parts.iter() {
            for (at, (record, picked)) in part.records.iter().flatten().enumerate() {
                let is_held =
                    |rights: &'a RowRights| told.is_some_and(|told| is_held(*record, told, slot, kept(rights)));
                let shown = of(part.part.keys.get(at)).is_some_and(|rights| !is_held(rights));
                latest = if shown { latest.max(day(picked)) } else { latest };
            }
        }
        latest
    }

    fn pick_part(&self, part: &'a Part, mapping: &Mapping, wanted: &[bool]) -> PickedPart<'a> {
        let bad = Failure::unavailable(ErrorCode::SourceBadAnswer, self.endpoint.source);
        let reads_inside = mapping.reads_inside(wanted);
        let records = part.outcome.as_ref().map_err(|failure| *failure).and_then(|records| {
            let pick_one = |record: &'a Held| {
                let record = record.value();
                // A number has no members: that is nonsense, not a record without values. `""` is XML's empty record.
                if reads_inside && !record.is_object() && !record.is_list() && record.raw() != "\"\"" {
                    return Err(bad);
                }
                Ok((record, pick(record, mapping, wanted)))
            };
            records.iter().map(pick_one).collect()
        });
        PickedPart { part, records }
    }
}

impl Writer<'_> {
    /// A slot of a fetch's answer.
    pub(super) fn fetched<'v>(
        &mut self,
        view: &RowView<'v>,
        slot: &Slot,
        fetched: &Fetched<'v>,
        selection: &Selection,
    ) -> Written {
        let entry = fetched.entry;
        if let Some(failure) = self.over_quota(view, fetched.endpoint.source) {
            return self.failed(failure);
        }
        // What a department was not asked for want of a key, rules do not take for its "nothing".
        if matches!((self.mode, fetched.answer), (Mode::Rules(_), RowAnswer::NoKey)) {
            return self.failed(Failure::undetermined(ErrorCode::InputMissing, fetched.endpoint.source));
        }
        let parts = match fetched.picked(view) {
            Ok(parts) => parts,
            Err(failure) => return self.failed(failure),
        };
        match &entry.read {
            Read::Scalar { at, conversion } => {
                self.combined(fetched, &parts, (*at, conversion), self.held(view, slot.id))
            }
            Read::Constant(value) => self.constant(&parts, value),
            Read::Object { at, inside, types: None } => {
                self.first_object(view, fetched, &parts, *at, inside, selection)
            }
            Read::Object { at, inside, types: Some(types) } => {
                let remarks = remarks_inside(fetched, &parts, Some(*at));
                let told = Told { source: fetched.endpoint.source, part: None, remarks: &remarks };
                match first_at(fetched, &parts, *at) {
                    Ok(raw) => self.typed(view, slot, raw, &Typed { inside, types, told }, selection),
                    Err(failure) => self.failed(failure),
                }
            }
            Read::Scalars { over, conversion, split } => {
                let mapping = &fetched.endpoint.mapping;
                let masked = over.term().is_some_and(|at| masked_at(fetched, &parts, at));
                let reading = list::Values { conversion, split: split.as_deref(), mapping, masked };
                list::scalars(self, fetched, &parts, *over, reading, self.held(view, slot.id))
            }
            Read::Objects { over, inside, only, types } => {
                let reading = list::Reading { over: *over, inside, only: only.as_ref(), types: types.as_ref() };
                list::objects(self, view, slot, fetched, &parts, reading, selection)
            }
            _ => {
                self.null();
                Written::no_record()
            }
        }
    }

    /// Why nothing of a source is shown of an entity, where the caller's roles have had as much of it as they may.
    pub(super) fn over_quota(&self, view: &RowView<'_>, source: SourceId) -> Option<Failure> {
        let over = !matches!(self.mode, Mode::Gateway) && view.row.over_quota.contains(&source);
        over.then(|| Failure::over_quota(source))
    }

    /// Null, and noted where it stands: an object above is told by its parts.
    pub(super) fn failed(&mut self, failure: Failure) -> Written {
        self.journal.note(Cause::Failed(failure));
        self.null();
        Written::failed(failure)
    }

    /// One value of the records of all keys and instances.
    fn combined(
        &mut self,
        fetched: &Fetched<'_>,
        parts: &[PickedPart<'_>],
        (at, conversion): (usize, &Conversion),
        held: &[Clause],
    ) -> Written {
        let entry = fetched.entry;
        let bad = |code| Failure::unavailable(code, fetched.endpoint.source);
        let masked = masked_at(fetched, parts, at);
        // Of one record there is nothing to combine; a sum is written as sums are.
        if let ([part], None, true) = (parts, &entry.absent, entry.combine != Combine::Sum)
            && let Ok([(record, picked)]) = part.records.as_deref()
            && let Some(raw) = picked.get(at).filter(|_| !masked && part.part.remarks.is_empty())
            && !is_held(*record, &fetched.endpoint.mapping, entry.slot, held)
        {
            return match convert_value(raw, conversion, &mut self.out) {
                Ok(Converted::Null) => Written::no_record(),
                Ok(_) => Written::answered(),
                Err(_) => self.failed(bad(ErrorCode::ValueInvalid)),
            };
        }
        let mut values: Vec<Vec<u8>> = Vec::new();
        let mut silent = None;
        for part in parts {
            let records = match &part.records {
                Ok(records) => records,
                Err(failure) => {
                    silent = silent.or(Some(*failure));
                    continue;
                }
            };
            if let Some(absent) = &entry.absent {
                values.extend(std::iter::repeat_n(absent.as_bytes().to_vec(), part.part.absent));
            }
            for (record, picked) in records {
                if is_held(*record, &fetched.endpoint.mapping, entry.slot, held) {
                    continue;
                }
                let Some(raw) = picked.get(at) else {
                    if entry.required {
                        return self.failed(bad(ErrorCode::SourceBadAnswer));
                    }
                    continue;
                };
                if masked {
                    return self.masked_below(raw.raw(), conversion, fetched.endpoint.source);
                }
                let mut value = Vec::new();
                if convert_value(raw, conversion, &mut value).is_err() {
                    return self.failed(bad(ErrorCode::ValueInvalid));
                }
                values.push(value);
            }
        }
        let texts = values.iter().filter_map(|value| std::str::from_utf8(value).ok()).filter(|value| *value != "null");
        let texts: Vec<&str> = texts.collect();
        if let Some(failure) = silent.filter(|_| !settled(entry.combine, &texts)) {
            return self.failed(failure);
        }
        if let Some(failure) = silent_at(fetched, parts, at).filter(|_| texts.is_empty()) {
            return self.failed(failure);
        }
        if texts.is_empty() {
            self.null();
            return Written::no_record();
        }
        match combine(texts, entry.combine, conversion.kind(), &mut self.out) {
            Ok(()) => Written::answered(),
            Err(_) => self.failed(bad(ErrorCode::ValueInvalid)),
        }
    }

    /// What the binding says of every record: nothing where there is none.
    fn constant(&mut self, parts: &[PickedPart<'_>], value: &str) -> Written {
        let mut silent = None;
        for part in parts {
            match &part.records {
                Ok(records) if !records.is_empty() => {
                    self.out.extend_from_slice(value.as_bytes());
                    return Written::answered();
                }
                Ok(_) => {}
                Err(failure) => silent = silent.or(Some(*failure)),
            }
        }
        if let Some(failure) = silent {
            return self.failed(failure);
        }
        self.null();
        Written::no_record()
    }

    /// An object with a place of its own: of the first record that has it. Where the record itself is the object, one
    /// without a single value (a row whose columns for it are empty) is none.
    fn first_object(
        &mut self,
        view: &RowView<'_>,
        fetched: &Fetched<'_>,
        parts: &[PickedPart<'_>],
        at: usize,
        inside: &Mapping,
        selection: &Selection,
    ) -> Written {
        let remarks = remarks_inside(fetched, parts, Some(at));
        let told = Told { source: fetched.endpoint.source, part: None, remarks: &remarks };
        let is_record = fetched.endpoint.mapping.terms.get(at).is_some_and(|at| at.segments().is_empty());
        for part in parts {
            let records = match &part.records {
                Ok(records) => records,
                Err(failure) => return self.failed(*failure),
            };
            for (_, picked) in records {
                match object_at(picked, at, fetched.entry.required) {
                    Ok(Some(raw)) if is_record => {
                        let start = self.out.len();
                        match self.element_fields(view, raw, inside, told, &selection.children) {
                            Ok(written) if written.state == ItemState::NoRecord => self.out.truncate(start),
                            Ok(written) => return Written { state: ItemState::Answered, failure: None, ..written },
                            Err(failure) => return self.failed(failure),
                        }
                    }
                    Ok(Some(raw)) => return self.element(view, raw, inside, told, &selection.children),
                    Ok(None) => {}
                    Err(NotSo) => return self.failed(told.bad(ErrorCode::SourceBadAnswer)),
                }
            }
        }
        if let Some(failure) = silent_at(fetched, parts, at) {
            return self.failed(failure);
        }
        self.null();
        Written::no_record()
    }
}

/// Why the source did not give what stands at a place of its records.
pub(super) fn silent_at(fetched: &Fetched<'_>, parts: &[PickedPart<'_>], at: usize) -> Option<Failure> {
    let place = fetched.endpoint.mapping.terms.get(at)?.segments();
    parts.iter().find_map(|part| Remark::failure(&part.part.remarks, place))
}

/// Whether the source shows only a part of what stands at a place of its records.
pub(super) fn masked_at(fetched: &Fetched<'_>, parts: &[PickedPart<'_>], at: usize) -> bool {
    let Some(place) = fetched.endpoint.mapping.terms.get(at).map(|term| term.segments()) else { return false };
    parts.iter().any(|part| Remark::is_masked(&part.part.remarks, place))
}

/// What the source says of what is inside such a place.
pub(super) fn remarks_inside(fetched: &Fetched<'_>, parts: &[PickedPart<'_>], at: Option<usize>) -> Vec<Remark> {
    let terms = &fetched.endpoint.mapping.terms;
    let place = at.and_then(|at| terms.get(at)).map_or(&[][..], |term| term.segments());
    parts.iter().flat_map(|part| Remark::inside(&part.part.remarks, place)).collect()
}

/// The first object at a place of the records.
fn first_at<'p>(
    fetched: &Fetched<'_>,
    parts: &'p [PickedPart<'_>],
    at: usize,
) -> Result<Option<JsonValue<'p>>, Failure> {
    for part in parts {
        for (_, picked) in part.records.as_ref().map_err(|failure| *failure)? {
            let bad = |NotSo| Failure::unavailable(ErrorCode::SourceBadAnswer, fetched.endpoint.source);
            if let Some(raw) = object_at(picked, at, fetched.entry.required).map_err(bad)? {
                return Ok(Some(raw));
            }
        }
    }
    Ok(None)
}

/// With some instances silent, only an answer that no further one could change stands.
fn settled(how: Combine, texts: &[&str]) -> bool {
    match how {
        Combine::Any => texts.contains(&"true"),
        Combine::All => texts.contains(&"false"),
        Combine::First => !texts.is_empty(),
        Combine::Sum | Combine::Max | Combine::Min => false,
    }
}
