//! The department's own hand: what a binding withholds, no grant gives back.

use std::collections::{BTreeMap, BTreeSet};

use departments::expected::{at, portrait};
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::support::files::Files;
use crate::support::{HOUSEHOLD, World, ask, caller, supervisor, world};

const VILLAGE: &str = "331122101348";

fn cadre(world: &World) -> Identity {
    let expected = portrait(world.departments.world(), HOUSEHOLD).unwrap();
    let mut identity = caller("cadre", json!({"id": at(&expected, "help.cadre.id")}));
    identity.purpose = Some("help".to_owned());
    identity
}

fn officer(department: &str) -> Identity {
    let mut identity = caller("department-officer", json!({"divisions": ["331122"], "department": department}));
    identity.purpose = Some("duty".to_owned());
    identity
}

fn called(answer: &Value) -> BTreeSet<&str> {
    answer["extensions"]["sourcesCalled"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

fn codes(answer: &Value) -> BTreeSet<&str> {
    let errors = answer["errors"].as_array().into_iter().flatten();
    errors.filter_map(|error| error["extensions"]["code"].as_str()).collect()
}

/// A household of the village whose portrait is so.
fn find(world: &World, wanted: impl Fn(&Value) -> bool) -> String {
    let known = world.departments.world();
    known
        .village_household_ids(VILLAGE)
        .find(|id| portrait(known, id).is_some_and(|portrait| wanted(&portrait)))
        .expect("a household of the village that is so")
}

fn psychiatric(portrait: &Value) -> usize {
    let ill = at(portrait, "health.majorIllnesses").as_array().unwrap();
    ill.iter().filter(|one| one["code"].as_str().unwrap().starts_with('F')).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_class_is_refused_in_the_departments_name_and_not_asked() {
    let world = world().await;
    let files = Files::copied("class").hand("housing", "withhold: [{roles: [cadre], classes: [housing]}]");
    let gateway = files.gateway(&world).await;
    let query = format!(
        "{{ household(id: \"{HOUSEHOLD}\") {{ id housing {{ safetyGrade safetyGradeCode }} water {{ safe }} items(no: [\"39\", \"43\"]) {{ no state message }} }} }}"
    );
    let answer = ask(&gateway, &cadre(&world), &query, json!({})).await;
    let household = &answer["data"]["household"];
    assert_eq!(household["id"], HOUSEHOLD, "{answer}");
    assert!(household["water"]["safe"].is_boolean(), "{answer}");
    assert_eq!(household["housing"]["safetyGrade"], Value::Null, "{answer}");
    assert_eq!(codes(&answer), BTreeSet::from(["FORBIDDEN"]), "{answer}");
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("withholds it from the role `cadre`"), "{message}");
    assert!(!called(&answer).contains("housing"), "{answer}");
    // Others have what they had.
    let answer = ask(&gateway, &supervisor(), &query, json!({})).await;
    assert!(answer.get("errors").is_none() && called(&answer).contains("housing"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_two_roles_has_what_the_other_gives() {
    let world = world().await;
    let files = Files::copied("two").hand("housing", "withhold: [{roles: [cadre], fields: [housing]}]");
    let gateway = files.gateway(&world).await;
    let mut both = cadre(&world);
    let principal = both.principal.as_mut().unwrap();
    principal.roles.push("town-officer".to_owned());
    principal.claims.insert("divisions".to_owned(), json!(["331122"]));
    let query = format!("{{ household(id: \"{HOUSEHOLD}\") {{ housing {{ safetyGrade }} }} }}");
    let answer = ask(&gateway, &both, &query, json!({})).await;
    assert!(answer["data"]["household"]["housing"]["safetyGrade"].is_string(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_switched_off_for_a_role_is_never_called_for_it() {
    let world = world().await;
    let files = Files::copied("off").hand("civil-affairs", "switched_off_for: [town-officer]");
    let gateway = files.gateway(&world).await;
    let mut officer = caller("town-officer", json!({"divisions": ["331122"]}));
    officer.purpose = Some("duty".to_owned());
    // Claims too: civil affairs holds the category beside agriculture. And the warning's rules read what it has.
    let query = format!(
        "{{ household(id: \"{HOUSEHOLD}\") {{ registry {{ category }} assistance {{ dibaoStatus dibaoMonthly }} \
         risk {{ warning {{ level complete undetermined }} }} items(no: [\"7\", \"12\", \"61\"]) {{ no state claims {{ source value }} }} }} }}"
    );
    world.departments.clear_logs();
    let answer = ask(&gateway, &officer, &query, json!({})).await;
    let household = &answer["data"]["household"];
    assert!(household["registry"]["category"].is_string(), "{answer}");
    assert_eq!(household["assistance"]["dibaoStatus"], Value::Null, "{answer}");
    assert!(
        !called(&answer).contains("civil-affairs") && world.departments.log("civil-affairs").is_empty(),
        "{answer}"
    );
    assert!(!answer.to_string().contains("\"civil-affairs\""), "{answer}");
    let whole = ask(&world.gateway, &officer, &query, json!({})).await;
    assert!(called(&whole).contains("civil-affairs"), "{whole}");
    assert!(whole["data"]["household"]["assistance"]["dibaoStatus"].is_string(), "{whole}");
}

/// A list of objects without anything in them would still tell how many there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_which_everything_is_withheld_is_withheld_itself() {
    let world = world().await;
    let owner =
        find(&world, |portrait| at(portrait, "assets.vehicles").as_array().is_some_and(|list| !list.is_empty()));
    let all = ["plate", "kind", "kindCode", "registeredOn", "status", "ownerName"];
    let path = |field: &&str| format!("assets.vehicles.{field}");
    let query = "query($id: ID!) { household(id: $id) { id assets { vehicles { plate kind } } } }";
    let asked = |world: &World| world.departments.log("police").iter().any(|call| call.body.contains("QueryVehicle"));
    let role = "  owner:\n    title: Owner\n    networks: [gov]\n    grants:\n      \
        - {relation: any, fields: [id, assets.vehicles, assets.vehicles.ownerName]}\n  lister:\n    title: Lister\n    \
        networks: [gov]\n    grants:\n      - {relation: any, classes: [basic, asset], \
        except: [assets.vehicles.plate, assets.vehicles.kind, assets.vehicles.kindCode, \
        assets.vehicles.registeredOn, assets.vehicles.status]}\n";
    for (name, withheld) in [("whole", &all[..]), ("part", &all[1..]), ("none", &[][..])] {
        let fields = withheld.iter().map(path).collect::<Vec<_>>().join(", ");
        let keys = if withheld.is_empty() {
            String::new()
        } else {
            format!("withhold: [{{roles: [owner], fields: [{fields}]}}]")
        };
        let files = Files::copied(&format!("hollow-{name}")).roles(role).hand("police", &keys);
        let gateway = files.gateway(&world).await;
        world.departments.clear_logs();
        let answer = ask(&gateway, &caller("owner", json!({})), query, json!({"id": owner})).await;
        let vehicles = &answer["data"]["household"]["assets"]["vehicles"];
        match name {
            "whole" => {
                assert_eq!(vehicles, &Value::Null, "{answer}");
                assert!(
                    answer["errors"][0]["message"].as_str().unwrap().contains("withholds it from the role `owner`")
                );
                assert!(!asked(&world), "{answer}");
            }
            "part" => assert!(vehicles[0]["plate"].is_string() && vehicles[0]["kind"].is_null(), "{answer}"),
            _ => assert!(vehicles[0]["plate"].is_string() && vehicles[0]["kind"].is_string(), "{answer}"),
        }
        // What a grant leaves out, and no department withholds, hollows nothing out.
        let answer = ask(&gateway, &caller("lister", json!({})), query, json!({"id": owner})).await;
        assert_eq!(
            answer["data"]["household"]["assets"]["vehicles"][0],
            json!({"plate": null, "kind": null}),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn withheld_codes_leave_no_trace() {
    let world = world().await;
    let known = world.departments.world();
    let only = find(&world, |portrait| {
        psychiatric(portrait) > 0
            && psychiatric(portrait) == at(portrait, "health.majorIllnesses").as_array().unwrap().len()
    });
    let healthy = find(&world, |portrait| at(portrait, "health.majorIllnesses").as_array().unwrap().is_empty());
    let query = "query($id: ID!) { household(id: $id) { health { majorIllnesses { name idNumber code illness diagnosedOn } } items(no: \"26\") { state truncated code message source validOn claims { value } } } }";
    let of = async |identity: &Identity, id: &str| ask(&world.gateway, identity, query, json!({"id": id})).await;
    // The department's officers see them.
    let shown = of(&officer("health"), &only).await;
    let list = shown["data"]["household"]["health"]["majorIllnesses"].as_array().unwrap();
    assert!(list.iter().all(|one| one["code"] == "F20.0") && !list.is_empty(), "{shown}");
    // To a supervisor, the household looks like one where nobody is ill.
    let (mut a, b) = (of(&supervisor(), &only).await, of(&supervisor(), &healthy).await);
    let text = a.to_string();
    assert!(!text.contains("F20") && !text.contains("精神"), "{text}");
    a["extensions"] = b["extensions"].clone();
    assert_eq!(a, b);
    // Where a household has other illnesses too, those are there.
    let mixed = known.village_household_ids(VILLAGE).find_map(|id| {
        let portrait = portrait(known, &id)?;
        let all = at(&portrait, "health.majorIllnesses").as_array()?.len();
        (psychiatric(&portrait) > 0 && all > psychiatric(&portrait)).then_some((id, all - psychiatric(&portrait)))
    });
    if let Some((id, others)) = mixed {
        let answer = of(&supervisor(), &id).await;
        let list = answer["data"]["household"]["health"]["majorIllnesses"].as_array().unwrap();
        assert_eq!(list.len(), others, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_code_takes_its_value_and_its_raw_code_along() {
    let world = world().await;
    let id = find(&world, |portrait| at(portrait, "housing.safetyGrade").is_string());
    let expected = portrait(world.departments.world(), &id).unwrap();
    let grade = at(&expected, "housing.safetyGrade").as_str().unwrap().to_owned();
    let raw = at(&expected, "housing.safetyGradeCode").as_str().unwrap().to_owned();
    let query = "query($id: ID!) { household(id: $id) { housing { safetyGrade safetyGradeCode } items(no: \"39\") { state claims { source value } } } }";
    // By the contract's value, and by the department's; named as either field.
    for (name, field, pattern) in [
        ("value", "housing.safetyGrade", &grade),
        ("raw", "housing.safetyGrade", &raw),
        ("sibling", "housing.safetyGradeCode", &raw),
    ] {
        let keys = format!("withhold: [{{roles: [\"*\"], codes: {{{field}: [\"{pattern}\"]}}}}]");
        let files = Files::copied(name).hand("housing", &keys);
        let gateway = files.gateway(&world).await;
        let answer = ask(&gateway, &supervisor(), query, json!({"id": id})).await;
        let housing = &answer["data"]["household"]["housing"];
        assert_eq!(housing, &json!({"safetyGrade": null, "safetyGradeCode": null}), "{name}: {answer}");
        assert!(answer.get("errors").is_none(), "{answer}");
    }
    let keys = "withhold: [{roles: [\"*\"], codes: {housing.safetyGrade: [\"NONE\"]}}]";
    let files = Files::copied("other").hand("housing", keys);
    let gateway = files.gateway(&world).await;
    let answer = ask(&gateway, &supervisor(), query, json!({"id": id})).await;
    assert_eq!(answer["data"]["household"]["housing"]["safetyGrade"], grade.as_str(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_do_not_read_what_is_withheld_unless_the_department_says_so() {
    let world = world().await;
    let dangerous = find(&world, |portrait| at(portrait, "housing.safetyGrade") == "D");
    let query =
        "query($id: ID!) { household(id: $id) { risk { warning { level complete undetermined rules { id } } } } }";
    let mut seen = BTreeMap::new();
    for (name, keys) in [
        ("given", ""),
        ("kept", "withhold: [{roles: [grid-worker], fields: [housing.safetyGrade, housing.safetyGradeCode]}]"),
        (
            "read",
            "withhold: [{roles: [grid-worker], fields: [housing.safetyGrade, housing.safetyGradeCode], rules_may_read: true}]",
        ),
    ] {
        let files = Files::copied(&format!("rules-{name}")).hand("housing", keys);
        let gateway = files.gateway(&world).await;
        let grid = world.departments.world().household(&dangerous).unwrap().grid.clone();
        let mut identity = caller("grid-worker", json!({"grids": [grid]}));
        identity.purpose = Some("grid-watch".to_owned());
        world.departments.clear_logs();
        let answer = ask(&gateway, &identity, query, json!({"id": dangerous})).await;
        let warning = &answer["data"]["household"]["risk"]["warning"];
        let fired = warning["rules"].to_string().contains("house-dangerous");
        seen.insert(name, (warning["complete"] == true, fired, called(&answer).contains("housing")));
        let told = warning["undetermined"].to_string().contains("house");
        assert!(!told || name == "given", "{name}: {answer}");
    }
    // What is read unseen decides, and is not told.
    let expected =
        BTreeMap::from([("given", (true, true, true)), ("kept", (false, false, false)), ("read", (true, false, true))]);
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_told_where_it_reads_no_more_codes_than_the_caller() {
    let world = world().await;
    let dangerous = find(&world, |portrait| at(portrait, "housing.safetyGrade") == "D");
    let query = "query($id: ID!) { household(id: $id) { risk { warning { __typename rules { __typename id \
                 inputs { path value } } } } } }";
    let grid = world.departments.world().household(&dangerous).unwrap().grid.clone();
    let mut identity = caller("grid-worker", json!({"grids": [grid]}));
    identity.purpose = Some("grid-watch".to_owned());
    // Another grade is withheld than the house has: rules that may read it know more than the caller does.
    for (name, more, told) in [("codes", "", true), ("codes-read", ", rules_may_read: true", false)] {
        let keys = format!("withhold: [{{roles: [grid-worker], codes: {{housing.safetyGrade: [C]}}{more}}}]");
        let files = Files::copied(&format!("rule-{name}")).hand("housing", &keys);
        let gateway = files.gateway(&world).await;
        let answer = ask(&gateway, &identity, query, json!({"id": dangerous})).await;
        let warning = &answer["data"]["household"]["risk"]["warning"];
        assert_eq!(warning["__typename"], "Warning", "{answer}");
        let rules = warning["rules"].as_array().unwrap();
        let rule = rules.iter().find(|rule| rule["id"] == "house-dangerous");
        assert_eq!(rule.is_some(), told, "{name}: {answer}");
        if let Some(rule) = rule {
            assert_eq!(rule["__typename"], "WarningRule", "{answer}");
            assert_eq!(rule["inputs"], json!([{"path": "housing.safetyGrade", "value": "D"}]), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rules_may_not_read_is_not_recorded_as_used() {
    let world = world().await;
    let grid = world.departments.world().household(HOUSEHOLD).unwrap().grid.clone();
    let mut identity = caller("grid-worker", json!({"grids": [grid]}));
    identity.purpose = Some("grid-watch".to_owned());
    // The same endpoint is asked in any case, for the floor's area.
    let query = "query($id: ID!) { household(id: $id) { housing { floorArea } risk { warning { level } } } }";
    let mut used = BTreeMap::new();
    for (name, keys) in [
        ("given", ""),
        ("kept", "withhold: [{roles: [grid-worker], fields: [housing.safetyGrade, housing.safetyGradeCode]}]"),
        (
            "read",
            "withhold: [{roles: [grid-worker], fields: [housing.safetyGrade, housing.safetyGradeCode], rules_may_read: true}]",
        ),
    ] {
        let files = Files::copied(&format!("used-{name}")).hand("housing", keys);
        let gateway = files.gateway(&world).await;
        let answer = ask(&gateway, &identity, query, json!({"id": HOUSEHOLD})).await;
        assert!(called(&answer).contains("housing"), "{name}: {answer}");
        let record = audit_records(&files.0).await.pop().unwrap();
        let household = record["access"].as_array().unwrap().iter().find(|one| one["entity"] == "Household").unwrap();
        let all: BTreeSet<&str> = household["used"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        // What a department was asked with is used in any case.
        assert!(all.contains("registry.personIds"), "{name}: {record}");
        used.insert(name, all.contains("39"));
    }
    assert_eq!(used, BTreeMap::from([("given", true), ("kept", false), ("read", true)]));
}

fn states(answer: &Value) -> BTreeMap<&str, (&str, &str)> {
    let items = answer["data"]["household"]["items"].as_array().into_iter().flatten();
    items
        .map(|item| {
            (item["no"].as_str().unwrap(), (item["state"].as_str().unwrap(), item["code"].as_str().unwrap_or("")))
        })
        .collect()
}

const VEHICLES: &str = "query($id: ID!) { household(id: $id) { assets { vehicles { plate } } water { safe } items(no: [\"47\", \"43\"]) { no state code message } } }";

fn village(world: &World, count: usize) -> Vec<String> {
    world.departments.world().village_household_ids(VILLAGE).take(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_households_a_day_ends_one_source_and_nothing_else() {
    let world = world().await;
    let keys = "quota: [{role: supervisor, network: gov, per: principal, entities_per_day: 2}]";
    let files = Files::copied("day").hand("police", keys);
    let gateway = files.gateway(&world).await;
    let ids = village(&world, 3);
    for id in &ids[..2] {
        let answer = ask(&gateway, &supervisor(), VEHICLES, json!({"id": id})).await;
        assert_eq!(states(&answer)["47"].1, "", "{answer}");
    }
    world.departments.clear_logs();
    let third = ask(&gateway, &supervisor(), VEHICLES, json!({"id": ids[2]})).await;
    assert_eq!(states(&third)["47"], ("UNAVAILABLE", "QUOTA_EXCEEDED"), "{third}");
    assert_eq!(states(&third)["43"].0, "ANSWERED", "{third}");
    assert_eq!(third["data"]["household"]["assets"]["vehicles"], Value::Null, "{third}");
    assert!(third["errors"][0]["message"].as_str().unwrap().contains("ask for less, or later"), "{third}");
    assert!(world.departments.log("police").is_empty() && !called(&third).contains("police"), "{third}");
    // One that is counted is asked for again; another person, and another source, have their own.
    let again = ask(&gateway, &supervisor(), VEHICLES, json!({"id": ids[0]})).await;
    assert_eq!(states(&again)["47"].1, "", "{again}");
    let mut other = supervisor();
    other.principal.as_mut().unwrap().id = "supervisor-2".to_owned();
    let answer = ask(&gateway, &other, VEHICLES, json!({"id": ids[2]})).await;
    assert_eq!(states(&answer)["47"].1, "", "{answer}");
    // The record says so, without a call that was not made.
    let records = audit_records(&files.0).await;
    let refused: Vec<&Value> =
        records.iter().filter(|record| record["errors"].to_string().contains("QUOTA_EXCEEDED")).collect();
    assert_eq!(refused.len(), 1, "{records:?}");
    let police = refused[0]["sources"].as_array().unwrap().iter().find(|call| call["source"] == "police").unwrap();
    assert_eq!(police, &json!({"source": "police", "calls": 0, "outcomes": {"QUOTA_EXCEEDED": 1}}));
}

/// The records of a store, read beside the gateway.
async fn audit_records(folder: &std::path::Path) -> Vec<Value> {
    use sqlx::{ConnectOptions as _, Connection as _, Row as _};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("audit.sqlite")).read_only(true);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query("SELECT record FROM audit ORDER BY seq").fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| serde_json::from_str(row.get::<&str, _>("record")).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_calls_a_minute_is_the_roles_and_counts_before_the_call() {
    let world = world().await;
    let files = Files::copied("minute").hand("water", "quota: [{role: supervisor, calls_per_minute: 2}]");
    let gateway = files.gateway(&world).await;
    let ids = village(&world, 3);
    let mut seen = Vec::new();
    world.departments.clear_logs();
    for (at, id) in ids.iter().enumerate() {
        let mut identity = supervisor();
        identity.principal.as_mut().unwrap().id = format!("supervisor-{at}");
        let answer = ask(&gateway, &identity, VEHICLES, json!({"id": id})).await;
        seen.push(states(&answer)["43"].1.to_owned());
    }
    assert_eq!(seen, ["", "", "QUOTA_EXCEEDED"]);
    assert_eq!(world.departments.log("water").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_role_gives_is_charged_to_that_role() {
    let world = world().await;
    let keys = "quota: [{role: supervisor, entities_per_day: 0}, {role: town-officer, network: elsewhere, entities_per_day: 0}]";
    let files = Files::copied("roles")
        .hand("water", keys)
        .edit("config/gateway.yaml", |text| text.replace("networks:\n", "networks:\n  elsewhere: [192.0.2.0/24]\n"));
    let gateway = files.gateway(&world).await;
    let id = &village(&world, 1)[0];
    let query = "query($id: ID!) { household(id: $id) { water { safe } items(no: \"43\") { no state code } } }";
    let alone = ask(&gateway, &supervisor(), query, json!({"id": id})).await;
    assert_eq!(states(&alone)["43"].1, "QUOTA_EXCEEDED", "{alone}");
    let mut both = supervisor();
    both.principal.as_mut().unwrap().roles.push("town-officer".to_owned());
    both.purpose = Some("duty".to_owned());
    let answer = ask(&gateway, &both, query, json!({"id": id})).await;
    assert_eq!(states(&answer)["43"], ("ANSWERED", ""), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_counts_what_rules_read_and_what_listings_hold() {
    let world = world().await;
    let files = Files::copied("read").hand("police", "quota: [{role: town-officer, entities_per_day: 0}]");
    let gateway = files.gateway(&world).await;
    let mut officer = caller("town-officer", json!({"divisions": ["331122"]}));
    officer.purpose = Some("duty".to_owned());
    let id = &village(&world, 1)[0];
    let derived =
        ask(&gateway, &officer, "query($id: ID!) { household(id: $id) { assets { ownsCar } } }", json!({"id": id}))
            .await;
    assert_eq!(derived["data"]["household"]["assets"]["ownsCar"], Value::Null, "{derived}");
    assert!(!called(&derived).contains("police"), "{derived}");
    let files = Files::copied("held").hand("agriculture", "quota: [{role: town-officer, entities_per_day: 2}]");
    let gateway = files.gateway(&world).await;
    let query = "query($d: ID!) { households(division: $d, first: 3) { nodes { id registry { headName category } } } }";
    let listed = ask(&gateway, &officer, query, json!({"d": VILLAGE})).await;
    let nodes = listed["data"]["households"]["nodes"].as_array().unwrap();
    let shown = nodes.iter().filter(|node| node["registry"]["category"].is_string()).count();
    let named = nodes.iter().filter(|node| node["registry"]["headName"].is_string()).count();
    assert_eq!((nodes.len(), shown, named), (3, 2, 2), "{listed}");
}
