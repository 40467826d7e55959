//! The contract's queries, asked as a frontend would.

use serde_json::{Value, json};

use crate::support::{self, HOUSEHOLD, ask, caller, supervisor, world};
use crate::temporary::Temporary;

const VILLAGE: &str = "331122101348";

fn no_errors(answer: &Value) {
    assert!(answer.get("errors").is_none(), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_found_by_id_number_in_the_relation_of_its_household() {
    let world = world().await;
    let household = world.departments.world().household(HOUSEHOLD).expect("the household");
    let member = &household.members[0];
    let query = "query($n: IdNumber!) { person(idNumber: $n) { idNumber name lifeStatus verified household { id registry { division { village } } } } }";
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "n": member.id_number })).await;
    no_errors(&answer);
    let person = &answer["data"]["person"];
    assert_eq!(person["name"], member.name.as_str());
    assert_eq!(person["household"]["id"], HOUSEHOLD);
    assert_eq!(person["verified"], "MATCH");

    let mut elsewhere = supervisor();
    elsewhere.principal.as_mut().expect("a principal").claims.insert("divisions".to_owned(), json!(["330102"]));
    let answer = ask(&world.gateway, &elsewhere, query, json!({ "n": member.id_number })).await;
    assert_eq!(answer["data"]["person"], Value::Null);
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_leads_to_its_household() {
    let world = world().await;
    let household = world.departments.world().household(HOUSEHOLD).expect("the household");
    let query = "query($c: String!) { householdByCode(code: $c) { id registry { agriCode } } }";
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "c": household.agri_code })).await;
    no_errors(&answer);
    assert_eq!(answer["data"]["householdByCode"]["id"], HOUSEHOLD);
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "c": "no such code" })).await;
    assert_eq!(answer["data"]["householdByCode"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_listing_go_through_all_households_once() {
    let world = world().await;
    let query = "query($d: ID!, $n: Int!, $after: String) { households(division: $d, first: $n, after: $after) { edges { cursor node { id } } nodes { registry { headName } } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
    let (mut after, mut seen) = (Value::Null, Vec::new());
    for page in 0..20 {
        let answer = ask(&world.gateway, &supervisor(), query, json!({ "d": VILLAGE, "n": 8, "after": after })).await;
        no_errors(&answer);
        let page_of = &answer["data"]["households"];
        for edge in page_of["edges"].as_array().expect("edges") {
            seen.push(edge["node"]["id"].as_str().expect("an id").to_owned());
        }
        assert_eq!(page_of["pageInfo"]["hasPreviousPage"], page > 0);
        after = page_of["pageInfo"]["endCursor"].clone();
        if page_of["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    let expected: Vec<String> = world.departments.world().village_household_ids(VILLAGE).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_leaves_out_the_unrelated_and_asks_nobody_about_them() {
    let world = world().await;
    let query = "query($d: ID!) { households(division: $d, first: 50) { nodes { id registry { headName } assistance { dibaoStatus } } } }";
    let household = world.departments.world().household(HOUSEHOLD).expect("the household");
    let mut cadre = caller("cadre", json!({ "id": household.cadre_id }));
    cadre.purpose = Some("help".to_owned());
    let answer = ask(&world.gateway, &cadre, query, json!({ "d": VILLAGE })).await;
    let nodes = answer["data"]["households"]["nodes"].as_array().expect("nodes");
    let paired: Vec<String> = world
        .departments
        .world()
        .village_household_ids(VILLAGE)
        .filter(|id| world.departments.world().household(id).expect("there").cadre_id == household.cadre_id)
        .collect();
    let shown: Vec<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    assert_eq!(shown, paired);
    assert!(paired.len() < 21, "some are not paired with this cadre");
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_fragments_and_conditions_are_merged_as_the_specification_says() {
    let world = world().await;
    let query = r#"query($id: ID!, $yes: Boolean!) {
        one: household(id: $id) { ...names registry { phone } ... on Household { registry { address @skip(if: $yes) memberCount @include(if: $yes) } } __typename }
        __typename
    }
    fragment names on Household { id registry { head: headName headName } }"#;
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "id": HOUSEHOLD, "yes": true })).await;
    no_errors(&answer);
    let one = &answer["data"]["one"];
    assert_eq!(answer["data"]["__typename"], "Query");
    assert_eq!(one["__typename"], "Household");
    assert_eq!(one["registry"]["head"], one["registry"]["headName"]);
    let keys: Vec<&String> = one["registry"].as_object().expect("registry").keys().collect();
    assert_eq!(keys, ["head", "headName", "phone", "memberCount"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_show_departments_that_disagree() {
    let world = world().await;
    let query = r#"query($id: ID!) { household(id: $id) { items(no: [16]) { no state claims { source value } } } }"#;
    // Sequence 8: agriculture and civil affairs disagree on the dibao status.
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "id": format!("{VILLAGE}000008") })).await;
    no_errors(&answer);
    let item = &answer["data"]["household"]["items"][0];
    assert_eq!(item["state"], "CONFLICT", "{item:#}");
    assert_eq!(item["claims"].as_array().expect("claims").len(), 2);
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "id": HOUSEHOLD })).await;
    assert_eq!(answer["data"]["household"]["items"][0]["state"], "ANSWERED");
}

/// Finance holds what was paid, civil affairs what was found: in two of these households they say otherwise (sequence 17: a
/// payment that finance does not know; sequence 19: another amount).
#[tokio::test(flavor = "multi_thread")]
async fn claims_compare_the_payments_that_two_departments_hold() {
    let world = world().await;
    let query = r#"query($id: ID!, $from: Date) { household(id: $id) {
        funds { disbursements(from: $from, first: 500) { programme amount entitledBy paidOn bank } }
        items(no: [51]) { state claims { path source value } } } }"#;
    let told = async |sequence: u32, from: Option<&str>| {
        let variables = json!({ "id": format!("{VILLAGE}{sequence:06}"), "from": from });
        let answer = ask(&world.gateway, &supervisor(), query, variables).await;
        no_errors(&answer);
        let household = answer["data"]["household"].clone();
        let item = household["items"][0].clone();
        let claims: Vec<Vec<Value>> = item["claims"]
            .as_array()
            .expect("claims")
            .iter()
            .map(|claim| serde_json::from_str(claim["value"].as_str().expect("a list")).expect("JSON"))
            .collect();
        assert_eq!(item["claims"][0]["source"], "finance", "{item}");
        assert_eq!(item["claims"][1]["source"], "civil-affairs", "{item}");
        assert_eq!(json!(claims[0]), household["funds"]["disbursements"], "what finance says is what is shown");
        assert!(claims[1].iter().all(|one| one.get("bank").is_none() && one["amount"].is_string()), "{item}");
        (item["state"].as_str().expect("a state").to_owned(), claims)
    };
    for sequence in [1, 2, 8, 16, 18] {
        let (state, claims) = told(sequence, None).await;
        assert_eq!((state.as_str(), claims[0].len()), ("ANSWERED", claims[1].len()), "household {sequence}");
        assert!(claims[0].len() >= 30, "household {sequence}");
    }
    let (state, claims) = told(17, None).await;
    assert_eq!((state.as_str(), claims[0].len() + 1), ("CONFLICT", claims[1].len()));
    assert!(claims[1].iter().any(|one| one["programme"] == "临时价格补贴"), "{claims:?}");
    // In the last weeks they do not disagree.
    let day = world.departments.world().today().plus_days(-39).to_string();
    let (state, _) = told(17, Some(&day)).await;
    assert_eq!(state, "ANSWERED");
    let (state, claims) = told(19, None).await;
    assert_eq!((state.as_str(), claims[0].len()), ("CONFLICT", claims[1].len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_an_object_show_what_two_departments_say_of_its_values() {
    let world = world().await;
    let told = async |sequence: u32, claims: &str| {
        world.departments.clear_logs();
        let query = format!(
            r#"query($id: ID!) {{ household(id: $id) {{ health {{ familyDoctor {{ name }} }} items(no: [27]) {{ state {claims} }} }} }}"#
        );
        let id = json!({ "id": format!("{VILLAGE}{sequence:06}") });
        let answer = ask(&world.gateway, &supervisor(), &query, id).await;
        no_errors(&answer);
        assert_eq!(world.departments.log("help").is_empty(), claims.is_empty(), "asked for claims only");
        answer["data"]["household"].clone()
    };
    let of = |told: &Value, path: &str| -> Vec<(String, String)> {
        let text = |claim: &Value, name: &str| claim[name].as_str().expect("a text").to_owned();
        let claims = told["items"][0]["claims"].as_array().expect("claims").iter();
        let claims = claims.filter(|claim| claim["path"] == *format!("health.familyDoctor.{path}"));
        claims.map(|claim| (text(claim, "source"), text(claim, "value"))).collect()
    };
    let all = "claims { path source value }";
    // Sequence 16: the doctor changed, and the help department still names the one before.
    let differing = told(16, all).await;
    assert_eq!(differing["items"][0]["state"], "CONFLICT", "{differing:#}");
    for (path, agree) in [("name", false), ("organisation", true), ("phone", false)] {
        let claims = of(&differing, path);
        let sources: Vec<&str> = claims.iter().map(|(source, _)| &**source).collect();
        assert_eq!(sources, ["health", "help"], "{path}: {differing:#}");
        assert_eq!(claims[0].1 == claims[1].1, agree, "{path}: {differing:#}");
    }
    assert!(of(&differing, "signedOn").is_empty(), "one department holds it: {differing:#}");
    assert_eq!(differing["health"]["familyDoctor"]["name"], of(&differing, "name")[0].1, "health answers for it");
    let unasked = told(16, "").await;
    assert_eq!(unasked["items"][0]["state"], "ANSWERED");
    assert_eq!(unasked["health"], differing["health"]);
    let same = told(1, all).await;
    assert_eq!(same["items"][0]["state"], "ANSWERED", "{same:#}");
    assert_eq!(of(&same, "name").len(), 2, "{same:#}");
    assert_eq!(of(&same, "name")[0].1, of(&same, "name")[1].1, "{same:#}");
    // Sequence 4 has signed with nobody.
    assert_eq!(told(4, all).await["items"][0]["state"], "NO_RECORD");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_cut_and_say_so() {
    let world = world().await;
    let query = r#"query($id: ID!, $first: Int) { household(id: $id) { funds { disbursements(first: $first) { paidOn amount } } items(no: [51]) { truncated } } }"#;
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "id": HOUSEHOLD, "first": 3 })).await;
    no_errors(&answer);
    let household = &answer["data"]["household"];
    let dates: Vec<&str> = household["funds"]["disbursements"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["paidOn"].as_str())
        .collect();
    assert_eq!(dates.len(), 3);
    assert!(dates.is_sorted_by(|a, b| a >= b), "latest first: {dates:?}");
    assert_eq!(household["items"][0]["truncated"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_shows_only_what_the_role_may_see() {
    let world = world().await;
    let query = r#"{ __type(name: "Household") { fields { name } } __schema { queryType { name } } }"#;
    let fields = |answer: &Value| -> Vec<String> {
        answer["data"]["__type"]["fields"]
            .as_array()
            .map(|fields| fields.iter().filter_map(|field| field["name"].as_str().map(str::to_owned)).collect())
            .unwrap_or_default()
    };
    let all = ask(&world.gateway, &supervisor(), query, json!({})).await;
    assert!(fields(&all).contains(&"medical".to_owned()), "{all:#}");
    let mut grid = caller("grid-worker", json!({ "grids": ["g"] }));
    grid.purpose = Some("grid-watch".to_owned());
    let some = fields(&ask(&world.gateway, &grid, query, json!({})).await);
    assert!(some.contains(&"housing".to_owned()) && !some.contains(&"medical".to_owned()), "{some:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_do_not_fit_are_told_so() {
    let world = world().await;
    let of = |argument: &str| {
        format!(r#"query($id: ID!) {{ household(id: $id) {{ funds {{ disbursements({argument}) {{ paidOn }} }} }} }}"#)
    };
    for (argument, said) in [
        ("from: \"lately\"", "must be a date"),
        ("first: -1", "between 0 and 500"),
        ("first: 501", "between 0 and 500"),
    ] {
        let answer = ask(&world.gateway, &supervisor(), &of(argument), json!({ "id": HOUSEHOLD })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{argument}");
        assert!(answer["errors"][0]["message"].as_str().expect("a message").contains(said), "{answer:#}");
    }
    let dates =
        ask(&world.gateway, &supervisor(), &of("from: \"2026-05\", to: \"2026-06-15\""), json!({ "id": HOUSEHOLD }))
            .await;
    let list = dates["data"]["household"]["funds"]["disbursements"].as_array().expect("a list");
    assert!(!list.is_empty());
    for one in list {
        let on = one["paidOn"].as_str().expect("a date");
        assert!(("2026-05-01"..="2026-06-15").contains(&on), "{on}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_tells_nothing_and_opens_only_its_own_listing() {
    use base64::Engine as _;
    let world = support::world_with(departments::Options {
        latency: false,
        households_per_village: 130,
        ..departments::Options::default()
    })
    .await;
    let query = "query($d: ID!, $n: Int, $after: String) { households(division: $d, first: $n, after: $after) { nodes { id } pageInfo { endCursor } } }";
    let first = ask(&world.gateway, &supervisor(), query, json!({ "d": VILLAGE, "n": 120 })).await;
    no_errors(&first);
    // Beyond the source's first page of 100, its own cursor is an id.
    let cursor = first["data"]["households"]["pageInfo"]["endCursor"].as_str().expect("a cursor").to_owned();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&cursor).expect("base64");
    assert!(!String::from_utf8_lossy(&bytes).contains("331122"), "the cursor holds an id");
    let next = ask(&world.gateway, &supervisor(), query, json!({ "d": VILLAGE, "after": cursor })).await;
    assert_eq!(next["data"]["households"]["nodes"].as_array().expect("nodes").len(), 10);
    let mut forged = cursor.clone().into_bytes();
    forged[20] = if forged[20] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("text");
    for (division, cursor) in [("331122101", cursor.as_str()), (VILLAGE, &forged), (VILLAGE, "MTAw"), (VILLAGE, "")] {
        let answer = ask(&world.gateway, &supervisor(), query, json!({ "d": division, "after": cursor })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{division} {cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_graphql_is_told_apart_from_one_that_is_not_valid() {
    let world = world().await;
    let codes = async |query: &str| {
        let answer = ask(&world.gateway, &supervisor(), query, json!({})).await;
        let errors = answer["errors"].as_array().expect("errors").clone();
        let places = errors.iter().all(|error| error["locations"][0]["line"] == 1);
        assert!(places, "{answer:#}");
        errors.iter().map(|error| error["extensions"]["code"].as_str().expect("a code").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(codes("{ nope").await, ["PARSE_FAILED"]);
    assert_eq!(codes("{ household(id: ) { id } }").await, ["PARSE_FAILED"]);
    assert_eq!(codes("{ nope }").await, ["VALIDATION_FAILED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_number_without_its_check_digit_goes_to_no_department() {
    let world = world().await;
    for (query, variables) in [
        ("{ person(idNumber: \"331122196907269880\") { name } }", json!({})),
        ("query($n: IdNumber!) { person(idNumber: $n) { name } }", json!({ "n": "33112219690726988" })),
    ] {
        let answer = ask(&world.gateway, &supervisor(), query, variables).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{answer:#}");
    }
    let calls: usize = world.departments.sources().iter().map(|source| world.departments.log(source).len()).sum();
    assert_eq!(calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn items_and_claims_tell_of_which_day_a_record_is_where_the_department_says_it() {
    let world = world().await;
    let query = format!(
        "{{ household(id: \"{HOUSEHOLD}\") {{ items(no: [\"6\", \"16\", \"39\"]) {{ no validOn claims {{ source validOn }} }} }} }}"
    );
    let answer = ask(&world.gateway, &supervisor(), &query, json!({})).await;
    no_errors(&answer);
    let items = &answer["data"]["household"]["items"];
    let is_day = |value: &Value| value.as_str().is_some_and(|day| day.parse::<jiff::civil::Date>().is_ok());
    assert!(is_day(&items[0]["validOn"]), "an object takes its record's day: {items:#}");
    assert!(is_day(&items[1]["validOn"]), "{items:#}");
    assert_eq!(items[1]["claims"][0]["source"], "civil-affairs");
    assert_eq!(items[1]["claims"][0]["validOn"], items[1]["validOn"]);
    assert_ne!(items[1]["claims"][0]["validOn"], items[1]["claims"][1]["validOn"], "each claim has its own day");
    assert_eq!(items[2]["validOn"], Value::Null, "housing does not say it: {items:#}");

    let query = "{ household(id: \"331122101348000001\") { items(no: [\"16\"]) { state validOn } } }";
    let officer = caller("department-officer", json!({ "department": "police", "divisions": ["331122"] }));
    let mut officer = officer;
    officer.purpose = Some("duty".to_owned());
    let answer = ask(&world.gateway, &officer, query, json!({})).await;
    assert_eq!(answer["data"]["household"]["items"][0], json!({ "state": "REFUSED", "validOn": null }));
}

/// What the caller itself lacks is named at once: it says nothing about the household.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_have_nothing_here_is_told_which_grant_would_do_for_a_listing_too() {
    let world = world().await;
    let mut no_case = supervisor();
    no_case.case = None;
    let mut no_purpose = supervisor();
    no_purpose.purpose = None;
    let mut foreign = caller("household", json!({ "household": HOUSEHOLD }));
    foreign.networks = vec!["gov".to_owned()];
    for (who, said) in [
        (&no_case, "the role `supervisor` gives it with a case number in its agreed form"),
        (&no_purpose, "the role `supervisor` gives it for the purpose `supervision`"),
        (&foreign, "the role `household` does not count from this network"),
        (&caller("public", json!({})), "needs a grant of the data class `identity`"),
    ] {
        for query in [
            format!("{{ household(id: \"{HOUSEHOLD}\") {{ registry {{ headName }} }} }}"),
            format!("{{ households(division: \"{VILLAGE}\") {{ nodes {{ registry {{ headName }} }} }} }}"),
            "{ householdByCode(code: \"x\") { registry { headName } } }".to_owned(),
        ] {
            let answer = ask(&world.gateway, who, &query, json!({})).await;
            let errors = answer["errors"].as_array().unwrap_or_else(|| panic!("no errors: {query} {answer:#}"));
            assert_eq!(errors.len(), 1, "{answer:#}");
            assert_eq!(errors[0]["extensions"]["code"], "FORBIDDEN");
            assert_eq!(errors[0]["extensions"]["grant"], said);
        }
    }
    let calls: usize = world.departments.sources().iter().map(|source| world.departments.log(source).len()).sum();
    assert_eq!(calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_that_ask_the_same_of_several_households_share_the_calls() {
    let world = world().await;
    let ids: Vec<String> = world.departments.world().village_household_ids(VILLAGE).take(3).collect();
    let query = format!(
        "query {{ one: household(id: \"{}\") {{ ...of }} two: household(id: \"{}\") {{ ...of }} gone: household(id: \"331122101348999999\") {{ ...of }}
            other: household(id: \"{}\") {{ id }} again: household(id: \"{}\") {{ ...of }} }}
         fragment of on Household {{ id assistance {{ dibaoMonthly }} identity {{ members {{ name }} }} }}",
        ids[0], ids[1], ids[2], ids[0]
    );
    world.departments.clear_logs();
    let answer = ask(&world.gateway, &supervisor(), &query, json!({})).await;
    let data = &answer["data"];
    assert_eq!(
        (&data["one"]["id"], &data["two"]["id"], &data["other"]["id"]),
        (&json!(ids[0]), &json!(ids[1]), &json!(ids[2]))
    );
    assert_eq!(data["one"], data["again"]);
    assert_ne!(data["one"]["identity"], data["two"]["identity"]);
    assert_eq!(data["gone"], Value::Null);
    assert_eq!(answer["errors"][0]["path"], json!(["gone"]));
    assert_eq!(world.departments.log("civil-affairs").len(), 1, "one batch for all");
    // One more for the alias that asks something else.
    assert_eq!(world.departments.log("agriculture").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_the_unrelated_can_be_paged_to_its_end() {
    let options =
        departments::Options { latency: false, households_per_village: 130, ..departments::Options::default() };
    let world = support::world_with(options).await;
    let mut cadre = caller("cadre", json!({ "id": "paired with nobody" }));
    cadre.purpose = Some("help".to_owned());
    let query = "query($d: ID!, $after: String) { households(division: $d, first: 5, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }";
    let mut after = Value::Null;
    for _ in 0..5 {
        let answer = ask(&world.gateway, &cadre, query, json!({ "d": VILLAGE, "after": after })).await;
        no_errors(&answer);
        let page = &answer["data"]["households"];
        assert_eq!(page["nodes"], json!([]));
        if page["pageInfo"]["hasNextPage"] == false {
            return;
        }
        after = page["pageInfo"]["endCursor"].clone();
        assert!(after.is_string(), "{answer:#}");
    }
    panic!("the listing has no end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_keeps_its_own_deadline() {
    let world = world().await;
    let root = Temporary::new("deadline");
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(root.join("resolvers")).expect("a folder");
    for folder in ["schema", "config"] {
        std::os::unix::fs::symlink(repository.join(folder), root.join(folder)).expect("a link");
    }
    for file in std::fs::read_dir(repository.join("resolvers")).expect("bindings") {
        let file = file.expect("a file").path();
        let text = std::fs::read_to_string(&file).expect("text");
        let text = text.replace("  migrants:\n", "  migrants:\n    timeout_ms: 100\n");
        std::fs::write(root.join("resolvers").join(file.file_name().expect("a name")), text).expect("written");
    }
    let gateway = support::gateway(&root, world.departments.variables(), &root).await;
    world.departments.set_fault("water", departments::Fault::Slow(std::time::Duration::from_millis(500)));
    let query = "query($id: ID!) { household(id: $id) { water { safe migrantSubsidy } } }";
    let answer = ask(&gateway, &supervisor(), query, json!({ "id": HOUSEHOLD })).await;
    assert_eq!(answer["data"]["household"]["water"]["safe"], true, "the source's deadline is longer");
    assert_eq!(answer["errors"][0]["path"], json!(["household", "water", "migrantSubsidy"]));
    assert_eq!(answer["errors"][0]["extensions"]["code"], "SOURCE_TIMEOUT");
}
