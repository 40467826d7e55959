//! `config/roles.yaml` and the relations → [`Access`].

mod conditions;
mod scans;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::format::{self, RolesFile};
use super::hand::Held;
use super::{Access, CertificateRule, CompiledRelation, Grant, RelationId, Role, RoleDoors, SlotSet};
use crate::base::fault::{self, Faults, Place, SourceText};
use crate::model::contract::{Contract, Shape, SlotId};
use crate::model::mask::{Bands, EDGES_MAX, Mask};
use crate::model::rule::{OnBehalf, Relation, Rules};
use crate::model::subject::Subjects;
use crate::model::yaml::{self, Spanned};

/// What `gateway.yaml` declares and roles name.
#[derive(Debug, Default)]
pub struct Declared {
    pub networks: Vec<String>,
    pub purposes: Vec<String>,
    pub issuers: Vec<String>,
}

/// Compiles the roles. `subjects` are not known where the bindings have faults.
pub fn load(
    text: &Arc<SourceText>,
    contract: &Contract,
    rules: &Rules,
    declared: &Declared,
    subjects: Option<&Subjects>,
    faults: &mut Faults,
) -> Access {
    let relations = rules.relations.iter().filter_map(|rule| compile_relation(rule.clone(), contract)).collect();
    let access = Access { relations, ..Access::default() };
    let roles = BTreeSet::new();
    let partial_rules = rules.partial;
    let mut compiler = Compiler { text, contract, declared, subjects, roles, partial_rules, faults, access };
    if let Some(file) = yaml::read::<RolesFile>(text, compiler.faults) {
        compiler.roles = file.roles.keys().cloned().collect();
        for (name, role) in &file.roles {
            compiler.role(name, &role.value);
            compiler.scans_by_some_grant(name, &role.value);
        }
    }
    compiler.access
}

fn compile_relation(rule: Relation, contract: &Contract) -> Option<CompiledRelation> {
    let on = contract.entity_named(&rule.on)?;
    let key = &contract.slot(contract.entity(on).key).name;
    let inputs = rule
        .when
        .inputs()
        .iter()
        .filter(|path| path.len() != 1 || path.first().is_none_or(|first| **first != **key))
        .cloned()
        .chain(rule.on_behalf_of.iter().map(OnBehalf::path))
        .collect();
    Some(CompiledRelation { name: rule.name.as_str().into(), on, rule, approved: false, inputs })
}

pub(super) struct Compiler<'a> {
    text: &'a Arc<SourceText>,
    pub(super) contract: &'a Contract,
    declared: &'a Declared,
    pub(super) subjects: Option<&'a Subjects>,
    /// The names of all roles.
    roles: BTreeSet<String>,
    /// A relation that is not there may be one that has a fault.
    partial_rules: bool,
    faults: &'a mut Faults,
    pub(super) access: Access,
}

impl Compiler<'_> {
    pub(super) fn fault(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.add(self.text, place, message, hint);
    }

    fn role(&mut self, name: &str, role: &format::Role) {
        let networks = self.networks(&role.networks);
        let issuers = role.issuers.as_ref().map(|issuers| issuers.iter().filter_map(|at| self.issuer(at)).collect());
        let certificate = role.certificate.as_ref().map(|rule| self.certificate(rule));
        let scans = role.scans.as_ref().map(|written| self.scans(written));
        let calls = role.upstream_calls_max.as_ref();
        let doors = RoleDoors::read(role.documents, role.introspection, calls, scans, self.text, self.faults);
        let mut grants = Vec::new();
        for grant in &role.grants {
            if let Some(grant) = self.grant(name, grant) {
                grants.push(self.access.grants.len());
                self.access.grants.push(grant);
            }
        }
        self.access.roles.push(Role {
            name: name.into(),
            title: role.title.as_str().into(),
            networks,
            certificate,
            issuers,
            doors,
            grants,
        });
    }

    fn certificate(&mut self, rule: &Spanned<CertificateRule>) -> CertificateRule {
        let CertificateRule(asked) = &rule.value;
        for name in asked.san.iter().filter(|name| !CertificateRule::NAMES.iter().any(|kind| name.starts_with(kind))) {
            let hint = format!("an alternative name starts with one of {}", CertificateRule::NAMES.join(" "));
            self.fault(yaml::span(rule), format!("no certificate can have the name `{name}`"), hint);
        }
        rule.value.clone()
    }

    fn grant(&mut self, role: &str, grant: &Spanned<format::Grant>) -> Option<Grant> {
        let written = &grant.value;
        let mut relation = self.relation(&written.relation)?;
        let conditions = self.conditions(written);
        if conditions.approval.is_some() {
            relation = self.approved(relation)?;
        }
        if written.classes.is_empty() && written.fields.is_empty() {
            self.fault(yaml::place(grant), "the grant gives nothing", "name `classes` or `fields`");
        }
        let mut slots = SlotSet::new();
        for class in &written.classes {
            let of_class = self.class(class);
            self.idle(relation, "classes", &class.value, yaml::place_of(class), of_class.iter());
            slots.union(&of_class);
        }
        for field in &written.except {
            let named = self.slots(field);
            let below = named.iter().flat_map(|slot| self.contract.below(*slot));
            self.idle(relation, "except", &field.value, yaml::place_of(field), below.collect::<Vec<_>>().into_iter());
            for slot in named {
                for below in self.contract.below(slot) {
                    slots.remove(below);
                }
            }
        }
        self.reachable(&mut slots);
        for field in &written.fields {
            let named = self.slots(field);
            self.check_reach(relation, field, &named);
            for slot in named {
                self.give(slot, &mut slots);
            }
        }
        let mut masks = BTreeMap::new();
        for (what, mask) in &written.mask {
            let named = self.mask(what, mask, &mut slots, &mut masks);
            self.idle(relation, "mask", what, yaml::key(self.text, what, mask), named.into_iter());
        }
        let beyond = self.within_reach(relation, &mut slots);
        self.close(&mut slots);
        Some(Grant {
            role: role.into(),
            relation,
            conditions,
            line: yaml::place(grant).line,
            slots,
            beyond,
            masks,
            withheld: BTreeMap::new(),
            held: Held::default(),
        })
    }

    fn relation(&mut self, name: &Spanned<String>) -> Option<RelationId> {
        let declared = |relation: &CompiledRelation| !relation.approved && *relation.name == *name.value;
        let found = self.access.relations.iter().position(declared);
        if found.is_none() && !self.partial_rules {
            let known = self.access.relations.iter().filter(|relation| !relation.approved);
            let known: Vec<String> = known.map(|relation| relation.name.to_string()).collect();
            let hint = fault::did_you_mean(
                &name.value,
                known.iter().map(String::as_str),
                "relations are declared in rules/relations.yaml",
            );
            self.fault(yaml::place_of(name), format!("there is no relation `{}`", name.value), hint);
        }
        found.and_then(|at| u32::try_from(at).ok()).map(RelationId)
    }

    /// The same relation, to the entity that an approval names: a relation of its own, so that rights and plans need
    /// not know of approvals.
    fn approved(&mut self, id: RelationId) -> Option<RelationId> {
        let base = self.access.relation(id)?;
        let name = format!("{}:approved", base.name);
        let known = self.access.relations.iter().position(|relation| relation.approved && *relation.name == *name);
        let at = known.unwrap_or(self.access.relations.len());
        if known.is_none() {
            let (on, rule, inputs) = (base.on, base.rule.clone(), base.inputs.clone());
            self.access.relations.push(CompiledRelation { name: name.into(), on, rule, approved: true, inputs });
        }
        u32::try_from(at).ok().map(RelationId)
    }

    fn class(&mut self, class: &Spanned<String>) -> SlotSet {
        let contract = self.contract;
        let Some(at) = contract.classes.iter().position(|name| **name == *class.value) else {
            let known = contract.classes.iter().map(|name| &**name);
            let hint = fault::did_you_mean(&class.value, known, "classes are named by @class in the contract");
            self.fault(yaml::place_of(class), format!("the contract has no data class `{}`", class.value), hint);
            return SlotSet::new();
        };
        let of_class = contract.slots.iter().filter(|slot| slot.class.is_some_and(|class| class.index() == at));
        of_class.map(|slot| slot.id).collect()
    }

    fn slots(&mut self, field: &Spanned<String>) -> Vec<SlotId> {
        let contract = self.contract;
        // An entity's name stands for all its fields.
        if let Some(entity) = contract.entity_named(&field.value) {
            return contract.entity(entity).children.clone();
        }
        let found: Vec<SlotId> = contract
            .slots
            .iter()
            .filter(|slot| *slot.path == *field.value || contract.full_path(slot.id) == field.value)
            .map(|slot| slot.id)
            .collect();
        match found.as_slice() {
            [] => {
                let known = contract.slots.iter().map(|slot| &*slot.path);
                let hint =
                    fault::did_you_mean(&field.value, known, "fields are named by their dotted path in the contract");
                self.fault(yaml::place_of(field), format!("the contract has no field `{}`", field.value), hint);
            }
            [_] => {}
            [first, ..] => {
                let hint = format!("write `{}`", contract.full_path(*first));
                self.fault(yaml::place_of(field), format!("`{}` is a field of several entities", field.value), hint);
            }
        }
        found
    }

    /// A field, what is below it in the same class, and what is above it, without which it could not be reached.
    fn give(&self, slot: SlotId, slots: &mut SlotSet) {
        let class = self.contract.slot(slot).class;
        for below in self.contract.below(slot) {
            let inside = self.contract.slot(below);
            if inside.class == class || class.is_none() {
                slots.insert(below);
            }
        }
        for above in self.contract.above(slot) {
            slots.insert(above);
        }
    }

    /// Where the mask does not fit a value, the value is not given at all. Hands back the fields that are named.
    fn mask(
        &mut self,
        what: &str,
        mask: &Spanned<format::MaskRule>,
        slots: &mut SlotSet,
        masks: &mut BTreeMap<SlotId, Mask>,
    ) -> Vec<SlotId> {
        let (name, place, parsed) = match &mask.value {
            format::MaskRule::Named(name) => {
                let place = Place { length: name.chars().count(), ..yaml::place(mask) };
                (name.as_str(), place, Mask::parse(name))
            }
            format::MaskRule::Bands(edges) => {
                let bands = Bands::new(edges);
                if bands.is_none() {
                    let hint = format!("write 1 to {EDGES_MAX} whole numbers, each greater than the one before");
                    self.fault(yaml::span(mask), "these are no edges of bands", hint);
                    return Vec::new();
                }
                ("band", yaml::span(mask), bands.map(Mask::Band))
            }
        };
        let by_class: Vec<SlotId> = self
            .contract
            .slots
            .iter()
            .filter(|slot| slot.class.is_some_and(|class| self.contract.class_name(class) == what))
            .map(|slot| slot.id)
            .collect();
        let whole_class = !by_class.is_empty();
        let targets = if whole_class {
            by_class
        } else {
            let named = Spanned::new(what.to_owned(), mask.referenced, mask.defined);
            self.slots(&named)
        };
        let Some(parsed) = parsed else {
            let hint = self.fitting(name, &targets);
            self.fault(place, format!("there is no mask `{name}`"), hint);
            return Vec::new();
        };
        for slot in targets.iter().copied() {
            match &self.contract.slot(slot).shape {
                Shape::Leaf(kind) | Shape::LeafList(kind) if parsed.fits(kind) => {
                    masks.entry(slot).or_insert(parsed);
                }
                Shape::Leaf(_) | Shape::LeafList(_) if whole_class => slots.remove(slot),
                _ if whole_class => {}
                _ => {
                    let message = format!(
                        "the mask `{name}` does not fit `{what}`, which is {}",
                        self.contract.slot(slot).type_name
                    );
                    let hint = self.fitting(name, &[slot]);
                    self.fault(place, message, hint);
                }
            }
        }
        // A field named by itself overrides its class.
        if !whole_class {
            let named = Spanned::new(what.to_owned(), mask.referenced, mask.defined);
            for slot in self.slots(&named) {
                masks.insert(slot, parsed);
            }
        }
        targets
    }

    /// Which masks could be meant, of those that fit these fields.
    fn fitting(&self, name: &str, slots: &[SlotId]) -> String {
        let mut types: Vec<(&str, Vec<&str>)> = Vec::new();
        for slot in slots.iter().map(|slot| self.contract.slot(*slot)) {
            if let Shape::Leaf(kind) | Shape::LeafList(kind) = &slot.shape
                && !types.iter().any(|(known, _)| *known == slot.type_name.as_ref())
            {
                types.push((&slot.type_name, Mask::fitting(kind).collect()));
            }
        }
        if types.is_empty() {
            return fault::did_you_mean(name, Mask::NAMES, &format!("one of {}", Mask::NAMES.join(", ")));
        }
        let all = types.iter().flat_map(|(_, masks)| masks.iter().copied());
        let told = types.iter().map(|(of, masks)| match masks.as_slice() {
            [] => format!("no mask fits {of}: give it whole, or not at all"),
            some => format!("what fits {of}: {}", some.join(", ")),
        });
        fault::did_you_mean(name, all, &told.collect::<Vec<_>>().join("; "))
    }

    /// A slot that its class gives counts only if all above it that have a class count too: the names in a list of
    /// illnesses are not given with `identity` alone, nor because a field beside them is named.
    fn reachable(&self, slots: &mut SlotSet) {
        let given = |slot: SlotId| self.contract.slot(slot).class.is_none() || slots.contains(slot);
        *slots = slots.iter().filter(|slot| self.contract.above(*slot).all(given)).collect();
    }

    /// Sections without a class come with what is in them. Hidden slots never count.
    fn close(&self, slots: &mut SlotSet) {
        let mut closed: SlotSet = slots.iter().filter(|slot| !self.contract.slot(*slot).hidden).collect();
        for slot in closed.clone().iter() {
            for above in self.contract.above(slot) {
                closed.insert(above);
            }
        }
        *slots = closed;
    }
}
