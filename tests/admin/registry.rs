//! Bindings that departments publish themselves, through the admin API: submitted, reviewed, approved by a second person,
//! published, withdrawn, taken back; no request notices, and nobody does another's part.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use huxiang::audit::{Kind, Reader, Search};
use huxiang::base::fault::Faults;
use huxiang::identify::mint;
use huxiang::model::config::GatewayConfig;
use serde_json::{Map, Value, json};
use sqlx::{Connection, Executor};

use crate::live_support::{CONFIG, Live, Place, ROLES, SCHEMA, binding};

const REGISTRY: &str = "reload: {every_ms: 200}\n\
    issuers:\n  - {issuer: \"https://test.invalid\", audience: huxiang, algorithms: [EdDSA], keys: [\"${PUBLIC}\"], demo: true, signing_key: \"${PRIVATE}\"}\n\
    principal: {claims: {sources: [string]}}\n\
    admin: {operator: [operator], steward: [steward], department_head: [head], auditor: [auditor]}\n\
    registry: {store: \"${REGISTRY:-registry.sqlite}\", sources: sources}\n";

const PEOPLE: [&str; 4] = ["operator", "steward", "head", "auditor"];

/// What is bound in a file: the contract's other fields are the registry's to fill.
const BASE: &str = "source: base\ntitle: Base\nbase_url: ${PEOPLE_URL}\nendpoints:\n\
    \x20 kind: {entity: Person, establishes: true, one: {get: \"/kind/name/{key}\"}, fields: {kind: /told}}\n";

fn schema(further: &str) -> String {
    SCHEMA.replace("name: String city: String", &format!("kind: String {further}"))
}

/// The binding, establishing nothing.
fn version(name: &str) -> String {
    binding(name).replace(", establishes: true", "")
}

struct World {
    place: Place,
    keys: [(&'static str, String); 2],
}

impl World {
    /// A registry, and a contract whose fields nobody fills but `kind`.
    async fn new(name: &str) -> Self {
        let roles: String =
            PEOPLE.iter().map(|role| format!("  {role}: {{title: {role}, networks: [local], grants: []}}\n")).collect();
        let (config, roles) = (format!("{CONFIG}{REGISTRY}"), format!("{ROLES}{roles}"));
        let files = [
            ("config/gateway.yaml", config.as_str()),
            ("config/roles.yaml", &roles),
            ("resolvers/base.yaml", BASE),
            ("schema/people.graphql", &schema("")),
        ];
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key pair");
        let keys = [("PUBLIC", key.public_key_pem()), ("PRIVATE", key.serialize_pem())];
        Self { place: Place::new(name, &files).await, keys }
    }

    async fn start(&self, name: &str, further: &[(&str, &str)]) -> Live {
        self.place.start(name, &self.variables(further)).await
    }

    fn variables<'v>(&'v self, further: &[(&'v str, &'v str)]) -> Vec<(&'v str, &'v str)> {
        self.keys.iter().map(|(name, value)| (*name, value.as_str())).chain(further.iter().copied()).collect()
    }

    fn token(&self, who: &str, role: &str, sources: &[&str]) -> String {
        let mut faults = Faults::default();
        let variable = |name: &str| match name {
            "HUXIANG_LISTEN" => Some("127.0.0.1:1".to_owned()),
            "AUDIT_KEY" => Some("0".repeat(32)),
            "AUDIT_STORE" => Some("none".to_owned()),
            _ => self.keys.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()),
        };
        let path = self.place.root.join("config/gateway.yaml");
        let config = GatewayConfig::load(&path, &self.place.root, &variable, &mut faults);
        let config = config.unwrap_or_else(|| panic!("{}", faults.render()));
        let claims = Map::from_iter([("sources".to_owned(), json!(sources))]);
        mint(&config.issuers[0], who, &[role.to_owned()], &claims, Duration::from_secs(600)).expect("a token")
    }

    /// Who asks in these tests.
    fn cast(&self) -> Cast {
        Cast {
            steward: self.token("wang", "steward", &["people"]),
            head: self.token("li", "head", &["people"]),
            operator: self.token("zhao", "operator", &[]),
        }
    }
}

struct Cast {
    steward: String,
    head: String,
    operator: String,
}

async fn admin(live: &Live, token: &str, query: &str, variables: Value) -> Value {
    let body = json!({ "query": query, "variables": variables }).to_string();
    let request = live.client.post(format!("{}/admin/graphql", live.url)).header("content-type", "application/json");
    let answer = request.bearer_auth(token).body(body).send().await.expect("an answer");
    serde_json::from_str(&answer.text().await.expect("a whole answer")).expect("JSON")
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

async fn submit(live: &Live, token: &str, text: &str) -> Value {
    let query = "mutation($text: String!) { submitSource(text: $text, note: \"as the new system has it\") \
        { version { number state } faults { line column message hint } rendered } }";
    admin(live, token, query, json!({ "text": text })).await
}

async fn decide(live: &Live, token: &str, number: i64, approve: bool) -> Value {
    let query = "mutation($n: Int!, $a: Boolean!) \
        { decideSource(source: \"people\", number: $n, approve: $a, note: \"looked at with care\") { state decidedBy { id } } }";
    admin(live, token, query, json!({ "n": number, "a": approve })).await
}

async fn publish(live: &Live, token: &str, number: i64) -> Value {
    let query = "mutation($n: Int!) \
        { publishSource(source: \"people\", number: $n, note: \"in service from today\") { revision state inForce } }";
    admin(live, token, query, json!({ "n": number })).await
}

async fn withdraw(live: &Live, token: &str) -> Value {
    let query =
        "mutation { withdrawSource(source: \"people\", note: \"their system is being moved\") { state inForce } }";
    admin(live, token, query, json!({})).await
}

/// Submitted, approved and published; its number.
async fn in_service(live: &Live, cast: &Cast, text: &str) -> i64 {
    let submitted = submit(live, &cast.steward, text).await;
    let number = submitted["data"]["submitSource"]["version"]["number"].as_i64();
    let number = number.unwrap_or_else(|| panic!("{submitted}"));
    let decided = decide(live, &cast.head, number, true).await;
    assert_eq!(decided["data"]["decideSource"]["state"], "APPROVED", "{decided}");
    let published = publish(live, &cast.operator, number).await;
    assert_eq!(published["data"]["publishSource"]["inForce"], true, "{published}");
    number
}

#[tokio::test]
async fn a_department_brings_its_source_into_service_and_each_step_is_another_persons_and_on_record() {
    let world = World::new("whole").await;
    let (live, cast) = (world.start("one", &[]).await, world.cast());
    // The data office adds the fields; nobody fills them yet, so the contract in force stays as it was.
    world.place.write("schema/people.graphql", &schema("name: String city: String"));
    live.until("it is told", || async { live.log().contains("no source answers for `Person.name`") }).await;
    assert_eq!(live.ask("{ person(id: \"1\") { kind } }").await["data"]["person"]["kind"], "kind");

    let other = world.token("sun", "steward", &["banks"]);
    assert_eq!(code(&submit(&live, &other, &version("v1")).await), "FORBIDDEN", "another department's steward");
    assert_eq!(code(&submit(&live, &cast.operator, &version("v1")).await), "FORBIDDEN", "an operator submits nothing");
    let submitted = submit(&live, &cast.steward, &version("v1")).await;
    assert_eq!(submitted["data"]["submitSource"]["version"], json!({"number": 1, "state": "SUBMITTED"}), "{submitted}");

    let review = "{ sourceReview(source: \"people\", number: 1) { diff gained lost moved } }";
    let review = admin(&live, &cast.head, review, json!({})).await;
    let review = &review["data"]["sourceReview"];
    assert_eq!(review["gained"], json!(["Person.city", "Person.name"]), "{review}");
    assert!(review["diff"].as_str().unwrap().contains("+source: people"), "{review}");

    assert_eq!(code(&publish(&live, &cast.operator, 1).await), "FORBIDDEN", "nobody approved it");
    let self_approval = world.token("wang", "head", &["people"]);
    assert_eq!(code(&decide(&live, &self_approval, 1, true).await), "FORBIDDEN", "the submitter, as head");
    let others_head = world.token("qian", "head", &["banks"]);
    assert_eq!(code(&decide(&live, &others_head, 1, true).await), "FORBIDDEN", "another department's head");
    assert_eq!(code(&decide(&live, &cast.steward, 1, true).await), "FORBIDDEN", "a steward decides nothing");
    assert_eq!(decide(&live, &cast.head, 1, true).await["data"]["decideSource"]["state"], "APPROVED");
    assert_eq!(code(&decide(&live, &cast.head, 1, false).await), "BAD_REQUEST", "decided once");
    let same_person = world.token("li", "operator", &[]);
    assert_eq!(code(&publish(&live, &same_person, 1).await), "FORBIDDEN", "who approved it does not publish it");
    assert_eq!(code(&publish(&live, &cast.head, 1).await), "FORBIDDEN", "a head publishes nothing");
    let published = publish(&live, &cast.operator, 1).await;
    assert_eq!(published["data"]["publishSource"], json!({"revision": 1, "state": "PUBLISHED", "inForce": true}));
    assert_eq!(live.version().await, "v1");

    let search = Search { kinds: vec![Kind::Registry], first: 50, ..Search::default() };
    let page = Reader::new(&live.audit).search(&search).await.expect("the records");
    let told: Vec<(String, String, bool)> = page
        .entries
        .iter()
        .rev()
        .map(|entry| {
            let who = entry.record.who.as_ref().map_or(String::new(), |who| who.id.clone());
            (who, entry.record.operation.clone().unwrap_or_default(), entry.record.errors.is_empty())
        })
        .collect();
    let one = |who: &str, what: &str, done| (who.to_owned(), what.to_owned(), done);
    let expected = [
        one("wang", "submitSource", true),
        one("zhao", "publishSource", false),
        one("wang", "decideSource", false),
        one("li", "decideSource", true),
        one("li", "decideSource", false),
        one("li", "publishSource", false),
        one("zhao", "publishSource", true),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn awaited_fields_are_there_before_their_source_is_and_the_gateway_starts_without_it() {
    const AWAITED: &str = "name: String @awaited city: String @awaited";
    let world = World::new("awaited").await;
    let directive = "directive @awaited on FIELD_DEFINITION\n";
    let with_query = |fields: &str| {
        let query = "person(id: ID!): Person found(name: String): Person @awaited";
        format!("{directive}{}", schema(fields).replace("person(id: ID!): Person", query))
    };
    // What is asked with an awaited field is not answered either, and is not told to have no record.
    world.place.write(
        "resolvers/nick.yaml",
        "source: nick\ntitle: Nick\nbase_url: ${PEOPLE_URL}\nendpoints:\n\
         \x20 nick: {entity: Person, key: name, one: {get: \"/nick/name/{key}\"}, fields: {nick: /told}}\n",
    );
    world.place.write("schema/people.graphql", &with_query(&format!("{AWAITED} nick: String")));
    let (live, cast) = (world.start("one", &[]).await, world.cast());
    let told = |answer: &Value| {
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        let each = errors.iter().map(|error| error["extensions"]["code"].as_str().unwrap_or_default().to_owned());
        (answer["data"]["person"].clone(), each.collect::<Vec<_>>())
    };
    let question = "{ person(id: \"1\") { kind name city nick } }";
    let codes = vec!["NO_SOURCE".to_owned(), "INPUT_MISSING".to_owned()];
    let nobody = (json!({"kind": "kind", "name": null, "city": null, "nick": null}), codes);
    let answer = live.ask(question).await;
    assert_eq!(told(&answer), nobody, "{answer}");
    let not_given = answer["errors"][1]["message"].as_str().expect("a message");
    assert!(not_given.contains("did not give what other departments are asked with"), "{answer}");
    let found = live.ask("{ found(name: \"x\") { kind } }").await;
    assert_eq!((&found["data"]["found"], code(&found)), (&Value::Null, "NO_SOURCE"), "{found}");
    let state = admin(&live, &cast.operator, "{ configuration { awaited } }", json!({})).await;
    assert_eq!(state["data"]["configuration"]["awaited"], json!(["Person.name", "Person.city", "found"]), "{state}");

    let submitted = submit(&live, &cast.steward, &version("v1")).await;
    assert_eq!(submitted["data"]["submitSource"]["version"]["number"], 1, "{submitted}");
    decide(&live, &cast.head, 1, true).await;
    drop(live);
    let live = world.start("two", &[]).await;
    assert_eq!(told(&live.ask(question).await), nobody, "a restart before it is published");
    assert_eq!(publish(&live, &cast.operator, 1).await["data"]["publishSource"]["inForce"], true);
    let whole = json!({"kind": "kind", "name": "v1", "city": "v1", "nick": "nick"});
    assert_eq!(told(&live.ask(question).await), (whole, Vec::new()));
    withdraw(&live, &cast.operator).await;
    assert_eq!(told(&live.ask(question).await).1[0], "SOURCE_WITHDRAWN");
    let remove = "mutation { removeSource(source: \"people\", note: \"another system takes it over\") { inForce } }";
    let removed = admin(&live, &cast.operator, remove, json!({})).await;
    assert_eq!(removed["data"]["removeSource"]["inForce"], true, "{removed}");
    assert_eq!(told(&live.ask(question).await), nobody);
}

#[tokio::test]
async fn a_binding_with_faults_is_not_kept_and_a_department_reaches_nothing_but_its_own() {
    let world = World::new("faults").await;
    let (live, cast) = (
        world.start("one", &[("PEOPLE_TOKEN", "t"), ("PEOPLEX_TOKEN", "t"), ("PEOPLE_X_TOKEN", "t")]).await,
        world.cast(),
    );
    world.place.write("schema/people.graphql", &schema("name: String city: String"));
    let good = version("v1");
    let sql = |url: &str| good.replace("base_url: ${PEOPLE_URL}", &format!("protocol: sql\nbase_url: \"{url}\""));
    let cases = [
        (good.replace("fields: {name", "fields: {nmae"), "nmae"),
        (good.replace("${PEOPLE_URL}", "${AUDIT_KEY}"), "not a variable of the source"),
        (good.replace("${PEOPLE_URL}", "http://x.invalid/${PEOPLEX_TOKEN}"), "not a variable of the source"),
        // That of `people-x`, whether there is such a source or not.
        (good.replace("${PEOPLE_URL}", "http://x.invalid/${PEOPLE_X_TOKEN}"), "not a variable of the source"),
        // Hidden from whoever only looks at the text.
        (good.replace("base_url: ${PEOPLE_URL}", "base_url: \"http://h/\\x24{AUDIT_KEY}\""), "AUDIT_KEY"),
        (sql("sqlite:one.sqlite"), "does not write a database's address"),
        (sql("postgres:///registry?host=/var/run/postgresql"), "does not write a database's address"),
        (sql("${PEOPLE_URL}?sslcert=/etc/passwd&sslkey=/etc/passwd"), "does not write a database's address"),
        (good.replace("title: People", "title: People\nprotocol: audit"), "own records"),
        (
            good.replace("title: People", "title: People\ntls: {ca: ../../config/gateway.yaml}"),
            "not a file of this source",
        ),
        (
            good.replace("title: People", "title: People\ntls: {ca: /etc/ssl/certs/ca-certificates.crt}"),
            "not a file of this source",
        ),
        (
            good.replace("title: People", "title: People\nsign: {scheme: bearer, token: \"${file:other.token}\"}"),
            "other.token",
        ),
        (good.replace("name: /told", "kind: /told"), "bound twice"),
        ("source: people\nnonsense: 1\n".to_owned(), "nonsense"),
        ("{".to_owned(), ""),
    ];
    for (text, expected) in cases {
        let answer = submit(&live, &cast.steward, &text).await;
        let submission = &answer["data"]["submitSource"];
        assert_eq!(submission["version"], Value::Null, "{text}\n{answer}");
        let rendered = submission["rendered"].as_str().unwrap_or_else(|| panic!("{text}\n{answer}"));
        assert!(rendered.contains(expected) && !rendered.is_empty(), "{expected}: {rendered}");
        assert!(!submission["faults"].as_array().unwrap().is_empty(), "{answer}");
        assert!(!rendered.contains("0123456789abcdef0123"), "a secret is shown: {rendered}");
    }
    let place = submit(&live, &cast.steward, &good.replace("fields: {name", "fields: {nmae")).await;
    let faults = place["data"]["submitSource"]["faults"].as_array().expect("a list").iter();
    let of_field = faults.filter(|fault| fault["line"] == 5 && fault["column"].as_u64() > Some(1));
    assert!(of_field.clone().any(|fault| fault["hint"].as_str().is_some_and(|hint| hint.contains("name"))), "{place}");
    let versions = "{ sourceVersions(source: \"people\") { number } registeredSources { id } }";
    let versions = admin(&live, &cast.steward, versions, json!({})).await;
    assert_eq!(versions["data"], json!({"sourceVersions": [], "registeredSources": []}), "{versions}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_withdrawn_and_taken_back_a_hundred_times_under_load_no_answer_fails_or_is_of_two_versions() {
    let world = World::new("load").await;
    let (live, cast) = (Arc::new(world.start("one", &[]).await), world.cast());
    world.place.write("schema/people.graphql", &schema("name: String city: String"));
    for name in ["v1", "v2"] {
        in_service(&live, &cast, &version(name)).await;
    }
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let (live, done, answered) = (Arc::clone(&live), Arc::clone(&done), Arc::clone(&answered));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let answer = live.ask("{ person(id: \"1\") { kind name city } }").await;
                    let person = &answer["data"]["person"];
                    // What is not withdrawn is there whatever becomes of the other.
                    assert_eq!(person["kind"], "kind", "{answer}");
                    assert_eq!(person["name"], person["city"], "an answer of two versions: {answer}");
                    let withdrawn = person["name"].is_null();
                    let errors = answer["errors"].as_array().map_or(0, Vec::len);
                    assert_eq!(errors, usize::from(withdrawn), "{answer}");
                    assert!(!withdrawn || code(&answer) == "SOURCE_WITHDRAWN", "{answer}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..100_i64 {
        let done = match round % 3 {
            0 => withdraw(&live, &cast.operator).await["data"]["withdrawSource"].clone(),
            // Taken back to the first, and forward again.
            step => publish(&live, &cast.operator, step).await["data"]["publishSource"].clone(),
        };
        assert_eq!(done["inForce"], true, "round {round}: {done}");
        let name = live.ask("{ person(id: \"1\") { name } }").await["data"]["person"]["name"].clone();
        let expected = [Value::Null, json!("v1"), json!("v2")][usize::try_from(round % 3).unwrap()].clone();
        assert_eq!(name, expected, "round {round}");
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no request fails");
    }
    assert!(answered.load(Ordering::Relaxed) > 500, "there was load");
}

#[tokio::test]
async fn withdrawing_tells_beforehand_which_operations_would_get_less() {
    let world = World::new("breaks").await;
    let (live, cast) = (world.start("one", &[]).await, world.cast());
    world.place.write("schema/people.graphql", &schema("name: String city: String"));
    in_service(&live, &cast, &version("v1")).await;
    live.ask(
        "query Card($id: ID = \"1\", $more: Boolean = false) { person(id: $id) { kind city @include(if: $more) } }",
    )
    .await;
    live.ask("query Kinds { person(id: \"1\") { kind } }").await;
    let review = "{ sourceReview(source: \"people\") { lost breaks { operation documentId fields } } }";
    // What was asked before another version came into force counts as well, each operation once.
    for name in ["v2", "v3"] {
        let told = admin(&live, &cast.operator, review, json!({})).await;
        let told = &told["data"]["sourceReview"];
        assert_eq!(told["lost"], json!(["Person.city", "Person.name"]), "{told}");
        assert_eq!(
            told["breaks"],
            json!([{"operation": "Card", "documentId": null, "fields": ["Person.city"]}]),
            "before {name}: {told}"
        );
        in_service(&live, &cast, &version(name)).await;
    }
}

/// One command, as whoever has the token; exit code, output, and what it says beside it.
fn command(live: &Live, token: &str, arguments: &[&str]) -> (i32, String, String) {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_huxiang"))
        .arg("source")
        .args(arguments)
        .env("HUXIANG_TOKEN", token)
        .env("HUXIANG_GATEWAY", &live.url)
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code().expect("an exit code"), text(&done.stdout), text(&done.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_way_goes_by_commands_too() {
    let world = World::new("commands").await;
    let (live, cast) = (world.start("one", &[]).await, world.cast());
    world.place.write("schema/people.graphql", &schema("name: String city: String"));
    let file = world.place.root.join("people.yaml");
    let path = file.to_str().expect("a path").to_owned();
    let note = ["--note", "as the new system has it"];
    let run = |token: &str, arguments: &[&str]| command(&live, token, &[arguments, &note].concat());

    std::fs::write(&file, version("v1").replace("fields: {name", "fields: {nmae")).expect("a file");
    let (exit, _, said) = run(&cast.steward, &["submit", &path]);
    assert_eq!(exit, 1, "{said}");
    assert!(said.contains("people/people.yaml:5:") && said.contains("did you mean `name`"), "{said}");
    std::fs::write(&file, version("v1")).expect("a file");
    let (exit, told, said) = run(&cast.steward, &["submit", &path]);
    assert_eq!((exit, told.contains("people 1 is submitted")), (0, true), "{told}{said}");
    let (exit, told, _) = command(&live, &cast.head, &["review", "people", "1"]);
    assert!(exit == 0 && told.contains("+title: People") && told.contains("  Person.city\n"), "{told}");
    let (exit, _, said) = run(&cast.steward, &["approve", "people", "1"]);
    assert_eq!((exit, said.contains("not permitted")), (1, true), "{said}");
    let (exit, told, said) = run(&cast.head, &["approve", "people", "1"]);
    assert_eq!((exit, told.contains("people 1 is approved")), (0, true), "{told}{said}");
    let (exit, told, said) = run(&cast.operator, &["publish", "people", "1"]);
    assert_eq!((exit, told.contains("revision 1, in force")), (0, true), "{told}{said}");
    assert_eq!(live.version().await, "v1");
    let (exit, told, said) = run(&cast.head, &["withdraw", "people"]);
    assert_eq!((exit, told.contains("people is withdrawn")), (0, true), "{told}{said}");
    let (_, told, _) = command(&live, &cast.steward, &["versions", "people"]);
    assert!(told.contains("approved") && told.contains("withdrawn") && told.contains("wang"), "{told}");
    let (_, told, _) = command(&live, &cast.operator, &["versions", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert_eq!(told["registeredSources"][0]["publication"]["state"], "WITHDRAWN", "{told}");
    let (exit, _, said) = run(&cast.head, &["approve", "people", "99"]);
    assert_eq!(exit, 1, "{said}");
    assert!(said.contains("no version 99; see `huxiang source versions SOURCE`"), "{said}");
    let (exit, _, said) = command(&live, " ", &["versions"]);
    assert!(exit == 2 && said.contains("HUXIANG_TOKEN is set, and empty\n  = hint: look at what fills it"), "{said}");
    let empty = world.place.root.join("token");
    std::fs::write(&empty, "\n").expect("a file");
    let (exit, _, said) = command(&live, "other", &["versions", "--token-file", empty.to_str().expect("a path")]);
    assert!(exit == 2 && said.contains("token holds no token"), "{said}");
    let (exit, _, said) = command(&live, "no token", &["versions"]);
    assert!(exit != 0 && said.starts_with("error: "), "{said}");
}

#[tokio::test]
async fn a_steward_cannot_fill_the_registry() {
    let world = World::new("many").await;
    let (live, cast) = (world.start("one", &[]).await, world.cast());
    world.place.write("schema/people.graphql", &schema("name: String city: String"));
    for _ in 0..20 {
        let kept = submit(&live, &cast.steward, &version("v1")).await;
        assert!(kept["data"]["submitSource"]["version"].is_object(), "{kept}");
    }
    let refused = submit(&live, &cast.steward, &version("v1")).await;
    assert!(
        refused["errors"][0]["message"].as_str().is_some_and(|told| told.contains("wait for a decision")),
        "{refused}"
    );
    decide(&live, &cast.head, 3, false).await;
    assert!(submit(&live, &cast.steward, &version("v1")).await["data"]["submitSource"]["version"].is_object());
}

#[tokio::test]
async fn a_version_whose_fields_another_file_took_meanwhile_is_not_published() {
    let world = World::new("stale").await;
    let (live, cast) = (world.start("one", &[]).await, world.cast());
    world.place.write("schema/people.graphql", &schema("name: String city: String"));
    submit(&live, &cast.steward, &version("v1")).await;
    decide(&live, &cast.head, 1, true).await;
    world.place.write("resolvers/also.yaml", &version("file").replace("source: people", "source: also"));
    live.until("the file", || async {
        live.ask("{ person(id: \"1\") { name } }").await["data"]["person"]["name"] == "file"
    })
    .await;
    let published = publish(&live, &cast.operator, 1).await;
    assert!(published["errors"][0]["message"].as_str().is_some_and(|told| told.contains("bound twice")), "{published}");
    assert_eq!(live.version().await, "file");
    let state = "{ configuration { version { revision } refused { faults } } }";
    let state = admin(&live, &cast.operator, state, json!({})).await;
    assert_eq!(state["data"]["configuration"], json!({"version": {"revision": 0}, "refused": null}));
}

/// Two gateways with one registry: what one publishes, both serve; and a gateway that starts later too.
async fn replicas(name: &str, store: Option<&str>) {
    let world = World::new(name).await;
    world.place.write("schema/people.graphql", &schema(""));
    let further: Vec<(&str, &str)> = store.iter().map(|store| ("REGISTRY", *store)).collect();
    let (one, two) = (world.start("one", &further).await, world.start("two", &further).await);
    let cast = world.cast();
    world.place.write("schema/people.graphql", &schema("name: String city: String"));
    in_service(&one, &cast, &version("v1")).await;
    // Before it is published there is no such field there.
    let version_of = async |live: &Live| {
        let answer = live.ask("{ person(id: \"1\") { name city } }").await;
        answer["data"]["person"]["name"].as_str().map(str::to_owned)
    };
    two.until("v1 at the other", || async { version_of(&two).await.as_deref() == Some("v1") }).await;
    in_service(&two, &cast, &version("v2")).await;
    one.until("v2 at the one", || async { version_of(&one).await.as_deref() == Some("v2") }).await;
    withdraw(&one, &cast.head).await;
    two.until("withdrawn at the other", || async { version_of(&two).await.is_none() }).await;
    assert_eq!(publish(&two, &cast.operator, 1).await["data"]["publishSource"]["inForce"], true);
    let three = world.start("three", &further).await;
    assert_eq!(three.version().await, "v1", "a gateway that starts later serves what is published");
}

#[tokio::test]
async fn where_files_are_not_watched_the_registry_is_followed_all_the_same() {
    let world = World::new("unwatched").await;
    let unwatched = REGISTRY.replace("every_ms: 200", "every_ms: 0");
    world.place.write("config/gateway.yaml", &format!("{CONFIG}{unwatched}"));
    world.place.write("schema/people.graphql", &schema("name: String city: String"));
    world.place.write("resolvers/people.yaml", &version("v0"));
    let (one, two, cast) = (world.start("one", &[]).await, world.start("two", &[]).await, world.cast());
    assert_eq!((one.version().await, two.version().await), ("v0".to_owned(), "v0".to_owned()));
    // From a file into the registry.
    std::fs::remove_file(world.place.root.join("resolvers/people.yaml")).expect("it was there");
    in_service(&one, &cast, &version("v1")).await;
    two.until("v1 at the other", || async { two.version().await == "v1" }).await;
}

#[tokio::test]
async fn a_registry_that_cannot_be_read_is_told_of_once_and_again_when_it_can() {
    let world = World::new("unreadable").await;
    let (live, cast) = (world.start("one", &[]).await, world.cast());
    world.place.write("schema/people.graphql", &schema("name: String city: String"));
    let mut store =
        sqlx::SqliteConnection::connect(&format!("sqlite:{}", world.place.root.join("registry.sqlite").display()))
            .await
            .expect("the store");
    store.execute("ALTER TABLE source_publication RENAME TO elsewhere").await.expect("it is moved");
    let told = || live.log().matches("the registry cannot be read").count();
    live.until("it is told", || async { told() > 0 }).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(told(), 1, "once, and not at every look\n{}", live.log());
    store.execute("ALTER TABLE elsewhere RENAME TO source_publication").await.expect("it is back");
    live.until("it is told", || async { live.log().contains("the registry can be read again") }).await;
    in_service(&live, &cast, &version("v1")).await;
    assert_eq!(live.version().await, "v1");
}

#[tokio::test]
async fn gateways_with_one_registry_serve_the_same() {
    replicas("replicas", None).await;
}

#[tokio::test]
async fn gateways_with_one_registry_in_postgresql_serve_the_same() {
    let Ok(url) = std::env::var("HUXIANG_TEST_POSTGRES") else {
        println!("skipped: set HUXIANG_TEST_POSTGRES to the address of an empty database to test against PostgreSQL");
        return;
    };
    // One of its own, so that a second run begins anew.
    let name = format!("huxiang_registry_{}", std::process::id());
    let mut server = sqlx::PgConnection::connect(&url).await.expect("the server");
    let run = |statement: String| sqlx::AssertSqlSafe(statement);
    server.execute(run(format!("CREATE DATABASE {name}"))).await.expect("a database");
    let (base, _) = url.rsplit_once('/').expect("a path");
    replicas("postgres", Some(&format!("{base}/{name}"))).await;
    server.execute(run(format!("DROP DATABASE {name} WITH (FORCE)"))).await.expect("it is gone");
}
