//! `fields:` of a binding → [`Mapping`], held against the contract.

use std::collections::HashSet;
use std::sync::Arc;

use super::ValidOn;
use super::connection::cipher::{CipherEntry, unknown};
use super::conversion::codes::CodeTables;
use super::conversion::{Combine, Conversion, Kind};
use super::format::{self, Field, FullField, Named};
use super::mapping::{Entry, Mapping, Outcome, Over, Read, Test};
use crate::base::fault::{self, Faults, Place, SourceText};
use crate::base::pointer::Pointer;
use crate::model::contract::{Contract, EntityId, Shape, Slot, SlotId};
use crate::model::yaml::{self, Spanned};

/// What the fields of one file are compiled against.
pub struct FieldCompiler<'a> {
    pub contract: &'a Contract,
    pub codes: &'a CodeTables,
    pub text: &'a Arc<SourceText>,
    pub faults: &'a mut Faults,
    /// Slots that a file names, though perhaps with a fault.
    pub named: &'a mut HashSet<SlotId>,
    /// The source has an instance list.
    pub instanced: bool,
    /// The source's ciphers.
    pub ciphers: &'a Named<CipherEntry>,
}

/// Where field paths start: the top of an entity, or a slot.
#[derive(Clone, Copy)]
pub struct Base {
    pub entity: EntityId,
    pub parent: Option<SlotId>,
    /// Inside a list over instances, where `instance:` and `outcome:` mean something.
    pub per_instance: bool,
}

/// A pointer alone, as the mapping it is short for.
fn written_out<'f>(field: &'f Spanned<Field>, short: &'f mut Option<FullField>) -> &'f FullField {
    match &field.value {
        Field::Full(full) => full,
        Field::Pointer(pointer) => short.insert(FullField {
            at: Some(Spanned::new(pointer.clone(), field.referenced, field.defined)),
            ..FullField::default()
        }),
    }
}

impl FieldCompiler<'_> {
    /// Adds `fields` to a mapping. Faults are added; what could be compiled is there.
    pub fn fields(&mut self, fields: &Named<Field>, base: Base, mapping: &mut Mapping) {
        for (path, field) in fields {
            let place = yaml::key(self.text, path, field);
            for slot in self.resolve(path, base, place) {
                self.named.insert(slot);
                let contract = self.contract;
                let slot = contract.slot(slot);
                if mapping.entry(slot.id).is_some() {
                    self.fault(place, format!("`{path}` stands here twice"), "one reading a field");
                    continue;
                }
                let mut short = None;
                let full = written_out(field, &mut short);
                if let Some(entry) = self.entry(slot, full, place, base, mapping) {
                    mapping.push(entry);
                }
            }
        }
    }

    pub(super) fn fault(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.add(self.text, place, message, hint);
    }

    /// The slot that a path names; of a field of an interface or a union without a type before it: in every type.
    fn resolve(&mut self, path: &str, base: Base, place: Place) -> Vec<SlotId> {
        let starts = match base.parent.filter(|parent| self.contract.is_abstract(*parent)) {
            Some(parent) => {
                let types = self.contract.slot(parent).children.iter().copied().map(Some);
                std::iter::once(Some(parent)).chain(types).collect()
            }
            None => vec![base.parent],
        };
        let found: Vec<SlotId> = starts.into_iter().filter_map(|start| self.below(path, base.entity, start)).collect();
        if found.is_empty() {
            let contract = self.contract;
            let prefix = base.parent.map_or(String::new(), |slot| format!("{}.", contract.slot(slot).path));
            let known: Vec<&str> =
                contract.paths(base.entity).filter_map(|path| path.strip_prefix(prefix.as_str())).collect();
            let entity = &contract.entity(base.entity).name;
            let hint = fault::did_you_mean(path, known, "fields are named by their dotted path in the contract");
            self.fault(place, format!("the contract has no field `{prefix}{path}` in `{entity}`"), hint);
        }
        if found.iter().any(|slot| self.untold(*slot, base.parent)) {
            let message = format!("`{path}` is inside a value of an interface or a union, and nothing tells its type");
            self.fault(place, message, "bind the field whose type that is, with `type_at`, `types` and `fields`");
            return Vec::new();
        }
        found
    }

    fn below(&self, path: &str, entity: EntityId, start: Option<SlotId>) -> Option<SlotId> {
        path.split('.').try_fold(start, |parent, name| self.contract.child(entity, parent, name).map(Some)).flatten()
    }

    fn entry(
        &mut self,
        slot: &Slot,
        full: &FullField,
        place: Place,
        base: Base,
        mapping: &mut Mapping,
    ) -> Option<Entry> {
        if full.type_at.is_some() && !matches!(slot.shape, Shape::Object | Shape::ObjectList) {
            self.one_type(slot, place);
        }
        let read = match &slot.shape {
            Shape::Leaf(kind) => self.leaf(slot, kind, full, place, base, mapping)?,
            Shape::LeafList(kind) => {
                let over = self.over(slot, full, place, mapping)?;
                let conversion = self.conversion(full, kind, place);
                Read::Scalars { over, conversion, split: full.split.clone() }
            }
            Shape::Object => self.object(slot, full, place, base, mapping)?,
            Shape::ObjectList => {
                let inside = Base { entity: slot.entity, parent: Some(slot.id), per_instance: false };
                self.objects(slot, full, place, inside, mapping)?
            }
            Shape::Entity(entity) => {
                let at = self.pointer(full.reference.as_ref(), place, slot, "ref", mapping)?;
                let conversion = Conversion::plain(self.key_kind(*entity));
                Read::Reference { at, conversion }
            }
            Shape::EntityList(entity) => self.entities(slot, *entity, full, place, mapping)?,
            Shape::ItemStates => {
                self.fault(
                    place,
                    format!("`{}` is filled by the gateway itself", slot.path),
                    "leave it out of the binding",
                );
                return None;
            }
        };
        self.decrypted(full, &read, place, mapping);
        let combine = self.combine(slot, full, place);
        let absent = full.absent.as_ref().and_then(|value| self.constant(slot, &value.value.0, yaml::place(value)));
        if !slot.nullable
            && self.contract.entity(slot.entity).key != slot.id
            && matches!(slot.shape, Shape::Leaf(_))
            && !matches!(read, Read::Constant(_) | Read::Instance(_) | Read::Outcome(_))
        {
            self.fault(
                place,
                format!(
                    "`{}` is non-null in the contract, but a department may leave it out or a role be refused it",
                    slot.path
                ),
                "make the field nullable in the contract",
            );
        }
        Some(Entry { slot: slot.id, read, combine, absent, required: full.required })
    }

    /// Notes where an encrypted value stands.
    fn decrypted(&mut self, full: &FullField, read: &Read, place: Place, mapping: &mut Mapping) {
        let Some(cipher) = &full.cipher else { return };
        let at = yaml::place_of(cipher);
        let at = if at.line == 0 { place } else { at };
        if !self.ciphers.contains_key(&cipher.value) {
            let (message, hint) = unknown(&cipher.value, self.ciphers.keys().map(String::as_str));
            self.fault(at, message, hint);
        }
        let single = !matches!(read, Read::Object { .. } | Read::Objects { .. });
        match read.term().filter(|_| single) {
            Some(term) => mapping.encrypted.push((term, cipher.value.as_str().into())),
            None => self.fault(at, "`cipher` is of single values in the record", "name it at the fields inside"),
        }
    }

    fn leaf(
        &mut self,
        slot: &Slot,
        kind: &Kind,
        full: &FullField,
        place: Place,
        base: Base,
        mapping: &mut Mapping,
    ) -> Option<Read> {
        if let Some(constant) = &full.constant {
            return self.constant(slot, &constant.value.0, yaml::place(constant)).map(Read::Constant);
        }
        if full.instance.is_some() || full.outcome.is_some() {
            if !base.per_instance {
                self.fault(
                    place,
                    "`instance` and `outcome` stand only in the fields of a `list: instances`",
                    "use `at`",
                );
                return None;
            }
            if let Some(column) = &full.instance {
                return Some(Read::Instance(column.value.as_str().into()));
            }
        }
        if let Some(outcome) = &full.outcome {
            return match outcome.value.as_str() {
                "state" => Some(Read::Outcome(Outcome::State)),
                "code" => Some(Read::Outcome(Outcome::Code)),
                other => {
                    self.fault(yaml::place_of(outcome), format!("there is no outcome `{other}`"), "`state` or `code`");
                    None
                }
            };
        }
        if full.list.is_some() || full.reference.is_some() || !full.fields.is_empty() {
            self.fault(place, format!("`{}` is a single value of type {}", slot.path, slot.type_name), "use `at`");
            return None;
        }
        let at = self.pointer(full.at.as_ref(), place, slot, "at", mapping)?;
        Some(Read::Scalar { at, conversion: self.conversion(full, kind, place) })
    }

    fn object(
        &mut self,
        slot: &Slot,
        full: &FullField,
        place: Place,
        base: Base,
        mapping: &mut Mapping,
    ) -> Option<Read> {
        if full.list.is_some() || full.fields.is_empty() {
            self.fault(
                place,
                format!("`{}` is an object of type {}", slot.path, slot.type_name),
                "give `at` and `fields`, or bind its fields one by one with their own paths",
            );
            return None;
        }
        let at = self.pointer(full.at.as_ref(), place, slot, "at", mapping)?;
        let mut inside = Mapping::default();
        self.fields(&full.fields, Base { parent: Some(slot.id), ..base }, &mut inside);
        let types = self.types(slot, full, place, &mut inside)?;
        Some(Read::Object { at, inside: Box::new(inside), types })
    }

    fn objects(
        &mut self,
        slot: &Slot,
        full: &FullField,
        place: Place,
        inside_base: Base,
        mapping: &mut Mapping,
    ) -> Option<Read> {
        let over = self.over(slot, full, place, mapping)?;
        if full.fields.is_empty() {
            self.fault(
                place,
                format!("`{}` is a list of {}, and `fields` is missing", slot.path, slot.type_name),
                "name the fields of its elements",
            );
        }
        let mut inside = Mapping::default();
        self.fields(&full.fields, Base { per_instance: over == Over::Instances, ..inside_base }, &mut inside);
        let only = full.only.as_ref().and_then(|test| self.test(test, &mut inside));
        let types = self.types(slot, full, place, &mut inside)?;
        Some(Read::Objects { over, inside: Box::new(inside), only, types })
    }

    fn entities(
        &mut self,
        slot: &Slot,
        entity: EntityId,
        full: &FullField,
        place: Place,
        mapping: &mut Mapping,
    ) -> Option<Read> {
        if let Some(reference) = &full.reference {
            let over = if reference.value == "records" {
                Over::Records
            } else {
                Over::Array(self.pointer(Some(reference), place, slot, "ref", mapping)?)
            };
            return Some(Read::References { over, conversion: Conversion::plain(self.key_kind(entity)) });
        }
        let mut read = self.objects(slot, full, place, Base { entity, parent: None, per_instance: false }, mapping)?;
        let key = self.contract.entity(entity).key;
        let Read::Objects { inside, .. } = &mut read else { return Some(read) };
        inside.of_entities = true;
        if inside.entry(key).is_none() {
            let name = &self.contract.slot(key).name;
            self.fault(
                place,
                format!("the elements of `{}` are entities, and their key `{name}` is not among the fields", slot.path),
                format!("add `{name}` to `fields`, or use `ref` where only keys are there"),
            );
            return None;
        }
        Some(read)
    }

    fn over(&mut self, slot: &Slot, full: &FullField, place: Place, mapping: &mut Mapping) -> Option<Over> {
        match (&full.list, &full.at) {
            (Some(list), None) if list.value == "records" => Some(Over::Records),
            (Some(list), None) if list.value == "instances" => {
                if self.instanced {
                    return Some(Over::Instances);
                }
                self.fault(
                    yaml::place_of(list),
                    "this source has no instance list of which all are asked",
                    "give `instances: {file: …}` without `by`, or a pointer",
                );
                None
            }
            (Some(list), None) => self.pointer(Some(list), place, slot, "list", mapping).map(Over::Array),
            (None, Some(at)) if full.split.is_some() => {
                self.pointer(Some(at), place, slot, "at", mapping).map(Over::Array)
            }
            _ => {
                self.fault(
                    place,
                    format!("`{}` is a list of {}", slot.path, slot.type_name),
                    "say where it is: `list: /pointer` or `list: records`; for a text that is cut, `at` and `split`",
                );
                None
            }
        }
    }

    fn pointer(
        &mut self,
        text: Option<&Spanned<String>>,
        place: Place,
        slot: &Slot,
        key: &str,
        mapping: &mut Mapping,
    ) -> Option<usize> {
        let Some(text) = text else {
            self.fault(
                place,
                format!("`{}` does not say where it is read from", slot.path),
                format!("add `{key}: /pointer`"),
            );
            return None;
        };
        match Pointer::parse(&text.value) {
            Ok(pointer) => Some(mapping.term(&pointer)),
            Err(message) => {
                self.fault(yaml::place_of(text), format!("`{}` is not a JSON Pointer", text.value), message);
                None
            }
        }
    }

    /// A test on a record or element; its pointer becomes a term of `mapping`.
    pub fn test(&mut self, test: &format::Test, mapping: &mut Mapping) -> Option<Test> {
        let (values, negated) = match (&test.is, &test.not) {
            (Some(is), None) => (is, false),
            (None, Some(not)) => (not, true),
            _ => {
                self.fault(
                    yaml::place(&test.at),
                    "a test has exactly one of `is` and `not`",
                    "for example {at: /zt, is: 1}",
                );
                return None;
            }
        };
        match Pointer::parse(&test.at.value) {
            Ok(pointer) => Some(Test { at: mapping.term(&pointer), is: values.texts(), negated }),
            Err(message) => {
                self.fault(yaml::place_of(&test.at), format!("`{}` is not a JSON Pointer", test.at.value), message);
                None
            }
        }
    }

    /// Where records say the day they are of; its pointer becomes a term of `mapping`.
    pub fn valid_on(&mut self, field: &Spanned<Field>, mapping: &mut Mapping) -> Option<ValidOn> {
        let mut short = None;
        let full = written_out(field, &mut short);
        let place = yaml::place(field);
        let at = full.at.as_ref().map(|at| (at, Pointer::parse(&at.value)));
        let Some((at, pointer)) = at else {
            self.fault(place, "`valid_on` does not say where it is read from", "add `at: /pointer`");
            return None;
        };
        match pointer {
            Ok(pointer) => {
                let conversion = self.conversion(full, &Kind::Date, place);
                let at = mapping.term(&pointer);
                self.decrypted(full, &Read::Scalar { at, conversion: conversion.clone() }, place, mapping);
                Some(ValidOn { at, conversion })
            }
            Err(message) => {
                self.fault(yaml::place_of(at), format!("`{}` is not a JSON Pointer", at.value), message);
                None
            }
        }
    }

    fn conversion(&mut self, full: &FullField, kind: &Kind, place: Place) -> Conversion {
        Conversion::compile(full, kind.clone(), self.codes, self.text, place, self.faults)
    }

    fn key_kind(&self, entity: EntityId) -> Kind {
        match &self.contract.slot(self.contract.entity(entity).key).shape {
            Shape::Leaf(kind) => kind.clone(),
            _ => Kind::Id,
        }
    }

    fn combine(&mut self, slot: &Slot, full: &FullField, place: Place) -> Combine {
        let Some(name) = &full.combine else { return Combine::First };
        let (combine, fits) = match name.value.as_str() {
            "first" => (Combine::First, true),
            "sum" => (Combine::Sum, matches!(slot.shape, Shape::Leaf(Kind::Decimal | Kind::Int))),
            "all" => (Combine::All, matches!(slot.shape, Shape::Leaf(Kind::Boolean))),
            "any" => (Combine::Any, matches!(slot.shape, Shape::Leaf(Kind::Boolean))),
            "max" => (Combine::Max, matches!(slot.shape, Shape::Leaf(_))),
            "min" => (Combine::Min, matches!(slot.shape, Shape::Leaf(_))),
            other => {
                let hint = fault::did_you_mean(
                    other,
                    ["first", "sum", "all", "any", "max", "min"],
                    "first, sum, all, any, max or min",
                );
                self.fault(yaml::place_of(name), format!("there is no way to combine called `{other}`"), hint);
                return Combine::First;
            }
        };
        if !fits {
            self.fault(
                place,
                format!("`combine: {}` does not fit `{}`, which is {}", name.value, slot.path, slot.type_name),
                "sum is for numbers, all and any for Boolean",
            );
        }
        combine
    }

    /// A fixed value as the contract's JSON.
    fn constant(&mut self, slot: &Slot, text: &str, place: Place) -> Option<Arc<str>> {
        let Shape::Leaf(kind) = &slot.shape else { return None };
        if text == "null" {
            return Some("null".into());
        }
        let fits = match kind {
            Kind::Boolean => matches!(text, "true" | "false"),
            Kind::Int => text.parse::<i32>().is_ok(),
            Kind::Decimal => crate::base::decimal::is_decimal(text),
            Kind::Enum(values) => values.iter().any(|value| value == text),
            _ => true,
        };
        if !fits {
            self.fault(
                place,
                format!("the fixed value `{text}` does not fit `{}`, which is {}", slot.path, slot.type_name),
                "write it as answers show it",
            );
            return None;
        }
        Some(match kind {
            Kind::Boolean | Kind::Int => text.into(),
            _ => serde_json::Value::String(text.to_owned()).to_string().into(),
        })
    }
}
