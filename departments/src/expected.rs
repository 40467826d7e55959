//! The portrait that must come out, computed from the generator alone: what tests hold the gateway against.

use serde_json::{Map, Value, json};

use crate::world::{Date, Household, World};

/// An item of the portrait.
pub struct Item {
    pub no: &'static str,
    pub path: &'static str,
    pub list: bool,
}

/// The 61 items, and the three images beside them.
pub const ITEMS: &[Item] = &[
    Item { no: "1", path: "id", list: false },
    Item { no: "2", path: "registry.agriCode", list: false },
    Item { no: "3", path: "registry.headName", list: false },
    Item { no: "4", path: "registry.phone", list: false },
    Item { no: "5", path: "registry.address", list: false },
    Item { no: "6", path: "registry.division", list: false },
    Item { no: "7", path: "registry.category", list: false },
    Item { no: "8", path: "registry.status", list: false },
    Item { no: "9", path: "registry.recognizedOn", list: false },
    Item { no: "10", path: "registry.causes", list: true },
    Item { no: "11", path: "registry.memberCount", list: false },
    Item { no: "12", path: "registry.labourCount", list: false },
    Item { no: "13", path: "identity.headIdNumber", list: false },
    Item { no: "14", path: "identity.members", list: true },
    Item { no: "15", path: "identity.residence", list: false },
    Item { no: "16", path: "assistance.dibaoStatus", list: false },
    Item { no: "17", path: "assistance.dibaoCategory", list: false },
    Item { no: "18", path: "assistance.dibaoMonthly", list: false },
    Item { no: "19", path: "assistance.extremePoverty", list: false },
    Item { no: "20", path: "assistance.marginal", list: false },
    Item { no: "21", path: "assistance.temporaryAid", list: true },
    Item { no: "22", path: "medical.insured", list: false },
    Item { no: "23", path: "medical.assistanceThisYear", list: false },
    Item { no: "24", path: "medical.selfPaid12Months", list: false },
    Item { no: "25", path: "medical.chronicBenefits", list: true },
    Item { no: "26", path: "health.majorIllnesses", list: true },
    Item { no: "27", path: "health.familyDoctor", list: false },
    Item { no: "28", path: "health.followUps", list: true },
    Item { no: "29", path: "disability.certificates", list: true },
    Item { no: "30", path: "disability.livingSubsidy", list: false },
    Item { no: "31", path: "disability.nursingSubsidy", list: false },
    Item { no: "32", path: "education.students", list: true },
    Item { no: "33", path: "education.aid", list: true },
    Item { no: "34", path: "education.dropoutRisk", list: false },
    Item { no: "35", path: "employment.workers", list: true },
    Item { no: "36", path: "employment.publicPosts", list: true },
    Item { no: "37", path: "employment.training", list: true },
    Item { no: "38", path: "employment.pensions", list: true },
    Item { no: "39", path: "housing.safetyGrade", list: false },
    Item { no: "40", path: "housing.floorArea", list: false },
    Item { no: "41", path: "housing.renovation", list: false },
    Item { no: "42", path: "water.safe", list: false },
    Item { no: "43", path: "water.supply", list: false },
    Item { no: "44", path: "water.migrantSubsidy", list: false },
    Item { no: "45", path: "assets.farmland", list: false },
    Item { no: "46", path: "assets.realEstate", list: true },
    Item { no: "47", path: "assets.vehicles", list: true },
    Item { no: "48", path: "assets.businesses", list: true },
    Item { no: "49", path: "assets.deposits", list: false },
    Item { no: "50", path: "loans.microloans", list: true },
    Item { no: "51", path: "funds.disbursements", list: true },
    Item { no: "52", path: "funds.totalThisYear", list: false },
    Item { no: "53", path: "funds.agriculturalSubsidy", list: false },
    Item { no: "54", path: "income.perCapita", list: false },
    Item { no: "55", path: "income.groupDividend", list: false },
    Item { no: "56", path: "help.cadre", list: false },
    Item { no: "57", path: "help.plan", list: true },
    Item { no: "58", path: "help.visits", list: true },
    Item { no: "59", path: "help.needs", list: true },
    Item { no: "60", path: "projects", list: true },
    Item { no: "61", path: "risk.warning", list: false },
    Item { no: "P1", path: "photos.house", list: false },
    Item { no: "P2", path: "photos.water", list: false },
    Item { no: "P3", path: "photos.location", list: false },
];

/// The lists beside the items that a check of recognition reads.
pub const RECOGNITION: &[&str] = &[
    "recognition.marriages",
    "recognition.unemploymentBenefits",
    "recognition.purchases",
    "recognition.land",
    "recognition.machinerySubsidies",
    "recognition.providentFund",
    "recognition.licences",
    "recognition.declaredIncomes",
    "recognition.invoices",
];

type Expected = fn(&World, &Household) -> Value;

const OWNERS: &[Expected] = &[
    crate::agriculture::expected,
    crate::police::expected,
    crate::civil_affairs::expected,
    crate::medical_insurance::expected,
    crate::health::expected,
    crate::disabled_federation::expected,
    crate::education::expected,
    crate::human_resources::expected,
    crate::housing::expected,
    crate::water::expected,
    crate::natural_resources::expected,
    crate::market_regulation::expected,
    crate::finance::expected,
    crate::help::expected,
    crate::projects::expected,
    crate::banks_association::expected,
    crate::banks::expected,
    crate::tax::expected,
    crate::provident_fund::expected,
    crate::transport::expected,
];

/// The whole portrait, and the facts of a check of recognition beside it, in the contract's shape: nested by path, decimals as texts with two digits, dates ISO,
/// enumerations as the contract's values with the raw codes beside them. Where a department has no record, a
/// list is `[]` and anything else null. `None`: no such household.
///
/// `risk.warning` tells `level`, `complete`, `rules` (each with `id` and `level`) and `undetermined`; the texts
/// and inputs of the rules are configuration, which this crate does not read.
pub fn portrait(world: &World, household_id: &str) -> Option<Value> {
    let household = world.household(household_id)?;
    let mut portrait = Value::Object(Map::new());
    for item in ITEMS {
        set(&mut portrait, item.path, if item.list { json!([]) } else { Value::Null });
    }
    for list in RECOGNITION {
        set(&mut portrait, list, json!([]));
    }
    for expected in OWNERS {
        if let Value::Object(facts) = expected(world, &household) {
            for (path, value) in facts {
                set(&mut portrait, &path, value);
            }
        }
    }
    let warning = warning(&portrait, household.today);
    set(&mut portrait, "risk.warning", warning);
    Some(portrait)
}

/// The value at a dotted path.
pub fn at<'a>(portrait: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(portrait, |value, name| value.get(name).unwrap_or(&Value::Null))
}

fn set(into: &mut Value, path: &str, value: Value) {
    let mut at = into;
    for name in path.split('.') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[name];
    }
    *at = value;
}

/// A text, or what is no text as nothing.
fn text<'a>(portrait: &'a Value, path: &str) -> &'a str {
    at(portrait, path).as_str().unwrap_or("")
}

fn number(portrait: &Value, path: &str) -> Option<f64> {
    match at(portrait, path) {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    }
}

fn any(portrait: &Value, path: &str, holds: impl Fn(&Value) -> bool) -> bool {
    at(portrait, path).as_array().is_some_and(|list| list.iter().any(holds))
}

fn days_since(value: &Value, today: Date) -> Option<i64> {
    Some(today.days() - Date::parse(value.as_str()?)?.days())
}

/// The rules of `config/rules/warning.yaml`, over again: with null nothing compares.
fn rules(p: &Value, today: Date) -> Vec<(&'static str, &'static str, bool)> {
    let below = |path: &str, line: f64| number(p, path).is_some_and(|value| value < line);
    let over = |path: &str, line: f64| number(p, path).is_some_and(|value| value >= line);
    let is = |path: &str, value: bool| at(p, path) == &Value::Bool(value);
    let category = text(p, "registry.category");
    let idle = |w: &Value| matches!(w["status"].as_str(), Some("UNEMPLOYED" | "NOT_IN_LABOUR_FORCE"));
    let beyond = |s: &Value| {
        let stage = s["stage"].as_str().unwrap_or("");
        ["SENIOR_HIGH", "SECONDARY_VOCATIONAL", "HIGHER_VOCATIONAL", "UNDERGRADUATE"].contains(&stage)
    };
    let lost = |m: &Value| {
        m["livesTogether"] == true
            && m["lifeStatus"] == "DECEASED"
            && days_since(&m["deathOn"], today).is_some_and(|days| days <= 180)
    };
    vec![
        (
            "income-without-support",
            "RED",
            below("income.perCapita", 11_952.0)
                && category != "EXTREME_POVERTY"
                && !["RECEIVING", "PENDING"].contains(&text(p, "assistance.dibaoStatus")),
        ),
        ("income-margin", "YELLOW", below("income.perCapita", 17_928.0)),
        (
            "labour-without-work",
            "YELLOW",
            number(p, "registry.labourCount").is_some_and(|count| count > 0.0)
                && !any(p, "employment.workers", |worker| !idle(worker)),
        ),
        ("medical-burden", "RED", over("medical.selfPaid12Months", 30_000.0)),
        ("medical-watch", "YELLOW", over("medical.selfPaid12Months", 10_000.0)),
        ("uninsured", "YELLOW", is("medical.insured", false)),
        ("house-dangerous", "RED", text(p, "housing.safetyGrade") == "D"),
        ("house-partly-dangerous", "YELLOW", text(p, "housing.safetyGrade") == "C"),
        ("dropout", "RED", is("education.dropoutRisk", true)),
        ("schooling-without-aid", "YELLOW", any(p, "education.students", beyond) && !any(p, "education.aid", |_| true)),
        ("water-unsafe", "YELLOW", is("water.safe", false)),
        ("labour-lost", "YELLOW", any(p, "identity.members", lost)),
        (
            "sudden-illness",
            "YELLOW",
            any(p, "health.majorIllnesses", |i| days_since(&i["diagnosedOn"], today).is_some_and(|days| days <= 365)),
        ),
        ("disaster", "YELLOW", any(p, "registry.causes", |cause| cause == "DISASTER")),
    ]
}

pub fn warning(portrait: &Value, today: Date) -> Value {
    let fired: Vec<_> = rules(portrait, today).into_iter().filter(|(_, _, fired)| *fired).collect();
    let level = ["RED", "YELLOW"].into_iter().find(|level| fired.iter().any(|(_, of, _)| of == level));
    let rules: Vec<Value> = fired.iter().map(|(id, level, _)| json!({"id": id, "level": level})).collect();
    json!({"level": level.unwrap_or("GREEN"), "complete": true, "rules": rules, "undetermined": []})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_item_is_there_in_five_of_twenty_one_households() {
        let world = World::new(1, 21);
        for village in ["331122101347", "331122101348", "331122101349"] {
            let mut answered: BTreeMap<&str, u32> = BTreeMap::new();
            for id in world.village_household_ids(village) {
                let portrait = portrait(&world, &id).unwrap();
                for item in ITEMS {
                    let value = at(&portrait, item.path);
                    let there = !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
                    *answered.entry(item.path).or_default() += u32::from(there);
                }
            }
            let thin: Vec<_> = answered.iter().filter(|(_, count)| **count < 5).collect();
            assert!(thin.is_empty(), "{village}: {thin:?}");
        }
    }

    #[test]
    fn warnings_have_every_level() {
        let world = World::new(1, 21);
        let levels: std::collections::BTreeSet<String> = world
            .village_household_ids("331122101000")
            .map(|id| text(&portrait(&world, &id).unwrap(), "risk.warning.level").to_owned())
            .collect();
        assert!(levels.contains("RED") && levels.contains("YELLOW") && levels.contains("GREEN"), "{levels:?}");
    }

    #[test]
    fn the_exceptions_show_in_the_portrait() {
        let world = World::new(1, 21);
        let of = |n: u32| portrait(&world, &format!("331122101348{n:06}")).unwrap();
        let members = |portrait: &Value, holds: &dyn Fn(&Value) -> bool| any(portrait, "identity.members", holds);
        assert!(members(&of(4), &|m| m["verified"] == "IDENTITY_MISMATCH" && m["inRegister"].is_null()));
        assert!(members(&of(6), &|m| m["movedOn"].is_string() && m["inRegister"] == false));
        assert!(members(&of(7), &|m| m["lifeStatus"] == "DECEASED" && m["deathOn"].is_string()));
        assert_eq!(at(&of(8), "assistance.dibaoStatus"), "RECEIVING");
        assert_eq!(at(&of(8), "registry.category"), "OTHER");
        assert!(at(&of(10), "assets.deposits.banks").is_null() && at(&of(10), "help.cadre").is_null());
        assert!(portrait(&world, "331122101348000022").is_none());
    }
}
