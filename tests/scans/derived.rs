//! The fields that rules fill (`config/rules/`), said again as conditions; what they read is not known to them where it is
//! not known to anybody.

use serde_json::{Value, json};

use crate::condition::Against;
use crate::facts::Fact;
use crate::kleene::{Reasons, Truth};

/// The path of what is derived as a level.
const LEVEL: &str = "risk.warning.level";

/// All of them, each with the conditions that decide it.
pub fn all() -> Vec<(&'static str, Vec<Value>)> {
    let verdicts = verdicts().into_iter().map(|(path, rule)| (path, vec![rule]));
    verdicts.chain([(LEVEL, rules().into_iter().map(|(_, rule)| rule).collect())]).collect()
}

/// What is known of one.
pub fn fact(path: &str, against: &Against<'_>) -> Fact {
    // Of what nobody reckoned it is not said on which side of the line it is.
    let nobody = json!({"income": {"perCapita": {"exists": false}}});
    if path == "income.belowLine" && against.household_meets(&nobody) == Truth::True {
        return Fact::Null;
    }
    let verdict_of = |(of, rule)| (of == path).then(|| verdict(against.household_meets(&rule)));
    verdicts().into_iter().find_map(verdict_of).unwrap_or_else(|| level(against))
}

/// Of a path: true, false, or not known.
fn verdicts() -> Vec<(&'static str, Value)> {
    vec![
        ("assets.overDepositLine", json!({"assets": {"deposits": {"overThreshold": {"eq": true}}}})),
        ("assets.ownsCar", json!({"assets": {"vehicles": {"some": {"kind": {"in": ["CAR", "BUS"]}}}}})),
        ("income.belowLine", json!({"income": {"perCapita": {"lt": "11952"}}})),
    ]
}

/// The levels, highest first.
const LEVELS: [&str; 2] = ["RED", "YELLOW"];
const OTHERWISE: &str = "GREEN";

/// The rules of item 61, each with its level.
fn rules() -> Vec<(&'static str, Value)> {
    let beyond = ["SENIOR_HIGH", "SECONDARY_VOCATIONAL", "HIGHER_VOCATIONAL", "UNDERGRADUATE"];
    vec![
        (
            "RED",
            json!({
                "income": {"perCapita": {"lt": "11952"}},
                "registry": {"category": {"ne": "EXTREME_POVERTY"}},
                "not": {"assistance": {"dibaoStatus": {"in": ["RECEIVING", "PENDING"]}}},
            }),
        ),
        ("YELLOW", json!({"income": {"perCapita": {"lt": "17928"}}})),
        (
            "YELLOW",
            json!({
                "registry": {"labourCount": {"gt": 0}},
                "employment": {"workers": {"every": {"status": {"in": ["UNEMPLOYED", "NOT_IN_LABOUR_FORCE"]}}}},
            }),
        ),
        ("RED", json!({"medical": {"selfPaid12Months": {"gte": "30000"}}})),
        ("YELLOW", json!({"medical": {"selfPaid12Months": {"gte": "10000"}}})),
        ("YELLOW", json!({"medical": {"insured": {"eq": false}}})),
        ("RED", json!({"housing": {"safetyGrade": {"eq": "D"}}})),
        ("YELLOW", json!({"housing": {"safetyGrade": {"eq": "C"}}})),
        ("RED", json!({"education": {"dropoutRisk": {"eq": true}}})),
        (
            "YELLOW",
            json!({"education": {"students": {"some": {"stage": {"in": beyond}}}, "aid": {"count": {"eq": 0}}}}),
        ),
        ("YELLOW", json!({"water": {"safe": {"eq": false}}})),
        (
            "YELLOW",
            json!({"identity": {"members": {"some": {
                "livesTogether": {"eq": true}, "lifeStatus": {"eq": "DECEASED"}, "deathOn": {"ltDaysAgo": 181},
            }}}}),
        ),
        ("YELLOW", json!({"health": {"majorIllnesses": {"some": {"diagnosedOn": {"ltDaysAgo": 366}}}}})),
        ("YELLOW", json!({"registry": {"causes": {"some": {"eq": "DISASTER"}}}})),
    ]
}

/// The warning level: each that it may come to, whatever is not known turns out to be. What would come to less than is so anyway
/// is no reason.
fn level(against: &Against<'_>) -> Fact {
    let (mut fired, mut open) = (Vec::new(), Vec::new());
    for (level, rule) in rules() {
        match against.household_meets(&rule) {
            Truth::True => fired.push(level),
            Truth::False => {}
            Truth::Unknown(reasons) => open.push((level, reasons)),
        }
    }
    let (mut possible, mut reasons) = (Vec::new(), Reasons::new());
    for level in LEVELS {
        if fired.contains(&level) {
            possible.push(json!(level));
            return one_of(possible, reasons);
        }
        let of_level = || open.iter().filter(|(of, _)| *of == level);
        if of_level().next().is_some() {
            possible.push(json!(level));
        }
        reasons.extend(of_level().flat_map(|(_, reasons)| reasons.clone()));
    }
    possible.push(json!(OTHERWISE));
    one_of(possible, reasons)
}

fn one_of(mut possible: Vec<Value>, reasons: Reasons) -> Fact {
    if possible.len() == 1 { Fact::Leaf(possible.remove(0)) } else { Fact::OneOf(possible, reasons) }
}

/// As a fact.
fn verdict(truth: Truth) -> Fact {
    match truth {
        Truth::Unknown(reasons) => Fact::Unknown(reasons),
        known => Fact::Leaf(json!(known == Truth::True)),
    }
}
