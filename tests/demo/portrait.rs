//! `huxiang demo --once --json`, held against the world's generator, which knows nothing of the gateway.
#![cfg(feature = "demo")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;

use departments::World;
use departments::expected::{ITEMS, at, portrait};
use serde_json::Value;

use crate::access_oracle;

/// Run once for all tests.
static DEMO: LazyLock<Value> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO_BIN_EXE_huxiang")).args(["demo", "--once", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("standard output is JSON and nothing else")
});

fn views(role: &str) -> Vec<&'static Value> {
    DEMO["views"].as_array().unwrap().iter().filter(|view| view["role"] == role).collect()
}

fn items(view: &Value) -> &[Value] {
    view["items"].as_array().unwrap()
}

fn is_there(value: &Value) -> bool {
    !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
}

/// Where two values differ. What the generator does not tell (texts and inputs of rules, which are configuration)
/// is not compared; what the gateway has beyond it must be empty.
fn differ(path: &str, expected: &Value, answered: &Value, found: &mut Vec<String>) {
    match (expected, answered) {
        (Value::Object(expected), Value::Object(answered)) => {
            for (name, value) in answered {
                let inside = format!("{path}.{name}");
                match expected.get(name) {
                    Some(expected) => differ(&inside, expected, value, found),
                    None if path.starts_with("risk.warning") => {}
                    None if is_there(value) => found.push(format!("{inside}: nothing expected, answered {value}")),
                    None => {}
                }
            }
            // A member's household is the household itself, and is not asked for.
            let left_out = |name: &str| name == "household" || answered.contains_key(name);
            for (name, value) in expected.iter().filter(|(name, _)| !left_out(name)) {
                found.push(format!("{path}.{name}: expected {value}, not answered"));
            }
        }
        (Value::Array(expected), Value::Array(answered)) if expected.len() == answered.len() => {
            for (at, (expected, answered)) in expected.iter().zip(answered).enumerate() {
                differ(&format!("{path}[{at}]"), expected, answered, found);
            }
        }
        (expected, answered) if expected == answered || same_decimal(expected, answered) => {}
        (expected, answered) => found.push(format!("{path}: expected {expected}, answered {answered}")),
    }
}

/// `43200` and `43200.00`: the digits a department sends are kept.
fn same_decimal(expected: &Value, answered: &Value) -> bool {
    let decimal = |value: &Value| value.as_str().filter(|text| text.len() < 16)?.parse::<rust_decimal::Decimal>().ok();
    decimal(expected).is_some() && decimal(expected) == decimal(answered)
}

#[test]
fn every_view_tells_of_all_61_items() {
    let views = DEMO["views"].as_array().unwrap();
    assert_eq!(views.len(), 13 * 21);
    for view in views {
        let numbers: Vec<u64> = items(view).iter().map(|item| item["no"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=61).collect::<Vec<_>>(), "{} {}", view["role"], view["household"]);
        for (name, state) in [("answered", "ANSWERED"), ("refused", "REFUSED"), ("unavailable", "UNAVAILABLE")] {
            let count = items(view).iter().filter(|item| item["state"] == state).count();
            assert_eq!(view[name].as_u64(), Some(count as u64), "{name}");
        }
        // What is refused has no value.
        assert!(items(view).iter().all(|item| item["state"] != "REFUSED" || item["value"].is_null()));
    }
}

#[test]
fn the_supervisor_is_answered_every_item_of_every_household() {
    let views = views("supervisor");
    assert_eq!(views.len(), 21);
    for view in views {
        for item in items(view) {
            let state = item["state"].as_str().unwrap();
            assert!(["ANSWERED", "NO_RECORD"].contains(&state), "{} {item}", view["household"]);
        }
    }
}

#[test]
fn answered_means_equal_to_what_the_generator_says() {
    let world = World::new(1, 21);
    let withheld = access_oracle::withheld_codes(&access_oracle::folder(""));
    let (mut held_back, mut disagree) = (0, 0);
    let mut found = Vec::new();
    for view in views("supervisor") {
        let household = view["household"].as_str().unwrap();
        let mut expected = portrait(&world, household).unwrap();
        // What departments withhold by its code is, to a supervisor, as if it were not there; warnings too.
        let standing =
            access_oracle::Standing { own: BTreeSet::from(["jurisdiction".to_owned()]), ..Default::default() };
        let taken: Vec<Value> = withheld.iter().flat_map(|withheld| withheld.take(&standing, &mut expected)).collect();
        if !taken.is_empty() {
            expected["risk"]["warning"] = departments::expected::warning(&expected, world.today());
        }
        held_back += taken.len();
        // A rule that decides on what two departments hold and disagree about is not decided.
        if world.household(household).unwrap().exception == Some(departments::world::Exception::DibaoDisagrees) {
            expected["risk"]["warning"]["complete"] = Value::Bool(false);
            expected["risk"]["warning"]["undetermined"] = serde_json::json!(["income-without-support"]);
            disagree += 1;
        }
        for (item, known) in items(view).iter().zip(ITEMS) {
            assert_eq!(item["path"], known.path);
            let expected = at(&expected, known.path);
            let start = found.len();
            match item["state"].as_str() {
                Some("ANSWERED") => differ(known.path, expected, &item["value"], &mut found),
                _ if is_there(expected) => {
                    found.push(format!("{}: expected {expected}, {}", known.path, item["state"]))
                }
                _ => {}
            }
            for line in found.iter_mut().skip(start) {
                *line = format!("{household} {line}");
            }
        }
    }
    assert!(
        held_back > 0 && disagree > 0,
        "no household of these has a code that is withheld, or departments that disagree"
    );
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found[..found.len().min(200)].join("\n"));
}

#[test]
fn every_item_has_a_value_in_at_least_five_households() {
    let mut there: BTreeMap<&str, usize> = BTreeMap::new();
    for view in views("supervisor") {
        for item in items(view) {
            *there.entry(item["path"].as_str().unwrap()).or_default() += usize::from(is_there(&item["value"]));
        }
    }
    let thin: Vec<_> = there.iter().filter(|(_, count)| **count < 5).collect();
    assert!(thin.is_empty() && there.len() == 61, "{thin:?}");
}

#[test]
fn a_household_sees_itself_and_no_other() {
    for view in views("household") {
        assert_eq!(view["network"], "public-proxy");
        let own = view["household"] == "331122101348000001";
        let answered = view["answered"].as_u64().unwrap();
        assert!(if own { answered > 40 } else { answered == 0 }, "{} {answered}", view["household"]);
        assert!(own || items(view).iter().all(|item| item["value"].is_null()));
    }
}

#[test]
fn a_cadre_sees_the_households_it_is_paired_with_and_no_other() {
    let world = World::new(1, 21);
    let cadre = world.household("331122101348000001").unwrap().cadre_id;
    let expected =
        |id: &str| portrait(&world, id).is_some_and(|portrait| at(&portrait, "help.cadre.id") == cadre.as_str());
    for view in views("cadre") {
        let paired = expected(view["household"].as_str().unwrap());
        assert_eq!(view["answered"].as_u64().unwrap() > 0, paired, "{}", view["household"]);
    }
}

#[test]
fn a_department_officer_sees_the_own_department_s_items() {
    for view in views("department-officer") {
        for item in items(view).iter().filter(|item| item["state"] == "ANSWERED") {
            let no = item["no"].as_u64().unwrap();
            // And where the household is: listings go by it.
            assert!([1, 6].contains(&no) || (16..=21).contains(&no), "{item}");
        }
    }
}

#[test]
fn who_has_no_grant_is_answered_nothing_and_no_department_is_asked() {
    for role in ["enterprise", "public", "operator", "security-officer", "auditor"] {
        for view in views(role) {
            assert_eq!((view["refused"].as_u64(), view["sources_called"].as_u64()), (Some(61), Some(0)), "{role}");
        }
    }
}
