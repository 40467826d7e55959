//! What is asked to find out how a caller stands to entities, and what of it is asked again: row by row, no more than
//! is needed, and nothing that the caller needs is left out for having been asked of others.

use std::collections::BTreeSet;

use departments::expected::{at, portrait};
use departments::world::Role;
use huxiang::answer::Gateway;
use huxiang::audit::{SubjectDigest, SubjectKey};
use serde_json::{Value, json};

use crate::support::files::Files;
use crate::support::{self, HOUSEHOLD, World, ask, caller, records, world};

const VILLAGE: &str = "331122101348";

/// The repository's files with other roles, and further relations.
async fn with(world: &World, name: &str, roles: &str, relations: &str) -> (Gateway, Files) {
    let files = Files::copied(name)
        .roles(roles)
        .edit("config/rules/relations.yaml", |text| format!("{}\n{relations}", text.trim_end()));
    (files.gateway(world).await, files)
}

/// Bodies and paths of what a source was asked.
fn asked(world: &World, source: &str) -> Vec<String> {
    world.departments.log(source).iter().map(|call| format!("{} {} {}", call.path, call.query, call.body)).collect()
}

/// What was asked of anybody twice.
fn asked_twice(world: &World) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let sources = world.departments.sources();
    let all =
        sources.iter().flat_map(|source| asked(world, source).into_iter().map(move |call| format!("{source} {call}")));
    all.filter(|call| !seen.insert(call.clone())).collect()
}

fn village(world: &World, wanted: impl Fn(&Value) -> bool) -> String {
    let known = world.departments.world();
    let mut ids = known.village_household_ids(VILLAGE);
    ids.find(|id| *id != HOUSEHOLD && portrait(known, id).is_some_and(|portrait| wanted(&portrait))).unwrap()
}

const MIXED: &str = "  mixed:
    title: Mixed
    networks: [gov]
    grants:
      - {relation: any, fields: [id, assistance.dibaoMonthly]}
      - {relation: same-household, fields: [registry.phone]}
";

/// The household number says of the others that they are not the caller's: for them the gate asks nothing. What they
/// have otherwise needs the same answers.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_gate_asked_of_one_household_is_asked_of_the_others_for_what_they_have() {
    let world = world().await;
    let (gateway, _files) = with(&world, "some", MIXED, "").await;
    let helped = |portrait: &Value| at(portrait, "assistance.dibaoMonthly").is_string();
    let other = village(&world, helped);
    let person = world.departments.world().household(HOUSEHOLD).unwrap().head().id_number.clone();
    let mixed = caller("mixed", json!({"household": HOUSEHOLD, "person": person}));
    let fields = "{ id registry { phone } assistance { dibaoMonthly } }";
    let expected = |id: &str, path: &str| at(&portrait(world.departments.world(), id).unwrap(), path).clone();
    for query in [
        format!("{{ other: household(id: \"{other}\") {fields} }}"),
        format!("{{ own: household(id: \"{HOUSEHOLD}\") {fields} other: household(id: \"{other}\") {fields} }}"),
        format!("{{ other: household(id: \"{other}\") {fields} own: household(id: \"{HOUSEHOLD}\") {fields} }}"),
    ] {
        world.departments.clear_logs();
        let answer = ask(&gateway, &mixed, &query, json!({})).await;
        let told = &answer["data"]["other"];
        assert_eq!(told["assistance"]["dibaoMonthly"], expected(&other, "assistance.dibaoMonthly"), "{answer}");
        assert_eq!(told["registry"]["phone"], Value::Null, "{answer}");
        if query.contains("own") {
            let own = &answer["data"]["own"];
            assert_eq!(own["registry"]["phone"], expected(HOUSEHOLD, "registry.phone"), "{answer}");
            assert_eq!(own["assistance"]["dibaoMonthly"], expected(HOUSEHOLD, "assistance.dibaoMonthly"), "{answer}");
        }
        assert_eq!(asked_twice(&world), Vec::<String>::new(), "{query}");
    }
}

const NAMED: &str = "  named:
    title: Named
    networks: [gov]
    grants:
      - {relation: any, fields: [id, identity.members, Person.name]}
      - {relation: self-person, fields: [Person.name]}
  masked:
    title: Masked
    networks: [gov]
    grants:
      - {relation: any, fields: [id, identity.members, Person.name], mask: {Person.name: name}}
      - {relation: self-person, fields: [Person.name]}
";

/// Police would have to be asked whether it is oneself, and alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_relation_that_gives_nothing_more_is_not_asked_for() {
    let world = world().await;
    let (gateway, _files) = with(&world, "more", NAMED, "").await;
    let head = world.departments.world().household(HOUSEHOLD).unwrap().head().clone();
    let query = format!("{{ household(id: \"{HOUSEHOLD}\") {{ identity {{ members {{ name }} }} }} }}");
    let names = |answer: &Value| -> Vec<String> {
        let members = answer["data"]["household"]["identity"]["members"].as_array().unwrap();
        members.iter().map(|member| member["name"].as_str().unwrap().to_owned()).collect()
    };
    world.departments.clear_logs();
    let answer = ask(&gateway, &caller("named", json!({"person": head.id_number})), &query, json!({})).await;
    assert!(names(&answer).contains(&head.name), "{answer}");
    assert_eq!(asked(&world, "police"), Vec::<String>::new());
    // A mask is less than the whole: there the relation makes a difference, to oneself alone.
    let answer = ask(&gateway, &caller("masked", json!({"person": head.id_number})), &query, json!({})).await;
    assert_eq!(names(&answer).iter().filter(|name| !name.contains('*')).collect::<Vec<_>>(), [&head.name], "{answer}");
    assert!(!asked(&world, "police").is_empty());
}

const OWN_OR_PAIRED: &str = "  either: {on: Household, when: \"household.id == principal.household || household.help.cadre.id == principal.id\"}
  acting-at-home: {on: Household, when: \"household.id == principal.household\", on_behalf_of: help.delegations.by}
";

/// Of one's own household the number alone decides; of another the department of cadres is asked.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_key_alone_decides_is_not_asked() {
    let world = world().await;
    let roles =
        "  either: {title: Either, networks: [gov], grants: [{relation: either, fields: [id, registry.phone]}]}\n";
    let (gateway, _files) = with(&world, "key", roles, OWN_OR_PAIRED).await;
    let either = caller("either", json!({"household": HOUSEHOLD}));
    let query = "query($id: ID!) { household(id: $id) { registry { phone } } }";
    world.departments.clear_logs();
    let answer = ask(&gateway, &either, query, json!({"id": HOUSEHOLD})).await;
    assert!(answer["data"]["household"]["registry"]["phone"].is_string(), "{answer}");
    assert_eq!(asked(&world, "help"), Vec::<String>::new());
    ask(&gateway, &either, query, json!({"id": village(&world, |_| true)})).await;
    assert_eq!(asked(&world, "help").len(), 1);
}

/// Though the key decides that the relation holds, for whom the caller acts has to be asked: the record names them.
#[tokio::test(flavor = "multi_thread")]
async fn for_whom_a_caller_acts_is_asked_also_where_the_key_alone_decides() {
    let world = world().await;
    let roles = "  acting: {title: Acting, networks: [gov], grants: [{relation: acting-at-home, fields: [id, registry.phone]}]}\n";
    let (gateway, files) = with(&world, "acting", roles, OWN_OR_PAIRED).await;
    let query = format!("{{ household(id: \"{HOUSEHOLD}\") {{ registry {{ phone }} }} }}");
    let answer = ask(&gateway, &caller("acting", json!({"household": HOUSEHOLD})), &query, json!({})).await;
    assert!(answer["data"]["household"]["registry"]["phone"].is_string(), "{answer}");
    let records = records(&files.0).await;
    assert!(!records[0]["access"][0]["on_behalf_of"].as_array().unwrap().is_empty(), "{}", records[0]);
}

/// A person takes its household's relation: what is selected of the household is read from the same answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_and_its_household_are_asked_for_once() {
    let world = world().await;
    let head = world.departments.world().household(HOUSEHOLD).unwrap().head().clone();
    let query = format!(
        "{{ person(idNumber: \"{}\") {{ name household {{ id registry {{ phone headName }} identity {{ members {{ name }} }} }} }} }}",
        head.id_number
    );
    world.departments.clear_logs();
    let answer = ask(&world.gateway, &support::supervisor(), &query, json!({})).await;
    assert_eq!(answer["data"]["person"]["household"]["id"], HOUSEHOLD, "{answer}");
    assert!(answer["data"]["person"]["household"]["identity"]["members"][0]["name"].is_string(), "{answer}");
    assert_eq!(asked_twice(&world), Vec::<String>::new());
}

const WATCHING: &str = "  watcher:
    title: Watcher
    networks: [gov]
    grants:
      - {relation: any, fields: [id, risk.warning]}
      - {relation: self-person, fields: [Person.guardians]}
      - {relation: never, fields: [identity.members, Person.household]}
  whole:
    title: Whole
    networks: [gov]
    grants:
      - {relation: any, fields: [id, risk.warning, identity.members, Person.name]}
  reacher:
    title: Reacher
    networks: [gov]
    grants:
      - {relation: any, fields: [id, assistance.dibaoMonthly]}
      - {relation: self-person, fields: [Person.idNumber, Person.name]}
      - {relation: never, fields: [Person.household]}
";
const NEVER: &str = "  never: {on: Household, when: \"household.id == 'nobody'\"}\n";

/// The members are read for a warning, unseen: what the caller would have of one of them, had the list been given, is
/// not reached through it.
#[tokio::test(flavor = "multi_thread")]
async fn what_rules_read_below_opens_nothing_there() {
    let world = world().await;
    let (gateway, _files) = with(&world, "watching", WATCHING, NEVER).await;
    let head = world.departments.world().household(HOUSEHOLD).unwrap().head().clone();
    let query = format!(
        "{{ household(id: \"{HOUSEHOLD}\") {{ id risk {{ warning {{ level complete undetermined }} }}
            identity {{ members {{ guardians {{ kind }} }} }} }} }}"
    );
    let whole = ask(&gateway, &caller("whole", json!({})), &query, json!({})).await;
    assert_eq!(whole["data"]["household"]["risk"]["warning"]["complete"], true, "{whole}");
    world.departments.clear_logs();
    let answer = ask(&gateway, &caller("watcher", json!({"person": head.id_number})), &query, json!({})).await;
    assert_eq!(answer["data"]["household"]["risk"], whole["data"]["household"]["risk"], "{answer}");
    assert_eq!(answer["data"]["household"]["identity"]["members"], Value::Null, "{answer}");
    assert!(asked(&world, "police").iter().any(|call| call.contains(&head.id_number)), "read for the warning");
    let guardians: Vec<_> =
        asked(&world, "civil-affairs").into_iter().filter(|call| call.contains("guardian")).collect();
    assert_eq!(guardians, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_department_keeps_from_rules_is_not_read_of_entities_below() {
    let world = world().await;
    let withhold = "withhold: [{roles: [watcher], fields: [Person.lifeStatus, Person.lifeStatusCode, Person.deathOn]}]";
    let files = Files::copied("below").roles(WATCHING).hand("police", withhold);
    let files = files.edit("config/rules/relations.yaml", |text| format!("{}\n{NEVER}", text.trim_end()));
    let gateway = files.gateway(&world).await;
    let query = format!(
        "{{ household(id: \"{HOUSEHOLD}\") {{ id risk {{ warning {{ level complete }} }} identity {{ members {{ guardians {{ kind }} }} }} }} }}"
    );
    // Police are asked by number and name for what they hold of a person.
    let registers = || asked(&world, "police").iter().filter(|call| call.contains("<rk:xm>")).count();
    world.departments.clear_logs();
    let answer = ask(&gateway, &caller("watcher", json!({})), &query, json!({})).await;
    assert_eq!(answer["data"]["household"]["risk"]["warning"]["complete"], false, "{answer}");
    assert_eq!(registers(), 0);
    ask(&gateway, &caller("whole", json!({})), &query, json!({})).await;
    assert!(registers() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_field_that_is_refused_nothing_is_reached() {
    let world = world().await;
    let (gateway, _files) = with(&world, "reach", WATCHING, NEVER).await;
    let head = world.departments.world().household(HOUSEHOLD).unwrap().head().clone();
    let query = format!(
        "{{ person(idNumber: \"{}\") {{ name household {{ id assistance {{ dibaoMonthly }} }} }} }}",
        head.id_number
    );
    world.departments.clear_logs();
    let answer = ask(&gateway, &caller("reacher", json!({"person": head.id_number})), &query, json!({})).await;
    assert_eq!(answer["data"]["person"], json!({"name": head.name, "household": null}), "{answer}");
    assert_eq!(asked(&world, "civil-affairs"), Vec::<String>::new());
}

const GUARDED: &str =
    "  guarded: {on: Person, when: \"person.idNumber == principal.person\", on_behalf_of: guardians.idNumber}\n";

/// Each entity's own: what a relation to a person says of it says nothing of the household, nor the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn for_whom_a_caller_acts_is_told_of_each_entity() {
    let world = world().await;
    let roles = "  guarded:
    title: Guarded
    networks: [gov]
    grants:
      - {relation: any, fields: [id, registry.phone, identity.members]}
      - {relation: guarded, fields: [Person.idNumber, Person.name, Person.household]}
";
    let (gateway, files) = with(&world, "guarded", roles, GUARDED).await;
    let household = world.departments.world().household(HOUSEHOLD).unwrap();
    let child = household.members.iter().find(|member| member.role == Role::Child).unwrap();
    let guarded = caller("guarded", json!({"person": child.id_number}));
    for query in [
        format!("{{ person(idNumber: \"{}\") {{ name household {{ id registry {{ phone }} }} }} }}", child.id_number),
        format!("{{ household(id: \"{HOUSEHOLD}\") {{ id registry {{ phone }} identity {{ members {{ name }} }} }} }}"),
    ] {
        let answer = ask(&gateway, &guarded, &query, json!({})).await;
        assert!(answer.to_string().contains(&child.name), "{answer}");
        let record = records(&files.0).await.pop().unwrap();
        let key = std::sync::Arc::clone(&gateway.snapshot().config.audit.key);
        let subject = |entity: &str, id: &str| SubjectKey::new(key.clone()).subject(entity, id);
        let behalf = |subject: SubjectDigest| -> usize {
            let mut access = record["access"].as_array().unwrap().iter();
            let of = access.find(|one| one["subjects"].as_array().unwrap().contains(&json!(subject)));
            of.unwrap_or_else(|| panic!("{record}"))["on_behalf_of"].as_array().map_or(0, Vec::len)
        };
        assert!(behalf(subject("Person", &child.id_number)) > 0, "{query}: {record}");
        assert_eq!(behalf(subject("Household", HOUSEHOLD)), 0, "{query}: {record}");
    }
}

const SECTIONS: &str = "  one:
    title: One
    networks: [gov]
    grants:
      - {relation: paired, fields: [id, assistance.dibaoMonthly]}
  other:
    title: Other
    networks: [gov]
    grants:
      - {relation: paired, fields: [id, assistance.dibaoMonthly]}
      - {relation: never, fields: [assistance.dibaoStatus]}
      - {relation: self-person, fields: [Person.idNumber, Person.household]}
";

/// A section tells nothing of its own. Where nothing in it can be given, nobody is asked; where something might be, who
/// stands in a relation to the household learns what is refused, and not that there is no such household.
#[tokio::test(flavor = "multi_thread")]
async fn a_section_is_looked_at_for_what_is_selected_in_it() {
    let world = world().await;
    let (gateway, _files) = with(&world, "sections", SECTIONS, NEVER).await;
    let expected = portrait(world.departments.world(), HOUSEHOLD).unwrap();
    let cadre = at(&expected, "help.cadre.id").clone();
    let query = format!("{{ household(id: \"{HOUSEHOLD}\") {{ assistance {{ dibaoStatus }} }} }}");
    world.departments.clear_logs();
    let answer = ask(&gateway, &caller("one", json!({"id": cadre})), &query, json!({})).await;
    assert_eq!(answer["data"]["household"], Value::Null, "{answer}");
    assert_eq!(asked_twice(&world), Vec::<String>::new());
    assert!(world.departments.sources().iter().all(|source| asked(&world, source).is_empty()), "{answer}");
    let answer = ask(&gateway, &caller("other", json!({"id": cadre})), &query, json!({})).await;
    assert_eq!(answer["data"]["household"], json!({"assistance": {"dibaoStatus": null}}), "{answer}");
    let answer = ask(&gateway, &caller("other", json!({"id": "nobody"})), &query, json!({})).await;
    assert_eq!(answer["data"]["household"], Value::Null, "{answer}");
    // So below another entity, where nothing else is looked at.
    let head = world.departments.world().household(HOUSEHOLD).unwrap().head().id_number.clone();
    let query = format!("{{ person(idNumber: \"{head}\") {{ household {{ assistance {{ dibaoStatus }} }} }} }}");
    for (id, household) in [(cadre, json!({"assistance": {"dibaoStatus": null}})), (json!("nobody"), Value::Null)] {
        let answer = ask(&gateway, &caller("other", json!({"id": id, "person": head})), &query, json!({})).await;
        assert_eq!(answer["data"]["person"]["household"], household, "{answer}");
    }
}

/// In place of a household that is not there one goes through the gate that nobody lives in; nothing more is asked of it.
#[tokio::test(flavor = "multi_thread")]
async fn nobodys_household_is_asked_for_at_the_gate_alone() {
    let world = world().await;
    let roles = "  everybody: {title: Everybody, networks: [gov], grants: [
      {relation: any, fields: [id, registry.phone, Person.idNumber, Person.name, Person.household]}]}\n";
    let (gateway, _files) = with(&world, "nobody", roles, "").await;
    let nobody = "331122199001011230";
    let query = format!("{{ person(idNumber: \"{nobody}\") {{ name household {{ registry {{ phone }} }} }} }}");
    world.departments.clear_logs();
    let answer = ask(&gateway, &caller("everybody", json!({})), &query, json!({})).await;
    assert_eq!(answer["data"]["person"], Value::Null, "{answer}");
    for call in asked(&world, "agriculture") {
        assert!(call.contains(nobody), "{call}");
    }
}

/// What is told of a household as a whole is told of no single person: a class gives none of it to a person's relation.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_class_a_relation_to_persons_gives_what_tells_of_persons() {
    let world = world().await;
    let roles = "  oneself: {title: Oneself, networks: [gov], grants: [
      {relation: any, fields: [id]}, {relation: self-person, classes: [help, welfare]}]}\n";
    let (gateway, _files) = with(&world, "oneself", roles, "").await;
    let query = format!("{{ household(id: \"{HOUSEHOLD}\") {{ id help {{ cadre {{ name }} }} }} }}");
    world.departments.clear_logs();
    let answer = ask(&gateway, &caller("oneself", json!({"person": "331122197501011238"})), &query, json!({})).await;
    assert_eq!(answer["data"]["household"]["id"], HOUSEHOLD, "{answer}");
    let said = answer["errors"][0]["message"].as_str().unwrap();
    assert!(said.contains("needs a grant of the data class `help`"), "{said}");
    assert_eq!(asked(&world, "help"), Vec::<String>::new());
}
