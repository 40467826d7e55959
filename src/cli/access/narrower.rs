//! Whether one grant counts only where another counts too. Where that cannot be told, the answer is no.

use std::sync::Arc;

use crate::model::access::condition::{Approval, BreakGlass, Hours};
use crate::model::access::scans::{ScanApproval, ScanDoors};
use crate::model::access::{Conditions, Grant, Role};

/// Whether `grant` of `role` requires at least what `other` requires.
pub fn counts_only_where(role: &Role, grant: &Grant, other_role: &Role, other: &Grant) -> bool {
    let certificate = other_role.certificate.is_none() || role.certificate == other_role.certificate;
    let documents =
        other_role.doors.documents == Default::default() || role.doors.documents == other_role.doors.documents;
    subset(Some(&role.networks), Some(&other_role.networks))
        && subset(role.issuers.as_ref(), other_role.issuers.as_ref())
        && certificate
        && documents
        && requires(&grant.conditions, &other.conditions)
}

/// Whether who scans so could scan as much so too.
pub fn scans_no_more(new: &ScanDoors, old: &ScanDoors) -> bool {
    let ScanDoors { statistics, candidates_max, named_max, approval } = new;
    let asks_as_much =
        |new: &ScanApproval, old: &ScanApproval| new.above <= old.above && self::approval(&new.needed, &old.needed);
    (old.statistics || !statistics)
        && *candidates_max <= old.candidates_max
        && *named_max <= old.named_max
        && old.approval.as_ref().is_none_or(|old| approval.as_ref().is_some_and(|new| asks_as_much(new, old)))
}

fn requires(new: &Conditions, old: &Conditions) -> bool {
    let listed = |list: &Vec<Arc<str>>| (!list.is_empty()).then(|| list.clone());
    let (new_purposes, old_purposes) = (listed(&new.purposes), listed(&old.purposes));
    let case = |conditions: &Conditions| conditions.case.as_ref().map(|case| case.as_str().to_owned());
    subset(new_purposes.as_ref(), old_purposes.as_ref())
        && (old.case.is_none() || case(new) == case(old))
        && subset(new.networks.as_ref(), old.networks.as_ref())
        && subset(new.people.as_ref(), old.people.as_ref())
        && old.from.is_none_or(|old| new.from.is_some_and(|new| new >= old))
        && old.until.is_none_or(|old| new.until.is_some_and(|new| new <= old))
        && old.hours.as_ref().is_none_or(|old| new.hours.as_ref().is_some_and(|new| hours(new, old)))
        && old.approval.as_ref().is_none_or(|old| new.approval.as_ref().is_some_and(|new| approval(new, old)))
        && old.break_glass.as_ref().is_none_or(|old| new.break_glass.as_ref().is_some_and(|new| break_glass(new, old)))
}

/// `None` stands for everything.
fn subset<T: PartialEq>(new: Option<&Vec<T>>, old: Option<&Vec<T>>) -> bool {
    old.is_none_or(|old| new.is_some_and(|new| new.iter().all(|one| old.contains(one))))
}

fn hours(new: &Hours, old: &Hours) -> bool {
    let days = old.days.is_empty() || !new.days.is_empty() && new.days.iter().all(|day| old.days.contains(day));
    let within = |(from, to): &(jiff::civil::Time, Option<jiff::civil::Time>)| {
        old.spans.iter().any(|(old_from, old_to)| {
            let ends = old_to.is_none_or(|old_to| to.is_some_and(|to| to <= old_to));
            old_from <= from && ends
        })
    };
    days && (old.spans.is_empty() || !new.spans.is_empty() && new.spans.iter().all(within))
}

fn approval(new: &Approval, old: &Approval) -> bool {
    new.by.iter().all(|role| old.by.contains(role))
        && new.valid_minutes_max <= old.valid_minutes_max
        && new.uses <= old.uses
}

fn break_glass(new: &BreakGlass, old: &BreakGlass) -> bool {
    new.review_by.iter().all(|role| old.review_by.contains(role)) && new.review_hours_max <= old.review_hours_max
}
