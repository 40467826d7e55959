//! Who may scan what: which grants count for scans, how far, and over which territories.

use std::fs;
use std::path::Path;

use huxiang::base::fault::Faults;
use huxiang::base::prefix::Prefix;
use huxiang::model::access::{Access, Approved, Denied, Presented, ScanRights};
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::{Value, json};

use crate::temporary::Temporary;

const SCHEMA: &str = r#"
directive @key(fields: String!) on OBJECT
directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT
directive @relation(via: String!) on OBJECT
directive @territory(by: String!) on OBJECT

type Query { farm(id: ID!): Farm }
type Farm @key(fields: "id") @class(name: "open", level: 1) @territory(by: "place") {
  id: ID!
  place: String
  name: String
  debt: String @class(name: "money", level: 3)
  owner: Owner
}
type Owner @key(fields: "id") @relation(via: "farm") @class(name: "open", level: 1) { id: ID! farm: Farm name: String }
type Mill @key(fields: "id") @class(name: "open", level: 1) { id: ID! name: String }
"#;

const RELATIONS: &str = r#"
relations:
  any: {on: Mill, when: "true", scans: {}}
  place: {on: Farm, when: "principal.places.exists(p, farm.place.startsWith(p))", scans: {within: places}}
  region: {on: Farm, when: "principal.regions.exists(p, farm.place.startsWith(p))", scans: {within: regions}}
  unmarked: {on: Farm, when: "principal.places.exists(p, farm.place.startsWith(p))"}
"#;

const ROLES: &str = r#"
roles:
  clerk:
    title: Clerk
    networks: [office]
    scans: {statistics: true, candidates_max: 500, named_max: 50}
    grants:
      - {relation: place, classes: [open]}
      - {relation: unmarked, classes: [money]}
  checker:
    title: Checker
    networks: [office]
    scans:
      candidates_max: 1000
      named_max: 100
      approval: {by: [chief], valid_minutes_max: 60, uses: 1, above: 20}
    grants:
      - {relation: place, purposes: [checking], classes: [open, money], mask: {Farm.name: name}}
      - {relation: place, classes: [money], approval: {by: [chief], valid_minutes_max: 60}}
      - {relation: place, classes: [money], break_glass: {review_by: [chief], review_hours_max: 24}}
  chief:
    title: Chief
    networks: [office]
    scans: {statistics: true, candidates_max: 9, named_max: 9}
    grants:
      - {relation: region, classes: [open]}
      - {relation: any, classes: [open]}
  reader:
    title: Reader
    networks: [office]
    grants:
      - {relation: place, classes: [open, money]}
"#;

const SOURCE: &str = r#"
source: farms
title: Farms
base_url: http://127.0.0.1:1
endpoints:
  farm:
    entity: Farm
    establishes: true
    one: {get: "/farm/{key}"}
    many: {post: /farms, body: {ids: "{keys}"}, item_key: /id}
    fields: {place: /place, name: /name, debt: /debt, owner: {ref: /owner}}
  owner:
    entity: Owner
    one: {get: "/owner/{key}"}
    fields: {farm: {ref: /farm}, name: /name}
  mill:
    entity: Mill
    one: {get: "/mill/{key}"}
    fields: {name: /name}
"#;

const GATEWAY: &str = r#"
listen: 127.0.0.1:8080
networks: {office: [10.0.0.0/8]}
principal: {claims: {places: [string], regions: [string]}}
purposes: {checking: {zh: 核对, en: Checking}}
audit: {store: audit.sqlite, key: "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"}
"#;

fn snapshot(name: &str) -> (Temporary, Snapshot) {
    let root = Temporary::new(&format!("scans-{name}"));
    for (file, text) in [
        ("schema/farms.graphql", SCHEMA),
        ("config/rules/relations.yaml", RELATIONS),
        ("config/roles.yaml", ROLES),
        ("config/gateway.yaml", GATEWAY),
        ("resolvers/farms.yaml", SOURCE),
    ] {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut faults = Faults::default();
    let loaded = Snapshot::load(&Folders::under(&root), &|_| None, &mut faults);
    let loaded = loaded.unwrap_or_else(|| panic!("{}", faults.render()));
    (root, loaded)
}

fn active(access: &Access, roles: &[&str], purpose: Option<&str>, approved: Option<&Approved>) -> Vec<usize> {
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    access.active(Presented {
        id: Some("someone"),
        issuer: None,
        roles: &roles,
        networks: &["office".to_owned()],
        purpose,
        case: None,
        purposes_allowed: None,
        certificate: None,
        now: jiff::civil::date(2026, 6, 1).at(9, 0, 0, 0),
        emergency: true,
        approved,
        trusted: false,
    })
}

fn rights(access: &Access, roles: &[&str], purpose: Option<&str>) -> Option<ScanRights> {
    ScanRights::new(access, active(access, roles, purpose, None))
}

fn approved(role: &str) -> Approved {
    Approved {
        id: "a".to_owned(),
        role: role.to_owned(),
        by_role: "chief".to_owned(),
        minutes_since: 1,
        used: 0,
        is_used_up: false,
        is_of: std::sync::Arc::new(|_, _| true),
    }
}

/// The fields that scans may read, and in brackets those that are masked.
fn fields(snapshot: &Snapshot, rights: &ScanRights) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for permit in rights.rights.permits.values() {
        for slot in permit.slots.iter() {
            let path = snapshot.contract.full_path(slot);
            found.push(if permit.masks.contains_key(&slot) { format!("({path})") } else { path });
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn only_grants_by_a_marked_relation_of_a_role_that_scans_count() {
    let (_root, snapshot) = snapshot("grants");
    let access = &snapshot.access;
    let clerk = rights(access, &["clerk"], None).unwrap();
    let fields_of_clerk = fields(&snapshot, &clerk);
    assert!(fields_of_clerk.contains(&"Farm.place".to_owned()), "{fields_of_clerk:?}");
    assert!(
        !fields_of_clerk.contains(&"Farm.debt".to_owned()),
        "by a relation that is not marked: {fields_of_clerk:?}"
    );
    assert!(rights(access, &["reader"], None).is_none(), "the role does not scan");
    assert!(rights(access, &[], None).is_none());
    // What a role without scans reads is not lent to one that scans.
    assert_eq!(fields(&snapshot, &rights(access, &["clerk", "reader"], None).unwrap()), fields_of_clerk);
}

#[test]
fn what_is_given_record_by_record_or_in_an_emergency_is_not_scanned() {
    let (_root, snapshot) = snapshot("approval");
    let access = &snapshot.access;
    let given = approved("checker");
    let counting = active(access, &["checker"], None, Some(&given));
    assert_eq!(counting.len(), 2, "with approval and in an emergency, both count for single records");
    assert!(ScanRights::new(access, counting).is_none());
    assert!(rights(access, &["checker"], Some("elsewhere")).is_none(), "conditions of grants hold here too");
    let with_purpose = rights(access, &["checker"], Some("checking")).unwrap();
    let found = fields(&snapshot, &with_purpose);
    assert!(found.contains(&"Farm.debt".to_owned()) && found.contains(&"(Farm.name)".to_owned()), "{found:?}");
}

#[test]
fn of_several_roles_the_narrowest_limits_count() {
    let (_root, snapshot) = snapshot("limits");
    let access = &snapshot.access;
    let limits = |roles: &[&str], approved: Option<&Approved>| {
        let rights = rights(access, roles, Some("checking")).unwrap();
        (rights.statistics(), rights.candidates_max(approved), rights.named_max())
    };
    let given = approved("checker");
    assert_eq!(limits(&["clerk"], None), (true, 500, 50));
    assert_eq!(limits(&["checker"], None), (false, 20, 100), "without the approval, as many as need none");
    assert_eq!(limits(&["checker"], Some(&given)), (false, 1000, 100));
    assert_eq!(limits(&["checker"], Some(&approved("clerk"))).1, 20, "an approval for another role");
    assert_eq!(limits(&["checker", "clerk"], Some(&given)), (false, 500, 50));
    // A role whose grants do not count now narrows nothing.
    assert_eq!(rights(access, &["checker", "clerk"], None).unwrap().candidates_max(None), 500);
    let checker = rights(access, &["checker"], Some("checking")).unwrap();
    let awaited = checker.awaited(None);
    assert!(
        matches!(&awaited, Some(Denied::Approval { role, by }) if **role == *"checker" && **by == ["chief".into()])
    );
    assert_eq!(checker.awaited(Some(&given)), None);
}

#[test]
fn scans_stay_inside_the_territories_of_the_relations_that_count() {
    let (_root, snapshot) = snapshot("territories");
    let Snapshot { access, contract, .. } = &snapshot;
    let claims = json!({"places": ["3311", "22"], "regions": ["33", "33"]});
    let of = |roles: &[&str], entity: &str, claims: &Value| -> Vec<String> {
        let rights = rights(access, roles, None).unwrap();
        let over = contract.entity_named(entity).unwrap();
        rights.territories(access, contract, over, claims).iter().map(|one| one.as_str().to_owned()).collect()
    };
    assert_eq!(of(&["clerk"], "Farm", &claims), ["22", "3311"]);
    assert_eq!(of(&["clerk"], "Owner", &claims), ["22", "3311"], "relations are taken over");
    assert_eq!(of(&["clerk", "chief"], "Farm", &claims), ["22", "33", "3311"]);
    assert_eq!(of(&["chief"], "Mill", &claims), [""], "to all alike");
    assert_eq!(of(&["clerk"], "Mill", &claims), [""; 0]);
    assert_eq!(of(&["clerk"], "Farm", &json!({})), [""; 0], "no claim, no territory");
    let granted = rights(access, &["clerk", "chief"], None).unwrap();
    let granted = granted.territories(access, contract, contract.entity_named("Farm").unwrap(), &claims);
    let asked = |code: &str| Prefix::of(code, &[2, 4, 6]).within(&granted);
    assert_eq!(asked("331100"), [Prefix::exact("3311")]);
    assert_eq!(asked("330000"), [Prefix::exact("33")]);
    assert_eq!(asked("440000"), asked("no such place"), "what is not granted and what is not there are one");
}

/// The repository's own: who may scan in the demo.
#[test]
fn in_the_demo_those_scan_who_answer_for_a_territory_and_nobody_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).to_str().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_huxiang"))
        .args(["access", "--root", root, "--json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let roles = report["roles"].as_array().unwrap();
    let scanning: Vec<&str> =
        roles.iter().filter(|role| !role["scans"].is_null()).map(|role| role["role"].as_str().unwrap()).collect();
    assert_eq!(scanning, ["department-officer", "supervisor", "town-officer", "verifier"]);
    let scans = |name: &str| roles.iter().find(|role| role["role"] == name).unwrap()["scans"].clone();
    for name in &scanning {
        for relation in scans(name)["relations"].as_array().unwrap() {
            assert!(relation.as_str().unwrap().ends_with(" within divisions"), "{name}: {relation}");
        }
    }
    let item = |path: &str| {
        let items = roles[0]["items"].as_array().unwrap();
        items.iter().find(|item| item["path"] == path).unwrap()["no"].clone()
    };
    let compares = |name: &str, key: &str, path: &str| scans(name)[key].as_array().unwrap().contains(&item(path));
    // The income that a town officer sees in bands; the supervisor reads it in full.
    assert!(compares("supervisor", "items", "income.perCapita"));
    assert!(!compares("town-officer", "items", "income.perCapita"));
    // Deposits, which the verifier has household by household.
    assert!(compares("supervisor", "items", "assets.deposits"));
    assert!(!compares("verifier", "items", "assets.deposits"));
    assert_eq!(scans("verifier")["approval"]["above"], 200);
    assert_eq!(scans("verifier")["statistics"], false);
    let table = String::from_utf8(
        std::process::Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["access", "--root", root])
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    assert!(
        table.contains("statistics; 20000 candidates; 5000 named; by jurisdiction within divisions")
            && table.contains("approval by supervisor above 200 candidates"),
        "{table}"
    );
}
