//! Statistics as the contract has them (`…StatsGroup`), with what is too small left out.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::groups::Grouping;
use super::{Asked, Bounds, Figure, Group, Groups, Kept, Measure, Place, suppress};
use crate::base::code::ItemState;
use crate::model::snapshot::Snapshot;

/// What is told of groups.
#[derive(Debug)]
pub struct Stats {
    pub groups: Value,
    /// Groups that are not told for being too small, or so that those cannot be worked out.
    pub suppressed: usize,
    pub kept: Kept,
}

/// Tells of all groups that are large enough. `not`: how many the condition does not hold of; `None`: there is none.
pub fn told(snapshot: &Snapshot, asked: &Asked, mut groups: Groups, not: Option<usize>) -> Stats {
    let least = u64::try_from(snapshot.config.scans.group_min).unwrap_or(u64::MAX);
    let figure = |group: &Group| Figure {
        lower: group.sure.rows,
        upper: (!group.is_open).then(|| group.sure.rows + group.maybe.rows),
    };
    let figures: Vec<Figure> = groups.values().map(figure).collect();
    let not = not.map(|not| u64::try_from(not).unwrap_or(u64::MAX));
    let kept = suppress(least, &figures, not);
    if kept.names && !asked.groups.is_empty() {
        return Stats { groups: json!([]), suppressed: 1, kept };
    }
    let is_open = |key: &[Place]| key.iter().any(Place::is_open);
    if groups.keys().zip(&kept.groups).any(|(key, back)| *back && is_open(key)) {
        // Upper bounds hold those of whom the group is not known: they would tell how many there are.
        groups.values_mut().for_each(|group| group.is_open = true);
    }
    let one = |((key, group), back): ((&Vec<Place>, &Group), &bool)| {
        let named = asked.groups.iter().zip(key);
        let key: Vec<Value> = named.map(|(grouping, place)| key_told(snapshot, grouping, place)).collect();
        let value = |measure: &Measure| {
            let bounds = if *back { Bounds::default() } else { measured(asked, *measure, group, least) };
            let text = |number: Option<Decimal>| number.map(|number| number.to_string());
            json!({
                "measure": asked.name(*measure),
                "value": text(bounds.value),
                "lower": text(bounds.lower),
                "upper": text(bounds.upper),
            })
        };
        let values: Vec<Value> = asked.measures.iter().map(value).collect();
        json!({ "key": key, "suppressed": back, "values": values })
    };
    let suppressed = kept.groups.iter().filter(|back| **back).count();
    Stats { groups: groups.iter().zip(&kept.groups).map(one).collect(), suppressed, kept }
}

/// A number that only a few entities have is theirs, however many there are in the group; the least and the greatest are
/// always somebody's.
fn measured(asked: &Asked, measure: Measure, group: &Group, least: u64) -> Bounds {
    let of = |number: usize| group.number(number, asked.numbers.get(number).and_then(|number| number.range));
    let (of, among) = match measure {
        Measure::Count => return group.count(),
        Measure::Sum(number) | Measure::Average(number) => (of(number), least),
        Measure::Least(number) | Measure::Greatest(number) => (of(number), least.saturating_mul(2)),
    };
    let (values, at_most) = (of.values(), of.values_at_most());
    if least > 1 && ((1..among).contains(&values) || at_most.is_some_and(|most| most < among)) {
        return Bounds::default();
    }
    match measure {
        Measure::Count | Measure::Sum(_) => of.sum(),
        Measure::Average(_) => of.average(),
        Measure::Least(_) => of.least(),
        Measure::Greatest(_) => of.greatest(),
    }
}

fn key_told(snapshot: &Snapshot, grouping: &Grouping, place: &Place) -> Value {
    let (value, state) = match place {
        Place::Known(Some(value)) => (Some(value), ItemState::Answered),
        Place::Known(None) => (None, ItemState::NoRecord),
        Place::Open(state, _) => (None, *state),
    };
    let zh = value.and_then(|value| in_chinese(snapshot, grouping, value));
    json!({ "field": grouping.path.join("."), "value": value, "zh": zh, "state": state })
}

/// What the contract calls a value of an enumeration: its description, from the first character that is not of the Latin
/// part on.
fn in_chinese(snapshot: &Snapshot, grouping: &Grouping, value: &str) -> Option<String> {
    let contract = &snapshot.contract;
    let values = contract.published.get_enum(&contract.slot(grouping.slot).type_name)?;
    let description = values.values.get(value)?.description.as_ref()?;
    let begins = description.find(|letter: char| matches!(letter, '\u{3400}'..='\u{9fff}'))?;
    let name = description.get(begins..)?.trim_end_matches(['。', '.', ' ']);
    (!name.is_empty()).then(|| name.to_owned())
}
