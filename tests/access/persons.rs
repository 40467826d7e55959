//! What is told of single persons: by themselves, their guardians and with their consent; relations that end.

use std::collections::BTreeSet;

use departments::expected::{at, portrait};
use departments::standing::{self, Stage};
use departments::world::{Household, Member, Role};
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::support::files::Files;
use crate::support::{self, World, ask, caller, world};

const VILLAGE: &str = "331122101348";

fn of(world: &World, sequence: u32) -> Household {
    world.departments.world().household(&format!("{VILLAGE}{sequence:06}")).unwrap()
}

fn role(household: &Household, role: Role) -> &Member {
    household.members.iter().find(|member| member.role == role).unwrap()
}

/// A member of the household, by the household's own end.
fn member(household: &Household, person: &Member) -> Identity {
    caller("household", json!({"household": household.id, "person": person.id_number}))
}

const ILL: &str =
    "query($id: ID!) { household(id: $id) { id health { majorIllnesses { name idNumber code } followUps { name on } }
    items(no: [\"26\", \"28\"]) { no state code message } } }";

async fn illnesses(world: &World, identity: &Identity, household: &Household) -> Value {
    world.departments.clear_logs();
    ask(&world.gateway, identity, ILL, json!({"id": household.id})).await
}

/// Names of those whose illnesses and follow-ups are in an answer.
fn told_of(answer: &Value) -> BTreeSet<&str> {
    let health = &answer["data"]["household"]["health"];
    let lists = [&health["majorIllnesses"], &health["followUps"]];
    let elements = lists.into_iter().filter_map(Value::as_array).flatten();
    elements.map(|element| element["name"].as_str().unwrap()).collect()
}

/// Whose illnesses there are.
fn known_of(world: &World, household: &Household) -> BTreeSet<String> {
    let portrait = portrait(world.departments.world(), &household.id).unwrap();
    let lists = ["health.majorIllnesses", "health.followUps"].map(|path| at(&portrait, path).clone());
    let elements = lists.iter().flat_map(|list| list.as_array().unwrap());
    elements.map(|element| element["idNumber"].as_str().unwrap().to_owned()).collect()
}

/// Of whom a department was asked.
fn asked_of(world: &World, source: &str, household: &Household) -> BTreeSet<String> {
    let calls = world.departments.log(source);
    let texts: Vec<String> = calls.iter().map(|call| format!("{} {} {}", call.path, call.query, call.body)).collect();
    let members = household.members.iter().map(|member| member.id_number.clone());
    members.filter(|id| texts.iter().any(|text| text.contains(id.as_str()))).collect()
}

fn set<const N: usize>(members: [&Member; N]) -> BTreeSet<String> {
    members.map(|member| member.id_number.clone()).into()
}

/// The first household of the village for which it holds.
fn find(world: &World, what: impl Fn(&Household) -> bool) -> Household {
    (1..=21).map(|sequence| of(world, sequence)).find(what).unwrap()
}

fn ill(world: &World, household: &Household, person: &Member) -> bool {
    known_of(world, household).contains(&person.id_number)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_adults_diagnoses_are_neither_shown_nor_asked_for() {
    let world = world().await;
    let household = of(&world, 1);
    let head = household.head();
    let others = known_of(&world, &household).into_iter().filter(|id| *id != head.id_number).count();
    assert!(others > 0 && ill(&world, &household, head), "somebody else is ill too");
    let answer = illnesses(&world, &member(&household, head), &household).await;
    assert_eq!(told_of(&answer), BTreeSet::from([head.name.as_str()]), "{answer}");
    // The child is the head's ward; of the other adults nothing is asked.
    assert_eq!(asked_of(&world, "health", &household), set([head, role(&household, Role::Child)]));
    for item in answer["data"]["household"]["items"].as_array().unwrap() {
        assert_eq!((&item["state"], &item["code"]), (&json!("ANSWERED"), &json!("FORBIDDEN")), "{answer}");
        let message = item["message"].as_str().unwrap();
        assert!(message.contains("consented-health") && message.contains("guardian"), "{message}");
    }
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{answer}");
    assert_eq!(errors[0]["extensions"]["code"], "FORBIDDEN");
    assert_eq!(errors[0]["extensions"]["count"], 2, "both lists, once: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_others_have_records_is_not_told() {
    let world = world().await;
    let alike = |ill_others: bool| {
        find(&world, |household| {
            let known = known_of(&world, household);
            let own = household
                .members
                .iter()
                .filter(|member| member.role == Role::Spouse)
                .any(|spouse| known.contains(&spouse.id_number));
            household.members.iter().any(|member| member.role == Role::Spouse)
                && standing::consent_stage(household) != Stage::InForce
                && !own
                && known.is_empty() != ill_others
        })
    };
    let mut seen = Vec::new();
    for ill_others in [true, false] {
        let household = alike(ill_others);
        let mut answer = illnesses(&world, &member(&household, role(&household, Role::Spouse)), &household).await;
        answer["data"]["household"]["id"] = Value::Null;
        seen.push(answer);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_opens_what_it_names_while_it_holds() {
    let world = world().await;
    for (sequence, holds) in [(15, true), (2, false), (3, false), (4, false), (1, false)] {
        let household = of(&world, sequence);
        let parent =
            household.members.iter().find(|member| matches!(member.role, Role::Mother)).unwrap_or(household.head());
        // The mother to the head; in households without one, the head to the spouse.
        let reader = if parent.role == Role::Head { role(&household, Role::Spouse) } else { household.head() };
        let answer = illnesses(&world, &member(&household, reader), &household).await;
        let asked = asked_of(&world, "health", &household);
        assert_eq!(asked.contains(&parent.id_number), holds, "household {sequence}: {answer}");
        let told = told_of(&answer);
        assert_eq!(
            told.contains(parent.name.as_str()),
            holds && ill(&world, &household, parent),
            "household {sequence}: {answer}"
        );
    }
    // Household 20 consents to disability alone.
    let household = of(&world, 20);
    let spouse = role(&household, Role::Spouse);
    let answer = illnesses(&world, &member(&household, spouse), &household).await;
    assert!(!asked_of(&world, "health", &household).contains(&household.head().id_number), "{answer}");
    let query = "query($id: ID!) { household(id: $id) { disability { certificates { name kind } } } }";
    let answer = ask(&world.gateway, &member(&household, spouse), query, json!({"id": household.id})).await;
    assert!(asked_of(&world, "disabled-federation", &household).contains(&household.head().id_number), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minor_is_opened_by_the_guardian_until_eighteen_and_not_by_a_sibling() {
    let world = world().await;
    let household = of(&world, 1);
    let (child, grown) = (role(&household, Role::Child), role(&household, Role::GrownChild));
    assert!(child.age() < 18 && grown.age() >= 18);
    // The grown child's record of guardianship was never ended.
    assert!(!standing::guardianships(&household, grown).is_empty());
    for parent in [household.head(), role(&household, Role::Spouse)] {
        illnesses(&world, &member(&household, parent), &household).await;
        assert_eq!(asked_of(&world, "health", &household), set([parent, child]));
    }
    illnesses(&world, &member(&household, grown), &household).await;
    assert_eq!(asked_of(&world, "health", &household), set([grown]));
    illnesses(&world, &member(&household, child), &household).await;
    assert_eq!(asked_of(&world, "health", &household), set([child]));
    // An adult's guardian, while it lasts: in household 15 it does, in 8 it ended yesterday.
    for (sequence, holds) in [(15, true), (8, false)] {
        let household = of(&world, sequence);
        let father = role(&household, Role::Father);
        illnesses(&world, &member(&household, household.head()), &household).await;
        let by_guardian = asked_of(&world, "health", &household).contains(&father.id_number);
        assert_eq!(by_guardian, holds, "household {sequence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_died_or_moved_away_sees_nothing_of_the_household_any_more() {
    let world = world().await;
    let query = "query($id: ID!) { household(id: $id) { id registry { headName } assistance { dibaoMonthly } } }";
    for (sequence, gone) in [(6, Role::GrownChild), (7, Role::Father)] {
        let household = of(&world, sequence);
        let answer =
            ask(&world.gateway, &member(&household, household.head()), query, json!({"id": household.id})).await;
        assert_eq!(answer["data"]["household"]["id"], household.id, "{answer}");
        world.departments.clear_logs();
        let identity = member(&household, role(&household, gone));
        let answer = ask(&world.gateway, &identity, query, json!({"id": household.id})).await;
        assert_eq!(answer["data"], json!({"household": null}), "{answer}");
        assert!(world.departments.log("civil-affairs").is_empty());
    }
    // The dead are not shown what is told of themselves either; who moved is.
    for (sequence, gone, shown) in [(6, Role::GrownChild, true), (7, Role::Father, false)] {
        let household = of(&world, sequence);
        let person = role(&household, gone);
        let query = "query($id: IdNumber!) { person(idNumber: $id) { name } }";
        let answer = ask(&world.gateway, &member(&household, person), query, json!({"id": person.id_number})).await;
        assert_eq!(!answer["data"]["person"].is_null(), shown, "{answer}");
    }
    // Without a person in the token, nobody can be found in the register.
    let household = of(&world, 1);
    let nobody = caller("household", json!({"household": household.id}));
    world.departments.clear_logs();
    let answer = ask(&world.gateway, &nobody, query, json!({"id": household.id})).await;
    assert_eq!(answer["data"], json!({"household": null}));
    assert!(world.departments.sources().iter().all(|source| world.departments.log(source).is_empty()), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_over_persons_is_given_where_each_of_them_may_be_known() {
    let world = world().await;
    let query = "query($id: ID!) { household(id: $id) { disability { livingSubsidy } } }";
    // Two members, each of whom lets the other know: head and mother of household 10 have no records; 1 has six members.
    let household = of(&world, 1);
    world.departments.clear_logs();
    let answer = ask(&world.gateway, &member(&household, household.head()), query, json!({"id": household.id})).await;
    assert_eq!(answer["data"]["household"]["disability"]["livingSubsidy"], Value::Null);
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
    assert!(world.departments.log("disabled-federation").is_empty());
    // Household 5: head, child (the head's ward) and mother, who consents.
    let household = of(&world, 5);
    assert!(role(&household, Role::Child).age() < 18 && household.members.len() == 3);
    let answer = ask(&world.gateway, &member(&household, household.head()), query, json!({"id": household.id})).await;
    let expected = portrait(world.departments.world(), &household.id).unwrap();
    assert_eq!(answer["data"]["household"]["disability"]["livingSubsidy"], *at(&expected, "disability.livingSubsidy"));
    assert_eq!(answer.get("errors"), None, "{answer}");
    assert_eq!(asked_of(&world, "disabled-federation", &household).len(), 3);
    // The mother is nobody's guardian, and nobody of the household has let her know of the child.
    let mother = member(&household, role(&household, Role::Mother));
    let answer = ask(&world.gateway, &mother, query, json!({"id": household.id})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relation_to_persons_whose_department_is_silent_is_no_and_the_reason_is_told() {
    let world = world().await;
    let household = of(&world, 15);
    world.departments.stop("civil-affairs");
    let answer = illnesses(&world, &member(&household, household.head()), &household).await;
    // Oneself is known without civil affairs; wards and those who consented are not.
    assert_eq!(asked_of(&world, "health", &household), set([household.head()]));
    let error = &answer["errors"][0]["extensions"];
    assert_eq!((&error["source"], &error["state"]), (&json!("civil-affairs"), &json!("UNAVAILABLE")), "{answer}");
    for item in answer["data"]["household"]["items"].as_array().unwrap() {
        assert_eq!(item["code"], error["code"], "{answer}");
    }
    world.departments.resume("civil-affairs");
    world.departments.stop("police");
    let answer = illnesses(&world, &member(&household, household.head()), &household).await;
    // Whether the head still lives there, and lives, cannot be known.
    assert!(!asked_of(&world, "health", &household).contains(&household.head().id_number), "{answer}");
    let errors = answer["errors"].as_array().unwrap();
    assert!(errors.iter().any(|error| error["extensions"]["source"] == "police"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_household_of_a_listing_gives_what_its_persons_let_know() {
    let world = world().await;
    let household = of(&world, 1);
    let head = member(&household, household.head());
    let query = "{ households(division: \"331122101348\", first: 21) { nodes { health { majorIllnesses { idNumber code } } } } }";
    world.departments.clear_logs();
    let answer = ask(&world.gateway, &head, query, json!({})).await;
    let nodes = answer["data"]["households"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 1, "{answer}");
    let mut asked = BTreeSet::new();
    for sequence in 1..=21 {
        asked.extend(asked_of(&world, "health", &of(&world, sequence)));
    }
    assert_eq!(asked, set([household.head(), role(&household, Role::Child)]));
}

fn acting(household: &Household) -> Identity {
    let mut identity = caller("cadre", json!({"id": household.cadre_id}));
    identity.purpose = Some("acting".to_owned());
    identity
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cadre_acts_for_a_household_while_the_delegation_holds() {
    let world = world().await;
    let query = "query($id: ID!) { household(id: $id) { id registry { phone } assets { vehicles { plate } } health { majorIllnesses { code } } } }";
    for (sequence, holds) in [(1, true), (6, true), (2, false), (3, false), (4, false), (5, false), (11, false)] {
        let household = of(&world, sequence);
        world.departments.clear_logs();
        let answer = ask(&world.gateway, &acting(&household), query, json!({"id": household.id})).await;
        assert_eq!(answer["data"]["household"]["id"] == household.id.as_str(), holds, "household {sequence}: {answer}");
        assert!(world.departments.log("health").is_empty(), "household {sequence}");
        if holds {
            assert_eq!(answer["data"]["household"]["registry"]["phone"], household.phone.as_str(), "{answer}");
            assert!(answer["data"]["household"]["assets"]["vehicles"].is_array(), "{answer}");
        }
    }
    let household = of(&world, 1);
    let mut other = acting(&household);
    other.principal.as_mut().unwrap().id = "GB331122101348009".to_owned();
    let answer = ask(&world.gateway, &other, query, json!({"id": household.id})).await;
    assert_eq!(answer["data"], json!({"household": null}), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pairing_ends_on_its_last_day() {
    let world = world().await;
    for (sequence, holds) in [(18, true), (19, false)] {
        let household = of(&world, sequence);
        let mut cadre = acting(&household);
        cadre.purpose = Some("help".to_owned());
        let query = "query($id: ID!) { household(id: $id) { id } }";
        let answer = ask(&world.gateway, &cadre, query, json!({"id": household.id})).await;
        assert_eq!(!answer["data"]["household"].is_null(), holds, "household {sequence}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unrelated_household_and_an_absent_one_cost_the_same_calls_where_persons_count() {
    let world = world().await;
    let household = of(&world, 15);
    let identity = member(&household, household.head());
    let mut seen = Vec::new();
    for id in [format!("{VILLAGE}000002"), format!("{VILLAGE}000099")] {
        world.departments.clear_logs();
        let answer = ask(&world.gateway, &identity, ILL, json!({"id": id})).await;
        let mut calls: Vec<(String, String, String)> = Vec::new();
        for source in world.departments.sources() {
            calls.extend(
                world.departments.log(&source).into_iter().map(|call| (source.clone(), call.method, call.path)),
            );
        }
        calls.sort();
        seen.push((answer, calls));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].0["data"], json!({"household": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unrelated_household_and_an_absent_one_cost_the_same_calls_where_what_decides_is_asked_by_its_members() {
    let world = world().await;
    let rule = "relations:\n  on-aid: {on: Household, when: \"household.assistance.dibaoStatusCode == principal.department\"}\n";
    let files = Files::copied("aid").roles(
        "  aid-worker:\n    title: 救助员\n    networks: [gov]\n    grants:\n      - {relation: on-aid, classes: [basic]}\n",
    );
    std::fs::write(files.0.join("config/rules/aid.yaml"), rule).unwrap();
    let gateway = files.gateway(&world).await;
    let worker = caller("aid-worker", json!({"department": "no such code"}));
    let query = "query($id: ID!) { household(id: $id) { registry { category } } }";
    let mut seen = Vec::new();
    for id in [format!("{VILLAGE}000002"), format!("{VILLAGE}000099")] {
        world.departments.clear_logs();
        let answer = ask(&gateway, &worker, query, json!({"id": id})).await;
        let mut calls: Vec<(String, String, String)> = Vec::new();
        for source in world.departments.sources() {
            calls.extend(
                world.departments.log(&source).into_iter().map(|call| (source.clone(), call.method, call.path)),
            );
        }
        calls.sort();
        assert!(calls.iter().any(|(source, ..)| source == "civil-affairs"), "{id}: {calls:?}");
        seen.push((answer, calls));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relation_to_persons_that_a_source_tells_of_one_by_one_does_not_start() {
    let world = world().await;
    let one_by_one = |text: String| {
        let many = "many: {post: /v1/guardianship/batch, body: {ids: \"{keys}\"}, items: /list, item_key: /sfzh, batch_max: 200}";
        assert!(text.contains(many));
        text.replace(many, "one: {post: /v1/guardianship/batch, body: {ids: [\"{key}\"]}, items: /list}")
    };
    let files = Files::copied("one-by-one").edit("resolvers/civil-affairs.yaml", one_by_one);
    let started = tokio::spawn(async move { files.gateway(&world).await.ready() }).await;
    let told = started.expect_err("it does not start").into_panic();
    let told = told.downcast_ref::<String>().expect("the faults");
    assert!(told.contains("the relation `guardian` reads of the endpoint `guardianships`"), "{told}");
    assert!(told.contains("config/rules/relations.yaml") && told.contains("give the endpoint `many`"), "{told}");
    // Whom the token names itself is one alone: police may be asked about that one by itself.
    assert!(!told.contains("self-person"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_names_for_whom_a_cadre_acted_and_of_whom_what_was_read() {
    let world = world().await;
    let household = of(&world, 1);
    let query = "query($id: ID!) { household(id: $id) { registry { phone } } }";
    ask(&world.gateway, &acting(&household), query, json!({"id": household.id})).await;
    illnesses(&world, &member(&household, household.head()), &household).await;
    let records = support::records(&world.folder).await;
    let subject = |entity: &str, id: &str| {
        let key = std::sync::Arc::clone(&world.gateway.snapshot().config.audit.key);
        huxiang::audit::SubjectKey::new(key).subject(entity, id).to_string()
    };
    let of_subject = |record: &Value, subject: &str| {
        let access = record["access"].as_array().unwrap().iter();
        let mut of = access.filter(|access| access["subjects"].as_array().unwrap().iter().any(|one| *one == subject));
        let found = of.next().cloned().unwrap_or_else(|| panic!("no access of {subject}: {record}"));
        assert!(of.next().is_none(), "one entry a subject: {record}");
        found
    };
    let acted = of_subject(&records[0], &subject("Household", &household.id));
    assert_eq!(acted["on_behalf_of"], json!([subject("Person", &household.head().id_number)]), "{acted}");
    assert_eq!(acted["relations"], json!(["delegated"]), "{acted}");
    assert!(acted["used"].as_array().unwrap().contains(&json!("help.delegations")), "{acted}");
    // One by one: read of the head and of the ward, refused of the others; what decided it was used of all.
    let items = json!(["26", "28"]);
    for person in &household.members {
        let access = of_subject(&records[1], &subject("Person", &person.id_number));
        let read = [Role::Head, Role::Child].contains(&person.role);
        let [given, refused] = ["read", "refused"].map(|what| access[what].clone());
        let has = |list: &Value| items.as_array().unwrap().iter().all(|item| list.as_array().unwrap().contains(item));
        assert_eq!((has(&given), has(&refused)), (read, !read), "{access}");
        assert!(access["used"].as_array().unwrap().contains(&json!("guardians")), "{access}");
    }
    let whole = of_subject(&records[1], &subject("Household", &household.id));
    assert!(!whole["read"].as_array().unwrap().contains(&json!("26")), "{whole}");
    // And by which relations to its persons something of it was given.
    assert_eq!(whole["relations"], json!(["guardian", "same-household", "self-person"]), "{whole}");
}
