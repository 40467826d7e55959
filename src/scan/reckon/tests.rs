//! Bounds held against all that the truth may be: small worlds, gone through one by one.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::base::code::ItemState;
use crate::model::contract::scan::Range;

/// What a value of the grouping, and of the number, may be in these worlds.
const VALUES: [Option<&str>; 3] = [None, Some("A"), Some("B")];

/// An entity of which everything is known: whether it counts, in which group, with which number.
type Whole = (bool, Option<&'static str>, Option<i64>);

fn place() -> impl Strategy<Value = Place> {
    let known = prop::sample::select(VALUES.to_vec()).prop_map(|value| Place::Known(value.map(str::to_owned)));
    prop_oneof![
        4 => known,
        1 => Just(Place::Open(ItemState::Unavailable, None)),
        1 => Just(Place::Open(ItemState::Undetermined, Some(["A", "B"].map(str::to_owned).into()))),
    ]
}

fn known(range: Option<(i64, i64)>) -> impl Strategy<Value = Known> {
    let (least, greatest) = range.unwrap_or((-3, 3));
    prop_oneof![
        1 => Just(Known::None),
        3 => (least..=greatest).prop_map(|value| Known::Value(Decimal::from(value))),
        1 => Just(Known::Unknown),
    ]
}

fn row(range: Option<(i64, i64)>) -> impl Strategy<Value = Row> {
    (prop::bool::weighted(0.7), place(), known(range)).prop_map(|(matched, place, known)| Row {
        matched,
        places: vec![vec![place]],
        numbers: vec![known],
    })
}

/// All that the truth about an entity may be.
fn truths(row: &Row, (least, greatest): (i64, i64)) -> Vec<Whole> {
    let matched: &[bool] = if row.matched { &[true] } else { &[true, false] };
    let values: Vec<Option<&'static str>> =
        VALUES.into_iter().filter(|value| row.places[0][0].may_be(*value)).collect();
    let numbers: Vec<Option<i64>> = match row.numbers[0] {
        Known::None => vec![None],
        Known::Value(value) => vec![Some(i64::try_from(value.mantissa()).unwrap())],
        Known::Unknown => std::iter::once(None).chain((least..=greatest).map(Some)).collect(),
    };
    let mut all = Vec::new();
    for matched in matched {
        for value in &values {
            all.extend(numbers.iter().map(|number| (*matched, *value, *number)));
        }
    }
    all
}

fn worlds(rows: &[Row], range: (i64, i64)) -> Vec<Vec<Whole>> {
    rows.iter().fold(vec![Vec::new()], |worlds, row| {
        let truths = truths(row, range);
        let longer = |world: &Vec<Whole>| {
            let world = world.clone();
            truths.iter().map(move |truth| [world.as_slice(), &[*truth]].concat()).collect::<Vec<_>>()
        };
        worlds.iter().flat_map(longer).collect()
    })
}

/// What a group comes to in a world: how many, and the values.
fn of_group(world: &[Whole], group: Option<&str>) -> (usize, Vec<i64>) {
    let inside: Vec<&Whole> = world.iter().filter(|(counts, value, _)| *counts && *value == group).collect();
    (inside.len(), inside.iter().filter_map(|(_, _, number)| *number).collect())
}

fn reckoned(rows: &[Row]) -> Reckoning {
    let mut reckoning = Reckoning::default();
    rows.iter().for_each(|row| reckoning.add(row, 100).unwrap());
    reckoning
}

/// Whether a bound holds, and is reached by one of the worlds.
fn hold(bounds: Bounds, truths: &[Option<Decimal>], name: &str) -> Result<(), TestCaseError> {
    for truth in truths.iter().flatten() {
        prop_assert!(bounds.lower.is_none_or(|lower| lower <= *truth), "{name}: {truth} is under {bounds:?}");
        prop_assert!(bounds.upper.is_none_or(|upper| *truth <= upper), "{name}: {truth} is over {bounds:?}");
    }
    if let Some(value) = bounds.value {
        prop_assert!(truths.iter().all(|truth| *truth == Some(value)), "{name}: {truths:?} are not {value}");
        prop_assert_eq!((bounds.lower, bounds.upper), (Some(value), Some(value)));
    }
    Ok(())
}

fn tight(bounds: Bounds, truths: &[Option<Decimal>], name: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(bounds.lower, truths.iter().copied().flatten().min(), "{}: the lower one is reached", name);
    prop_assert_eq!(bounds.upper, truths.iter().copied().flatten().max(), "{}: the upper one is reached", name);
    Ok(())
}

fn average(values: &[i64]) -> Option<Decimal> {
    let count = i64::try_from(values.len()).ok().filter(|count| *count > 0)?;
    // To the digits that are told; bounds are rounded outwards.
    Some((Decimal::from(values.iter().sum::<i64>()) / Decimal::from(count)).round_dp(6))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Where all were looked at: whatever is not known turns out to be, the truth is between the bounds, and those of
    /// counts and sums are met by one of the worlds.
    #[test]
    fn the_truth_is_between_the_bounds_whatever_it_is(
        (range, rows) in prop::sample::select(vec![(0, 2), (-1, 1), (1, 2)])
            .prop_flat_map(|range| (Just(range), prop::collection::vec(row(Some(range)), 0..4)))
    ) {
        let of_slot = Range { min: Decimal::from(range.0), max: Some(Decimal::from(range.1)) };
        let worlds = worlds(&rows, range);
        for (key, group) in reckoned(&rows).groups(true, true) {
            let [Place::Known(value)] = key.as_slice() else { continue };
            let of: Vec<(usize, Vec<i64>)> = worlds.iter().map(|world| of_group(world, value.as_deref())).collect();
            let counts: Vec<Option<Decimal>> = of.iter().map(|(count, _)| Some(Decimal::from(*count))).collect();
            let sums: Vec<Option<Decimal>> = of.iter().map(|(_, values)| Some(values.iter().sum::<i64>().into())).collect();
            hold(group.count(), &counts, "count")?;
            tight(group.count(), &counts, "count")?;
            let number = group.number(0, Some(of_slot));
            hold(number.sum(), &sums, "sum")?;
            tight(number.sum(), &sums, "sum")?;
            let least: Vec<_> = of.iter().map(|(_, values)| values.iter().min().map(|value| Decimal::from(*value))).collect();
            let greatest: Vec<_> = of.iter().map(|(_, values)| values.iter().max().map(|value| Decimal::from(*value))).collect();
            let averages: Vec<_> = of.iter().map(|(_, values)| average(values)).collect();
            hold(number.least(), &least, "min")?;
            hold(number.greatest(), &greatest, "max")?;
            hold(number.average(), &averages, "average")?;
            let is_known = rows.iter().all(|row| row.matched && !row.places[0][0].is_open() && row.numbers[0] != Known::Unknown);
            prop_assert!(!is_known || group.count().value.is_some(), "what is known is told");
        }
    }

    /// Where no range is told, nothing that is not known has a bound; and where not all were looked at, there may be any
    /// number of others.
    #[test]
    fn nothing_is_bounded_that_nobody_bounds(rows in prop::collection::vec(row(None), 0..4), more in row(Some((-3, 3)))) {
        let all: Vec<Row> = rows.iter().chain([&more]).cloned().collect();
        for (is_whole, looked_at) in [(true, &rows), (false, &rows)] {
            let of = if is_whole { looked_at } else { &all };
            let worlds = worlds(of, (-4, 4));
            for (key, group) in reckoned(looked_at).groups(true, is_whole) {
                let [Place::Known(value)] = key.as_slice() else { continue };
                let of: Vec<(usize, Vec<i64>)> = worlds.iter().map(|world| of_group(world, value.as_deref())).collect();
                let number = group.number(0, None);
                hold(group.count(), &of.iter().map(|(count, _)| Some(Decimal::from(*count))).collect::<Vec<_>>(), "count")?;
                hold(number.sum(), &of.iter().map(|(_, values)| Some(values.iter().sum::<i64>().into())).collect::<Vec<_>>(), "sum")?;
                hold(number.least(), &of.iter().map(|(_, values)| values.iter().min().map(|value| Decimal::from(*value))).collect::<Vec<_>>(), "min")?;
                hold(number.greatest(), &of.iter().map(|(_, values)| values.iter().max().map(|value| Decimal::from(*value))).collect::<Vec<_>>(), "max")?;
                hold(number.average(), &of.iter().map(|(_, values)| average(values)).collect::<Vec<_>>(), "average")?;
                prop_assert!(is_whole || group.count().upper.is_none());
                prop_assert!(is_whole || number.sum().upper.is_none());
            }
        }
    }

    /// What was reckoned, written down and read again comes to the same as if it had never been interrupted.
    #[test]
    fn what_goes_on_comes_to_the_same(rows in prop::collection::vec(row(None), 0..12), at in 0_usize..12) {
        let (before, after) = rows.split_at(at.min(rows.len()));
        let kept = reckoned(before).kept().to_string();
        let mut going_on = Reckoning::restored(&serde_json::from_str(&kept).unwrap()).unwrap();
        after.iter().for_each(|row| going_on.add(row, 100).unwrap());
        prop_assert_eq!(going_on, reckoned(&rows));
    }
}

fn group(value: &str) -> Places {
    vec![Place::Known(Some(value.to_owned()))]
}

#[test]
fn one_of_several_values_counts_in_each_and_of_several_groupings_in_one_of_both() {
    let known = |values: &[&str]| -> Vec<Place> {
        values.iter().map(|value| Place::Known(Some((*value).to_owned()))).collect()
    };
    let row = |places: Vec<Vec<Place>>| Row { matched: true, places, numbers: Vec::new() };
    let of_lists = reckoned(&[row(vec![known(&["A", "B"])]), row(vec![known(&["B"])])]).groups(true, true);
    let counts: Vec<u64> = of_lists.values().map(|group| group.sure.rows).collect();
    assert_eq!(counts, [1, 2]);
    let of_both = reckoned(&[row(vec![known(&["A", "B"]), known(&["X"])])]).groups(true, true);
    assert_eq!(of_both.keys().map(Vec::len).collect::<BTreeSet<_>>(), BTreeSet::from([2]));
    assert_eq!(of_both.len(), 2);
}

#[test]
fn whose_group_is_not_known_is_told_apart_and_may_be_of_any_that_it_can_be() {
    let row = |place| Row { matched: true, places: vec![vec![place]], numbers: Vec::new() };
    let open = |state, levels: Option<&[&str]>| {
        Place::Open(state, levels.map(|levels| levels.iter().map(|level| (*level).to_owned()).collect()))
    };
    let groups = reckoned(&[
        row(Place::Known(Some("RED".to_owned()))),
        row(Place::Known(Some("GREEN".to_owned()))),
        row(open(ItemState::Undetermined, Some(&["RED", "YELLOW"]))),
        row(open(ItemState::Undetermined, Some(&["GREEN", "YELLOW"]))),
        row(open(ItemState::Unavailable, None)),
    ])
    .groups(true, true);
    let bounds = |key: &Places| {
        let count = groups[key].count();
        (count.lower.unwrap().to_string(), count.upper.unwrap().to_string(), count.value)
    };
    assert_eq!(bounds(&group("RED")), ("1".to_owned(), "3".to_owned(), None));
    assert_eq!(bounds(&group("GREEN")), ("1".to_owned(), "3".to_owned(), None));
    let told: Vec<(&Places, u64)> =
        groups.iter().filter(|(key, _)| key[0].is_open()).map(|(key, group)| (key, group.sure.rows)).collect();
    let of_state = |state| vec![Place::Open(state, None)];
    assert_eq!(told, [(&of_state(ItemState::Unavailable), 1), (&of_state(ItemState::Undetermined), 2)]);
}

#[test]
fn sums_are_exact_or_not_told() {
    let sum = |numbers: &[&str]| {
        let row = |number: &&str| Row {
            matched: true,
            places: Vec::new(),
            numbers: vec![Known::Value(Decimal::from_str_exact(number).unwrap())],
        };
        let groups = reckoned(&numbers.iter().map(row).collect::<Vec<_>>()).groups(false, true);
        let number = groups[&Vec::new()].number(0, None);
        (number.sum().value.map(|sum| sum.to_string()), number.average().value.map(|average| average.to_string()))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(sum(&["0.1"; 10]), (text("1.0"), text("0.1")));
    assert_eq!(sum(&["1", "1", "0"]), (text("2"), text("0.666667")));
    assert_eq!(sum(&["-0.05", "0.10"]), (text("0.05"), text("0.025")));
    let nearly_all_digits = "79228162514264337593543950335";
    assert_eq!(sum(&[nearly_all_digits, "0"]).0, text(nearly_all_digits));
    assert_eq!(sum(&[nearly_all_digits, "0.1"]), (None, None), "it would have to be rounded");
}

#[test]
fn a_statistic_has_no_more_groups_than_it_may() {
    let row = |value: usize| Row {
        matched: true,
        places: vec![vec![Place::Known(Some(value.to_string()))]],
        numbers: Vec::new(),
    };
    let mut reckoning = Reckoning::default();
    (0..3).for_each(|value| reckoning.add(&row(value), 3).unwrap());
    assert_eq!(reckoning.add(&row(2), 3), Ok(()), "one that is there already");
    assert_eq!(reckoning.add(&row(3), 3), Err(TooManyGroups));
}
