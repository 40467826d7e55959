//! What a grant requires beside role and relation, as written → [`Conditions`].
//!
//! What is at fault here never starts; until the faults are told it stands for "never", not for "always".

use std::sync::Arc;

use jiff::civil::{Date, Time, Weekday};
use regex::Regex;

use super::Compiler;
use crate::base::fault::did_you_mean;
use crate::model::access::condition::{Approval, BreakGlass, Conditions, Hours, Person, day_name};
use crate::model::access::format;
use crate::model::yaml::{self, Spanned};

/// Longest an approval may count: four weeks.
const VALID_MINUTES_MAX: u32 = 40_320;
/// Requests that one approval may be good for.
const USES_MAX: u32 = 1_000;
/// Longest time for a review: four weeks.
const REVIEW_HOURS_MAX: u32 = 672;

const DAYS: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

impl Compiler<'_> {
    pub(super) fn conditions(&mut self, grant: &format::Grant) -> Conditions {
        let from = grant.from.as_ref().map(|at| self.date(at));
        let until = grant.until.as_ref().map(|at| self.date(at));
        if let (Some(Some(from)), Some(Some(until)), Some(at)) = (from, until, &grant.until)
            && until < from
        {
            self.fault(yaml::place_of(at), "`until` is before `from`", "both days count; write the later one here");
        }
        let networks = grant.networks.as_ref().map(|networks| self.networks(networks));
        let people = grant.people.as_ref().map(|people| self.people(people));
        self.not_empty(grant);
        Conditions {
            purposes: grant.purposes.iter().map(|purpose| self.purpose(purpose)).collect(),
            case: grant.case.as_ref().and_then(|pattern| self.pattern(pattern)),
            networks,
            people,
            from: from.map(|from| from.unwrap_or(Date::MAX)),
            until: until.map(|until| until.unwrap_or(Date::MIN)),
            hours: self.hours(grant),
            approval: grant.approval.as_ref().map(|approval| self.approval(approval)),
            break_glass: grant.break_glass.as_ref().map(|written| self.break_glass(written)),
        }
    }

    /// An empty list could be read as "nobody" or as "everybody".
    fn not_empty(&mut self, grant: &format::Grant) {
        let empty = [
            ("networks", grant.networks.as_ref().is_some_and(Vec::is_empty)),
            ("people", grant.people.as_ref().is_some_and(Vec::is_empty)),
            ("hours", grant.hours.as_ref().is_some_and(Vec::is_empty)),
            ("days", grant.days.as_ref().is_some_and(Vec::is_empty)),
        ];
        for (key, _) in empty.iter().filter(|(_, empty)| *empty) {
            let place = yaml::place_of(&grant.relation);
            self.fault(place, format!("`{key}` of this grant is empty"), "name some, or leave it out");
        }
    }

    pub(super) fn networks(&mut self, written: &[Spanned<String>]) -> Vec<Arc<str>> {
        for network in written.iter().filter(|network| !self.declared.networks.contains(&network.value)) {
            let known = self.declared.networks.iter().map(String::as_str);
            let hint = did_you_mean(&network.value, known, "networks are declared in gateway.yaml");
            self.fault(yaml::place_of(network), format!("there is no network `{}`", network.value), hint);
        }
        written.iter().map(|network| network.value.as_str().into()).collect()
    }

    pub(super) fn issuer(&mut self, written: &Spanned<String>) -> Option<Arc<str>> {
        if !self.declared.issuers.contains(&written.value) {
            let known = self.declared.issuers.iter().map(String::as_str);
            let hint = did_you_mean(&written.value, known, "issuers are listed in gateway.yaml");
            self.fault(yaml::place_of(written), format!("there is no issuer `{}`", written.value), hint);
            return None;
        }
        Some(written.value.as_str().into())
    }

    fn purpose(&mut self, written: &Spanned<String>) -> Arc<str> {
        if !self.declared.purposes.contains(&written.value) {
            let known = self.declared.purposes.iter().map(String::as_str);
            let hint = did_you_mean(&written.value, known, "purposes are declared in gateway.yaml");
            self.fault(yaml::place_of(written), format!("there is no purpose `{}`", written.value), hint);
        }
        written.value.as_str().into()
    }

    fn pattern(&mut self, pattern: &Spanned<String>) -> Option<Regex> {
        match Regex::new(&format!("^(?:{})$", pattern.value)) {
            Ok(regex) => Some(regex),
            Err(error) => {
                self.fault(
                    yaml::place_of(pattern),
                    format!("`case` is not a regular expression: {error}"),
                    "for example \"JD-[0-9]{4}-[0-9]{3,6}\"",
                );
                // Fails closed: nothing matches the empty class.
                Regex::new("[^\\s\\S]").ok()
            }
        }
    }

    fn date(&mut self, written: &Spanned<String>) -> Option<Date> {
        let date = written.value.parse::<Date>().ok();
        if date.is_none() {
            let message = format!("`{}` is not a date", written.value);
            self.fault(yaml::place_of(written), message, "write year-month-day: 2026-12-31");
        }
        date
    }

    fn people(&mut self, written: &[Spanned<format::Principal>]) -> Vec<Person> {
        let several = self.declared.issuers.len() > 1;
        let mut people = Vec::with_capacity(written.len());
        for person in written {
            let issuer = person.value.issuer.as_ref().map(|at| self.issuer(at));
            if issuer.is_none() && several {
                let hint = "add `issuer`: gateway.yaml lists several, and two of them may know the same id";
                self.fault(yaml::place(person), format!("whose `{}` is meant?", person.value.id), hint);
            }
            if issuer != Some(None) {
                people.push(Person { id: person.value.id.as_str().into(), issuer: issuer.flatten() });
            }
        }
        people
    }

    fn hours(&mut self, grant: &format::Grant) -> Option<Hours> {
        if grant.hours.is_none() && grant.days.is_none() {
            return None;
        }
        let spans = grant.hours.iter().flatten().map(|span| self.span(span)).collect();
        let days = grant.days.iter().flatten().filter_map(|day| self.day(day)).collect();
        Some(Hours { spans, days })
    }

    fn span(&mut self, written: &Spanned<String>) -> (Time, Option<Time>) {
        let time = |text: &str| -> Option<Time> {
            let (hour, minute) = text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2)?;
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        let read = |text: &str| -> Option<(Time, Option<Time>)> {
            let (from, to) = text.split_once('-')?;
            let from = time(from)?;
            let to = if to == "24:00" { None } else { Some(time(to)?) };
            to.is_none_or(|to| from < to).then_some((from, to))
        };
        read(&written.value).unwrap_or_else(|| {
            let hint = "write 08:00-18:00; over midnight two: [22:00-24:00, 00:00-06:00]";
            self.fault(yaml::place_of(written), format!("`{}` is no time of the day", written.value), hint);
            (Time::MAX, Some(Time::MIN))
        })
    }

    fn day(&mut self, written: &Spanned<String>) -> Option<Weekday> {
        let day = DAYS.into_iter().find(|day| day_name(*day) == written.value);
        if day.is_none() {
            let message = format!("`{}` is no day of the week", written.value);
            self.fault(yaml::place_of(written), message, "write mon, tue, wed, thu, fri, sat or sun");
        }
        day
    }

    fn approval(&mut self, written: &Spanned<format::Approval>) -> Approval {
        let file = &written.value;
        self.second_person(written, &file.by, &file.valid_minutes_max, file.uses.as_ref())
    }

    /// An approval, of a record or of a scan.
    pub(super) fn second_person<T>(
        &mut self,
        within: &Spanned<T>,
        by: &[Spanned<String>],
        valid_minutes_max: &Spanned<u32>,
        uses: Option<&Spanned<u32>>,
    ) -> Approval {
        self.between("valid_minutes_max", valid_minutes_max, VALID_MINUTES_MAX);
        if let Some(uses) = uses {
            self.between("uses", uses, USES_MAX);
        }
        let by = self.second_persons("by", within, by);
        Approval { by, valid_minutes_max: valid_minutes_max.value, uses: uses.map_or(1, |uses| uses.value) }
    }

    fn break_glass(&mut self, written: &Spanned<format::BreakGlass>) -> BreakGlass {
        let file = &written.value;
        self.between("review_hours_max", &file.review_hours_max, REVIEW_HOURS_MAX);
        let review_by = self.second_persons("review_by", written, &file.review_by);
        BreakGlass { review_by, review_hours_max: file.review_hours_max.value }
    }

    /// The roles of whoever approves or reviews.
    fn second_persons<T>(&mut self, key: &str, within: &Spanned<T>, written: &[Spanned<String>]) -> Vec<Arc<str>> {
        if written.is_empty() {
            self.fault(yaml::place(within), format!("`{key}` names no role"), "name the roles of who may do it");
        }
        for role in written.iter().filter(|role| !self.roles.contains(&role.value)).collect::<Vec<_>>() {
            let hint = did_you_mean(&role.value, self.roles.iter().map(String::as_str), "roles stand in this file");
            self.fault(yaml::place_of(role), format!("there is no role `{}`", role.value), hint);
        }
        written.iter().map(|role| role.value.as_str().into()).collect()
    }

    fn between(&mut self, key: &str, written: &Spanned<u32>, most: u32) {
        if !(1..=most).contains(&written.value) {
            let hint = format!("between 1 and {most}");
            self.fault(yaml::span(written), format!("`{key}` cannot be {}", written.value), hint);
        }
    }
}
