//! The departments' own hand, taken out of the grants: nothing that `config/roles.yaml` says gives it back.
//!
//! Withholding goes by role, so it is done grant by grant: a caller with two roles has what the other one gives. What
//! cannot be taken out at load (single codes, a second holder's word, what rules may read) is [`Held`], and is looked
//! at where values are read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Access, Grant, SlotSet};
use crate::base::fault::{self, Faults};
use crate::model::binding::hand::codes::Codes;
use crate::model::binding::hand::{Hand, Named, Withheld};
use crate::model::binding::{Bindings, SourceId};
use crate::model::contract::{Contract, Shape, SlotId};

/// By the slot that is left out (the element of a list, or a value): each clause holds what one grant leaves out; what
/// no clause gives is left out.
pub type HeldCodes = BTreeMap<SlotId, Vec<Clause>>;

/// A code of any of these leaves out.
pub type Clause = Arc<[Arc<Codes>]>;

/// What departments keep back of what is given.
#[derive(Debug, Clone, Default)]
pub struct Held {
    pub codes: HeldCodes,
    /// Slots of which a source that holds them too is not asked.
    pub also: BTreeMap<SlotId, BTreeSet<SourceId>>,
    /// By derived slot: what its rules may not read.
    pub unread: BTreeMap<SlotId, Arc<Unread>>,
}

/// What the rules of a derived slot may not read.
#[derive(Debug, Clone, Default)]
pub struct Unread {
    pub slots: SlotSet,
    pub codes: HeldCodes,
    pub also: BTreeMap<SlotId, BTreeSet<SourceId>>,
}

impl Unread {
    fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.codes.is_empty() && self.also.is_empty()
    }

    /// What of `slots` may be read of a source.
    pub fn readable(&self, slots: &SlotSet, source: SourceId) -> SlotSet {
        let may = |slot: &SlotId| {
            !self.slots.contains(*slot) && !self.also.get(slot).is_some_and(|sources| sources.contains(&source))
        };
        slots.iter().filter(may).collect()
    }

    /// What is kept from both.
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            slots: self.slots.intersection(&other.slots),
            codes: both(&self.codes, &other.codes, joined),
            also: both(&self.also, &other.also, common),
        }
    }
}

impl Held {
    /// Adds what one more grant gives (`more`) to what is given: kept back is only what every grant that gives it keeps.
    pub fn widen(&mut self, given: &SlotSet, more: &SlotSet, held: &Self) {
        merge(&mut self.codes, &held.codes, given, more, joined);
        merge(&mut self.also, &held.also, given, more, common);
        merge(&mut self.unread, &held.unread, given, more, |a, b| Some(Arc::new(a.intersection(b))));
    }

    /// Whether anything of a slot is kept back.
    pub fn keeps(&self, slot: SlotId) -> bool {
        self.codes.contains_key(&slot) || self.also.contains_key(&slot) || self.unread.contains_key(&slot)
    }

    /// What the rules of a derived slot may not read.
    pub fn unread(&self, derived: SlotId) -> Option<&Arc<Unread>> {
        self.unread.get(&derived)
    }
}

#[expect(clippy::ptr_arg, reason = "joins the values of two maps, which are these")]
fn joined(a: &Vec<Clause>, b: &Vec<Clause>) -> Option<Vec<Clause>> {
    let mut all = a.clone();
    all.extend(b.iter().filter(|clause| !a.contains(clause)).cloned());
    Some(all)
}

fn common(a: &BTreeSet<SourceId>, b: &BTreeSet<SourceId>) -> Option<BTreeSet<SourceId>> {
    let sources: BTreeSet<SourceId> = a.intersection(b).copied().collect();
    (!sources.is_empty()).then_some(sources)
}

fn both<T>(
    a: &BTreeMap<SlotId, T>,
    b: &BTreeMap<SlotId, T>,
    join: impl Fn(&T, &T) -> Option<T>,
) -> BTreeMap<SlotId, T> {
    a.iter().filter_map(|(slot, of_a)| Some((*slot, join(of_a, b.get(slot)?)?))).collect()
}

fn merge<T: Clone>(
    into: &mut BTreeMap<SlotId, T>,
    more: &BTreeMap<SlotId, T>,
    given: &SlotSet,
    more_given: &SlotSet,
    join: impl Fn(&T, &T) -> Option<T>,
) {
    into.retain(|slot, held| match more.get(slot) {
        Some(also_held) => match join(held, also_held) {
            Some(joined) => {
                *held = joined;
                true
            }
            None => false,
        },
        None => !more_given.contains(*slot),
    });
    for (slot, held) in more {
        if !given.contains(*slot) {
            into.entry(*slot).or_insert_with(|| held.clone());
        }
    }
}

/// Takes out of every grant what departments withhold from its role, and checks the roles and relations they name.
/// `derived` are the slots that rules fill; `partial`: relations or roles may be declared that could not be read.
pub fn apply(
    access: &mut Access,
    contract: &Contract,
    bindings: &Bindings,
    derived: &[SlotId],
    networks: &[String],
    partial: bool,
    faults: &mut Faults,
) {
    if !partial {
        for source in &bindings.sources {
            names(&source.hand, access, networks, faults);
        }
    }
    // A relation that an approval narrows is, to the departments, the relation itself.
    let relations: Vec<Arc<str>> = access.relations.iter().map(|relation| relation.rule.name.as_str().into()).collect();
    for grant in &mut access.grants {
        let relation = relations.get(grant.relation.index()).map_or("", |name| name);
        let role = Arc::clone(&grant.role);
        let mut rules = Unread::default();
        let mut codes = Clauses::default();
        for (at, source) in bindings.sources.iter().enumerate() {
            let Ok(id) = u32::try_from(at).map(SourceId) else { continue };
            for withheld in source.hand.withheld.iter().filter(|withheld| withheld.applies(&role, relation)) {
                take(grant, contract, withheld, (id, &source.title));
                codes.add(withheld);
                if !withheld.rules_may_read {
                    unread(&mut rules, contract, withheld, id);
                }
            }
        }
        tidy(grant, contract);
        // What the grant does not give at all is not given in part either, whatever another grant does.
        let given = &grant.slots;
        grant.held.codes = codes.shown().into_iter().filter(|(slot, _)| given.contains(*slot)).collect();
        grant.held.also.retain(|slot, _| given.contains(*slot));
        rules.codes = codes.of_rules();
        let rules = Arc::new(rules);
        if !rules.is_empty() {
            let given = derived.iter().filter(|slot| grant.slots.contains(**slot));
            grant.held.unread = given.map(|slot| (*slot, Arc::clone(&rules))).collect();
        }
    }
}

/// The codes of one grant, from all sources.
#[derive(Default)]
struct Clauses {
    shown: BTreeMap<SlotId, Vec<Arc<Codes>>>,
    of_rules: BTreeMap<SlotId, Vec<Arc<Codes>>>,
}

impl Clauses {
    fn add(&mut self, withheld: &Withheld) {
        for (slot, codes) in &withheld.codes {
            self.shown.entry(*slot).or_default().extend(codes.iter().cloned());
            if !withheld.rules_may_read {
                self.of_rules.entry(*slot).or_default().extend(codes.iter().cloned());
            }
        }
    }

    fn shown(&self) -> HeldCodes {
        clauses(&self.shown)
    }

    fn of_rules(&self) -> HeldCodes {
        clauses(&self.of_rules)
    }
}

fn clauses(codes: &BTreeMap<SlotId, Vec<Arc<Codes>>>) -> HeldCodes {
    codes.iter().map(|(slot, codes)| (*slot, vec![codes.as_slice().into()])).collect()
}

fn take(grant: &mut Grant, contract: &Contract, withheld: &Withheld, (source, title): (SourceId, &Arc<str>)) {
    for slot in withheld.slots.iter().flat_map(|slot| contract.below(*slot)) {
        if grant.slots.contains(slot) {
            grant.slots.remove(slot);
            grant.masks.remove(&slot);
            grant.withheld.insert(slot, Arc::clone(title));
        }
    }
    for slot in withheld.also.iter().flat_map(|slot| contract.below(*slot)) {
        grant.held.also.entry(slot).or_default().insert(source);
    }
}

fn unread(rules: &mut Unread, contract: &Contract, withheld: &Withheld, source: SourceId) {
    for slot in withheld.slots.iter().flat_map(|slot| contract.below(*slot)) {
        rules.slots.insert(slot);
    }
    for slot in withheld.also.iter().flat_map(|slot| contract.below(*slot)) {
        rules.also.entry(slot).or_default().insert(source);
    }
}

/// An object of which everything is withheld is withheld with it.
fn tidy(grant: &mut Grant, contract: &Contract) {
    let hollow: Vec<(SlotId, Option<Arc<str>>)> = grant
        .slots
        .iter()
        .filter(|slot| matches!(contract.slot(*slot).shape, Shape::Object | Shape::ObjectList))
        .filter_map(|slot| {
            let inside: Vec<SlotId> = contract.below(slot).into_iter().skip(1).collect();
            let taken = inside.iter().find_map(|slot| grant.withheld.get(slot).cloned());
            let left = inside
                .iter()
                .any(|inside| grant.slots.contains(*inside) && !matches!(contract.slot(*inside).shape, Shape::Object));
            (taken.is_some() && !left).then_some((slot, taken))
        })
        .collect();
    for (slot, title) in hollow {
        grant.slots.remove(slot);
        if let Some(title) = title {
            grant.withheld.insert(slot, title);
        }
    }
}

/// Roles, relations and networks that a binding names are declared.
fn names(hand: &Hand, access: &Access, networks: &[String], faults: &mut Faults) {
    let Some(text) = &hand.text else { return };
    let mut check = |named: &Named, what: &str, known: Vec<&str>, declared: &str| {
        if !known.contains(&&*named.name) {
            let hint = fault::did_you_mean(&named.name, known, declared);
            faults.add(text, named.place, format!("there is no {what} `{}`", named.name), hint);
        }
    };
    let roles = || access.roles.iter().map(|role| &*role.name).collect::<Vec<&str>>();
    let relations = || access.relations.iter().map(|relation| &*relation.rule.name).collect::<Vec<&str>>();
    for withheld in &hand.withheld {
        for role in withheld.roles.iter().flatten().chain(&withheld.except_roles) {
            check(role, "role", roles(), "roles are declared in roles.yaml");
        }
        for relation in &withheld.except_relations {
            check(relation, "relation", relations(), "relations are declared in rules/relations.yaml");
        }
    }
    for quota in &hand.quotas {
        check(&quota.role, "role", roles(), "roles are declared in roles.yaml");
        if let Some(network) = &quota.network {
            let known = networks.iter().map(String::as_str).collect();
            check(network, "network", known, "networks are declared in gateway.yaml");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: SlotId = SlotId(7);

    fn clause(code: &str) -> Clause {
        Arc::new([Arc::new(Codes::new(SLOT, [code]))])
    }

    fn slots(slots: &[u32]) -> SlotSet {
        slots.iter().copied().map(SlotId).collect()
    }

    fn sources(sources: &[u32]) -> BTreeSet<SourceId> {
        sources.iter().copied().map(SourceId).collect()
    }

    /// What one grant keeps back of the slot.
    fn held(codes: &[&str], of: &[u32], unread: &[u32]) -> Held {
        let mut held = Held::default();
        if !codes.is_empty() {
            held.codes.insert(SLOT, codes.iter().map(|code| clause(code)).collect());
        }
        if !of.is_empty() {
            held.also.insert(SLOT, sources(of));
        }
        if !unread.is_empty() {
            held.unread.insert(SLOT, Arc::new(Unread { slots: slots(unread), ..Unread::default() }));
        }
        held
    }

    type Kept = (Vec<Clause>, BTreeSet<SourceId>, SlotSet);

    /// What is kept back after a first and a second grant; each gives the slot or does not.
    fn widened(first: Option<&Held>, second: Option<&Held>) -> Kept {
        let (mut all, mut given) = (Held::default(), SlotSet::new());
        for held in [first, second] {
            let more = if held.is_some() { slots(&[SLOT.0]) } else { SlotSet::new() };
            all.widen(&given, &more, held.unwrap_or(&Held::default()));
            given.union(&more);
        }
        (
            all.codes.get(&SLOT).cloned().unwrap_or_default(),
            all.also.get(&SLOT).cloned().unwrap_or_default(),
            all.unread(SLOT).map(|unread| unread.slots.clone()).unwrap_or_default(),
        )
    }

    fn kept(codes: &[&str], of: &[u32], unread: &[u32]) -> Kept {
        (codes.iter().map(|code| clause(code)).collect(), sources(of), slots(unread))
    }

    #[test]
    fn kept_back_is_only_what_every_grant_that_gives_it_keeps() {
        let one = held(&["F2*", "D66"], &[1, 2], &[3, 4]);
        let other = held(&["D66", "B20"], &[2, 5], &[4, 6]);
        let nothing = Held::default();
        // A code is shown if either of two clauses shows it: both stay, each once.
        assert_eq!(widened(Some(&one), Some(&other)), kept(&["F2*", "D66", "B20"], &[2], &[4]));
        assert_eq!(widened(Some(&one), None), kept(&["F2*", "D66"], &[1, 2], &[3, 4]));
        assert_eq!(widened(None, Some(&one)), kept(&["F2*", "D66"], &[1, 2], &[3, 4]));
        assert_eq!(widened(Some(&one), Some(&nothing)), kept(&[], &[], &[]));
        assert_eq!(widened(Some(&nothing), Some(&one)), kept(&[], &[], &[]));
        let apart = held(&[], &[9], &[]);
        assert_eq!(widened(Some(&one), Some(&apart)), kept(&[], &[], &[]), "no source is kept by both");
        let mut all = Held::default();
        all.widen(&SlotSet::new(), &slots(&[SLOT.0]), &held(&[], &[1], &[]));
        all.widen(&slots(&[SLOT.0]), &slots(&[SLOT.0]), &apart);
        assert!(!all.keeps(SLOT), "and nothing stands for it");
    }

    #[test]
    fn anything_that_is_kept_back_counts() {
        assert!(!Held::default().keeps(SLOT));
        for some in [held(&["F2*"], &[], &[]), held(&[], &[1], &[]), held(&[], &[], &[3])] {
            assert!(some.keeps(SLOT) && !some.keeps(SlotId(8)));
        }
    }

    #[test]
    fn what_rules_may_not_read_is_what_is_kept_from_each() {
        let unread = |of: &[u32], codes: &[&str], also: &[u32]| {
            let Held { codes, also, .. } = held(codes, also, &[]);
            Unread { slots: slots(of), codes, also }
        };
        assert!(Unread::default().is_empty());
        for some in [unread(&[3], &[], &[]), unread(&[], &["F2*"], &[]), unread(&[], &[], &[1])] {
            assert!(!some.is_empty());
            let common = some.intersection(&Unread::default());
            assert!(common.is_empty(), "{common:?}");
        }
        let common = unread(&[3, 4], &["F2*"], &[1, 2]).intersection(&unread(&[4, 5], &["B20"], &[2, 3]));
        assert_eq!(common.slots, slots(&[4]));
        assert_eq!(common.codes.get(&SLOT).map(Vec::as_slice), Some(&[clause("F2*"), clause("B20")][..]));
        assert_eq!(common.also.get(&SLOT), Some(&sources(&[2])));
        // Of source 1 nothing of the slot, of the others the slot; of none what is kept whole.
        let some = unread(&[3], &[], &[1]);
        assert_eq!(some.readable(&slots(&[3, 7, 8]), SourceId(1)), slots(&[8]));
        assert_eq!(some.readable(&slots(&[3, 7, 8]), SourceId(2)), slots(&[7, 8]));
    }

    #[test]
    fn codes_are_kept_from_rules_unless_the_department_lets_them_read() {
        let withheld = |code: &str, rules_may_read: bool| Withheld {
            codes: BTreeMap::from([(SLOT, vec![Arc::new(Codes::new(SLOT, [code]))])]),
            rules_may_read,
            ..Withheld::default()
        };
        let mut all = Clauses::default();
        all.add(&withheld("F2*", false));
        all.add(&withheld("B20", true));
        let both: Clause = Arc::new([Arc::new(Codes::new(SLOT, ["F2*"])), Arc::new(Codes::new(SLOT, ["B20"]))]);
        assert_eq!(all.shown(), BTreeMap::from([(SLOT, vec![both])]));
        assert_eq!(all.of_rules(), BTreeMap::from([(SLOT, vec![clause("F2*")])]));
    }
}
