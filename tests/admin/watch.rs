//! Those who supervise, secure and audit see how data was read: statistics, alerts, records; each part its own, and none
//! another's.

use departments::Options;
use huxiang::answer::Gateway;
use huxiang::identify::Identity;
use huxiang::model::config::watch::AlertRule;
use serde_json::{Value, json};

use crate::support::{self, HOUSEHOLD, World, admin, ask, caller, records, supervisor, world, world_edited};

const OTHER: &str = "331122101348000002";

async fn look(gateway: &Gateway, who: &Identity, id: &str) -> Value {
    ask(
        gateway,
        who,
        "query($id: ID!) { household(id: $id) { registry { phone } water { safe } } }",
        json!({ "id": id }),
    )
    .await
}

fn officer(id: &str, division: &str) -> Identity {
    let claims = json!({ "id": id, "department": "water", "divisions": [division] });
    let mut identity = caller("department-officer", claims);
    identity.purpose = Some("duty".to_owned());
    identity
}

fn county_supervisor() -> Identity {
    caller("supervisor", json!({ "divisions": ["331122"] }))
}

async fn statistics(world: &World, who: &Identity, by: &str) -> Value {
    let query = "query($by: StatisticsBy!) { accessStatistics(from: \"2020-01-01\", to: \"2020-02-01\", by: $by) { key } \
                 now: accessStatistics(from: $from, to: $to, by: $by) { key organisation looks entities refused \
                 outsideRelation atNight } }";
    let query = query.replace("query($by: StatisticsBy!)", "query($by: StatisticsBy!, $from: String!, $to: String!)");
    let today = records(&world.folder).await.last().unwrap()["time"].as_str().unwrap()[..10].to_owned();
    admin(&world.gateway, who, &query, json!({ "by": by, "from": today, "to": today })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_looks_households_and_refusals_and_name_no_household() {
    let world = world().await;
    let (near, far) = (officer("near", "331122101"), officer("far", "330109"));
    for id in [HOUSEHOLD, OTHER, HOUSEHOLD] {
        look(&world.gateway, &near, id).await;
    }
    look(&world.gateway, &far, HOUSEHOLD).await;
    look(&world.gateway, &caller("household", json!({ "household": HOUSEHOLD, "id": "of-a-household" })), HOUSEHOLD)
        .await;
    let answer = statistics(&world, &caller("auditor", json!({})), "PRINCIPAL").await;
    assert_eq!(answer["data"]["accessStatistics"], json!([]), "nothing of 2020: {answer}");
    let rows = answer["data"]["now"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let row = |key: Value| rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("{key}: {answer}"));
    let near = row(json!("near"));
    assert_eq!((&near["looks"], &near["entities"], &near["organisation"]), (&json!(3), &json!(2), &json!("water")));
    assert_eq!(near["outsideRelation"], 0);
    let far = row(json!("far"));
    assert_eq!((&far["looks"], &far["entities"], &far["outsideRelation"]), (&json!(1), &json!(0), &json!(1)));
    assert_eq!(far["refused"], 1);
    assert_eq!(row(Value::Null)["looks"], 1, "who works for nobody is not named");
    let text = answer.to_string();
    let subject = world.gateway.subjects().subject("Household", HOUSEHOLD).to_string();
    assert!(!text.contains("of-a-household") && !text.contains(HOUSEHOLD) && !text.contains(&subject), "{text}");
    let by = |by: &'static str| {
        let world = &world;
        async move { statistics(world, &caller("auditor", json!({})), by).await["data"]["now"].clone() }
    };
    let of = |rows: &Value, key: &str| rows.as_array().unwrap().iter().find(|row| row["key"] == key).cloned();
    assert_eq!(of(&by("ORGANISATION").await, "water").unwrap()["looks"], 4);
    assert_eq!(of(&by("DIVISION").await, "331122101").unwrap()["looks"], 3);
    assert_eq!(of(&by("ROLE").await, "household").unwrap()["looks"], 1);
    assert_eq!(by("DAY").await[0]["looks"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn supervisors_see_only_those_whose_divisions_all_lie_in_theirs() {
    let world = world().await;
    look(&world.gateway, &officer("near", "331122101"), HOUSEHOLD).await;
    look(&world.gateway, &officer("far", "330109"), HOUSEHOLD).await;
    let mut both = officer("both", "331122");
    both.principal.as_mut().unwrap().claims.insert("divisions".to_owned(), json!(["331122", "330109"]));
    look(&world.gateway, &both, HOUSEHOLD).await;
    look(&world.gateway, &caller("household", json!({ "household": HOUSEHOLD })), HOUSEHOLD).await;
    let keys = |answer: &Value| -> Vec<Value> {
        let rows = answer["data"]["now"].as_array().unwrap_or_else(|| panic!("{answer}"));
        rows.iter().map(|row| row["key"].clone()).collect()
    };
    let seen = keys(&statistics(&world, &county_supervisor(), "PRINCIPAL").await);
    assert_eq!(seen, [json!("near")]);
    let elsewhere = caller("supervisor", json!({ "divisions": ["3302"] }));
    assert_eq!(keys(&statistics(&world, &elsewhere, "DIVISION").await), Vec::<Value>::new());
    let nowhere = caller("supervisor", json!({ "divisions": [""] }));
    assert_eq!(keys(&statistics(&world, &nowhere, "DAY").await), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn cadres_stand_in_their_supervisors_statistics_by_the_divisions_of_their_tokens() {
    let world = world().await;
    let of_household = world.departments.world().household(HOUSEHOLD).unwrap();
    let mut cadre = caller("cadre", json!({ "id": of_household.cadre_id, "divisions": ["331122101"] }));
    cadre.purpose = Some("help".to_owned());
    let answer = look(&world.gateway, &cadre, HOUSEHOLD).await;
    assert!(answer["data"]["household"]["registry"].is_object(), "{answer}");
    let answer = statistics(&world, &county_supervisor(), "PRINCIPAL").await;
    let row = &answer["data"]["now"][0];
    assert_eq!((&row["key"], &row["entities"]), (&json!(of_household.cadre_id), &json!(1)), "{answer}");
    let answer = statistics(&world, &county_supervisor(), "DIVISION").await;
    assert_eq!(answer["data"]["now"][0]["key"], "331122101", "{answer}");
}

/// A world with one rule.
async fn watched(rule: &str, count: usize) -> World {
    let options = Options { latency: false, ..Options::default() };
    world_edited(options, |snapshot| {
        let rules = &mut snapshot.config.alerts.rules;
        rules.retain(|known| *known.name == *rule);
        rules.iter_mut().for_each(|rule: &mut AlertRule| rule.count = count);
        assert_eq!(rules.len(), 1);
    })
    .await
}

const ALERTS: &str = "query($all: Boolean) { accessAlerts(all: $all) { id rule principal count record \
                      acknowledged { by reason } } }";

/// The alerts, once all that is recorded has been counted.
async fn alerts(gateway: &Gateway, all: bool) -> Value {
    let end = gateway.audit().head().borrow().seq;
    gateway.watch().caught_up(end).await;
    // An alert is a record too.
    let end = gateway.audit().head().borrow().seq;
    gateway.watch().caught_up(end).await;
    let answer = admin(gateway, &caller("security-officer", json!({})), ALERTS, json!({ "all": all })).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    answer["data"]["accessAlerts"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_that_no_grant_gives_anything_of_count_as_outside_ones_relation() {
    let world = watched("outside-relation", 2).await;
    let operator = caller("operator", json!({}));
    look(&world.gateway, &operator, HOUSEHOLD).await;
    assert_eq!(alerts(&world.gateway, false).await, json!([]));
    look(&world.gateway, &operator, OTHER).await;
    let found = alerts(&world.gateway, false).await;
    assert_eq!((&found[0]["rule"], &found[0]["count"]), (&json!("outside-relation"), &json!(2)), "{found}");
}

const PERSON: &str = "query($id: IdNumber!) { person(idNumber: $id) { name } }";

/// Id numbers of the members of a household.
fn members(world: &World, household: &str) -> Vec<String> {
    let known = world.departments.world().household(household).unwrap();
    known.members.iter().map(|member| member.id_number.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn person_after_person_is_counted_as_household_after_household_is() {
    let world = watched("very-many-persons", 3).await;
    let ids = [members(&world, HOUSEHOLD), members(&world, OTHER)].concat();
    for id in [&ids[0], &ids[1], &ids[0]] {
        ask(&world.gateway, &supervisor(), PERSON, json!({ "id": id })).await;
    }
    assert_eq!(alerts(&world.gateway, false).await, json!([]));
    ask(&world.gateway, &supervisor(), PERSON, json!({ "id": ids[2] })).await;
    let found = alerts(&world.gateway, false).await;
    assert_eq!((&found[0]["rule"], &found[0]["count"]), (&json!("very-many-persons"), &json!(3)), "{found}");
    let counted = statistics(&world, &caller("auditor", json!({})), "ROLE").await;
    let rows = counted["data"]["now"].as_array().unwrap_or_else(|| panic!("{counted}"));
    let row = rows.iter().find(|row| row["key"] == "supervisor").unwrap_or_else(|| panic!("{counted}"));
    assert_eq!((&row["looks"], &row["entities"]), (&json!(4), &json!(3)), "{counted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_persons_count_as_outside_ones_relation_and_those_of_the_own_household_do_not() {
    let world = watched("outside-relation", 2).await;
    let ids = members(&world, HOUSEHOLD);
    let own = caller("household", json!({ "household": HOUSEHOLD, "person": ids[0] }));
    let all =
        "query($id: ID!) { household(id: $id) { health { majorIllnesses { code } } identity { members { name } } } }";
    let answer = ask(&world.gateway, &own, all, json!({ "id": HOUSEHOLD })).await;
    assert!(answer["data"]["household"]["identity"]["members"].is_array(), "{answer}");
    assert_eq!(alerts(&world.gateway, false).await, json!([]));
    let mut far = caller("town-officer", json!({ "divisions": ["330109"] }));
    far.purpose = Some("duty".to_owned());
    for id in &ids[..2] {
        ask(&world.gateway, &far, PERSON, json!({ "id": id })).await;
    }
    let found = alerts(&world.gateway, false).await;
    assert_eq!(
        (&found[0]["rule"], &found[0]["principal"]),
        (&json!("outside-relation"), &json!("town-officer-1")),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_refused_for_its_cost_names_its_household_and_is_no_look_outside_ones_relation() {
    let options = Options { latency: false, ..Options::default() };
    let world = world_edited(options, |snapshot| {
        snapshot.config.limits.upstream_calls_max = 0;
        snapshot.config.alerts.rules.retain(|rule| &*rule.name == "outside-relation");
        snapshot.config.alerts.rules.iter_mut().for_each(|rule: &mut AlertRule| rule.count = 1);
    })
    .await;
    let answer = look(&world.gateway, &officer("near", "331122101"), HOUSEHOLD).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{answer}");
    let subject = json!(world.gateway.subjects().subject("Household", HOUSEHOLD));
    let recorded = records(&world.folder).await;
    assert_eq!(recorded[0]["access"][0]["subjects"], json!([subject]), "{recorded:#?}");
    assert_eq!(alerts(&world.gateway, false).await, json!([]));
    look(&world.gateway, &caller("operator", json!({})), HOUSEHOLD).await;
    assert_eq!(alerts(&world.gateway, false).await[0]["rule"], "outside-relation", "a look of nobody's is one");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_an_auditor_searched_for_in_one_request_is_recorded_as_digests() {
    let world = world().await;
    let query = format!(
        "{{ a: auditRecords(filter: {{ subject: {{ entity: \"Household\", key: \"{HOUSEHOLD}\" }} }}) {{ next }} \
         b: auditRecords(filter: {{ subject: {{ entity: \"Household\", key: \"{OTHER}\" }}, kinds: [\"ALERT\"] }}) {{ next }} \
         c: auditRecords(filter: {{ principal: \"li\", case: \"JD-2026-0001\", purpose: \"help\", requestId: \"r-1\", \
         from: \"2026-01-01\", to: \"2026-02-01\" }}) {{ next }} }}"
    );
    let answer = admin(&world.gateway, &caller("auditor", json!({})), &query, json!({})).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    let record = records(&world.folder).await.pop().unwrap();
    let (details, subjects) = (&record["details"], world.gateway.subjects());
    let mut both = [HOUSEHOLD, OTHER].map(|id| subjects.subject("Household", id));
    both.sort();
    assert_eq!(details["subject"], json!(both), "one does not hide the other: {record}");
    assert_eq!(details["kinds"], "ALERT");
    for (name, text) in [
        ("principal", "li"),
        ("case", "JD-2026-0001"),
        ("purpose", "help"),
        ("requestId", "r-1"),
        ("from", "2026-01-01"),
        ("to", "2026-02-01"),
    ] {
        assert_eq!(details[name], json!(subjects.argument(name, text)), "{record}");
    }
    assert!(!record.to_string().contains("JD-2026") && !record.to_string().contains(HOUSEHOLD), "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_count_from_here_excepts_nobody_from_an_alert() {
    let options = Options { latency: false, ..Options::default() };
    let world = world_edited(options, |snapshot| {
        let rules = &mut snapshot.config.alerts.rules;
        rules.retain(|known| &*known.name == "outside-relation");
        rules.iter_mut().for_each(|rule| (rule.count, rule.except_roles) = (2, vec!["household".to_owned()]));
    })
    .await;
    let mut far = officer("far", "330109");
    far.principal.as_mut().unwrap().roles.push("household".to_owned());
    look(&world.gateway, &far, HOUSEHOLD).await;
    look(&world.gateway, &far, OTHER).await;
    let found = alerts(&world.gateway, false).await;
    assert_eq!((&found[0]["rule"], &found[0]["principal"]), (&json!("outside-relation"), &json!("far")), "{found}");
    let record = &records(&world.folder).await[0];
    assert_eq!(record["roles"], json!(["department-officer", "household"]));
    assert_eq!(record["counting"], json!(["department-officer"]), "{record}");
}

/// Another gateway over the same records.
async fn restarted(world: &World) -> Gateway {
    support::gateway(support::repository(), world.departments.variables(), &world.folder).await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_households_outside_ones_relation_are_an_alert_that_survives_a_restart_until_it_is_acknowledged() {
    let world = watched("outside-relation", 3).await;
    let far = officer("far", "330109");
    for id in [HOUSEHOLD, HOUSEHOLD, OTHER] {
        look(&world.gateway, &far, id).await;
    }
    assert_eq!(alerts(&world.gateway, false).await, json!([]));
    look(&world.gateway, &far, "331122101348000099").await;
    let found = alerts(&world.gateway, false).await;
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    let alert = &found[0];
    assert_eq!(
        (&alert["rule"], &alert["principal"], &alert["count"], &alert["acknowledged"]),
        (&json!("outside-relation"), &json!("far"), &json!(3), &Value::Null)
    );
    look(&world.gateway, &far, "331122101348000098").await;
    assert_eq!(alerts(&world.gateway, true).await.as_array().map(Vec::len), Some(1), "not again so soon");
    let health = "{ health { alertsOpen alertsRaised } }";
    let counted = admin(&world.gateway, &caller("operator", json!({})), health, json!({})).await;
    assert_eq!(counted["data"]["health"], json!({ "alertsOpen": 1, "alertsRaised": 1 }));

    let acknowledge = "mutation($id: Int!, $reason: String!) { acknowledgeAlert(id: $id, reason: $reason) { \
                       acknowledged { by reason } } }";
    let with = |reason: &str| json!({ "id": alert["id"], "reason": reason });
    let officer = caller("security-officer", json!({}));
    for reason in ["", "asked 331122199001011230 at the town", "call 13800138000"] {
        let refused = admin(&world.gateway, &officer, acknowledge, with(reason)).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_REQUEST", "{reason}: {refused}");
    }
    let mut own = officer.clone();
    own.principal.as_mut().unwrap().id = "far".to_owned();
    let refused = admin(&world.gateway, &own, acknowledge, with("it was me")).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN");
    own.principal.as_mut().unwrap().issuer = "another".to_owned();
    let refused = admin(&world.gateway, &own, acknowledge, with("it was me")).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN", "nor by a token of another issuer: {refused}");
    let done = admin(&world.gateway, &officer, acknowledge, with("asked the town: a transfer")).await;
    let said = json!({ "by": "security-officer-1", "reason": "asked the town: a transfer" });
    assert_eq!(done["data"]["acknowledgeAlert"]["acknowledged"], said, "{done}");
    let twice = admin(&world.gateway, &officer, acknowledge, with("once more")).await;
    assert_eq!(twice["errors"][0]["extensions"]["code"], "BAD_REQUEST");
    assert_eq!(alerts(&world.gateway, false).await, json!([]));
    let record = records(&world.folder).await;
    let record = record.iter().find(|record| record["kind"] == "ACKNOWLEDGEMENT").unwrap();
    assert_eq!((&record["of"], &record["who"]["id"]), (&alert["id"], &json!("security-officer-1")));
    let again = restarted(&world).await;
    let recalled = alerts(&again, true).await;
    assert_eq!((&recalled[0]["id"], &recalled[0]["acknowledged"]), (&alert["id"], &said), "{recalled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_succeeds_after_refusals_is_an_alert_and_the_log_names_nobody() {
    let world = watched("after-refusals", 2).await;
    let mut who = officer("tries", "331122");
    who.purpose = None;
    for _ in 0..2 {
        look(&world.gateway, &who, HOUSEHOLD).await;
    }
    assert_eq!(alerts(&world.gateway, false).await, json!([]));
    who.purpose = Some("duty".to_owned());
    look(&world.gateway, &who, HOUSEHOLD).await;
    let found = alerts(&world.gateway, false).await;
    assert_eq!((&found[0]["rule"], &found[0]["principal"]), (&json!("after-refusals"), &json!("tries")), "{found}");
    let again = restarted(&world).await;
    assert_eq!(alerts(&again, false).await, found, "read again from the records");
    let records = records(&world.folder).await;
    let raised = records.iter().find(|record| record["kind"] == "ALERT").unwrap();
    let subject = world.gateway.subjects().subject("Household", HOUSEHOLD).to_string();
    assert!(!raised.to_string().contains(HOUSEHOLD) && !raised.to_string().contains(&subject), "{raised}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_allowed_between_refusals_hides_none_of_them() {
    let world = watched("after-refusals", 2).await;
    let who = officer("tries", "331122101");
    for id in ["331122101348000098", HOUSEHOLD, "331122101348000099", HOUSEHOLD] {
        look(&world.gateway, &who, id).await;
    }
    let found = alerts(&world.gateway, false).await;
    assert_eq!((&found[0]["rule"], &found[0]["count"]), (&json!("after-refusals"), &json!(2)), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_by_role_count_the_roles_that_acted() {
    let world = world().await;
    let mut near = officer("near", "331122101");
    // From this network the role of households does not count.
    near.principal.as_mut().unwrap().roles.push("household".to_owned());
    look(&world.gateway, &near, HOUSEHOLD).await;
    let answer = statistics(&world, &caller("auditor", json!({})), "ROLE").await;
    let rows = answer["data"]["now"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let keys: Vec<&Value> = rows.iter().map(|row| &row["key"]).collect();
    assert_eq!(keys, [&json!("department-officer")], "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn auditors_find_records_by_who_what_and_whose_and_page_through_them() {
    let world = world().await;
    for id in [HOUSEHOLD, OTHER, HOUSEHOLD] {
        look(&world.gateway, &officer("near", "331122"), id).await;
    }
    look(&world.gateway, &supervisor(), HOUSEHOLD).await;
    let auditor = caller("auditor", json!({}));
    let query = "query($filter: RecordFilter, $before: Int, $first: Int) { auditRecords(filter: $filter, before: $before, \
                 first: $first) { records { seq kind record } next } auditState { seq writable algorithm } }";
    let find = |variables: Value| {
        let (world, auditor) = (&world, &auditor);
        async move {
            let answer = admin(&world.gateway, auditor, query, variables).await;
            assert!(answer.get("errors").is_none(), "{answer}");
            answer["data"].clone()
        }
    };
    let seqs = |data: &Value| -> Vec<i64> {
        let records = data["auditRecords"]["records"].as_array().unwrap();
        records.iter().map(|record| record["seq"].as_i64().unwrap()).collect()
    };
    let of = json!({ "entity": "Household", "key": HOUSEHOLD });
    let found = find(json!({ "filter": { "subject": of } })).await;
    assert_eq!(seqs(&found), [4, 3, 1]);
    assert_eq!(found["auditState"]["writable"], true);
    let last = records(&world.folder).await.pop().unwrap();
    assert_eq!(
        (&last["kind"], &last["who"]["id"]),
        (&json!("ADMIN"), &json!("auditor-1")),
        "the search is a record too"
    );
    assert_eq!(last["details"]["subject"], json!(world.gateway.subjects().subject("Household", HOUSEHOLD)));
    assert!(!last.to_string().contains(HOUSEHOLD), "{last}");
    assert_eq!(seqs(&find(json!({ "filter": { "principal": "near" } })).await), [3, 2, 1]);
    assert_eq!(seqs(&find(json!({ "filter": { "case": "JD-2026-0001" } })).await), [4]);
    assert_eq!(seqs(&find(json!({ "filter": { "principal": "near", "subject": of } })).await), [3, 1]);
    assert_eq!(seqs(&find(json!({ "filter": { "to": "2020-01-01" } })).await), Vec::<i64>::new());
    // By pages of two: each once, none left out.
    let filter = json!({ "kinds": ["REQUEST"] });
    let first = find(json!({ "filter": filter, "first": 2 })).await;
    let second = find(json!({ "filter": filter, "first": 2, "before": first["auditRecords"]["next"] })).await;
    assert_eq!([seqs(&first), seqs(&second)].concat(), [4, 3, 2, 1]);
    assert_eq!(second["auditRecords"]["next"], Value::Null);
    let wrong = admin(&world.gateway, &auditor, query, json!({ "filter": { "kinds": ["NONE"] } })).await;
    assert_eq!(wrong["errors"][0]["extensions"]["code"], "BAD_REQUEST");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_part_can_do_anothers() {
    let world = world().await;
    let period = "from: \"2026-01-01\", to: \"2026-01-02\", by: DAY";
    let statistics = format!("{{ accessStatistics({period}) {{ key }} }}");
    let fields: [(&str, &[&str]); 10] = [
        ("{ revocations { kind } }", &["security-officer"]),
        ("mutation { revokeToken(issuer: \"x\", reason: \"looked into it\") { kind } }", &["security-officer"]),
        ("{ health { ready } }", &["operator"]),
        ("{ sources { id } }", &["operator"]),
        ("{ configuration { roles } }", &["operator"]),
        ("{ accessAlerts { id } }", &["security-officer"]),
        ("mutation { acknowledgeAlert(id: 1, reason: \"looked into it\") { id } }", &["security-officer"]),
        ("{ auditRecords { next } }", &["auditor"]),
        ("{ auditState { seq } }", &["auditor"]),
        (&statistics, &["supervisor", "auditor"]),
    ];
    let roles: Vec<String> = world.gateway.snapshot().access.roles.iter().map(|role| role.name.to_string()).collect();
    for (query, allowed) in fields {
        for role in &roles {
            let who = caller(role, json!({ "divisions": ["331122"] }));
            let answer = admin(&world.gateway, &who, query, json!({})).await;
            let refused = answer["errors"][0]["extensions"]["code"] == "FORBIDDEN";
            assert_eq!(refused, !allowed.contains(&role.as_str()), "{role}: {query}: {answer}");
        }
        for pair in [["operator", "auditor"], ["operator", "security-officer"], ["security-officer", "auditor"]] {
            let mut both = caller(pair[0], json!({}));
            both.principal.as_mut().unwrap().roles.push(pair[1].to_owned());
            let answer = admin(&world.gateway, &both, query, json!({})).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{pair:?}: {query}: {answer}");
        }
    }
}
