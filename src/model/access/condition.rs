//! What a grant requires of a request beside role and relation. Decided for every request anew, also where the plan
//! is kept: rights and plans know only which grants count, never why.

use std::fmt;
use std::sync::Arc;

use jiff::civil::{Date, DateTime, Time, Weekday};
use regex::Regex;

use super::{Denied, DocumentsRule, Grant, Presented, Role};

/// All must hold. What is not written requires nothing.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// One of these must be declared; empty: none needs to be.
    pub purposes: Vec<Arc<str>>,
    /// The request must name a case number that matches as a whole.
    pub case: Option<Regex>,
    /// Beside the role's own networks.
    pub networks: Option<Vec<Arc<str>>>,
    pub people: Option<Vec<Person>>,
    pub from: Option<Date>,
    /// The last day.
    pub until: Option<Date>,
    pub hours: Option<Hours>,
    pub approval: Option<Approval>,
    pub break_glass: Option<BreakGlass>,
}

/// A principal that a grant names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub id: Arc<str>,
    /// `None`: there is one issuer only.
    pub issuer: Option<Arc<str>>,
}

/// Times of the day, and days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// From, and to (not itself; `None`: the end of the day). Empty: the whole day.
    pub spans: Vec<(Time, Option<Time>)>,
    /// Empty: every day.
    pub days: Vec<Weekday>,
}

/// A second person must have approved it, for one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub by: Vec<Arc<str>>,
    pub valid_minutes_max: u32,
    pub uses: u32,
}

/// The request must declare an emergency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlass {
    pub review_by: Vec<Arc<str>>,
    pub review_hours_max: u32,
}

/// Whether an entity, of a type and with a key, is the one that is meant.
pub type IsOf = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// An approval that the request carries, checked against the requester, the purpose and the case.
#[derive(Clone)]
pub struct Approved {
    pub id: String,
    pub role: String,
    /// As which the approver approved it.
    pub by_role: String,
    pub minutes_since: i64,
    /// Requests that have used it before this one.
    pub used: u32,
    /// As often as it was given for: only what goes on under one of these uses relies on it.
    pub is_used_up: bool,
    /// Whether the entity of this type and key is the one that was approved.
    pub is_of: IsOf,
}

impl fmt::Debug for Approved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approved").field("id", &self.id).field("role", &self.role).finish_non_exhaustive()
    }
}

impl Hours {
    pub fn hold(&self, now: DateTime) -> bool {
        let within = |(from, to): &(Time, Option<Time>)| *from <= now.time() && to.is_none_or(|to| now.time() < to);
        (self.days.is_empty() || self.days.contains(&now.date().weekday()))
            && (self.spans.is_empty() || self.spans.iter().any(within))
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (from, to)) in self.spans.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            match to {
                Some(to) => write!(f, "{comma}{}-{}", from.strftime("%H:%M"), to.strftime("%H:%M"))?,
                None => write!(f, "{comma}{}-24:00", from.strftime("%H:%M"))?,
            }
        }
        for (at, day) in self.days.iter().enumerate() {
            let gap = if at > 0 || !self.spans.is_empty() { " " } else { "" };
            write!(f, "{gap}{}", day_name(*day))?;
        }
        Ok(())
    }
}

/// As files write it.
pub fn day_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "mon",
        Weekday::Tuesday => "tue",
        Weekday::Wednesday => "wed",
        Weekday::Thursday => "thu",
        Weekday::Friday => "fri",
        Weekday::Saturday => "sat",
        Weekday::Sunday => "sun",
    }
}

impl Approval {
    /// Whether what was approved is what this grant asks for: the grant may have become narrower since.
    pub(super) fn is_met_by(&self, role: &str, approved: &Approved) -> bool {
        approved.role == role
            && self.by.iter().any(|by| **by == *approved.by_role)
            && (0..i64::from(self.valid_minutes_max)).contains(&approved.minutes_since)
            && approved.used < self.uses
    }
}

impl Role {
    /// What keeps the role from counting at all.
    pub fn missing(&self, presented: Presented) -> Option<Denied> {
        let role = || Arc::clone(&self.name);
        let issued =
            |issuers: &Vec<Arc<str>>| presented.issuer.is_some_and(|by| issuers.iter().any(|name| **name == *by));
        if self.issuers.as_ref().is_some_and(|issuers| !issued(issuers)) {
            return Some(Denied::Issuer { role: role() });
        }
        if !among(&self.networks, presented.networks) {
            return Some(Denied::Network { role: role() });
        }
        let certified = self.certificate.as_ref().is_none_or(|rule| rule.holds(presented.certificate));
        if !certified {
            return Some(Denied::Certificate { role: role() });
        }
        let runs = presented.trusted || self.doors.documents == DocumentsRule::Any;
        (!runs).then(|| Denied::Document { role: role() })
    }
}

impl Grant {
    /// What keeps the grant from counting for this request, of a role that counts; the relation apart.
    pub fn missing(&self, presented: Presented) -> Option<Denied> {
        let role = || Arc::clone(&self.role);
        let Conditions { purposes, case, networks, people, from, until, hours, approval, break_glass } =
            &self.conditions;
        let today = presented.now.date();
        if networks.as_ref().is_some_and(|networks| !among(networks, presented.networks)) {
            return Some(Denied::Network { role: role() });
        }
        if people.as_ref().is_some_and(|people| !people.iter().any(|person| person.is(presented))) {
            return Some(Denied::People { role: role() });
        }
        if let Some(from) = from.filter(|from| today < *from) {
            return Some(Denied::NotYet { role: role(), from });
        }
        if let Some(until) = until.filter(|until| today > *until) {
            return Some(Denied::Expired { role: role(), until });
        }
        if !purpose_counts(purposes, presented) {
            return Some(Denied::Purpose { role: role(), purposes: purposes.clone() });
        }
        if case.as_ref().is_some_and(|pattern| !presented.case.is_some_and(|case| pattern.is_match(case))) {
            return Some(Denied::Case { role: role() });
        }
        if let Some(hours) = hours.as_ref().filter(|hours| !hours.hold(presented.now)) {
            return Some(Denied::Hours { role: role(), hours: hours.to_string() });
        }
        if break_glass.is_some() && !presented.emergency {
            return Some(Denied::BreakGlass { role: role() });
        }
        match approval {
            Some(needed) if !presented.approved.is_some_and(|given| needed.is_met_by(&self.role, given)) => {
                Some(Denied::Approval { role: role(), by: needed.by.clone() })
            }
            _ => None,
        }
    }
}

impl Person {
    fn is(&self, presented: Presented) -> bool {
        presented.id == Some(&*self.id) && self.issuer.as_ref().is_none_or(|issuer| presented.issuer == Some(&**issuer))
    }
}

fn among(names: &[Arc<str>], here: &[String]) -> bool {
    names.iter().any(|name| here.iter().any(|other| **other == **name))
}

fn purpose_counts(purposes: &[Arc<str>], presented: Presented) -> bool {
    let allowed =
        |purpose: &str| presented.purposes_allowed.is_none_or(|allowed| allowed.iter().any(|name| name == purpose));
    match presented.purpose {
        Some(purpose) => allowed(purpose) && (purposes.is_empty() || purposes.iter().any(|name| **name == *purpose)),
        None => purposes.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_counts_for_the_role_by_whom_and_as_long_as_the_grant_says() {
        let needed = Approval { by: vec!["chief".into(), "deputy".into()], valid_minutes_max: 60, uses: 2 };
        let approved = |role: &str, by_role: &str, minutes_since: i64, used: u32| Approved {
            id: "a".to_owned(),
            role: role.to_owned(),
            by_role: by_role.to_owned(),
            minutes_since,
            used,
            is_used_up: false,
            is_of: Arc::new(|_, _| true),
        };
        let met = |approved: Approved| needed.is_met_by("clerk", &approved);
        assert!(met(approved("clerk", "chief", 0, 0)) && met(approved("clerk", "deputy", 59, 1)));
        for (what, approved) in [
            ("for another role", approved("cleaner", "chief", 0, 0)),
            ("by another role", approved("clerk", "clerk", 0, 0)),
            ("for another role, by another", approved("cleaner", "clerk", 0, 0)),
            ("in the future", approved("clerk", "chief", -1, 0)),
            ("too long ago", approved("clerk", "chief", 60, 0)),
            ("used up", approved("clerk", "chief", 0, 2)),
            ("used more often than it now may be", approved("clerk", "chief", 0, 3)),
        ] {
            assert!(!met(approved), "{what}");
        }
    }
}
