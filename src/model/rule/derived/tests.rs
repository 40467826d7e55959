use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::model::rule::tests::today;
use crate::model::rule::{FieldKind, FieldType, FieldTypes, Scope};

const LEVELS: [&str; 3] = ["RED", "YELLOW", "BLUE"];
const SIGNS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A thing with signs that are there or not.
struct Signs;

impl FieldTypes for Signs {
    fn field(&self, _type_name: &str, field: &str) -> Option<FieldType> {
        SIGNS.contains(&field).then(|| FieldType { name: "Boolean".to_owned(), list: false, kind: FieldKind::Scalar })
    }
    fn fields(&self, _type_name: &str) -> Vec<String> {
        SIGNS.map(str::to_owned).to_vec()
    }
    fn enum_values(&self, _type_name: &str) -> Option<Vec<String>> {
        None
    }
}

fn ladder(rules: &[(&str, String)], otherwise: &str) -> Ladder {
    let none = BTreeMap::new();
    let scope =
        Scope { entity_variable: "thing", entity_type: "Thing", principal: &none, fields: &Signs, thresholds: None };
    let rule = |(at, (level, when)): (usize, &(&str, String))| LadderRule {
        id: at.to_string(),
        level: (*level).to_owned(),
        zh: String::new(),
        en: String::new(),
        when: Expression::compile(when, &scope).unwrap_or_else(|fault| panic!("{when}: {fault:?}")),
    };
    Ladder {
        path: "warning".to_owned(),
        on: "Thing".to_owned(),
        declassifies: "a sign".to_owned(),
        levels: LEVELS.map(str::to_owned).to_vec(),
        otherwise: otherwise.to_owned(),
        rules: rules.iter().enumerate().map(rule).collect(),
    }
}

fn things(signs: &[(&str, Option<bool>)]) -> Value {
    Value::Object(signs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>())
}

/// What the ladder comes to, over everything that the absent signs may turn out to be.
fn over_all_completions(ladder: &Ladder, facts: &Value) -> BTreeSet<String> {
    let absent: Vec<&str> = SIGNS.into_iter().filter(|sign| facts.get(sign).is_none()).collect();
    let every = 3_usize.pow(u32::try_from(absent.len()).unwrap());
    let completion = |mut number: usize| {
        let mut facts = facts.clone();
        for sign in &absent {
            facts[*sign] = [Value::Null, json!(false), json!(true)][number % 3].clone();
            number /= 3;
        }
        facts
    };
    (0..every).filter_map(|number| ladder.decide(&completion(number), &json!({}), today()).level).collect()
}

fn sign(name: &str) -> String {
    format!("thing.{name}")
}

#[test]
fn bounds_do_not_take_the_level_that_is_shown_for_the_level() {
    let ladder = ladder(&[("RED", sign("a")), ("YELLOW", sign("b")), ("BLUE", sign("c"))], "GREEN");
    let bounds = |signs: &[(&str, Option<bool>)]| {
        let levels = ladder.bounds(&things(signs), &json!({}), today());
        let open: Vec<&str> = levels.open.iter().map(|rule| rule.level.as_str()).collect();
        (levels.possible, open)
    };
    assert_eq!(bounds(&[("b", Some(true)), ("c", None)]), (vec!["RED", "YELLOW"], vec!["RED"]));
    assert_eq!(bounds(&[("a", Some(true))]), (vec!["RED"], vec![]), "what is below does not matter");
    assert_eq!(bounds(&[("b", Some(false)), ("c", Some(false))]), (vec!["RED", "GREEN"], vec!["RED"]));
    assert_eq!(bounds(&[]), (vec!["RED", "YELLOW", "BLUE", "GREEN"], vec!["RED", "YELLOW", "BLUE"]));
    assert_eq!(bounds(&[("a", None), ("b", None), ("c", None)]), (vec!["GREEN"], vec![]), "null is known");

    let facts = things(&[("b", Some(true))]);
    let levels = ladder.bounds(&facts, &json!({}), today());
    assert_eq!(ladder.decide(&facts, &json!({}), today()).level.as_deref(), Some("YELLOW"));
    assert_eq!((levels.highest(), levels.lowest()), (Some("RED"), Some("YELLOW")));
    assert_eq!(levels.is_one_of(&["YELLOW"]), Truth::Unknown);
    assert_eq!(levels.is_one_of(&["RED", "YELLOW"]), Truth::True);
    assert_eq!(levels.is_one_of(&["BLUE", "GREEN"]), Truth::False);
}

fn any_signs() -> impl Strategy<Value = Value> {
    let sign =
        || prop_oneof![2 => Just(None), 1 => Just(Some(None)), 3 => any::<bool>().prop_map(|value| Some(Some(value)))];
    prop::collection::vec(sign(), SIGNS.len()).prop_map(|values| {
        let known = SIGNS.iter().zip(values).filter_map(|(name, value)| Some((*name, value?)));
        things(&known.collect::<Vec<_>>())
    })
}

fn any_levels() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(LEVELS.to_vec()), 0..=SIGNS.len())
}

fn any_otherwise() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GREEN", "BLUE", "RED"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Where no two rules read the same, the bounds are exact.
    #[test]
    fn bounds_are_what_all_completions_come_to(
        levels in any_levels(), otherwise in any_otherwise(), facts in any_signs(),
    ) {
        let rules: Vec<(&str, String)> = levels.into_iter().zip(SIGNS.map(sign)).collect();
        let ladder = ladder(&rules, otherwise);
        let bounds = ladder.bounds(&facts, &json!({}), today());
        let possible: BTreeSet<String> = bounds.possible.iter().map(|level| (*level).to_owned()).collect();
        prop_assert_eq!(&possible, &over_all_completions(&ladder, &facts));
        prop_assert_eq!(possible.len(), bounds.possible.len(), "each once");
        let rank = |level: &&str| LEVELS.iter().position(|known| known == level).unwrap_or(LEVELS.len());
        prop_assert!(bounds.possible.is_sorted_by_key(rank), "{:?}", bounds.possible);
        prop_assert_eq!(bounds.open.is_empty(), bounds.possible.len() == 1);
        let shown = ladder.decide(&facts, &json!({}), today()).level;
        prop_assert!(shown.is_none_or(|level| bounds.possible.contains(&level.as_str())));
    }

    /// Where rules read the same, no level that is possible is missing.
    #[test]
    fn bounds_leave_out_nothing_that_is_possible(
        rules in prop::collection::vec((
            prop::sample::select(LEVELS.to_vec()),
            prop::sample::select(SIGNS.to_vec()),
            prop::sample::select(SIGNS.to_vec()),
            prop::sample::select(vec!["&&", "||", "&& !", "== "]),
        ), 0..5),
        otherwise in any_otherwise(),
        facts in any_signs(),
    ) {
        let rules: Vec<(&str, String)> =
            rules.into_iter().map(|(level, a, b, join)| (level, format!("thing.{a} {join}thing.{b}"))).collect();
        let ladder = ladder(&rules, otherwise);
        let bounds = ladder.bounds(&facts, &json!({}), today());
        for level in over_all_completions(&ladder, &facts) {
            prop_assert!(bounds.possible.contains(&level.as_str()), "{} of {:?}", level, bounds.possible);
        }
    }
}
