//! What is recorded of a principal, what those whose data was read are shown of it, and what counts as unusual reading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Span;
use jiff::civil::Time;
use regex::Regex;

pub use super::format::When;
use super::format::{AccessLogEntry, AlertsEntry, AuditEntry, HiddenEntry};
use super::{ClaimType, Purpose};
use crate::base::fault::{Faults, Place, SourceText, did_you_mean};
use crate::model::access::Access;
use crate::model::contract::Contract;
use crate::model::yaml::{self, Spanned};

const RULES_MAX: usize = 32;
const COUNT_MAX: usize = 10_000;
/// Longest time that a rule looks back, in minutes: a day.
const WITHIN_MAX: u32 = 24 * 60;

/// What is recorded of who asked and what for. Other texts of callers may name a household, and are not.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// A claim.
    pub organisation: Option<String>,
    /// A claim.
    pub divisions: Option<String>,
    /// Purposes that are declared here.
    pub purposes: BTreeSet<String>,
    /// Forms of case numbers, each with a role that has a grant which asks for it.
    pub cases: Vec<(Arc<str>, Regex)>,
}

impl Recorded {
    pub(super) fn read(
        entry: &AuditEntry,
        claims: &BTreeMap<String, ClaimType>,
        file: &Arc<SourceText>,
        faults: &mut Faults,
    ) -> Self {
        let mut claim = |at: &Option<Spanned<String>>, kind: ClaimType, kind_name: &str| {
            let at = at.as_ref()?;
            match claims.get(&at.value) {
                Some(found) if *found == kind => {}
                Some(_) => {
                    let hint = format!("declare it so under `principal.claims`: `{}: {kind_name}`", at.value);
                    faults.add(file, yaml::place_of(at), format!("the claim `{}` is no {kind_name}", at.value), hint);
                }
                None => {
                    let known = claims.keys().map(String::as_str);
                    let hint = did_you_mean(&at.value, known, "declare it under `principal.claims` first");
                    faults.add(file, yaml::place_of(at), format!("`{}` is no claim of the principal", at.value), hint);
                }
            }
            Some(at.value.clone())
        };
        Self {
            organisation: claim(&entry.organisation, ClaimType::Text, "string"),
            divisions: claim(&entry.divisions, ClaimType::Texts, "[string]"),
            ..Self::default()
        }
    }
}

/// What those whose data was read are shown of it.
#[derive(Debug, Clone)]
pub struct AccessLogConfig {
    pub delay_hours: u32,
    pub show_principal: bool,
    pub hidden: Vec<Hidden>,
    file: Arc<SourceText>,
}

/// Looks that appear late or never.
#[derive(Debug, Clone)]
pub struct Hidden {
    /// Of one of these; empty: of any.
    pub roles: Vec<String>,
    /// For one of these; empty: for any.
    pub purposes: Vec<String>,
    pub until_days: Option<u32>,
    named: Vec<(String, Place)>,
    named_purposes: Vec<(String, Place)>,
}

impl AccessLogConfig {
    pub(super) fn read(entry: AccessLogEntry, file: &Arc<SourceText>, faults: &mut Faults) -> Self {
        let hidden = entry.hidden.into_iter().filter_map(|hidden| {
            let place = yaml::place(&hidden);
            let HiddenEntry { roles, purposes, until_days } = hidden.value;
            if roles.is_empty() && purposes.is_empty() {
                let hint = "say whose looks, or for what: `roles`, `purposes`; `delay_hours` is for all";
                faults.add(file, place, "this would hide every look", hint);
                return None;
            }
            let placed = |list: &[Spanned<String>]| {
                list.iter().map(|text| (text.value.clone(), yaml::place_of(text))).collect::<Vec<_>>()
            };
            let (named, named_purposes) = (placed(&roles), placed(&purposes));
            let texts = |list: Vec<Spanned<String>>| list.into_iter().map(|text| text.value).collect();
            Some(Hidden { roles: texts(roles), purposes: texts(purposes), until_days, named, named_purposes })
        });
        let hidden = hidden.collect();
        let (delay_hours, show_principal) = (entry.delay_hours, entry.show_principal);
        Self { delay_hours, show_principal, hidden, file: Arc::clone(file) }
    }

    /// A role that `roles.yaml` does not have, or a purpose that nobody can declare, hides nothing: a fault.
    pub fn check(&self, access: &Access, purposes: &BTreeMap<String, Purpose>, faults: &mut Faults) {
        let named = self.hidden.iter().flat_map(|hidden| &hidden.named);
        roles_known(named, &self.file, access, faults);
        let named = self.hidden.iter().flat_map(|hidden| &hidden.named_purposes);
        for (name, place) in named.filter(|(name, _)| !purposes.contains_key(name)) {
            let known = purposes.keys().map(String::as_str);
            let hint = did_you_mean(name, known, "purposes are declared under `purposes`");
            faults.add(&self.file, *place, format!("there is no purpose `{name}`"), hint);
        }
    }
}

/// What counts as unusual reading.
#[derive(Debug, Clone)]
pub struct AlertsConfig {
    pub night: Option<Night>,
    /// Only entities of this type are counted; `None`: all.
    pub entity: Option<String>,
    pub rules: Vec<AlertRule>,
    entity_at: Place,
    file: Arc<SourceText>,
}

#[derive(Debug, Clone)]
pub struct AlertRule {
    pub name: Arc<str>,
    pub when: When,
    /// Only entities of this type are counted; `None`: all that [`AlertsConfig::entity`] leaves.
    pub entity: Option<String>,
    pub count: usize,
    pub within_minutes: u32,
    pub except_roles: Vec<String>,
    entity_at: Place,
    named: Vec<(String, Place)>,
}

/// From when to when (+08:00), over midnight where it ends before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Night {
    from: Time,
    to: Time,
}

impl Night {
    fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let time = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        let night = Self { from: time(from)?, to: time(to)? };
        (night.from != night.to).then_some(night)
    }

    pub fn holds(self, time: Time) -> bool {
        if self.from <= self.to { self.from <= time && time < self.to } else { self.from <= time || time < self.to }
    }
}

impl AlertRule {
    pub fn within(&self) -> Span {
        Span::new().minutes(i64::from(self.within_minutes))
    }
}

impl AlertsConfig {
    pub(super) fn read(entry: AlertsEntry, file: &Arc<SourceText>, faults: &mut Faults) -> Self {
        let night = entry.night.as_ref().and_then(|at| {
            let night = Night::parse(&at.value);
            if night.is_none() {
                faults.add(file, yaml::place_of(at), "this is no time of day from and to", "write `22:00-06:00`");
            }
            night
        });
        let mut rules = Vec::new();
        for (name, at) in entry.rules {
            let (place, rule) = (yaml::place(&at), at.value);
            if rule.when == When::Night && entry.night.is_none() {
                faults.add(file, place, "nothing says when it is night", "add `night: 22:00-06:00` under `alerts`");
            }
            if !(1..=COUNT_MAX).contains(&rule.count) || !(1..=WITHIN_MAX).contains(&rule.within_minutes) {
                let hint = format!("`count` is from 1 to {COUNT_MAX}, `within_minutes` from 1 to {WITHIN_MAX}");
                faults.add(file, place, format!("the rule `{name}` cannot be counted"), hint);
            }
            if let Some(at) = &rule.entity {
                let place = yaml::place_of(at);
                if rule.when == When::AfterRefusals {
                    let hint = "leave `entity` out: requests are counted, whatever they ask for";
                    faults.add(file, place, "`after-refusals` counts no entities", hint);
                } else if entry.entity.as_ref().is_some_and(|all| all.value != at.value) {
                    let hint = "leave `entity` out under `alerts`, and write it at each rule";
                    faults.add(
                        file,
                        place,
                        format!("the rule `{name}` counts nothing: another `entity` is for all"),
                        hint,
                    );
                }
            }
            let named = rule.except_roles.iter().map(|role| (role.value.clone(), yaml::place_of(role))).collect();
            rules.push(AlertRule {
                name: name.into(),
                when: rule.when,
                entity_at: rule.entity.as_ref().map(yaml::place_of).unwrap_or_default(),
                entity: rule.entity.map(|at| at.value),
                count: rule.count,
                within_minutes: rule.within_minutes,
                except_roles: rule.except_roles.into_iter().map(|role| role.value).collect(),
                named,
            });
        }
        if rules.len() > RULES_MAX {
            let hint = format!("at most {RULES_MAX}");
            faults.add(file, Place::default(), "there are too many rules under `alerts`", hint);
        }
        let entity_at = entry.entity.as_ref().map(yaml::place_of).unwrap_or_default();
        Self { night, entity: entry.entity.map(|at| at.value), rules, entity_at, file: Arc::clone(file) }
    }

    /// Roles and entity types that are not there count nothing: faults.
    pub fn check(&self, access: &Access, contract: &Contract, faults: &mut Faults) {
        roles_known(self.rules.iter().flat_map(|rule| &rule.named), &self.file, access, faults);
        let of_rules = self.rules.iter().map(|rule| (&rule.entity, rule.entity_at));
        for (name, place) in std::iter::once((&self.entity, self.entity_at)).chain(of_rules) {
            let Some(name) = name.as_deref().filter(|name| contract.entity_named(name).is_none()) else { continue };
            let known = contract.entities.iter().map(|entity| &*entity.name);
            let hint = did_you_mean(name, known, "an entity is a type of the contract with @key");
            faults.add(&self.file, place, format!("the contract has no entity `{name}`"), hint);
        }
    }
}

fn roles_known<'n>(
    named: impl Iterator<Item = &'n (String, Place)>,
    file: &Arc<SourceText>,
    access: &Access,
    faults: &mut Faults,
) {
    for (name, place) in named.filter(|(name, _)| access.role(name).is_none()) {
        let known = access.roles.iter().map(|role| &*role.name);
        let hint = did_you_mean(name, known, "roles are declared in roles.yaml");
        faults.add(file, *place, format!("there is no role `{name}`"), hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_goes_over_midnight_and_holds_its_beginning() {
        let at = |hour, minute| Time::constant(hour, minute, 0, 0);
        let night = Night::parse("22:00-06:30").unwrap();
        for (time, holds) in [
            (at(22, 0), true),
            (at(23, 59), true),
            (at(0, 0), true),
            (at(6, 29), true),
            (at(6, 30), false),
            (at(12, 0), false),
            (at(21, 59), false),
        ] {
            assert_eq!(night.holds(time), holds, "{time}");
        }
        assert!(Night::parse("00:00-05:00").unwrap().holds(at(4, 0)));
        for wrong in ["", "22:00", "22:00-22:00", "24:00-06:00", "22-6", "a:b-c:d"] {
            assert_eq!(Night::parse(wrong), None, "{wrong}");
        }
    }
}
