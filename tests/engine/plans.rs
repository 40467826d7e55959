//! The plans of typical queries as text: which departments would be asked, in which waves, and what is refused.
//! A snapshot that changes is a change of what departments are asked: read it before it is accepted.

use huxiang::answer::GraphqlRequest;
use huxiang::engine::plan::cost::Assumed;
use huxiang::identify::Identity;
use serde_json::json;

use crate::support::{HOUSEHOLD, caller, supervisor, world};

fn declared(mut identity: Identity, purpose: &str) -> Identity {
    identity.purpose = Some(purpose.to_owned());
    identity
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_of_typical_queries() {
    let world = world().await;
    let cadre = || declared(caller("cadre", json!({"id": "c-1"})), "help");
    let household = || caller("household", json!({"household": HOUSEHOLD, "person": "331122197501011238"}));
    let officer =
        || declared(caller("department-officer", json!({"department": "police", "divisions": ["331122"]})), "duty");
    let grid = || declared(caller("grid-worker", json!({"grids": ["g-1"]})), "grid-watch");
    let one = |fields: &str| format!("{{ household(id: \"{HOUSEHOLD}\") {{ {fields} }} }}");
    let list =
        |fields: &str| format!("{{ households(division: \"331122101\", first: 50) {{ nodes {{ {fields} }} }} }}");
    let scan = |filter: &str| {
        format!(
            "{{ households(division: \"331122101\", first: 50, where: {{ {filter} }}) {{ nodes {{ id }} coverage {{ matched }} }} }}"
        )
    };
    let person = "{ person(idNumber: \"331122197501011238\") { name lifeStatus } }".to_owned();
    let cases = [
        ("who_lives_there_is_fetched_first", household(), one("registry { headName } assistance { dibaoStatus }")),
        ("persons_are_related_one_by_one", household(), one("health { majorIllnesses { code } }")),
        ("relation_is_fetched_first", cadre(), one("registry { headName } housing { safetyGrade }")),
        ("division_is_fetched_first", supervisor(), one("assistance { dibaoMonthly } medical { insured }")),
        ("refused_fields_are_not_asked_for", cadre(), one("registry { headName } health { majorIllnesses { name } }")),
        ("all_is_refused", caller("public", json!({})), one("registry { headName }")),
        ("person_through_the_household", supervisor(), person),
        ("own_department_only", officer(), one("identity { members { lifeStatus } } assistance { dibaoStatus }")),
        ("listing_in_batches", supervisor(), list("registry { headName } education { students { stage } }")),
        ("grid_worker_sees_a_warning", grid(), one("risk { warning { level } }")),
        ("derived_from_hidden_inputs", supervisor(), one("risk { warning { level rules { id } } }")),
        ("members_and_their_register", supervisor(), one("identity { members { name lifeStatus } }")),
        ("banks_need_a_mandate", supervisor(), one("assets { deposits { overThreshold banks { bank state } } }")),
        (
            "scan_by_departments_in_turn",
            supervisor(),
            scan("assistance: { dibaoStatus: { eq: RECEIVING } }, assets: { vehicles: { count: { gt: 0 } } }"),
        ),
        (
            "scan_by_a_ladder_and_a_list",
            supervisor(),
            scan("risk: { warning: { level: { eq: RED } } }, help: { visits: { none: { on: { ltDaysAgo: 30 } } } }"),
        ),
        ("scan_by_what_the_listing_tells", supervisor(), scan("registry: { category: { eq: DIBAO } }")),
        (
            "scan_of_persons",
            supervisor(),
            "{ persons(division: \"331122101\", first: 50, where: { lifeStatus: { eq: DECEASED }, relation: { eq: PARENT }, \
             household: { assistance: { dibaoStatus: { eq: RECEIVING } } } }) { nodes { idNumber deathOn } coverage { matched } } }"
                .to_owned(),
        ),
        ("states_of_items", supervisor(), one("items(no: [\"16\", \"39\"]) { no state claims { source value } }")),
    ];
    for (name, identity, query) in cases {
        let request = GraphqlRequest { query: Some(query.clone()), ..GraphqlRequest::default() };
        let text = world
            .gateway
            .plan_text(&identity, &request, Assumed { listed: 50, members: 200 })
            .unwrap_or_else(|error| panic!("{query}: {error:?}"));
        insta::assert_snapshot!(name, format!("{query}\n\n{text}"));
    }
}
