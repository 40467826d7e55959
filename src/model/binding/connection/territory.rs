//! Which instance of a source answers for which division, and on which days.

use std::sync::Arc;

use jiff::civil::Date;

use super::instances::Instance;
use crate::base::fault::{Faults, Place, SourceText};
use crate::model::yaml::Spanned;

/// What one instance covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// Beginnings of division codes; at least one.
    pub prefixes: Box<[String]>,
    /// The first and the last day on which it counts.
    pub from: Option<Date>,
    pub until: Option<Date>,
}

impl Cover {
    pub fn counts_on(&self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day <= until)
    }

    pub fn holds(&self, division: &str) -> bool {
        self.prefixes.iter().any(|prefix| division.starts_with(prefix.as_str()))
    }

    /// Whether it covers the division, or a part of it.
    pub fn touches(&self, division: &str) -> bool {
        self.prefixes.iter().any(|prefix| division.starts_with(prefix.as_str()) || prefix.starts_with(division))
    }

    fn meets(&self, other: &Self) -> bool {
        let before = |a: &Self, b: &Self| a.until.zip(b.from).is_some_and(|(until, from)| until < from);
        !before(self, other) && !before(other, self)
    }

    /// A prefix of one that holds, or is held by, a prefix of the other.
    fn shared<'a>(&'a self, other: &'a Self) -> Option<&'a str> {
        self.prefixes.iter().find_map(|a| {
            let related = other.prefixes.iter().find(|b| a.starts_with(b.as_str()) || b.starts_with(a.as_str()))?;
            Some(if a.len() > related.len() { a.as_str() } else { related.as_str() })
        })
    }
}

/// Is any of this the beginning of a division code?
pub fn is_prefix(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

/// Reads what each instance covers; no two may cover one division on one day. `within`: the source's own territory.
pub fn read(text: &Arc<SourceText>, instances: &mut [Instance], within: &[Spanned<String>], faults: &mut Faults) {
    let mut covered: Vec<(String, Cover)> = Vec::new();
    for instance in instances {
        let at = Place { line: instance.line, column: 1, length: 0 };
        let Some(cover) = cover(text, instance, at, faults) else { continue };
        let outside = |prefix: &&String| !within.iter().any(|within| prefix.starts_with(within.value.as_str()));
        if let Some(prefix) = cover.prefixes.iter().find(outside).filter(|_| !within.is_empty()) {
            let message = format!("the division `{prefix}` is outside the source's `territory`");
            faults.add(text, at, message, "correct it here, or add its beginning to `territory` of the binding");
        }
        for (id, other) in covered.iter().filter(|(_, other)| other.meets(&cover)) {
            if let Some(prefix) = other.shared(&cover) {
                let message = format!("both `{id}` and `{}` cover the division `{prefix}`", instance.id);
                faults.add(
                    text,
                    at,
                    message,
                    "give each division to one of them, or each its own days (`from`, `until`)",
                );
            }
        }
        covered.push((instance.id.clone(), cover.clone()));
        instance.cover = Some(cover);
    }
}

fn cover(text: &Arc<SourceText>, instance: &Instance, at: Place, faults: &mut Faults) -> Option<Cover> {
    let cell = |name: &str| instance.columns.get(name).map_or("", |cell| cell.trim());
    let prefixes: Box<[String]> = cell("territory").split_whitespace().map(str::to_owned).collect();
    if prefixes.is_empty() || !prefixes.iter().all(|prefix| is_prefix(prefix)) {
        let message = format!("`territory` of `{}` is not one or several beginnings of division codes", instance.id);
        faults.add(text, at, message, "digits, with a blank between: `331122 331123`");
        return None;
    }
    let mut day = |name: &str| match cell(name) {
        "" => None,
        written => written
            .parse::<Date>()
            .map_err(|_| {
                let message = format!("`{name}` of `{}` is not a day", instance.id);
                faults.add(text, at, message, "write it as 2026-01-31, or leave the cell empty");
            })
            .ok(),
    };
    let cover = Cover { prefixes, from: day("from"), until: day("until") };
    if cover.from.zip(cover.until).is_some_and(|(from, until)| until < from) {
        let message = format!("`until` of `{}` is before `from`", instance.id);
        faults.add(text, at, message, "they are the first and the last day on which it counts");
    }
    Some(cover)
}

/// Divisions that nobody covers, now or later. `within`: the source's own territory.
pub fn gaps(text: &Arc<SourceText>, instances: &[&Instance], within: &[String], today: Date, warnings: &mut Faults) {
    let hint = "nobody is asked there, and its fields are UNDETERMINED with OUTSIDE_TERRITORY";
    let all: Vec<(&Instance, &Cover)> =
        instances.iter().filter_map(|instance| Some((*instance, instance.cover.as_ref()?))).collect();
    for prefix in within {
        let related = |cover: &Cover| cover.holds(prefix) || cover.prefixes.iter().any(|own| own.starts_with(prefix));
        if !all.iter().any(|(_, cover)| related(cover)) {
            warnings.add(text, Place::default(), format!("no instance covers the division `{prefix}`"), hint);
        }
    }
    for (instance, cover) in &all {
        let at = Place { line: instance.line, column: 1, length: 0 };
        let others = || all.iter().filter(|(_, other)| other.shared(cover).is_some()).map(|(_, other)| *other);
        let first = others().all(|other| other.from >= cover.from && other.from.is_some());
        if let Some(from) = cover.from.filter(|from| first && *from > today) {
            warnings.add(text, at, format!("before {from} nobody covers what `{}` covers", instance.id), hint);
        }
        let Some(until) = cover.until else { continue };
        let next = others().filter_map(|other| other.from).filter(|from| *from > until).min();
        let ends = match next {
            Some(next) if until.tomorrow().is_ok_and(|day| day >= next) || next <= today => continue,
            Some(next) => format!("after {until} and before {next}"),
            None => format!("after {until}"),
        };
        warnings.add(text, at, format!("{ends} nobody covers what `{}` covers", instance.id), hint);
    }
}
