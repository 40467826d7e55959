//! Approvals and emergencies: what a second person must have said before, and what one says afterwards.

use huxiang::approval::{Act, Approval, Person, State, Wanted};
use huxiang::audit::verify;
use huxiang::base::clock::Clock;
use huxiang::engine::error::RequestError;
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::set_clock::SetClock;
use crate::support::{HOUSEHOLD, World, admin, ask, caller, config, records, supervisor, world_at};

const NEIGHBOUR: &str = "331122101348000009";
const DEPOSITS: &str = "query($id: ID!) { household(id: $id) { id items(no: [\"49\"]) { no state message } } }";

pub async fn demo() -> (World, SetClock) {
    let hand = SetClock::at("2026-06-01T09:00");
    (world_at(hand.clock(), &[]).await, hand)
}

pub fn verifier() -> Identity {
    let mut identity = caller("verifier", json!({ "divisions": ["331122"] }));
    (identity.purpose, identity.case) = (Some("recognition".to_owned()), Some("HD-2026-0001".to_owned()));
    identity
}

pub fn relying_on(identity: Identity, id: &str) -> Identity {
    Identity { approval: Some(id.to_owned()), ..identity }
}

pub fn wanted(household: &str) -> Wanted {
    Wanted {
        role: "verifier".to_owned(),
        purpose: Some("recognition".to_owned()),
        case: Some("HD-2026-0001".to_owned()),
        entity: "Household".to_owned(),
        key: household.to_owned(),
        reason: "存款与申报不符，需要核对".to_owned(),
        minutes: None,
        uses: None,
    }
}

fn act<'a>(world: &'a World, identity: &'a Identity) -> Act<'a> {
    Act { access: &world.gateway.snapshot().access, identity, request_id: "second-person" }
}

async fn asked_for(world: &World, wanted: &Wanted) -> Approval {
    world.gateway.approvals().request(&act(world, &verifier()), wanted).await.unwrap()
}

pub async fn given(world: &World, wanted: &Wanted) -> Approval {
    let asked = asked_for(world, wanted).await;
    let given =
        world.gateway.approvals().decide(&act(world, &supervisor()), &asked.id, &wanted.key, true).await.unwrap();
    assert_eq!(given.state, State::Given);
    given
}

async fn deposits(world: &World, identity: &Identity, household: &str) -> Value {
    ask(&world.gateway, identity, DEPOSITS, json!({ "id": household })).await
}

fn state(answer: &Value) -> &str {
    answer["data"]["household"]["items"][0]["state"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

/// The request as a whole was refused, with this.
pub fn refused(answer: &Value, with: &str) {
    let said = answer["errors"][0]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(answer.get("data").is_none() && said.contains(with), "{answer}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
}

fn not_permitted<T>(result: Result<T, RequestError>, with: &str) {
    let Err(error) = result else { panic!("it was done") };
    assert!(error.message.contains(with), "{}", error.message);
}

fn bank_calls(world: &World) -> usize {
    let banks = world.departments.sources();
    banks.iter().filter(|id| id.starts_with("bank")).map(|id| world.departments.log(id).len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_approval_the_field_is_refused_unasked_and_says_what_is_missing() {
    let (world, _) = demo().await;
    let answer = deposits(&world, &verifier(), HOUSEHOLD).await;
    assert_eq!(state(&answer), "REFUSED", "{answer}");
    let said = answer["data"]["household"]["items"][0]["message"].as_str().unwrap();
    assert!(said.contains("an approval by `supervisor`") && said.contains("extensions.approval"), "{said}");
    assert_eq!(bank_calls(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_opens_one_record_once() {
    let (world, _) = demo().await;
    let approval = given(&world, &wanted(HOUSEHOLD)).await;
    world.departments.clear_logs();
    let answer = deposits(&world, &relying_on(verifier(), &approval.id), HOUSEHOLD).await;
    assert_ne!(state(&answer), "REFUSED", "{answer}");
    assert!(bank_calls(&world) > 0);
    assert_eq!(answer["extensions"]["approval"]["id"], json!(approval.id));
    refused(&deposits(&world, &relying_on(verifier(), &approval.id), HOUSEHOLD).await, "used up");
    let records = records(&world.folder).await;
    let of = |operation: &str| records.iter().filter(|one| one["operation"] == operation).collect::<Vec<_>>();
    assert_eq!((of("request").len(), of("give").len(), of("use").len()), (1, 1, 1), "{records:#?}");
    assert_eq!(of("give")[0]["who"]["id"], "supervisor-1");
    assert_eq!(of("use")[0]["details"]["decider"], "supervisor-1");
    let look = records.iter().find(|one| one["kind"] == "REQUEST" && one["details"]["approval"] == json!(approval.id));
    let look = look.unwrap_or_else(|| panic!("{records:#?}"));
    let relations = look["access"][0]["relations"].as_array().unwrap();
    assert!(relations.contains(&json!("jurisdiction:approved")), "{look}");
    chain_holds(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_for_no_other_record_requester_purpose_case_or_time() {
    let (world, hand) = demo().await;
    let approval = given(&world, &Wanted { uses: Some(1), ..wanted(HOUSEHOLD) }).await;
    let good = relying_on(verifier(), &approval.id);
    // Somebody else, also one with the same id of another issuer.
    let mut other = good.clone();
    other.principal.as_mut().unwrap().id = "verifier-2".to_owned();
    refused(&deposits(&world, &other, HOUSEHOLD).await, "no such approval of yours");
    let mut other = good.clone();
    other.principal.as_mut().unwrap().issuer = "elsewhere".to_owned();
    refused(&deposits(&world, &other, HOUSEHOLD).await, "no such approval of yours");
    let unknown = relying_on(verifier(), "00000000000000000000000000000000");
    refused(&deposits(&world, &unknown, HOUSEHOLD).await, "no such approval of yours");
    let mut other = good.clone();
    other.case = Some("HD-2026-0002".to_owned());
    refused(&deposits(&world, &other, HOUSEHOLD).await, "another purpose or case");
    let mut other = good.clone();
    other.purpose = None;
    refused(&deposits(&world, &other, HOUSEHOLD).await, "another purpose or case");
    // None of these used it up. Its time does.
    hand.set("2026-06-01T17:00");
    refused(&deposits(&world, &good, HOUSEHOLD).await, "has ended");
    hand.set("2026-06-01T16:59");
    world.departments.clear_logs();
    let answer = deposits(&world, &good, NEIGHBOUR).await;
    assert_eq!(state(&answer), "REFUSED", "{answer}");
    assert_eq!(bank_calls(&world), 0, "another household's banks were asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_that_come_at_once_exactly_one_uses_the_last_use() {
    let (world, _) = demo().await;
    for _ in 0..5 {
        let approval = given(&world, &wanted(HOUSEHOLD)).await;
        let identity = relying_on(verifier(), &approval.id);
        let asked = (0..4).map(|_| deposits(&world, &identity, HOUSEHOLD));
        let answers = futures::future::join_all(asked).await;
        let through = answers.iter().filter(|answer| answer.get("data").is_some()).count();
        assert_eq!(through, 1, "{answers:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_approves_for_themselves_or_without_the_role_from_its_network() {
    let (world, _) = demo().await;
    let approvals = world.gateway.approvals();
    let asked = asked_for(&world, &wanted(HOUSEHOLD)).await;
    let decide =
        async |identity: &Identity, key: &str| approvals.decide(&act(&world, identity), &asked.id, key, true).await;
    not_permitted(decide(&verifier(), HOUSEHOLD).await, "no role of yours");
    // The requester with the approving role too, and the same id of another issuer.
    let mut both = verifier();
    both.principal.as_mut().unwrap().roles.push("supervisor".to_owned());
    not_permitted(decide(&both, HOUSEHOLD).await, "nobody approves what they ask for themselves");
    both.principal.as_mut().unwrap().issuer = "elsewhere".to_owned();
    not_permitted(decide(&both, HOUSEHOLD).await, "nobody approves what they ask for themselves");
    let mut outside = supervisor();
    outside.networks = vec!["public-proxy".to_owned()];
    not_permitted(decide(&outside, HOUSEHOLD).await, "no role of yours");
    let visitor = Identity { principal: None, ..supervisor() };
    not_permitted(decide(&visitor, HOUSEHOLD).await, "needs a token");
    // The approver names the record too.
    not_permitted(decide(&supervisor(), NEIGHBOUR).await, "not the one that was asked for");
    decide(&supervisor(), HOUSEHOLD).await.unwrap();
    not_permitted(decide(&supervisor(), HOUSEHOLD).await, "does not wait");
    // Each try is in the chain.
    let records = records(&world.folder).await;
    let tried = records.iter().filter(|one| one["kind"] == "APPROVAL" && one["outcome"] == "REJECTED").count();
    assert_eq!(tried, 7, "{records:#?}");
    // Given without having been asked for, the same holds.
    let me = Person { id: "supervisor-1".to_owned(), issuer: "test".to_owned() };
    not_permitted(approvals.give(&act(&world, &supervisor()), me, &wanted(HOUSEHOLD)).await, "a second person");
    let they = Person { id: "verifier-1".to_owned(), issuer: "test".to_owned() };
    let direct = approvals.give(&act(&world, &supervisor()), they, &wanted(HOUSEHOLD)).await.unwrap();
    assert_ne!(state(&deposits(&world, &relying_on(verifier(), &direct.id), HOUSEHOLD).await), "REFUSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_or_withdrawn_does_not_count() {
    let (world, _) = demo().await;
    let approvals = world.gateway.approvals();
    let asked = asked_for(&world, &wanted(HOUSEHOLD)).await;
    let identity = relying_on(verifier(), &asked.id);
    refused(&deposits(&world, &identity, HOUSEHOLD).await, "not given yet");
    approvals.decide(&act(&world, &supervisor()), &asked.id, HOUSEHOLD, false).await.unwrap();
    refused(&deposits(&world, &identity, HOUSEHOLD).await, "was refused");
    let second = given(&world, &wanted(HOUSEHOLD)).await;
    let mut stranger = supervisor();
    stranger.principal.as_mut().unwrap().id = "supervisor-2".to_owned();
    not_permitted(approvals.withdraw(&act(&world, &stranger), &second.id).await, "no such approval");
    approvals.withdraw(&act(&world, &supervisor()), &second.id).await.unwrap();
    refused(&deposits(&world, &relying_on(verifier(), &second.id), HOUSEHOLD).await, "was withdrawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_what_is_theirs_to_decide_and_the_store_holds_no_record_id() {
    let (world, _) = demo().await;
    let approvals = world.gateway.approvals();
    let asked = asked_for(&world, &wanted(HOUSEHOLD)).await;
    let seen = async |identity: &Identity| approvals.list(&act(&world, identity)).await.unwrap().len();
    assert_eq!((seen(&verifier()).await, seen(&supervisor()).await), (1, 1));
    assert_eq!(seen(&caller("town-officer", json!({}))).await, 0);
    let mut other = verifier();
    other.principal.as_mut().unwrap().id = "verifier-2".to_owned();
    assert_eq!(seen(&other).await, 0);
    approvals.decide(&act(&world, &supervisor()), &asked.id, HOUSEHOLD, true).await.unwrap();
    let mut found = 0;
    for entry in std::fs::read_dir(&world.folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(HOUSEHOLD.len()).any(|part| part == HOUSEHOLD.as_bytes()), "{}", path.display());
            found += usize::from(path.to_string_lossy().contains("approvals.sqlite"));
        }
    }
    assert!(found > 0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(world.folder.join("approvals.sqlite")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_outlives_the_gateway_and_its_files_may_only_become_narrower() {
    let hand = SetClock::at("2026-06-01T09:00");
    let first = world_at(hand.clock(), &[]).await;
    let approval = given(&first, &wanted(HOUSEHOLD)).await;
    let narrower = config("roles.yaml").replace("valid_minutes_max: 480", "valid_minutes_max: 30");
    let store = first.folder.join("approvals.sqlite");
    let gateway = format!("{}\napprovals: {{store: {}}}\n", config("gateway.yaml"), store.display());
    let second = world_at(hand.clock(), &[("roles.yaml", narrower), ("gateway.yaml", gateway)]).await;
    let identity = relying_on(verifier(), &approval.id);
    hand.set("2026-06-01T09:30");
    assert_eq!(state(&deposits(&second, &identity, HOUSEHOLD).await), "REFUSED");
    hand.set("2026-06-01T09:29");
    assert_ne!(state(&deposits(&second, &identity, HOUSEHOLD).await), "REFUSED");
}

/// Looks like an id number that a caller writes where a name is asked for.
const WRITTEN: &str = "331122199001011237";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_declared_is_refused_and_stands_in_no_record_of_an_approval() {
    let (world, _) = demo().await;
    let approvals = world.gateway.approvals();
    let long = "x".repeat(129);
    let role = |role: &str| Wanted { role: role.to_owned(), ..wanted(HOUSEHOLD) };
    let purpose = |purpose: &str| Wanted { purpose: Some(purpose.to_owned()), ..wanted(HOUSEHOLD) };
    let case = |case: &str| Wanted { case: Some(case.to_owned()), ..wanted(HOUSEHOLD) };
    let request = async |wanted: Wanted| approvals.request(&act(&world, &verifier()), &wanted).await;
    not_permitted(request(role(WRITTEN)).await, "no role of yours");
    not_permitted(request(purpose(WRITTEN)).await, "no such purpose");
    not_permitted(request(purpose(&long)).await, "at most 128 characters");
    not_permitted(request(case(WRITTEN)).await, "needs an approval for this purpose and case");
    not_permitted(request(case(&long)).await, "at most 128 characters");
    let person = |id: &str, issuer: &str| Person { id: id.to_owned(), issuer: issuer.to_owned() };
    let give =
        async |person: Person, wanted: Wanted| approvals.give(&act(&world, &supervisor()), person, &wanted).await;
    not_permitted(give(person("verifier-1", "test"), role(WRITTEN)).await, "no such role");
    not_permitted(give(person("verifier-1", WRITTEN), wanted(HOUSEHOLD)).await, "no such issuer");
    not_permitted(give(person(&long, "test"), wanted(HOUSEHOLD)).await, "at most 128 characters");
    // Whom the approver names may be anybody: the record has a digest, which is the same for the same id.
    give(person(WRITTEN, "test"), wanted(HOUSEHOLD)).await.unwrap();
    let records = records(&world.folder).await;
    let tried = records.iter().filter(|one| one["kind"] == "APPROVAL").collect::<Vec<_>>();
    assert_eq!(tried.len(), 9, "{tried:#?}");
    for record in &records {
        let text = record.to_string();
        assert!(!text.contains(WRITTEN) && !text.contains(&long), "{text}");
    }
    let last = tried[8];
    assert_eq!((&last["details"]["role"], &last["purpose"]), (&json!("verifier"), &json!("recognition")), "{last}");
    assert_eq!(last["details"]["requesterIssuer"], "test", "{last}");
    assert_eq!(last["details"]["requester"].as_str().map(str::len), Some(64), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_holds_the_role_where_it_counts_asks_for_its_approval() {
    let (world, _) = demo().await;
    let request =
        async |identity: &Identity| world.gateway.approvals().request(&act(&world, identity), &wanted(HOUSEHOLD)).await;
    not_permitted(request(&caller("town-officer", json!({}))).await, "no role of yours");
    let outside = Identity { networks: vec!["public-proxy".to_owned()], ..verifier() };
    not_permitted(request(&outside).await, "no role of yours");
    request(&verifier()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_and_withdrawn_again_counts_for_a_day() {
    let (world, hand) = demo().await;
    for _ in 0..100 {
        let asked = asked_for(&world, &wanted(HOUSEHOLD)).await;
        world.gateway.approvals().withdraw(&act(&world, &verifier()), &asked.id).await.unwrap();
    }
    let more = async || world.gateway.approvals().request(&act(&world, &verifier()), &wanted(HOUSEHOLD)).await;
    not_permitted(more().await, "100 approvals");
    hand.set("2026-06-02T09:01");
    more().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_others_hides_nothing_that_waits_for_the_caller() {
    let (world, _) = demo().await;
    let asked = asked_for(&world, &wanted(HOUSEHOLD)).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(world.folder.join("approvals.sqlite"));
    let mut store = sqlx::ConnectOptions::connect(&options).await.unwrap();
    // Newer ones: of another role, and of this role but decided.
    let others = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001) \
                  INSERT INTO approval SELECT 'x' || i, CASE i % 2 WHEN 0 THEN 'ASKED' ELSE 'REFUSED' END, entity, subject, \
                  'other', requester_issuer, CASE i % 2 WHEN 0 THEN 'cadre' ELSE role END, purpose, case_number, reason, \
                  asked_at + i, minutes, uses, used, NULL, NULL, NULL, NULL, ends_at FROM approval, n";
    sqlx::Executor::execute(&mut store, others).await.unwrap();
    for identity in [verifier(), supervisor()] {
        let seen = world.gateway.approvals().list(&act(&world, &identity)).await.unwrap();
        assert_eq!(seen.iter().map(|one| &one.id).collect::<Vec<_>>(), [&asked.id]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_as_a_whole_uses_up_no_approval() {
    let roles =
        config("roles.yaml").replace("    title: 核对人员\n", "    title: 核对人员\n    introspection: false\n");
    let world = world_at(SetClock::at("2026-06-01T09:00").clock(), &[("roles.yaml", roles)]).await;
    let approval = given(&world, &wanted(HOUSEHOLD)).await;
    let identity = relying_on(verifier(), &approval.id);
    let with = DEPOSITS.replace("{ household", "{ __schema { queryType { name } } household");
    refused(&ask(&world.gateway, &identity, &with, json!({ "id": HOUSEHOLD })).await, "introspection");
    assert_ne!(state(&deposits(&world, &identity, HOUSEHOLD).await), "REFUSED");
}

async fn chain_holds(world: &World) {
    let report = verify(&world.folder.join("audit.sqlite"), None, &mut |_| {}).await.unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

const WHERE: &str = "query($id: ID!) { household(id: $id) { registry { phone address } } }";

fn on_duty(reason: Option<&str>) -> Identity {
    let mut identity = caller("duty-officer", json!({ "divisions": ["331122"] }));
    (identity.purpose, identity.break_glass) = (Some("emergency".to_owned()), reason.map(str::to_owned));
    identity
}

async fn at_night(world: &World, reason: &str) -> Value {
    ask(&world.gateway, &on_duty(Some(reason)), WHERE, json!({ "id": HOUSEHOLD })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_needs_its_reason_and_is_marked_in_answer_and_record() {
    let (world, _) = demo().await;
    let answer = ask(&world.gateway, &on_duty(None), WHERE, json!({ "id": HOUSEHOLD })).await;
    let said = answer["errors"][0]["message"].as_str().unwrap();
    assert!(said.contains("in an emergency") && said.contains("extensions.breakGlass"), "{said}");
    let answer = at_night(&world, "台风来袭，连夜转移").await;
    assert!(answer["data"]["household"]["registry"]["phone"].is_string(), "{answer}");
    let id = answer["extensions"]["breakGlass"]["id"].as_str().unwrap().to_owned();
    assert_eq!(answer["extensions"]["breakGlass"]["reviewBefore"], "2026-06-04T09:00:00.000+08:00");
    // The same reason again is the same emergency; another is another.
    assert_eq!(at_night(&world, "台风来袭，连夜转移").await["extensions"]["breakGlass"]["id"], json!(id));
    assert_ne!(at_night(&world, "山洪，失联一人").await["extensions"]["breakGlass"]["id"], json!(id));
    let records = records(&world.folder).await;
    let looks = records.iter().filter(|one| one["kind"] == "REQUEST" && one["details"]["breakGlass"] == json!(id));
    assert_eq!(looks.count(), 2, "{records:#?}");
    assert!(!records.iter().any(|one| one.to_string().contains("台风")), "reasons stay out of the records");
    // Whose role gives nothing in an emergency is told so.
    let mut town = caller("town-officer", json!({ "divisions": ["331122"] }));
    town.break_glass = Some("台风来袭，连夜转移".to_owned());
    refused(&ask(&world.gateway, &town, WHERE, json!({ "id": HOUSEHOLD })).await, "leave the reason out");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_is_reviewed_by_somebody_else_and_unreviewed_there_is_no_other() {
    let (world, hand) = demo().await;
    let approvals = world.gateway.approvals();
    let answer = at_night(&world, "台风来袭，连夜转移").await;
    let id = answer["extensions"]["breakGlass"]["id"].as_str().unwrap().to_owned();
    let officer = caller("security-officer", json!({}));
    let listed = approvals.emergencies(&act(&world, &officer)).await.unwrap();
    assert_eq!((listed.len(), &listed[0].id, listed[0].review.is_none()), (1, &id, true));
    assert_eq!(listed[0].request_id, "test-request");
    assert!(approvals.emergencies(&act(&world, &supervisor())).await.unwrap().is_empty());
    let review =
        async |identity: &Identity, note: &str| approvals.review(&act(&world, identity), &id, true, note).await;
    not_permitted(review(&supervisor(), "核实无误").await, "no such emergency for you");
    let mut both = on_duty(None);
    both.principal.as_mut().unwrap().roles.push("security-officer".to_owned());
    not_permitted(review(&both, "核实无误").await, "nobody reviews their own");
    not_permitted(review(&officer, "").await, "characters");
    // In time there may be more; afterwards none until it is reviewed.
    hand.set("2026-06-04T08:59");
    assert!(at_night(&world, "堰塞湖水位上涨").await.get("data").is_some());
    hand.set("2026-06-04T09:01");
    world.departments.clear_logs();
    refused(&at_night(&world, "再次转移群众").await, "was not reviewed in time");
    let subject = world.gateway.subjects().subject("Household", HOUSEHOLD);
    assert_eq!(refused_access(&world).await[0]["subjects"], json!([subject]));
    assert!(world.departments.sources().iter().all(|source| world.departments.log(source).is_empty()));
    let reviewed = review(&officer, "核实无误，转移名单已归档").await.unwrap();
    assert!(reviewed.review.is_some_and(|review| review.justified));
    not_permitted(review(&officer, "核实无误").await, "reviewed already");
    assert!(at_night(&world, "再次转移群众").await.get("data").is_some());
    let records = records(&world.folder).await;
    assert!(records.iter().any(|one| one["kind"] == "BREAK_GLASS_REVIEW" && one["outcome"] == "ANSWERED"));
    chain_holds(&world).await;
}

/// The demo with other grants for the officer on duty.
async fn duty(grants: &str) -> (World, SetClock) {
    let hand = SetClock::at("2026-06-01T09:00");
    let roles = config("roles.yaml");
    let (before, rest) = roles.split_once("    title: 应急值班员\n    networks: [gov]\n    grants:\n").unwrap();
    let (_, after) = rest.split_once("review_hours_max: 72}\n").unwrap();
    let roles = format!("{before}    title: 应急值班员\n    networks: [gov]\n    grants:\n{grants}{after}");
    (world_at(hand.clock(), &[("roles.yaml", roles)]).await, hand)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_lets_a_record_be_found_is_an_emergency_too() {
    let (world, hand) = duty(
        "      - {relation: jurisdiction, purposes: [emergency], fields: [id, registry.category]}\n\
         \x20     - relation: jurisdiction\n        purposes: [emergency]\n        fields: [registry.agriCode]\n\
         \x20       break_glass: {review_by: [security-officer], review_hours_max: 72}\n",
    )
    .await;
    let portrait = departments::expected::portrait(world.departments.world(), HOUSEHOLD).unwrap();
    let code = departments::expected::at(&portrait, "registry.agriCode").clone();
    let query = "query($code: String!) { householdByCode(code: $code) { registry { category } } }";
    let found =
        async |reason: Option<&str>| ask(&world.gateway, &on_duty(reason), query, json!({ "code": code })).await;
    assert!(found(None).await["data"]["householdByCode"].is_null());
    let answer = found(Some("台风来袭，连夜转移")).await;
    assert!(answer["data"]["householdByCode"].is_object(), "{answer}");
    assert!(answer["extensions"]["breakGlass"]["id"].is_string(), "{answer}");
    // What no such grant has a part in declares none.
    let plain = "query($id: ID!) { household(id: $id) { registry { category } } }";
    let answer = ask(&world.gateway, &on_duty(Some("台风来袭，连夜转移")), plain, json!({ "id": HOUSEHOLD })).await;
    assert!(answer["extensions"].get("breakGlass").is_none(), "{answer}");
    hand.set("2026-06-04T09:01");
    refused(&found(Some("再次转移群众")).await, "was not reviewed in time");
}

/// What a grant for an emergency has a part in, though nothing of it is selected by name.
#[tokio::test(flavor = "multi_thread")]
async fn a_section_that_no_other_grant_of_the_relation_gives_is_an_emergencys() {
    let (world, _) = duty(
        "      - {relation: jurisdiction, purposes: [emergency], fields: [id]}\n\
         \x20     - relation: any\n        purposes: [emergency]\n        classes: [basic, welfare]\n\
         \x20       except: [assistance.temporaryAid.paidOn]\n\
         \x20     - relation: jurisdiction\n        purposes: [emergency]\n\
         \x20       fields: [registry.phone, assistance.temporaryAid.paidOn]\n\
         \x20       break_glass: {review_by: [security-officer], review_hours_max: 72}\n",
    )
    .await;
    // Under that relation nothing else gives the sections.
    for (fields, emergency) in
        [("registry { category }", true), ("assistance { temporaryAid { amount } }", true), ("id", false)]
    {
        let query = format!("query($id: ID!) {{ household(id: $id) {{ {fields} }} }}");
        let identity = on_duty(Some("台风来袭，连夜转移"));
        let answer = ask(&world.gateway, &identity, &query, json!({ "id": HOUSEHOLD })).await;
        assert!(answer["data"]["household"].is_object(), "{answer}");
        assert_eq!(answer["extensions"]["breakGlass"]["id"].is_string(), emergency, "{fields}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_date_that_puts_a_list_in_order_makes_an_emergency_by_itself() {
    let (world, _) = duty(
        "      - {relation: jurisdiction, purposes: [emergency], fields: [id, assistance.dibaoMonthly]}\n\
         \x20     - relation: jurisdiction\n        purposes: [emergency]\n        classes: [welfare]\n\
         \x20       except: [assistance.temporaryAid.paidOn]\n\
         \x20     - relation: jurisdiction\n        purposes: [emergency]\n        fields: [assistance.temporaryAid.paidOn]\n\
         \x20       break_glass: {review_by: [security-officer], review_hours_max: 72}\n",
    )
    .await;
    for (fields, emergency) in [("temporaryAid { amount }", true), ("dibaoMonthly", false)] {
        let query = format!("query($id: ID!) {{ household(id: $id) {{ assistance {{ {fields} }} }} }}");
        let identity = on_duty(Some("台风来袭，连夜转移"));
        let answer = ask(&world.gateway, &identity, &query, json!({ "id": HOUSEHOLD })).await;
        assert!(answer["data"]["household"]["assistance"].is_object(), "{answer}");
        assert_eq!(answer["extensions"]["breakGlass"]["id"].is_string(), emergency, "{fields}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_of_review_has_its_own_review() {
    let (world, _) = duty(
        "      - relation: jurisdiction\n        purposes: [emergency]\n        fields: [registry.phone]\n\
         \x20       break_glass: {review_by: [security-officer], review_hours_max: 72}\n\
         \x20     - relation: jurisdiction\n        purposes: [emergency]\n        fields: [registry.address]\n\
         \x20       break_glass: {review_by: [supervisor], review_hours_max: 24}\n",
    )
    .await;
    let reason = "台风来袭，连夜转移";
    let phone = "query($id: ID!) { household(id: $id) { registry { phone } } }";
    let first = ask(&world.gateway, &on_duty(Some(reason)), phone, json!({ "id": HOUSEHOLD })).await;
    let of_phone = first["extensions"]["breakGlass"].clone();
    assert_eq!(of_phone["reviewBefore"], "2026-06-04T09:00:00.000+08:00", "{first}");
    let seen = async |identity: &Identity| {
        let listed = world.gateway.approvals().emergencies(&act(&world, identity)).await.unwrap();
        listed.iter().map(|one| (json!(one.id), one.looks)).collect::<Vec<_>>()
    };
    let officer = caller("security-officer", json!({}));
    assert!(seen(&supervisor()).await.is_empty());
    // The same reason: what another reviews, sooner, is not hidden behind the first.
    let both = at_night(&world, reason).await;
    let told = &both["extensions"]["breakGlass"];
    assert_eq!(told["reviewBefore"], "2026-06-02T09:00:00.000+08:00", "{both}");
    assert_eq!(told["also"], json!([of_phone]), "{both}");
    assert_eq!(seen(&officer).await, [(of_phone["id"].clone(), 2)]);
    assert_eq!(seen(&supervisor()).await, [(told["id"].clone(), 1)]);
    let records = records(&world.folder).await;
    let look = records.iter().rfind(|one| one["kind"] == "REQUEST").unwrap();
    assert_eq!(look["details"]["breakGlass"], told["id"], "{look}");
    assert_eq!(look["details"]["breakGlassAlso"], json!([of_phone["id"]]), "{look}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_neither_counts() {
    let (world, _) = demo().await;
    let approval = given(&world, &wanted(HOUSEHOLD)).await;
    let path = world.folder.join("approvals.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut locked = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::Executor::execute(&mut locked, "BEGIN EXCLUSIVE").await.unwrap();
    world.departments.clear_logs();
    let answer = deposits(&world, &relying_on(verifier(), &approval.id), HOUSEHOLD).await;
    assert!(answer.get("data").is_none(), "{answer}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "INTERNAL");
    let answer = at_night(&world, "台风来袭，连夜转移").await;
    assert!(answer.get("data").is_none(), "{answer}");
    assert!(world.departments.sources().iter().all(|source| world.departments.log(source).is_empty()));
    sqlx::Executor::execute(&mut locked, "ROLLBACK").await.unwrap();
    assert_ne!(state(&deposits(&world, &relying_on(verifier(), &approval.id), HOUSEHOLD).await), "REFUSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_is_where_they_are_asked_for_given_and_reviewed() {
    let (world, _) = demo().await;
    let request = "mutation($key: String!) { requestApproval(approval: {role: \"verifier\", purpose: \"recognition\", \
                   case: \"HD-2026-0001\", entity: \"Household\", key: $key, reason: \"存款与申报不符\"}) { id state uses } }";
    let asked = admin(&world.gateway, &verifier(), request, json!({ "key": HOUSEHOLD })).await;
    let id = asked["data"]["requestApproval"]["id"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    let waiting = admin(&world.gateway, &supervisor(), "{ approvals { id reason requester { id } } }", json!({})).await;
    assert_eq!(waiting["data"]["approvals"][0]["id"], json!(id), "{waiting}");
    let decide = "mutation($id: String!, $key: String!) { decideApproval(id: $id, key: $key, give: true) { state } }";
    let own = admin(&world.gateway, &verifier(), decide, json!({ "id": id, "key": HOUSEHOLD })).await;
    assert_eq!(own["errors"][0]["extensions"]["code"], "FORBIDDEN", "{own}");
    let visitor = Identity { principal: None, ..supervisor() };
    let nobody = admin(&world.gateway, &visitor, decide, json!({ "id": id, "key": HOUSEHOLD })).await;
    assert_eq!(nobody["errors"][0]["extensions"]["code"], "FORBIDDEN", "{nobody}");
    let given = admin(&world.gateway, &supervisor(), decide, json!({ "id": id, "key": HOUSEHOLD })).await;
    assert_eq!(given["data"]["decideApproval"]["state"], "GIVEN", "{given}");
    assert_ne!(state(&deposits(&world, &relying_on(verifier(), &id), HOUSEHOLD).await), "REFUSED");

    at_night(&world, "台风来袭，连夜转移").await;
    let officer = caller("security-officer", json!({}));
    let listed = admin(&world.gateway, &officer, "{ emergencies { id reason looks reviewedAt } }", json!({})).await;
    let emergency = listed["data"]["emergencies"][0]["id"].clone();
    let review =
        "mutation($id: String!) { reviewEmergency(id: $id, justified: false, note: \"无人员转移记录\") { justified } }";
    let reviewed = admin(&world.gateway, &officer, review, json!({ "id": emergency })).await;
    assert_eq!(reviewed["data"]["reviewEmergency"]["justified"], false, "{reviewed}");
    // Who holds the officer's part and another that excludes it reviews nothing.
    let mut both = officer;
    both.principal.as_mut().unwrap().roles.push("auditor".to_owned());
    let refused = admin(&world.gateway, &both, "{ emergencies { id } }", json!({})).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN", "{refused}");
    assert!(!records(&world.folder).await.iter().any(|one| one.to_string().contains(HOUSEHOLD)));
}

/// What is wrong with the store is told at the start, so it is opened then: where any grant can need it, and nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_opened_at_the_start_where_a_grant_asks_for_an_approval_or_a_review() {
    let whole = config("roles.yaml");
    let without = |key: &str| -> String {
        whole.lines().filter(|line| !line.trim_start().starts_with(key)).collect::<Vec<_>>().join("\n")
    };
    let (approval, review) = ("approval: {", "break_glass: {");
    let neither = without(approval).lines().filter(|line| !line.contains(review)).collect::<Vec<_>>().join("\n");
    for (roles, opened) in [(without(approval), true), (without(review), true), (neither, false)] {
        let world = world_at(Clock::system(), &[("roles.yaml", roles)]).await;
        assert_eq!(world.folder.join("approvals.sqlite").exists(), opened);
    }
}

/// Grants of one relation share what an approval opens; grants of another do not.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_opens_the_relation_of_its_own_grant() {
    let more = "  prober:
    title: Prober
    networks: [gov]
    grants:
      - {relation: paired, fields: [id, registry.phone], approval: {by: [supervisor], valid_minutes_max: 60}}
      - {relation: jurisdiction, fields: [id, registry.phone], approval: {by: [supervisor], valid_minutes_max: 60}}
      - {relation: paired, fields: [registry.address], approval: {by: [supervisor], valid_minutes_max: 60}}
";
    let world = world_at(Clock::system(), &[("roles.yaml", config("roles.yaml") + more)]).await;
    let access = &world.gateway.snapshot().access;
    let prober = access.role("prober").unwrap();
    let relations: Vec<&str> =
        prober.grants.iter().map(|at| &*access.relation(access.grants[*at].relation).unwrap().name).collect();
    assert_eq!(relations, ["paired:approved", "jurisdiction:approved", "paired:approved"]);
    let approved = access.relations.iter().filter(|relation| relation.approved).count();
    assert_eq!(approved, 2, "the verifier's is of jurisdiction too");
}

/// The accesses of the newest record that was refused as a whole.
async fn refused_access(world: &World) -> Value {
    let records = records(&world.folder).await;
    let refused = records.iter().rev().find(|one| one["kind"] == "REQUEST" && one["outcome"] == "REJECTED");
    refused.unwrap_or_else(|| panic!("{records:#?}"))["access"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_refused_before_anything_is_fetched_names_whom_it_was_of() {
    let (world, _) = demo().await;
    let inline = format!("{{ household(id: \"{HOUSEHOLD}\") {{ id items(no: [\"49\"]) {{ no state }} }} }}");
    let of_household = |access: &Value| {
        let subject = json!(world.gateway.subjects().subject("Household", HOUSEHOLD));
        assert_eq!(access[0]["entity"], "Household", "{access}");
        assert_eq!(access[0]["subjects"], json!([subject]), "{access}");
        assert!(access[0]["refused"].as_array().is_some_and(|items| items.contains(&json!("49"))), "{access}");
        assert!(access[0].get("read").is_none_or(|read| read.as_array().is_some_and(Vec::is_empty)), "{access}");
    };
    let answer = ask(&world.gateway, &relying_on(verifier(), "no-such-approval"), &inline, json!({})).await;
    assert!(answer.get("data").is_none(), "{answer}");
    of_household(&refused_access(&world).await);
    // A reason for an emergency of somebody whom nothing is given in one.
    let needless = Identity { break_glass: Some("夜间突发急病需要核对".to_owned()), ..verifier() };
    let answer = ask(&world.gateway, &needless, &inline, json!({})).await;
    assert!(answer.get("data").is_none(), "{answer}");
    of_household(&refused_access(&world).await);
    let records = records(&world.folder).await;
    assert_eq!(records.iter().filter(|one| one["outcome"] == "REJECTED").count(), 2, "{records:#?}");
    assert!(!serde_json::to_string(&records).unwrap().contains(HOUSEHOLD));
    assert_eq!(bank_calls(&world), 0);
}
