//! Cases reckoned by hand over the demo's world: what its exceptions must come to.

use std::collections::BTreeSet;

use departments::expected;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::facts::Files;
use crate::files;
use crate::kleene::Reason;
use crate::reference::{Bounds, Group, Measure, Of, Order, Refused, Scan, Statistic, Verdict};
use crate::sources::Sources;

const VILLAGE: &str = "331122101348";

fn silent(sources: &[&str]) -> Sources {
    sources.iter().map(|source| (*source).to_owned()).collect()
}

fn household(sequence: u32) -> String {
    format!("{VILLAGE}{sequence:06}")
}

fn verdict(files: &Files, sequence: u32, condition: Value, sources: &[&str]) -> Verdict {
    files.verdict(&household(sequence), Some(&condition), &silent(sources))
}

fn undetermined(reasons: impl IntoIterator<Item = Reason>) -> Verdict {
    Verdict::Undetermined(reasons.into_iter().collect())
}

fn is_silent(source: &str) -> Reason {
    Reason::Silent(source.to_owned())
}

fn conflict(path: &str) -> Verdict {
    undetermined([Reason::Conflict(path.to_owned())])
}

fn scan(condition: Value) -> Scan {
    Scan { of: Of::Households, division: VILLAGE.to_owned(), condition: Some(condition), order: None, first: 200 }
}

#[test]
fn nothing_is_neither_equal_nor_more_nor_less_and_the_opposite_of_that_is_so() {
    let files = files();
    // Household 10 is registered, and hardly anything else is known of it.
    assert!(expected::at(&files.portrait(&household(10)), "assets.farmland").is_null());
    for (condition, met) in [
        (json!({"eq": "1"}), false),
        (json!({"lt": "1"}), false),
        (json!({"gte": "1"}), false),
        (json!({"in": ["1"]}), false),
        (json!({"ne": "1"}), true),
        (json!({"exists": false}), true),
        (json!({"exists": true}), false),
        (json!({"itemState": {"in": ["NO_RECORD"]}}), true),
        (json!({"itemState": {"in": ["ANSWERED", "CONFLICT"]}}), false),
    ] {
        let wanted = if met { Verdict::Matched } else { Verdict::Not };
        let of = json!({"assets": {"farmland": condition}});
        assert_eq!(verdict(files, 10, of.clone(), &[]), wanted, "{of}");
        let opposite = if met { Verdict::Not } else { Verdict::Matched };
        assert_eq!(verdict(files, 10, json!({"not": of}), &[]), opposite);
    }
    // An empty list: all of none, and none of them.
    for (quantifier, met) in [("some", Verdict::Not), ("every", Verdict::Matched), ("none", Verdict::Matched)] {
        let of = json!({"assets": {"vehicles": {quantifier: {"kind": {"eq": "CAR"}}}}});
        assert_eq!(verdict(files, 10, of, &[]), met, "{quantifier}");
    }
    assert_eq!(verdict(files, 10, json!({"assets": {"vehicles": {"count": {"eq": 0}}}}), &[]), Verdict::Matched);
}

#[test]
fn where_two_departments_disagree_it_is_not_known_and_the_disagreement_is() {
    let files = files();
    for (sequence, path, condition) in [
        (8, "assistance.dibaoStatus", json!({"assistance": {"dibaoStatus": {"eq": "RECEIVING"}}})),
        (8, "registry.category", json!({"registry": {"category": {"eq": "DIBAO"}}})),
        (13, "registry.memberCount", json!({"registry": {"memberCount": {"gt": 3}}})),
        (16, "health.familyDoctor.name", json!({"health": {"familyDoctor": {"name": {"exists": true}}}})),
        (17, "funds.disbursements", json!({"funds": {"disbursements": {"some": {"programme": {"eq": "x"}}}}})),
        (19, "funds.disbursements", json!({"funds": {"disbursements": {"some": {"amount": {"gt": "1"}}}}})),
    ] {
        assert_eq!(verdict(files, sequence, condition, &[]), conflict(path), "{path}");
    }
    let differing = scan(json!({"funds": {"disbursements": {"itemState": {"in": ["CONFLICT"]}}}}));
    let found = files.scan(&differing, &Sources::new()).unwrap();
    assert_eq!(found.matched, [17, 19, 38, 40].map(household), "W2: what was found and is not paid so");
    assert_eq!(found.undetermined, Default::default());
    // With the second holder silent nobody knows.
    let found = files.scan(&differing, &silent(&["civil-affairs"])).unwrap();
    assert!(found.matched.is_empty() && found.undetermined.contains_key(&household(17)));
}

#[test]
fn lists_of_two_departments_are_compared_over_what_the_condition_reads() {
    let files = files();
    let paid = |condition: Value| json!({"funds": {"disbursements": condition}});
    // The amount alone differs at 19; the status is finance's own.
    let by_amount = verdict(files, 19, paid(json!({"none": {"amount": {"gt": "999999"}}})), &[]);
    assert_eq!(by_amount, conflict("funds.disbursements"));
    for of_finance in [json!({"none": {"status": {"eq": "RETURNED"}}}), json!({"count": {"gte": 0}})] {
        assert!(!matches!(verdict(files, 19, paid(of_finance), &[]), Verdict::Undetermined(_)));
    }
    let by_programme = verdict(files, 19, paid(json!({"none": {"programme": {"eq": "x"}}})), &[]);
    assert_eq!(by_programme, Verdict::Matched, "both have the same programmes");
    // Without the second holder, finance is believed.
    assert_eq!(
        verdict(files, 19, paid(json!({"none": {"amount": {"gt": "999999"}}})), &["civil-affairs"]),
        Verdict::Matched
    );
}

#[test]
fn a_silent_department_leaves_its_own_fields_unknown_and_what_is_asked_with_them() {
    let files = files();
    let insured = json!({"medical": {"insured": {"eq": true}}});
    assert_eq!(
        verdict(files, 1, insured.clone(), &["medical-insurance"]),
        undetermined([is_silent("medical-insurance")])
    );
    assert!(!matches!(verdict(files, 1, insured, &["police", "health"]), Verdict::Undetermined(_)));
    // Banks are asked with a mandate that civil affairs hold.
    let over = json!({"assets": {"deposits": {"overThreshold": {"eq": true}}}});
    assert_eq!(verdict(files, 1, over.clone(), &["civil-affairs"]), undetermined([is_silent("civil-affairs")]));
    assert_eq!(verdict(files, 10, over, &[]), undetermined([Reason::NotAsked("banks".to_owned())]), "it has lapsed");
    // Of members, agriculture tells who they are, and police whether they live.
    let members = |condition: Value| json!({"identity": {"members": {"some": condition}}});
    let lives = members(json!({"lifeStatus": {"eq": "ALIVE"}}));
    assert_eq!(verdict(files, 1, lives, &["police"]), undetermined([is_silent("police")]));
    assert_eq!(verdict(files, 1, members(json!({"relation": {"eq": "HEAD"}})), &["police"]), Verdict::Matched);
}

#[test]
fn what_decides_alone_is_enough() {
    let files = files();
    let known = json!({"id": {"eq": household(1)}});
    let open = json!({"medical": {"insured": {"eq": true}}});
    let none = &["medical-insurance"];
    assert_eq!(verdict(files, 1, json!({"or": [open, known]}), none), Verdict::Matched);
    assert_eq!(verdict(files, 1, json!({"and": [open, {"not": known}]}), none), Verdict::Not);
    assert!(matches!(verdict(files, 1, json!({"and": [open, known]}), none), Verdict::Undetermined(_)));
    // Through a member to the household again.
    let through = json!({"identity": {"members": {"every": {"household": known}}}});
    assert_eq!(verdict(files, 1, through, none), Verdict::Matched);
}

#[test]
fn a_warning_is_decided_by_the_levels_that_it_may_come_to() {
    let files = files();
    let level = |levels: Value| json!({"risk": {"warning": {"level": {"in": levels}}}});
    let at = |wanted: &str| {
        let found = (1..=42).find(|sequence| {
            verdict(files, *sequence, level(json!([wanted])), &[]) == Verdict::Matched
                && verdict(files, *sequence, level(json!(["RED", "YELLOW", "GREEN"])), &["water"]) == Verdict::Matched
        });
        found.unwrap_or_else(|| panic!("no household is {wanted}"))
    };
    // Water can make a household yellow, and takes no red away.
    let (red, green) = (at("RED"), at("GREEN"));
    assert_eq!(verdict(files, red, level(json!(["RED"])), &["water"]), Verdict::Matched);
    assert_eq!(verdict(files, green, level(json!(["GREEN"])), &["water"]), undetermined([is_silent("water")]));
    assert_eq!(verdict(files, green, level(json!(["RED"])), &["water"]), Verdict::Not);
    assert_eq!(verdict(files, green, level(json!(["GREEN", "YELLOW"])), &["water"]), Verdict::Matched);
}

#[test]
fn a_listing_that_is_silent_is_refused_and_never_empty() {
    let files = files();
    let everybody = Scan { condition: None, ..scan(Value::Null) };
    assert_eq!(files.scan(&everybody, &silent(&["agriculture"])), Err(Refused));
    let found = files.scan(&everybody, &Sources::new()).unwrap();
    assert_eq!((found.candidates, found.matched.len()), (42, 42));
}

#[test]
fn those_whose_place_is_not_known_are_undetermined_and_those_without_one_come_last() {
    let files = files();
    let by = |path: &str, descending| Scan {
        order: Some(Order { path: path.to_owned(), descending }),
        condition: None,
        ..scan(Value::Null)
    };
    let income = |key: &String| {
        let portrait = files.portrait(key);
        expected::at(&portrait, "income.perCapita").as_str().map(|text| text.parse::<Decimal>().unwrap())
    };
    let up: Vec<_> = files.scan(&by("income.perCapita", false), &Sources::new()).unwrap().matched;
    let values: Vec<_> = up.iter().map(income).collect();
    let (known, none): (Vec<_>, Vec<_>) = values.iter().partition(|value| value.is_some());
    assert!(known.is_sorted() && !none.is_empty() && values.ends_with(&none), "{values:?}");
    let down = files.scan(&by("income.perCapita", true), &Sources::new()).unwrap().matched;
    assert!(income(&down[0]) >= income(&down[1]) && income(down.last().unwrap()).is_none());
    let unknown = files.scan(&by("medical.selfPaid12Months", false), &silent(&["medical-insurance"])).unwrap();
    assert_eq!((unknown.matched.len(), unknown.undetermined.len()), (0, 42));
}

#[test]
fn counts_and_sums_hold_between_what_is_sure_and_what_may_be() {
    let files = files();
    let receiving = json!({"assistance": {"dibaoStatus": {"eq": "RECEIVING"}}});
    let sum = Measure::Sum("assistance.dibaoMonthly".to_owned());
    let statistic = Statistic {
        of: Of::Households,
        division: VILLAGE.to_owned(),
        condition: Some(receiving.clone()),
        groups: Vec::new(),
        measures: vec![Measure::Count, sum],
    };
    let found = files.scan(&scan(receiving), &Sources::new()).unwrap();
    let reckoned = files.statistic(&statistic, &Sources::new()).unwrap();
    let [count, sum] = reckoned[&Vec::new()][..] else { panic!("{reckoned:?}") };
    let (sure, open) = (Decimal::from(found.matched.len()), Decimal::from(found.undetermined.len()));
    assert_eq!(count, Bounds { lower: Some(sure), upper: Some(sure + open) });
    assert_eq!(open, Decimal::from(2), "households 8 and 29, of which two departments disagree");
    let range = files.contract.at("assistance.dibaoMonthly").range;
    let paid: Decimal = found
        .matched
        .iter()
        .map(|key| {
            expected::at(&files.portrait(key), "assistance.dibaoMonthly").as_str().unwrap().parse::<Decimal>().unwrap()
        })
        .sum();
    assert_eq!(sum.lower, range.map(|_| paid), "what is sure, where nothing is less than nothing");
    // Groups: a household that is undetermined may be in its own.
    let by_category = Statistic {
        of: Of::Households,
        groups: vec![Group { path: "housing.safetyGrade".to_owned(), digits: None, period: None }],
        measures: vec![Measure::Count],
        ..statistic.clone()
    };
    let groups = files.statistic(&by_category, &Sources::new()).unwrap();
    let total =
        |of: fn(&Bounds) -> Option<Decimal>| groups.values().filter_map(|values| of(&values[0])).sum::<Decimal>();
    assert_eq!((total(|one| one.lower), total(|one| one.upper)), (sure, sure + open));
    // With civil affairs silent nobody is sure, and anybody may be.
    let none = files.statistic(&statistic, &silent(&["civil-affairs"])).unwrap();
    assert_eq!(none[&Vec::new()][0], Bounds { lower: Some(Decimal::ZERO), upper: Some(Decimal::from(42)) });
}

#[test]
fn the_bindings_say_who_fills_what() {
    let bindings = &files().bindings;
    for (path, source) in [
        ("registry.division.code", "agriculture"),
        ("identity.members.name", "agriculture"),
        ("identity.members.deathOn", "police"),
        ("assets.deposits.mandate.expiresOn", "civil-affairs"),
        ("assets.deposits.overThreshold", "banks"),
        ("projects.inspections.on", "projects"),
    ] {
        assert_eq!(bindings.source_of(path), Some(source), "{path}");
    }
    assert!(!bindings.fills("registry") && !bindings.fills("risk.warning.level"));
    let blamed = |path: &str| bindings.blamed(path, &silent(&["agriculture", "civil-affairs"]));
    assert_eq!(blamed("assets.deposits.banks"), silent(&["agriculture", "civil-affairs"]));
    assert_eq!(blamed("help.cadre"), Sources::new(), "asked by the household's own number");
    let seconds = |path: &str| bindings.second_silent(path, &silent(&["police", "civil-affairs", "help"]));
    assert_eq!(seconds("registry.memberCount"), silent(&["police"]));
    assert_eq!(seconds("funds.disbursements"), silent(&["civil-affairs"]));
    assert_eq!(seconds("help.cadre"), BTreeSet::new());
}
