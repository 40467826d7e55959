//! How the fields of an entity, object or list element are read from one JSON record.

use std::collections::HashMap;
use std::sync::Arc;

use super::conversion::{Combine, Conversion};
use crate::base::json::Names;
use crate::base::pointer::Pointer;
use crate::model::contract::SlotId;

/// A term of a [`Mapping`]: one pointer whose value is wanted.
pub type Term = usize;

/// What is read from a record, compiled: entries by slot, and a trie of all their pointers, so that a record is gone
/// through once.
#[derive(Debug, Default)]
pub struct Mapping {
    pub entries: Vec<Entry>,
    pub trie: Trie,
    /// The pointers of the terms.
    pub terms: Vec<Pointer>,
    /// Terms whose values are encrypted, and the names of their ciphers.
    pub encrypted: Vec<(Term, Arc<str>)>,
    /// It reads the entities of a list, whose fields are selected, permitted and read apart from the list itself.
    pub of_entities: bool,
    /// Places of entries, in the order of their slots.
    by_slot: Vec<(SlotId, usize)>,
}

/// One slot's reading.
#[derive(Debug)]
pub struct Entry {
    pub slot: SlotId,
    pub read: Read,
    pub combine: Combine,
    /// What a key without a record counts as, as the contract's JSON.
    pub absent: Option<Arc<str>>,
    /// A missing value is the source's error, not null.
    pub required: bool,
}

#[derive(Debug)]
pub enum Read {
    Scalar {
        at: Term,
        conversion: Conversion,
    },
    /// A list of scalars; `split`: from one text.
    Scalars {
        over: Over,
        conversion: Conversion,
        split: Option<String>,
    },
    /// An object with a place of its own: null where that place is empty.
    Object {
        at: Term,
        inside: Box<Mapping>,
        types: Option<Types>,
    },
    /// A list of value objects, or of entities that the record describes.
    Objects {
        over: Over,
        inside: Box<Mapping>,
        only: Option<Test>,
        types: Option<Types>,
    },
    /// An entity by its key.
    Reference {
        at: Term,
        conversion: Conversion,
    },
    /// Entities by their keys.
    References {
        over: Over,
        conversion: Conversion,
    },
    /// The contract's JSON, as it stands.
    Constant(Arc<str>),
    /// A column of the instance list.
    Instance(Arc<str>),
    Outcome(Outcome),
}

impl Read {
    /// The one place it is read from.
    pub fn term(&self) -> Option<Term> {
        match self {
            Self::Scalar { at, .. } | Self::Object { at, .. } | Self::Reference { at, .. } => Some(*at),
            Self::Scalars { over, .. } | Self::Objects { over, .. } | Self::References { over, .. } => over.term(),
            Self::Constant(_) | Self::Instance(_) | Self::Outcome(_) => None,
        }
    }
}

/// What the elements of a list are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Each record of the entity's keys.
    Records,
    /// Each instance of the source.
    Instances,
    /// The array at a place in each record.
    Array(Term),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    State,
    Code,
}

/// The value at a term, as text, is (or is not) one of some.
#[derive(Debug)]
pub struct Test {
    pub at: Term,
    pub is: Vec<String>,
    pub negated: bool,
}

/// Of which type a value of an interface or a union is: the slot of that type, by what stands in the value.
#[derive(Debug)]
pub struct Types {
    /// A term of the mapping of what is inside.
    pub at: Term,
    pub by_text: HashMap<String, SlotId>,
    /// The type of values of which the text says none of these.
    pub otherwise: Option<SlotId>,
}

/// The pointers of a mapping by their segments.
#[derive(Debug, Default)]
pub struct Trie {
    /// The term that ends here.
    pub term: Option<Term>,
    children: Vec<(Box<str>, Trie)>,
    /// Those of the children.
    names: Names,
    looks: Looks,
}

/// The children by what their names look like, so that a name is compared with hardly any but itself.
#[derive(Debug, Default)]
struct Looks {
    /// By look: the last child of it.
    last: Vec<Option<u32>>,
    /// By child: the one of its look before it.
    before: Vec<Option<u32>>,
}

impl Mapping {
    /// The term of a pointer, made where it is new.
    pub fn term(&mut self, pointer: &Pointer) -> Term {
        let new = self.terms.len();
        let term = self.trie.insert(pointer.segments(), new);
        if term == new {
            self.terms.push(pointer.clone());
        }
        term
    }

    /// Where values are encrypted, from the record's top, and with which cipher; places in lists left out.
    pub fn encrypted(&self) -> Vec<(Pointer, Arc<str>)> {
        let mut out = Vec::new();
        self.collect_encrypted(&Pointer::default(), &mut out);
        out.sort();
        out.dedup();
        out
    }

    fn collect_encrypted(&self, base: &Pointer, out: &mut Vec<(Pointer, Arc<str>)>) {
        let place = |term: Term| self.terms.get(term).map_or_else(|| base.clone(), |pointer| base.join(pointer));
        out.extend(self.encrypted.iter().map(|(term, cipher)| (place(*term), Arc::clone(cipher))));
        for entry in &self.entries {
            if let Read::Object { inside, .. } | Read::Objects { inside, .. } = &entry.read {
                let here = entry.read.term().map_or_else(|| base.clone(), place);
                inside.collect_encrypted(&here, out);
            }
        }
    }

    pub fn push(&mut self, entry: Entry) {
        let at = self.by_slot.partition_point(|(slot, _)| *slot < entry.slot);
        let place = (entry.slot, self.entries.len());
        match self.by_slot.get_mut(at).filter(|(slot, _)| *slot == entry.slot) {
            Some(known) => *known = place,
            None => self.by_slot.insert(at, place),
        }
        self.entries.push(entry);
    }

    pub fn entry(&self, slot: SlotId) -> Option<&Entry> {
        self.entries.get(self.place(slot)?)
    }

    /// Where the slot's entry stands among all.
    pub fn place(&self, slot: SlotId) -> Option<usize> {
        let at = self.by_slot.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        self.by_slot.get(at).map(|(_, place)| *place)
    }

    /// Whether a slot is read here, or inside an object or list that is.
    pub fn reads(&self, slot: SlotId) -> bool {
        let inside = |entry: &Entry| match &entry.read {
            Read::Object { inside, .. } | Read::Objects { inside, .. } => inside.reads(slot),
            _ => false,
        };
        self.entry(slot).is_some() || self.entries.iter().any(inside)
    }

    /// Where a slot's text stands as it is, if it does.
    pub fn text_at(&self, slot: SlotId) -> Option<&Pointer> {
        match &self.entry(slot)?.read {
            Read::Scalar { at, conversion } if conversion.is_plain_text() => {
                self.terms.get(*at).filter(|at| !at.is_root())
            }
            _ => None,
        }
    }

    /// Marks the terms that the wanted slots are read from.
    pub fn wanted_terms(&self, wanted: impl Fn(SlotId) -> bool) -> Vec<bool> {
        let mut terms = vec![false; self.terms.len()];
        let mut mark = |term: Term| {
            if let Some(flag) = terms.get_mut(term) {
                *flag = true;
            }
        };
        for entry in self.entries.iter().filter(|entry| wanted(entry.slot)) {
            entry.read.terms(&mut mark);
        }
        terms
    }

    /// Whether any of the wanted terms is inside the record rather than the record itself.
    pub fn reads_inside(&self, wanted: &[bool]) -> bool {
        self.trie.children.iter().any(|(_, child)| child.leads_to(wanted))
    }

    /// The pointers, from the record's top, that the wanted slots are read from: what a source that takes field
    /// names is asked for. Of a list of entities, all that is bound of each: the slots of these entities are never among
    /// the wanted ones of the entity that holds the list.
    pub fn wanted_pointers(&self, wanted: &dyn Fn(SlotId) -> bool) -> Vec<Pointer> {
        let mut out = Vec::new();
        self.collect_pointers(wanted, &Pointer::default(), &mut out);
        out.sort();
        out.dedup();
        out
    }

    fn collect_pointers(&self, wanted: &dyn Fn(SlotId) -> bool, base: &Pointer, out: &mut Vec<Pointer>) {
        for entry in self.entries.iter().filter(|entry| wanted(entry.slot)) {
            let (term, inside, told_by) = match &entry.read {
                Read::Object { at, inside, types } => {
                    (Some(*at), Some(inside), [None, types.as_ref().map(|types| types.at)])
                }
                Read::Objects { over, inside, only, types } => {
                    let told_by = [only.as_ref().map(|test| test.at), types.as_ref().map(|types| types.at)];
                    (over.term(), Some(inside), told_by)
                }
                Read::Scalar { at, .. } | Read::Reference { at, .. } => (Some(*at), None, [None; 2]),
                Read::Scalars { over, .. } | Read::References { over, .. } => (over.term(), None, [None; 2]),
                Read::Constant(_) | Read::Instance(_) | Read::Outcome(_) => continue,
            };
            let here =
                term.and_then(|term| self.terms.get(term)).map_or_else(|| base.clone(), |pointer| base.join(pointer));
            match inside {
                Some(inside) => {
                    let before = out.len();
                    let wanted = if inside.of_entities { &|_| true } else { wanted };
                    inside.collect_pointers(wanted, &here, out);
                    let told_by = told_by.into_iter().flatten().filter_map(|term| inside.terms.get(term));
                    out.extend(told_by.map(|pointer| here.join(pointer)));
                    // Of which nothing is wanted but that they are there, and how many. A database reads the column.
                    if out.len() == before && !here.is_root() {
                        out.extend(Pointer::parse("/__typename").map(|name| here.join(&name)));
                    }
                }
                None => out.push(here),
            }
        }
    }
}

impl Over {
    pub fn term(self) -> Option<Term> {
        match self {
            Self::Array(term) => Some(term),
            Self::Records | Self::Instances => None,
        }
    }
}

impl Read {
    fn terms(&self, mark: &mut impl FnMut(Term)) {
        match self {
            Self::Scalar { at, .. } | Self::Reference { at, .. } | Self::Object { at, .. } => mark(*at),
            Self::Scalars { over, .. } | Self::References { over, .. } | Self::Objects { over, .. } => {
                if let Some(term) = over.term() {
                    mark(term);
                }
            }
            Self::Constant(_) | Self::Instance(_) | Self::Outcome(_) => {}
        }
    }
}

impl Looks {
    /// Kinds of looks.
    const KINDS: usize = 128;

    /// Of the child that comes next.
    fn add(&mut self, name: &[u8]) {
        self.last.resize(Self::KINDS, None);
        let child = u32::try_from(self.before.len()).ok();
        let last = self.last.get_mut(Self::look(name));
        self.before.push(last.and_then(|last| std::mem::replace(last, child)));
    }

    /// The children that look so.
    fn like(&self, name: &[u8]) -> impl Iterator<Item = usize> {
        let place = |at: u32| usize::try_from(at).ok();
        let last = self.last.get(Self::look(name)).copied().flatten().and_then(place);
        std::iter::successors(last, move |at| self.before.get(*at).copied().flatten().and_then(place))
    }

    /// Length and last two bytes: names of one record rather begin alike than that they end alike.
    fn look(name: &[u8]) -> usize {
        let (before, last) = match name {
            [.., before, last] => (*before, *last),
            [last] => (0, *last),
            [] => (0, 0),
        };
        (name.len() * 11 + usize::from(last) * 5 + usize::from(before) * 3) % Self::KINDS
    }
}

impl Trie {
    /// Makes the way of these names and gives them the term, where they have none yet; the term they have.
    fn insert(&mut self, segments: &[Box<str>], term: Term) -> Term {
        let Some((name, rest)) = segments.split_first() else { return *self.term.get_or_insert(term) };
        let at = self.position(name.as_bytes()).unwrap_or_else(|| {
            self.children.push((name.clone(), Self::default()));
            self.names.add(name);
            self.looks.add(name.as_bytes());
            self.children.len() - 1
        });
        self.children.get_mut(at).map_or(term, |(_, child)| child.insert(rest, term))
    }

    /// What a name leads to.
    pub fn child(&self, name: &[u8]) -> Option<&Self> {
        self.children.get(self.position(name)?).map(|(_, child)| child)
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        let is = |at: &usize| self.children.get(*at).is_some_and(|(own, _)| own.as_bytes() == name);
        self.looks.like(name).find(is)
    }

    /// The names that lead further.
    pub fn names(&self) -> Names {
        self.names
    }

    /// What all names lead to.
    pub fn children(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.children.iter().map(|(name, child)| (&**name, child))
    }

    pub fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// Whether any wanted term ends here or below.
    pub fn leads_to(&self, wanted: &[bool]) -> bool {
        self.term.is_some_and(|term| wanted.get(term).copied().unwrap_or(false))
            || self.children.iter().any(|(_, child)| child.leads_to(wanted))
    }
}
