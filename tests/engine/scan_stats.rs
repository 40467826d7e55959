//! Statistics over the demo, held against figures that are worked out from its generator and from nothing else.

use std::collections::BTreeMap;

use departments::Options;
use departments::expected::{at, portrait};
use huxiang::identify::Identity;
use huxiang::model::snapshot::Snapshot;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::{World, ask, caller, edit_limits, records, supervisor, world_edited};

const TOWN: &str = "331122101";
const VILLAGE: &str = "331122101348";
/// None of a village's first households is one about which departments disagree.
const AGREED: u32 = 7;

const STATS: &str = "query($division: ID!, $where: HouseholdFilter, $groupBy: [HouseholdGroup!], \
     $measures: [HouseholdMeasure!]!, $resume: ScanResume) {
  householdStats(division: $division, where: $where, groupBy: $groupBy, measures: $measures, resume: $resume) {
    groups { key { field value zh state } suppressed values { measure value lower upper } }
    coverage { candidates evaluated matched undetermined whole ended missing { source state code count fields } plan { calls left } }
    suppressed overlapping resume
  }
}";

/// Departments that answer at once, and are asked as often as it takes.
async fn world(households_per_village: u32, edit: impl FnOnce(&mut Snapshot)) -> World {
    let options = Options { latency: false, rates: false, households_per_village, ..Options::default() };
    world_edited(options, |snapshot| {
        edit_limits(snapshot, |_, limits| limits.per_second_max = None);
        snapshot.config.limits.request_timeout_ms = 60_000;
        edit(snapshot);
    })
    .await
}

/// All figures are told, however small a group is.
fn tells_all(snapshot: &mut Snapshot) {
    snapshot.config.scans.group_min = 0;
}

fn count() -> Value {
    json!([{ "count": true }])
}

async fn answered(world: &World, identity: &Identity, variables: Value) -> Value {
    let answer = ask(&world.gateway, identity, STATS, variables).await;
    assert_eq!(answer["errors"], Value::Null, "{answer:#}");
    answer["data"]["householdStats"].clone()
}

async fn refused(world: &World, identity: &Identity, variables: Value) -> (String, String) {
    let answer = ask(&world.gateway, identity, STATS, variables.clone()).await;
    assert!(answer["data"]["householdStats"].is_null(), "it is refused: {variables:#}");
    let error = &answer["errors"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&error["extensions"]["code"]), text(&error["message"]))
}

/// The portraits of a division.
fn portraits(world: &World, division: &str) -> Vec<Value> {
    let of = world.departments.world();
    of.village_household_ids(division).map(|id| portrait(of, &id).expect("a household")).collect()
}

fn decimal(value: &Value) -> Option<Decimal> {
    value.as_str().map(|text| text.parse().expect("a decimal"))
}

fn number(portrait: &Value, path: &str) -> Option<Decimal> {
    match at(portrait, path) {
        Value::String(text) => Some(text.parse().expect("a decimal")),
        Value::Number(number) => Some(number.to_string().parse().expect("a decimal")),
        _ => None,
    }
}

/// Portraits by what they have at a path.
fn by<'p>(all: &'p [Value], path: &str) -> BTreeMap<Option<String>, Vec<&'p Value>> {
    let mut groups: BTreeMap<Option<String>, Vec<&Value>> = BTreeMap::new();
    for portrait in all {
        groups.entry(at(portrait, path).as_str().map(str::to_owned)).or_default().push(portrait);
    }
    groups
}

/// The groups of an answer, by their only key; those whose value is not known apart.
fn told(stats: &Value) -> (BTreeMap<Option<String>, &Value>, Vec<&Value>) {
    let (mut known, mut open) = (BTreeMap::new(), Vec::new());
    for group in stats["groups"].as_array().expect("groups") {
        let key = &group["key"][0];
        match key["state"].as_str() {
            Some("ANSWERED" | "NO_RECORD") => {
                known.insert(key["value"].as_str().map(str::to_owned), group);
            }
            _ => open.push(group),
        }
    }
    (known, open)
}

/// A figure is between the bounds that are told of it, and is the value where one is.
fn hold(measured: &Value, truth: Option<Decimal>, what: &str) {
    let Some(truth) = truth else { return };
    assert!(decimal(&measured["lower"]).is_none_or(|lower| lower <= truth), "{what}: {truth}, {measured}");
    assert!(decimal(&measured["upper"]).is_none_or(|upper| truth <= upper), "{what}: {truth}, {measured}");
    assert!(decimal(&measured["value"]).is_none_or(|value| value == truth), "{what}: {truth}, {measured}");
}

fn total(portraits: &[&Value], path: &str) -> Vec<Decimal> {
    portraits.iter().filter_map(|portrait| number(portrait, path)).collect()
}

#[tokio::test]
async fn counts_sums_and_averages_by_category_are_those_of_the_generator() {
    let world = world(AGREED, tells_all).await;
    let stats = answered(
        &world,
        &supervisor(),
        json!({
            "division": format!("{TOWN}000"),
            "groupBy": [{ "by": "registry_category" }],
            "measures": [
                { "count": true },
                { "sum": "assistance_dibaoMonthly" }, { "average": "income_perCapita" },
                { "min": "assistance_dibaoMonthly" }, { "max": "assistance_dibaoMonthly" },
            ],
        }),
    )
    .await;
    let all = portraits(&world, TOWN);
    let expected = by(&all, "registry.category");
    let (groups, open) = told(&stats);
    assert!(open.is_empty() && stats["coverage"]["whole"] == true, "{stats:#}");
    assert_eq!(groups.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (category, portraits) in &expected {
        let values = &groups[category]["values"];
        let exactly = |at: usize, truth: Option<Decimal>| {
            assert_eq!(decimal(&values[at]["value"]), truth, "{category:?}: {values:#}");
        };
        let monthly = total(portraits, "assistance.dibaoMonthly");
        let incomes = total(portraits, "income.perCapita");
        exactly(0, Some(portraits.len().into()));
        exactly(1, Some(monthly.iter().sum()));
        let average = incomes.iter().sum::<Decimal>() / Decimal::from(incomes.len());
        let to_six = average.round_dp_with_strategy(6, rust_decimal::RoundingStrategy::MidpointAwayFromZero);
        exactly(2, Some(to_six));
        exactly(3, monthly.iter().min().copied());
        exactly(4, monthly.iter().max().copied());
    }
    assert_eq!(stats["coverage"]["matched"], all.len());
    let names: Vec<&Value> = stats["groups"][0]["values"].as_array().unwrap().iter().map(|of| &of["measure"]).collect();
    assert_eq!(names[..2], ["count", "sum(assistance.dibaoMonthly)"]);
    let dibao = groups[&Some("DIBAO".to_owned())];
    assert_eq!(dibao["key"][0]["zh"], "低保户", "what the contract calls it");
}

#[tokio::test]
async fn households_are_counted_by_town_by_the_levels_of_division_codes() {
    let world = world(2, tells_all).await;
    let stats = answered(
        &world,
        &supervisor(),
        json!({
            "division": "331122000000",
            "groupBy": [{ "by": "registry_division_code", "digits": 9 }],
            "measures": count(),
        }),
    )
    .await;
    let mut expected: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for id in world.departments.world().village_household_ids("331122") {
        *expected.entry(Some(id[..9].to_owned())).or_default() += 1;
    }
    let (groups, _) = told(&stats);
    let counts: BTreeMap<Option<String>, usize> = groups
        .iter()
        .map(|(town, group)| (town.clone(), group["values"][0]["value"].as_str().unwrap().parse().unwrap()))
        .collect();
    assert_eq!(counts, expected);
    assert!(expected.len() > 10, "a county has towns");
}

#[tokio::test]
async fn households_by_the_level_of_their_warning_are_between_the_bounds() {
    let world = world(21, tells_all).await;
    let measures = json!([{ "count": true }, { "sum": "funds_totalThisYear" }]);
    let variables = json!({
        "division": VILLAGE, "groupBy": [{ "by": "risk_warning_level" }], "measures": measures,
    });
    let all = portraits(&world, VILLAGE);
    let expected = by(&all, "risk.warning.level");
    for down in [None, Some("civil-affairs")] {
        if let Some(down) = down {
            world.departments.stop(down);
        }
        let stats = answered(&world, &supervisor(), variables.clone()).await;
        let (groups, open) = told(&stats);
        let mut sure = Decimal::ZERO;
        for (level, group) in &groups {
            let none = Vec::new();
            let of = expected.get(level).unwrap_or(&none);
            let what = format!("{level:?}, {down:?} is down");
            hold(&group["values"][0], Some(of.len().into()), &what);
            hold(&group["values"][1], Some(total(of, "funds.totalThisYear").iter().sum()), &what);
            sure += decimal(&group["values"][0]["lower"]).unwrap();
        }
        let of_open: Decimal = open.iter().map(|group| decimal(&group["values"][0]["lower"]).unwrap()).sum();
        assert_eq!(sure + of_open, Decimal::from(all.len()), "everybody is somewhere: {stats:#}");
        assert_eq!(stats["coverage"]["matched"], all.len(), "nothing was asked that may not hold");
        assert_eq!(stats["coverage"]["whole"], false, "of some, departments disagree; of more, one is silent");
        if down.is_some() {
            assert!(of_open > Decimal::ZERO, "whose warning rests on who is silent is of no level: {stats:#}");
        }
    }
}

#[tokio::test]
async fn with_a_department_down_the_truth_is_between_the_bounds() {
    let world = world(21, tells_all).await;
    let all = portraits(&world, VILLAGE);
    world.departments.stop("civil-affairs");
    let measures = json!([{ "count": true }, { "sum": "assistance_dibaoMonthly" }]);
    let by_category = json!({
        "division": VILLAGE, "groupBy": [{ "by": "registry_category" }], "measures": measures,
    });
    let stats = answered(&world, &supervisor(), by_category).await;
    assert_eq!(stats["coverage"]["whole"], false);
    let missing = stats["coverage"]["missing"].as_array().unwrap();
    assert!(missing.iter().any(|missing| missing["source"] == "civil-affairs"), "{missing:#?}");
    let expected = by(&all, "registry.category");
    for (category, group) in told(&stats).0 {
        let what = format!("{category:?}");
        let of = &expected[&category];
        hold(&group["values"][0], Some(of.len().into()), &what);
        let sum = &group["values"][1];
        hold(sum, Some(total(of, "assistance.dibaoMonthly").iter().sum()), &what);
        assert_eq!(sum["value"], Value::Null, "nobody told it: {sum}");
        assert_eq!(decimal(&sum["lower"]), Some(Decimal::ZERO));
        assert!(decimal(&sum["upper"]).is_some(), "it is bounded by the range of the field: {sum}");
    }
    // Of a condition that nobody can decide on, nobody is sure, and everybody may be.
    let receiving = json!({ "assistance": { "dibaoStatus": { "eq": "RECEIVING" } } });
    let stats =
        answered(&world, &supervisor(), json!({ "division": VILLAGE, "where": receiving, "measures": count() })).await;
    let truth = all.iter().filter(|portrait| at(portrait, "assistance.dibaoStatus") == "RECEIVING").count();
    let counted = &stats["groups"][0]["values"][0];
    hold(counted, Some(truth.into()), "receiving");
    assert_eq!((&counted["lower"], &counted["upper"]), (&json!("0"), &json!(all.len().to_string())));
    assert_eq!(stats["coverage"]["undetermined"], all.len());
}

#[tokio::test]
async fn a_statistic_that_goes_on_comes_to_what_it_would_have_come_to_at_once() {
    let whole = world(AGREED, tells_all).await;
    let in_parts = world(AGREED, |snapshot| {
        tells_all(snapshot);
        // As many calls as a few stretches take.
        snapshot.config.limits.upstream_calls_max = 12;
        snapshot.access.roles.iter_mut().filter_map(|role| role.doors.scans.as_mut()).for_each(|doors| {
            doors.candidates_max = 1_000;
        });
    })
    .await;
    let variables = json!({
        "division": "331122000000",
        "where": { "registry": { "status": { "state": { "eq": "REGISTERED" } } } },
        "groupBy": [{ "by": "registry_category" }],
        "measures": [{ "count": true }, { "sum": "assistance_dibaoMonthly" }],
    });
    let town = json!({ "division": format!("{TOWN}000") });
    let town: Value = merged(&variables, &town);
    let at_once = answered(&whole, &supervisor(), town.clone()).await;
    let (mut parts, mut resume) = (0, Value::Null);
    let last = loop {
        let stats = answered(&in_parts, &supervisor(), merged(&town, &json!({ "resume": resume }))).await;
        parts += 1;
        if stats["resume"].is_null() {
            break stats;
        }
        assert_eq!((&stats["coverage"]["whole"], &stats["coverage"]["ended"]), (&json!(false), &json!("CALLS")));
        for group in stats["groups"].as_array().unwrap() {
            for measured in group["values"].as_array().unwrap() {
                assert!(measured["lower"].is_string(), "what is known so far: {measured}");
                assert_eq!((&measured["value"], &measured["upper"]), (&Value::Null, &Value::Null), "others may come");
            }
        }
        assert!(parts < 50, "it comes to an end");
        resume = stats["resume"].clone();
    };
    let interrupted = resume;
    assert!(parts > 1, "it was interrupted");
    assert_eq!(last["groups"], at_once["groups"]);
    for figure in ["candidates", "evaluated", "matched", "undetermined", "whole", "ended", "missing"] {
        assert_eq!(last["coverage"][figure], at_once["coverage"][figure], "{figure}");
    }

    let groups = ["registry_division_code", "registry_recognizedOn", "registry_causes", "registry_category"];
    let sums = ["assistance_dibaoMonthly", "income_perCapita", "income_groupDividend"];
    let many = json!({
        "groupBy": groups.iter().map(|by| json!({ "by": by })).collect::<Value>(),
        "measures": sums.iter().map(|of| json!({ "sum": of })).collect::<Value>(),
    });
    let mut resume = Value::Null;
    let error = loop {
        let next = merged(&variables, &merged(&many, &json!({ "resume": resume })));
        let answer = ask(&in_parts.gateway, &supervisor(), STATS, next).await;
        if answer["data"]["householdStats"].is_null() {
            break answer["errors"][0].clone();
        }
        resume = answer["data"]["householdStats"]["resume"].clone();
        assert!(resume.as_str().unwrap().len() <= 65_536, "what the caller holds has a bound");
    };
    assert_eq!(error["extensions"]["code"], "LIMIT_EXCEEDED", "{error}");
    assert!(error["message"].as_str().unwrap().contains("group by less"), "{error}");

    let other = merged(&town, &json!({ "resume": interrupted, "measures": [{ "count": true }] }));
    let (code, message) = refused(&in_parts, &supervisor(), other).await;
    assert_eq!(code, "VALIDATION_FAILED", "{message}");
    assert!(message.contains("with the same arguments"), "{message}");
    let mut colleague = caller("supervisor", json!({ "id": "supervisor-2", "divisions": ["331122"] }));
    (colleague.purpose, colleague.case) = (Some("supervision".to_owned()), Some("JD-2026-0001".to_owned()));
    let mine = merged(&town, &json!({ "resume": interrupted }));
    assert_eq!(refused(&in_parts, &colleague, mine).await.0, "VALIDATION_FAILED", "it is nobody else's");
    let broken = merged(&town, &json!({ "resume": "AAAA" }));
    assert_eq!(refused(&in_parts, &supervisor(), broken).await.0, "VALIDATION_FAILED");

    // As far as the role goes in one request, it goes in all of them together.
    let (mut resume, mut candidates) = (Value::Null, 0);
    loop {
        let next = merged(&variables, &json!({ "resume": resume }));
        let answer = ask(&in_parts.gateway, &supervisor(), STATS, next).await;
        let stats = &answer["data"]["householdStats"];
        if stats.is_null() {
            assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer:#}");
            break;
        }
        let looked_at = stats["coverage"]["candidates"].as_u64().unwrap();
        assert!(looked_at > candidates && looked_at <= 1_000, "{looked_at}");
        candidates = looked_at;
        resume = stats["resume"].clone();
        assert!(resume.is_string(), "the county has more");
    }
    assert_eq!(candidates, 1_000);
}

fn merged(variables: &Value, more: &Value) -> Value {
    let mut all = variables.as_object().unwrap().clone();
    all.extend(more.as_object().unwrap().clone());
    Value::Object(all)
}

#[tokio::test]
async fn groups_that_are_too_small_are_named_without_figures_and_cannot_be_worked_out() {
    let world = world(AGREED, |_| {}).await;
    let all = portraits(&world, TOWN);
    let by_month = json!({
        "division": format!("{TOWN}000"),
        "groupBy": [{ "by": "registry_recognizedOn", "dates": "MONTH" }],
        "measures": [{ "count": true }, { "sum": "income_groupDividend" }],
    });
    let stats = answered(&world, &supervisor(), by_month).await;
    let mut expected: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for portrait in &all {
        let month = at(portrait, "registry.recognizedOn").as_str().map(|date| date[..7].to_owned());
        *expected.entry(month).or_default() += 1;
    }
    let (groups, _) = told(&stats);
    assert_eq!(groups.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "each is named");
    let mut kept_back = Vec::new();
    for (month, group) in &groups {
        let count = expected[month];
        let values = group["values"].as_array().unwrap();
        if group["suppressed"] == true {
            kept_back.push(count);
            for measured in values {
                assert_eq!([&measured["value"], &measured["lower"], &measured["upper"]], [&Value::Null; 3]);
            }
        } else {
            assert!(count >= 5, "{month:?} is too small");
            assert_eq!(values[0]["value"], json!(count.to_string()));
        }
    }
    kept_back.sort_unstable();
    assert!(
        kept_back.first().is_some_and(|least| *least < 5) && kept_back.len() < groups.len(),
        "some are small, and some not: {expected:?}"
    );
    assert!(kept_back.len() > 1 && kept_back.last() > kept_back.first(), "none by itself, nor alike: {kept_back:?}");
    assert!(kept_back.iter().sum::<usize>() >= 5, "{kept_back:?}");
    assert_eq!(stats["suppressed"], kept_back.len());
    assert_eq!(stats["coverage"]["matched"], Value::Null, "the rest would be known from it");
    assert_eq!(stats["coverage"]["plan"], json!([]), "and from how many were left");

    // A village of seven is told of as a whole, or not at all.
    let small = json!({ "division": VILLAGE, "groupBy": [{ "by": "registry_category" }], "measures": count() });
    let stats = answered(&world, &supervisor(), small).await;
    assert_eq!((&stats["groups"], &stats["suppressed"]), (&json!([]), &json!(1)), "{stats:#}");

    // By itself: how many of a few it is.
    let few = json!({ "id": { "in": [at(&all[0], "id"), at(&all[1], "id")] } });
    let stats =
        answered(&world, &supervisor(), json!({ "division": format!("{TOWN}000"), "where": few, "measures": count() }))
            .await;
    let group = &stats["groups"][0];
    assert_eq!((&group["suppressed"], &group["values"][0]["upper"]), (&json!(true), &Value::Null), "{stats:#}");
    assert_eq!((&stats["suppressed"], &stats["coverage"]["matched"]), (&json!(1), &Value::Null));
    assert_eq!(stats["coverage"]["candidates"], all.len(), "how many households there are is no secret");
}

#[tokio::test]
async fn only_what_is_given_in_full_for_whole_divisions_is_counted_by() {
    let world = world(AGREED, |_| {}).await;
    let of = |more: Value| merged(&json!({ "division": format!("{TOWN}000"), "measures": count() }), &more);
    let town_officer = {
        let mut officer = caller("town-officer", json!({ "divisions": [TOWN] }));
        officer.purpose = Some("duty".to_owned());
        officer
    };
    let by_income = of(json!({ "measures": [{ "average": "income_perCapita" }] }));
    let (code, message) = refused(&world, &town_officer, by_income).await;
    assert_eq!(code, "FORBIDDEN", "shown as a band, it has no average: {message}");
    assert!(message.contains("income.perCapita"), "{message}");
    let by_illness = of(json!({ "where": { "health": { "majorIllnesses": { "count": { "gt": 0 } } } } }));
    assert_eq!(refused(&world, &town_officer, by_illness).await.0, "FORBIDDEN");
    let elsewhere = of(json!({ "division": "331122102000" }));
    assert_eq!(refused(&world, &town_officer, elsewhere).await.0, "FORBIDDEN");
    answered(&world, &town_officer, of(json!({ "groupBy": [{ "by": "registry_category" }] }))).await;

    let mut verifier = caller("verifier", json!({ "divisions": ["331122"] }));
    (verifier.purpose, verifier.case) = (Some("recognition".to_owned()), Some("HD-2026-0001".to_owned()));
    let (code, message) = refused(&world, &verifier, of(json!({}))).await;
    assert_eq!(code, "FORBIDDEN");
    assert!(message.contains("statistics"), "{message}");

    for (more, says) in [
        (json!({ "measures": [] }), "`measures` is empty"),
        (json!({ "measures": [{ "count": true, "sum": "income_perCapita" }] }), "exactly one member"),
        (json!({ "measures": [{ "count": false }] }), "`count` is true"),
        (json!({ "groupBy": [{ "by": "registry_division_code", "digits": 5 }] }), "2, 4, 6, 9, 12"),
        (json!({ "groupBy": [{ "by": "registry_category", "digits": 9 }] }), "`digits` is of territories"),
        (json!({ "groupBy": [{ "by": "registry_category", "dates": "YEAR" }] }), "`dates` is of dates"),
        (json!({ "groupBy": [{ "by": "registry_category" }, { "by": "registry_category" }] }), "twice"),
    ] {
        let (code, message) = refused(&world, &supervisor(), of(more)).await;
        assert_eq!(code, "VALIDATION_FAILED", "{message}");
        assert!(message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn one_who_has_several_values_counts_in_each_and_dates_by_their_year() {
    let world = world(AGREED, tells_all).await;
    let of = |by: Value| json!({ "division": format!("{TOWN}000"), "groupBy": [by], "measures": count() });
    let all = portraits(&world, TOWN);
    let counts = |stats: &Value| -> BTreeMap<Option<String>, String> {
        let (groups, open) = told(stats);
        assert!(open.is_empty(), "{stats:#}");
        let value = |group: &Value| group["values"][0]["value"].as_str().unwrap().to_owned();
        groups.into_iter().map(|(key, group)| (key, value(group))).collect()
    };
    let expected = |keys: &dyn Fn(&Value) -> Vec<Option<String>>| -> BTreeMap<Option<String>, String> {
        let mut counts: BTreeMap<Option<String>, u64> = BTreeMap::new();
        all.iter().flat_map(keys).for_each(|key| *counts.entry(key).or_default() += 1);
        counts.into_iter().map(|(key, count)| (key, count.to_string())).collect()
    };
    let stats = answered(&world, &supervisor(), of(json!({ "by": "registry_causes" }))).await;
    assert_eq!(stats["overlapping"], true);
    let causes = |portrait: &Value| -> Vec<Option<String>> {
        let mut causes: Vec<Option<String>> = at(portrait, "registry.causes")
            .as_array()
            .into_iter()
            .flatten()
            .map(|cause| cause.as_str().map(str::to_owned))
            .collect();
        causes.sort();
        causes.dedup();
        if causes.is_empty() { vec![None] } else { causes }
    };
    assert_eq!(counts(&stats), expected(&causes));

    let stats = answered(&world, &supervisor(), of(json!({ "by": "registry_recognizedOn", "dates": "YEAR" }))).await;
    assert_eq!(stats["overlapping"], false);
    let year = |portrait: &Value| vec![at(portrait, "registry.recognizedOn").as_str().map(|date| date[..4].to_owned())];
    assert_eq!(counts(&stats), expected(&year));
}

#[tokio::test]
async fn the_record_tells_what_was_counted_and_names_nobody() {
    let world = world(AGREED, |_| {}).await;
    let variables = json!({
        "division": format!("{TOWN}000"),
        "where": { "registry": { "memberCount": { "gte": 2 } } },
        "groupBy": [{ "by": "registry_category" }],
        "measures": [{ "count": true }, { "average": "income_perCapita" }],
    });
    let stats = answered(&world, &supervisor(), variables).await;
    let records = records(&world.folder).await;
    let record = records.last().unwrap();
    let scan = &record["details"]["scan"];
    assert_eq!(scan["statistics"]["query"], "householdStats");
    assert_eq!(scan["statistics"]["groups"], json!(["registry.category"]));
    assert_eq!(scan["statistics"]["measures"], json!(["count", "average(income.perCapita)"]));
    assert_eq!(scan["candidates"], stats["coverage"]["candidates"]);
    let fields: Vec<&str> = scan["fields"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(fields.contains(&"income.perCapita") && fields.contains(&"registry.memberCount"), "{fields:?}");
    assert_eq!(record["access"], json!([]), "nobody was shown");
    assert!(!record.to_string().contains("331122101"), "not even where in plain text");
}

#[tokio::test]
async fn a_statistic_of_nobody_has_no_groups_unless_it_is_not_grouped() {
    let world = world(AGREED, tells_all).await;
    let nobody = json!({ "and": [
        { "assistance": { "dibaoStatus": { "eq": "RECEIVING" } } }, { "assistance": { "dibaoStatus": { "ne": "RECEIVING" } } },
    ] });
    let mut asked = json!({ "division": VILLAGE, "where": nobody, "measures": count() });
    let one = answered(&world, &supervisor(), asked.clone()).await;
    assert_eq!(one["groups"][0]["values"][0]["value"], "0", "{one:#}");
    asked["groupBy"] = json!([{ "by": "registry_category" }]);
    let grouped = answered(&world, &supervisor(), asked).await;
    assert_eq!(grouped["groups"], json!([]), "{grouped:#}");
}

#[tokio::test]
async fn a_statistic_whose_listing_cannot_be_read_is_refused_and_never_of_nobody() {
    let world = world(AGREED, tells_all).await;
    world.departments.set_fault("agriculture", departments::Fault::Http500);
    let (code, message) = refused(&world, &supervisor(), json!({ "division": VILLAGE, "measures": count() })).await;
    assert!(code.starts_with("SOURCE_"), "{code}: {message}");
}

#[tokio::test]
async fn what_is_too_small_to_be_told_is_not_told_by_what_is_missing_or_by_who_was_asked() {
    let world = world(AGREED, |_| {}).await;
    let aged = |members: u32| {
        json!({ "and": [
        { "registry": { "memberCount": { "gte": members } } }, { "assets": { "vehicles": { "count": { "gt": 0 } } } },
    ] })
    };
    world.departments.set_fault("police", departments::Fault::Http500);
    let mut seen = std::collections::BTreeSet::new();
    // Of nobody, and of a few, police would have to be asked.
    for members in [5, 99] {
        let asked = json!({ "division": VILLAGE, "where": aged(members), "measures": count() });
        let answer = ask(&world.gateway, &supervisor(), STATS, asked).await;
        let coverage = &answer["data"]["householdStats"]["coverage"];
        assert_eq!(coverage["matched"], Value::Null, "{answer:#}");
        seen.insert(answer["extensions"]["sourcesCalled"].to_string());
        let few = members == 5;
        assert_eq!(coverage["undetermined"], if few { Value::Null } else { json!(0) }, "{answer:#}");
        let counts: Vec<&Value> = coverage["missing"].as_array().unwrap().iter().map(|one| &one["count"]).collect();
        assert_eq!(counts.is_empty(), !few, "{answer:#}");
        assert!(counts.iter().all(|count| count.is_null()), "{answer:#}");
        assert_eq!(coverage["whole"], !few);
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}
