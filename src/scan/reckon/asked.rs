//! What a statistic is asked for: its groups and its measures, out of what a caller writes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::groups::{By, Grouping, at};
use super::tally::Known;
use super::{Measure, Row};
use crate::base::code::{ErrorCode, ItemState};
use crate::base::decimal;
use crate::engine::error::RequestError;
use crate::engine::frame::Failure;
use crate::engine::operation::Selection;
use crate::engine::plan::enter;
use crate::engine::project::facts::Facts;
use crate::model::access::SlotSet;
use crate::model::binding::SourceId;
use crate::model::binding::conversion::Kind;
use crate::model::contract::scan::{Range, ScanRoot};
use crate::model::contract::{Shape, SlotId};
use crate::model::rule::Derived;
use crate::model::snapshot::Snapshot;
use crate::scan::coverage::Reasons;

/// Things that are grouped by at once, and measures, of one statistic.
const GROUPINGS_MAX: usize = 4;
const MEASURES_MAX: usize = 20;

/// A number that is measured.
#[derive(Debug, Clone)]
pub struct Number {
    pub slot: SlotId,
    /// From the entity.
    pub path: Vec<String>,
    pub range: Option<Range>,
    /// Who fills it.
    source: Option<SourceId>,
}

/// What a statistic is asked for.
#[derive(Debug, Default)]
pub struct Asked {
    pub groups: Vec<Grouping>,
    pub numbers: Vec<Number>,
    pub measures: Vec<Measure>,
    /// What it reads of an entity, for facts ([`crate::engine::project::facts`]).
    pub reads: Vec<Selection>,
    /// Everything that it reads, with what that stands in.
    pub slots: SlotSet,
}

impl Asked {
    /// Reads `groupBy` and `measures`, lists of input objects of the scan's entity.
    pub fn read(
        snapshot: &Snapshot,
        scan: &ScanRoot,
        group_by: &Value,
        measures: &Value,
    ) -> Result<Self, RequestError> {
        let mut asked = Self::default();
        for group in group_by.as_array().into_iter().flatten() {
            asked.group(snapshot, scan, group)?;
        }
        for measure in measures.as_array().into_iter().flatten() {
            asked.measure(snapshot, scan, measure)?;
        }
        if asked.measures.is_empty() {
            return Err(invalid("`measures` is empty: say what is counted, for example `[{count: true}]`".to_owned()));
        }
        let too_many = match (asked.groups.len() > GROUPINGS_MAX, asked.measures.len() > MEASURES_MAX) {
            (true, _) => format!("`groupBy` has more than {GROUPINGS_MAX} parts; group by less at once"),
            (_, true) => format!("`measures` has more than {MEASURES_MAX} parts; ask for less at once"),
            _ => return Ok(asked),
        };
        Err(RequestError::new(ErrorCode::LimitExceeded, too_many))
    }

    fn group(&mut self, snapshot: &Snapshot, scan: &ScanRoot, group: &Value) -> Result<(), RequestError> {
        let entity = &snapshot.contract.entity(scan.entity).name;
        let slot = slot_of(scan, &format!("{entity}Groupable"), group.get("by"))
            .ok_or_else(|| invalid("`groupBy` names no field that can be grouped by".to_owned()))?;
        let by = by(snapshot, scan, slot, group)?;
        let path = self.enter(snapshot, scan, slot);
        if self.groups.iter().any(|other| other.slot == slot && other.by == by) {
            return Err(invalid(format!("`groupBy` has `{}` twice; leave one out", path.join("."))));
        }
        self.groups.push(Grouping { slot, path, by });
        Ok(())
    }

    fn measure(&mut self, snapshot: &Snapshot, scan: &ScanRoot, measure: &Value) -> Result<(), RequestError> {
        let said = measure.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let said: Vec<(&String, &Value)> = said.collect();
        let [(what, of)] = said.as_slice() else {
            let message = "a measure has exactly one member: `{count: true}`, or `sum`, `average`, `min` or `max` of a \
                           number; write one measure for each";
            return Err(invalid(message.to_owned()));
        };
        if what.as_str() == "count" {
            if **of != Value::Bool(true) {
                return Err(invalid("`count` is true, or left out".to_owned()));
            }
            self.measures.push(Measure::Count);
            return Ok(());
        }
        let entity = &snapshot.contract.entity(scan.entity).name;
        let slot = slot_of(scan, &format!("{entity}Number"), Some(of))
            .ok_or_else(|| invalid(format!("`{what}` names no number that can be measured")))?;
        let number = match self.numbers.iter().position(|number| number.slot == slot) {
            Some(number) => number,
            None => {
                let path = self.enter(snapshot, scan, slot);
                let contract = &snapshot.contract;
                let mut filled = std::iter::once(slot).chain(contract.above(slot));
                let provider = filled.find_map(|slot| snapshot.bindings.provider(slot));
                let source = provider.map(|endpoint| snapshot.bindings.endpoint(endpoint).source);
                self.numbers.push(Number { slot, path, range: contract.slot(slot).range, source });
                self.numbers.len() - 1
            }
        };
        self.measures.push(match what.as_str() {
            "sum" => Measure::Sum(number),
            "average" => Measure::Average(number),
            "min" => Measure::Least(number),
            "max" => Measure::Greatest(number),
            other => return Err(invalid(format!("there is no measure `{other}`"))),
        });
        Ok(())
    }

    /// Enters a slot into what is read; its path.
    fn enter(&mut self, snapshot: &Snapshot, scan: &ScanRoot, slot: SlotId) -> Vec<String> {
        let contract = &snapshot.contract;
        let slots = match contract.territory_path(scan.entity) {
            Some(path) if path.last() == Some(&slot) => path,
            _ => {
                let mut slots: Vec<SlotId> = contract.above(slot).collect();
                slots.reverse();
                slots.push(slot);
                slots
            }
        };
        slots.iter().fold(&mut self.reads, |level, slot| &mut enter(level, snapshot, *slot).children);
        slots.iter().for_each(|slot| self.slots.insert(*slot));
        slots.iter().map(|slot| contract.slot(*slot).name.to_string()).collect()
    }

    /// An entity may count in several groups.
    pub fn overlaps(&self) -> bool {
        self.groups.iter().any(|group| group.by == By::Each)
    }

    /// The name of a measure, as it is told.
    pub fn name(&self, measure: Measure) -> String {
        let of = |what: &str, number: usize| {
            let path = self.numbers.get(number).map(|number| number.path.join("."));
            format!("{what}({})", path.unwrap_or_default())
        };
        match measure {
            Measure::Count => "count".to_owned(),
            Measure::Sum(number) => of("sum", number),
            Measure::Average(number) => of("average", number),
            Measure::Least(number) => of("min", number),
            Measure::Greatest(number) => of("max", number),
        }
    }

    /// Everything that is read, by its path from the entity.
    pub fn fields(&self) -> BTreeSet<String> {
        let numbers = self.numbers.iter().map(|number| number.path.join("."));
        self.groups.iter().map(|group| group.path.join(".")).chain(numbers).collect()
    }

    /// What is known of an entity of which the condition holds, or may hold; and why the rest is not.
    pub fn row(&self, matched: bool, facts: Option<&Facts>) -> (Row, Reasons) {
        let mut reasons = Reasons::new();
        let places: Vec<_> = self.groups.iter().map(|group| group.places(facts)).collect();
        let numbers: Vec<Known> = self.numbers.iter().map(|number| number.known(facts, &mut reasons)).collect();
        if let Some(facts) = facts {
            let open = self.groups.iter().zip(&places).filter(|(_, places)| places.iter().any(super::Place::is_open));
            open.for_each(|(group, _)| missing(facts, &group.path, &mut reasons));
        }
        (Row { matched, places, numbers }, reasons)
    }
}

impl Number {
    fn known(&self, facts: Option<&Facts>, reasons: &mut Reasons) -> Known {
        let Some(facts) = facts else { return Known::Unknown };
        let value = match at(&facts.value, &self.path) {
            Some(Value::Null) => return Known::None,
            Some(Value::String(text)) => decimal::exact(text),
            Some(Value::Number(number)) => decimal::exact(&number.to_string()),
            _ => None,
        };
        let is_in = |range: &Range, value| range.min <= value && range.max.is_none_or(|max| value <= max);
        match value {
            Some(value) if self.range.as_ref().is_none_or(|range| is_in(range, value)) => Known::Value(value),
            // What is outside the range would make every bound a lie.
            Some(_) => {
                let state = ItemState::Unavailable;
                let failure = Failure { state, code: ErrorCode::ValueInvalid, source: self.source };
                reasons.entry(failure).or_default().insert(self.path.join("."));
                Known::Unknown
            }
            None => {
                missing(facts, &self.path, reasons);
                Known::Unknown
            }
        }
    }
}

/// Why what stands at a path is not known.
fn missing(facts: &Facts, path: &Vec<String>, reasons: &mut Reasons) {
    let mut found = false;
    for missing in facts.concerning(std::slice::from_ref(path)) {
        found = true;
        reasons.entry(missing.failure).or_default().insert(path.join("."));
    }
    if !found {
        // A date that is known in part is no failure of anybody's.
        let unknown = Failure { state: ItemState::Undetermined, code: ErrorCode::InputMissing, source: None };
        reasons.entry(unknown).or_default().insert(path.join("."));
    }
}

fn slot_of(scan: &ScanRoot, enumeration: &str, value: Option<&Value>) -> Option<SlotId> {
    scan.filter.slot_of_value(enumeration, value?.as_str()?)
}

/// What of the values of a slot groups have in common.
fn by(snapshot: &Snapshot, scan: &ScanRoot, slot: SlotId, group: &Value) -> Result<By, RequestError> {
    let contract = &snapshot.contract;
    let field = contract.slot(slot);
    let said = |name: &str| group.get(name).filter(|value| !value.is_null());
    let is_territory = contract.territory_path(scan.entity).is_some_and(|path| path.last() == Some(&slot));
    let is_date = matches!(field.shape, Shape::Leaf(Kind::Date | Kind::DateTime));
    if said("digits").is_some() && !is_territory {
        return Err(invalid(format!("`digits` is of territories, and `{}` is none; leave it out", field.path)));
    }
    if said("dates").is_some() && !is_date {
        return Err(invalid(format!("`dates` is of dates, and `{}` is none; leave it out", field.path)));
    }
    if is_territory {
        let Some(digits) = said("digits") else { return Ok(By::Value) };
        let levels = &snapshot.config.scans.division_digits;
        let digits = digits.as_u64().and_then(|digits| usize::try_from(digits).ok()).filter(|digits| *digits > 0);
        return match digits.filter(|digits| levels.is_empty() || levels.contains(digits)) {
            Some(digits) => Ok(By::Digits(digits)),
            None if levels.is_empty() => Err(invalid("`digits` is 1 or more".to_owned())),
            None => {
                let levels: Vec<String> = levels.iter().map(usize::to_string).collect();
                Err(invalid(format!("`digits` is one of {}: where a level of the codes ends", levels.join(", "))))
            }
        };
    }
    if is_date {
        return Ok(By::Date(match said("dates").and_then(Value::as_str) {
            Some("YEAR") => "2026".len(),
            Some("MONTH") => "2026-01".len(),
            _ => "2026-01-01".len(),
        }));
    }
    let rule = field.parent.and_then(|parent| snapshot.derived_of(parent));
    let rule = rule.and_then(|rule| snapshot.rules.derived.get(rule));
    match (rule, &field.shape) {
        (Some(Derived::Ladder(_)), _) if &*field.name == "level" => Ok(By::Level),
        (Some(Derived::Ladder(_)), _) => {
            let message = format!("`{}` tells how rules come to their level; group by the `level`", field.path);
            Err(invalid(message))
        }
        (_, Shape::LeafList(_)) => Ok(By::Each),
        _ => Ok(By::Value),
    }
}

fn invalid(message: String) -> RequestError {
    RequestError::new(ErrorCode::ValidationFailed, message)
}
