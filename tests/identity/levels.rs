//! Gateways over gateways: each asks the one below in the caller's name, and that one's own rules and records hold.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use huxiang::answer::Gateway;
use huxiang::base::fault::Faults;
use huxiang::identify::Verifier;
use huxiang::model::snapshot::{Folders, Snapshot};
use huxiang::serve;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};
use tokio::net::TcpListener;

use crate::identity_support::Folder;
use crate::identity_support::issuer::{Key, now};

const SCHEMA: &str = r#"
directive @key(fields: String!) on OBJECT
directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT
directive @item(no: ID!, zh: String!) on FIELD_DEFINITION
directive @itemStates on FIELD_DEFINITION
type Query { person(id: ID!): Person }
type Person @key(fields: "id") @class(name: "open", level: 1) {
  id: ID!
  name: String
  nickname: String
  address: Place!
  phone: String @item(no: "1", zh: "电话") @class(name: "contact", level: 2)
  born: Date @item(no: "2", zh: "生日")
  worth: Decimal @item(no: "3", zh: "财产")
  senior: Boolean @item(no: "4", zh: "年长")
  tariff: String @item(no: "5", zh: "资费")
  items(no: [ID!]): [ItemInfo!]! @itemStates
  pay: Decimal @class(name: "pay", level: 3)
  posts: [Post!]
}
type Place { city: String, street: String @class(name: "contact", level: 2) }
type Post { title: String, grade: String @class(name: "pay", level: 3) }
type ItemInfo { no: ID!, state: String! }
scalar Decimal
scalar Date
"#;
const FIELDS: &str = "{ id name nickname address { city street } phone pay posts { title grade } }";
const COUNTY: &str = "    fields: {name: /name, nickname: /nick, address.city: /city, address.street: /street, phone: /phone, pay: /pay,\n      \
    born: /born, worth: /worth, senior: /senior, tariff: /tariff, posts: {list: /posts, fields: {title: /title, grade: /grade}}}\n";
const ABOVE: &str = "    fields: {name: /name, nickname: /nickname, address.city: /address/city, address.street: /address/street, phone: /phone,\n      \
    pay: /pay, born: /born, worth: /worth, posts: {list: /posts, fields: {title: /title, grade: /grade}}}\n";

/// The keys of the three gateways and of whoever gives the province's people their tokens.
static KEYS: LazyLock<[Key; 3]> = LazyLock::new(|| ["people", "province", "city"].map(|id| Key::new(Some(id))));

struct Level {
    address: SocketAddr,
    folder: Folder,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Level {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A gateway with these files. `issuer` is the one whose tokens it takes.
async fn level(name: &str, issuer: &str, key: &Key, roles: &str, (binding, system): (&str, &str)) -> Level {
    let folder = Folder::new();
    folder.put("schema/contract.graphql", SCHEMA);
    folder.put("config/rules/relations.yaml", "relations:\n  any: {on: Person, when: \"true\"}\n");
    folder.put("config/roles.yaml", roles);
    folder.put("resolvers/below.yaml", binding);
    if name != "county" {
        let senior = "declassifies: Only whether.\n    value: \"person.born < date('1970-01-01')\"";
        folder.put("config/rules/senior.yaml", &format!("derived:\n  senior:\n    on: Person\n    {senior}\n"));
        // What the telephone company knows: it is asked by the number.
        folder.put("resolvers/calls.yaml", &format!(
            "source: calls\ntitle: Calls\nbase_url: {system}\nendpoints:\n  tariff:\n    entity: Person\n    key: phone\n    \
             one: {{get: \"/tariff/{{key}}\"}}\n    fields: {{tariff: /tariff}}\n"
        ));
    }
    std::fs::create_dir_all(folder.0.join("config/codes")).unwrap();
    let config = format!(
        "listen: 127.0.0.1:0\nnetworks: {{office: [127.0.0.0/8]}}\naudit: {{store: audit.sqlite, key: {}}}\n\
         principal: {{claims: {{purposes: [string], divisions: [string]}}}}\n\
         purposes: {{inspection: {{zh: 督查, en: Inspection}}, help: {{zh: 帮扶, en: Help}}}}\n\
         issuers:\n  - {{issuer: {issuer}, audience: {name}, algorithms: [EdDSA], token_minutes_max: 20, keys: [\"${{PUBLIC}}\"]}}\n",
        "k".repeat(32),
    );
    folder.put("config/gateway.yaml", &config);
    let mut faults = Faults::default();
    let variables = |name: &str| match name {
        "PUBLIC" => Some(key.public_pem()),
        "PROVINCE_KEY" => Some(KEYS[1].private_pem()),
        "CITY_KEY" => Some(KEYS[2].private_pem()),
        _ => None,
    };
    let snapshot = Snapshot::load(&Folders::under(&folder.0), &variables, &mut faults);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{name}: {}", faults.render()));
    let config = snapshot.config.clone();
    let verifier = Arc::new(Verifier::open(&config).await.unwrap());
    let gateway = Gateway::start(snapshot).await.unwrap();
    let app = serve::app(&config, verifier, Arc::new(gateway)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { serve::run(listener, app, None, &config, std::future::pending()).await });
    Level { address, folder, task }
}

fn role(name: &str, grants: &str) -> String {
    format!("  {name}:\n    title: {name}\n    networks: [office]\n    grants:\n{grants}")
}

fn all(name: &str) -> String {
    role(name, "      - {relation: any, classes: [open, contact, pay]}\n")
}

fn above(below: SocketAddr, own: &str, actor: &str, audience: &str, roles: &str) -> String {
    format!(
        "source: below\ntitle: The gateway below\nprotocol: graphql\nbase_url: http://{}/graphql\nauthority: caller\n\
         sign: {{scheme: delegation, key: \"${{{own}_KEY}}\", key_id: {}, issuer: https://{}.example, audience: {audience}, \
         actor: {actor}, roles: {roles}, claims: [divisions]}}\n\
         errors: {{refused: {{at: /extensions/code, is: FORBIDDEN}}, paths: /extensions/paths}}\nmasked: /extensions/masked\n\
         endpoints:\n  person:\n    entity: Person\n    establishes: true\n    \
         one: {{field: person, argument: {{name: id, type: \"ID!\"}}}}\n{ABOVE}",
        below,
        own.to_lowercase(),
        own.to_lowercase(),
    )
}

/// County, city and province, and the one system that holds anything.
struct Levels {
    county: Level,
    city: Level,
    province: Level,
    asked: Arc<AtomicUsize>,
    /// How often the telephone company was asked, by whichever gateway.
    tariffs: Arc<AtomicUsize>,
    system: tokio::task::JoinHandle<()>,
}

impl Drop for Levels {
    fn drop(&mut self) {
        self.system.abort();
    }
}

impl Levels {
    async fn start() -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let person = get(async move || {
            count.fetch_add(1, Ordering::SeqCst);
            Json(
                json!({ "name": "Zhang Xiaoming", "nick": null, "city": "Lishui", "street": "Zhongshan Street 5", "phone": "13812345678",
                "pay": "5120.50", "born": "1969-07-26", "worth": "7300.00", "senior": true, "tariff": "flat", "posts": [{ "title": "first", "grade": "A" }] }),
            )
        });
        let tariffs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&tariffs);
        let tariff = get(async move || {
            count.fetch_add(1, Ordering::SeqCst);
            Json(json!({ "tariff": "flat" }))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/person/1", person).route("/tariff/{number}", tariff);
        let system = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let [people, province_key, city_key] = &*KEYS;
        let binding = format!(
            "source: register\ntitle: Register\nbase_url: {url}\nendpoints:\n  person:\n    entity: Person\n    establishes: true\n    \
             one: {{get: \"/person/{{key}}\"}}\n{COUNTY}"
        );
        let clerk = role(
            "clerk",
            "      - {relation: any, classes: [open, contact], mask: {phone: phone, born: year, worth: band, posts.title: name}}\n",
        );
        let inspector = role(
            "inspector",
            "      - {relation: any, classes: [open, contact, pay], purposes: [inspection], case: 'J-\\d+'}\n",
        );
        let county =
            level("county", "https://city.example", city_key, &format!("roles:\n{clerk}{inspector}"), (&binding, &url))
                .await;
        let city_roles = format!("roles:\n{}{}{}", all("officer"), all("city-inspector"), all("typist"));
        let binding =
            above(county.address, "CITY", "gateway city", "county", "{officer: clerk, city-inspector: inspector}");
        let city = level("city", "https://province.example", province_key, &city_roles, (&binding, &url)).await;
        let roles = format!("roles:\n{}{}{}{}", all("viewer"), all("auditor"), all("guest"), all("writer"));
        let map = "{viewer: officer, auditor: city-inspector, writer: typist}";
        let binding = above(city.address, "PROVINCE", "gateway province", "city", map);
        let province = level("province", "https://people.example", people, &roles, (&binding, &url)).await;
        Self { county, city, province, asked, tariffs, system }
    }

    fn token(role: &str) -> String {
        KEYS[0].sign(&claims("people", "province", role, json!({})))
    }

    /// How often the county's system was asked since the last time.
    fn taken(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

fn claims(issuer: &str, audience: &str, role: &str, more: Value) -> Value {
    let mut claims = json!({ "iss": format!("https://{issuer}.example"), "aud": audience, "sub": "li-4711", "iat": now(),
        "exp": now() + 60, "roles": [role], "divisions": ["3311"] });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

async fn ask(level: &Level, token: &str, extensions: Value) -> (u16, Value) {
    ask_for(level, token, FIELDS, extensions).await
}

async fn ask_for(level: &Level, token: &str, fields: &str, extensions: Value) -> (u16, Value) {
    let body = json!({ "query": format!("{{ person(id: \"1\") {fields} }}"), "extensions": extensions });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("http://{}/graphql", level.address)).bearer_auth(token);
    let request = request.header("content-type", "application/json").body(body.to_string());
    let answer = request.header("accept", "application/graphql-response+json").send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

fn inspection() -> Value {
    json!({ "purpose": "inspection", "case": "J-7" })
}

async fn records(level: &Level) -> Vec<Value> {
    let options = SqliteConnectOptions::new().filename(level.folder.0.join("audit.sqlite")).read_only(true);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query("SELECT record FROM audit ORDER BY seq").fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let records = rows.iter().map(|row| serde_json::from_str::<Value>(row.get::<&str, _>("record")).unwrap());
    records.filter(|record| record["kind"] == "REQUEST").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_three_gateways_deep_is_answered_and_each_record_names_the_person_and_the_gateways_between() {
    let levels = Levels::start().await;
    let (status, answer) = ask(&levels.province, &Levels::token("auditor"), inspection()).await;
    assert_eq!((status, answer.get("errors")), (200, None), "{answer}");
    let person = &answer["data"]["person"];
    assert_eq!((&person["pay"], &person["address"]["street"]), (&json!("5120.50"), &json!("Zhongshan Street 5")));
    assert_eq!(person["posts"], json!([{ "title": "first", "grade": "A" }]));
    assert_eq!(levels.taken(), 1);
    let seen = async |level: &Level| {
        let record = records(level).await.pop().unwrap();
        json!([record["who"]["id"], record["who"]["via"], record["roles"], record["purpose"], record["case"]])
    };
    let county = json!(["li-4711", ["gateway city", "gateway province"], ["inspector"], "inspection", "J-7"]);
    assert_eq!(seen(&levels.county).await, county);
    let record = seen(&levels.city).await;
    assert_eq!(
        (&record[0], &record[1], &record[2]),
        (&json!("li-4711"), &json!(["gateway province"]), &json!(["city-inspector"]))
    );
    let record = seen(&levels.province).await;
    assert_eq!((&record[0], &record[1]), (&json!("li-4711"), &Value::Null), "nobody acts for a caller of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_role_below_is_not_asked_for_and_reads_why() {
    let levels = Levels::start().await;
    // Not mapped at the province; and mapped to a role of the city that the city does not map.
    for (role, asked) in [("guest", 0), ("writer", 1)] {
        let (_, answer) = ask(&levels.province, &Levels::token(role), json!({})).await;
        assert!(answer["data"]["person"]["name"].is_null(), "{answer}");
        assert_eq!(levels.taken(), 0);
        assert_eq!(records(&levels.city).await.len(), asked, "{role}");
        assert!(records(&levels.county).await.is_empty(), "{role}");
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "FORBIDDEN", "{answer}");
        if role == "guest" {
            assert_eq!(error["extensions"]["state"], "REFUSED", "{answer}");
            assert!(error["message"].as_str().unwrap().contains("none of your roles"), "{answer}");
            assert_eq!(records(&levels.province).await[0]["sources"], json!([]), "no call was made");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_forged_too_old_or_for_another_gateway_is_refused_below() {
    let levels = Levels::start().await;
    let [people, province, city] = &*KEYS;
    let good = || {
        claims("city", "county", "inspector", json!({ "act": { "sub": "gateway city" }, "purposes": ["inspection"] }))
    };
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        claims
    };
    assert_eq!(ask(&levels.county, &city.sign(&good()), inspection()).await.0, 200);
    assert_eq!(levels.taken(), 1);
    for (why, token) in [
        ("forged", people.sign(&good())),
        ("expired", city.sign(&with("exp", json!(now() - 60)))),
        ("shown at another gateway", city.sign(&with("aud", json!("city")))),
        ("of the gateway two levels above", province.sign(&with("iss", json!("https://province.example")))),
        ("nobody acts", city.sign(&with("act", json!({})))),
        (
            "too many act",
            city.sign(&with("act", (0..9).fold(json!({ "sub": "g" }), |act, _| json!({ "sub": "g", "act": act })))),
        ),
    ] {
        let (status, answer) = ask(&levels.county, &token, inspection()).await;
        assert_eq!(status, 401, "{why}: {answer}");
    }
    let (_, answer) = ask(&levels.county, &city.sign(&good()), json!({ "purpose": "help", "case": "J-7" })).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "only the purpose it was made for: {answer}");
    assert_eq!(levels.taken(), 0);
    // The people's own tokens are good at the province alone.
    assert_eq!(ask(&levels.county, &Levels::token("auditor"), inspection()).await.0, 401);
}

fn why(answer: &Value, code: &str) -> BTreeSet<String> {
    let errors = answer["errors"].as_array().into_iter().flatten();
    let of_code = errors.filter(|error| error["extensions"]["code"] == code);
    let paths = of_code.flat_map(|error| error["extensions"]["paths"].as_array().unwrap());
    paths
        .map(|path| {
            path.as_array()
                .unwrap()
                .iter()
                .skip(1)
                .map(|part| part.to_string().replace('"', ""))
                .collect::<Vec<_>>()
                .join(".")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_county_refuses_is_refused_at_every_level_above_and_what_it_masks_stays_masked() {
    let levels = Levels::start().await;
    let (_, answer) = ask(&levels.province, &Levels::token("viewer"), json!({})).await;
    let person = &answer["data"]["person"];
    assert_eq!((&person["name"], &person["phone"]), (&json!("Zhang Xiaoming"), &json!("138****5678")), "{answer}");
    assert_eq!((&person["pay"], &person["posts"]), (&Value::Null, &json!([{ "title": "f***t", "grade": null }])));
    assert_eq!(Vec::from_iter(why(&answer, "FORBIDDEN")), ["pay", "posts.0.grade"], "{answer}");
    let errors = answer["errors"].as_array().unwrap();
    assert!(errors.iter().all(|error| error["extensions"]["state"] == "REFUSED"), "not unavailable: {answer}");
    assert!(person["nickname"].is_null(), "a field that nobody refuses and that holds nothing has no error");
    assert_eq!(levels.taken(), 1);
    // At the level above, the record does not say that it was read.
    let record = records(&levels.province).await.pop().unwrap();
    assert_eq!(record["outcome"], "PARTIAL");
    let unanswered = record["access"][0]["unanswered"].as_array().unwrap();
    assert!(unanswered.contains(&json!("pay")), "{record}");
    let read = record["access"][0]["read"].as_array().unwrap();
    assert!(read.contains(&json!("address.city")) && !read.contains(&json!("pay")), "{record}");
    assert!(!unanswered.contains(&json!("address")), "a section holds nothing of its own: {record}");
    // The same, in full, to whom the county gives it for this purpose and case; without the case, not.
    let (_, answer) = ask(&levels.province, &Levels::token("auditor"), inspection()).await;
    assert_eq!(answer["data"]["person"]["pay"], "5120.50", "{answer}");
    let (_, answer) = ask(&levels.province, &Levels::token("auditor"), json!({ "purpose": "inspection" })).await;
    assert!(answer["data"]["person"].is_null(), "no grant reaches the person: {answer}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
}

/// None of it looks like the value: not the year like a date, and nothing is decided or asked with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_masked_below_is_masked_at_every_level_above_and_is_no_value_to_rules_and_other_sources() {
    let levels = Levels::start().await;
    let fields = "{ phone born worth posts { title } senior tariff items(no: [1, 2, 3, 4, 5]) { no state } }";
    let states = |answer: &Value| -> Vec<String> {
        let items = answer["data"]["person"]["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
        items.iter().map(|item| item["state"].as_str().unwrap().to_owned()).collect()
    };
    let asked = json!({ "masked": true });
    let (_, answer) = ask_for(&levels.province, &Levels::token("viewer"), fields, asked).await;
    let person = &answer["data"]["person"];
    let shown =
        json!([person["phone"], person["born"], person["worth"], person["posts"], person["senior"], person["tariff"]]);
    assert_eq!(shown, json!(["138****5678", "1969", "5000-10000", [{ "title": "f***t" }], null, null]), "{answer}");
    assert_eq!(states(&answer), ["MASKED", "MASKED", "MASKED", "UNDETERMINED", "UNDETERMINED"], "{answer}");
    assert_eq!(levels.tariffs.load(Ordering::SeqCst), 0, "nobody is asked by part of a number");
    let masked = json!([["person", "born"], ["person", "phone"], ["person", "posts", "title"], ["person", "worth"]]);
    assert_eq!(answer["extensions"]["masked"], masked, "{answer}");
    for level in [&levels.city, &levels.province] {
        let record = records(level).await.pop().unwrap();
        let masked = record["access"][0]["masked"].as_array().unwrap();
        assert!(["1", "2", "3", "posts.title"].iter().all(|name| masked.contains(&json!(name))), "{record}");
    }
    // In full, to whom the county gives it so. Who does not ask is not told where.
    let (_, answer) = ask_for(&levels.province, &Levels::token("auditor"), fields, inspection()).await;
    let person = &answer["data"]["person"];
    assert_eq!(
        (&person["born"], &person["senior"], &person["tariff"]),
        (&json!("1969-07-26"), &json!(true), &json!("flat")),
        "{answer}"
    );
    assert_eq!(states(&answer), ["ANSWERED"; 5], "{answer}");
    assert_eq!((levels.tariffs.load(Ordering::SeqCst), answer["extensions"].get("masked")), (1, None), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_system_below_fails_it_is_unavailable_and_not_refused() {
    let levels = Levels::start().await;
    levels.system.abort();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let (_, answer) = ask(&levels.province, &Levels::token("auditor"), inspection()).await;
    assert!(answer["data"]["person"]["pay"].is_null(), "{answer}");
    assert!(why(&answer, "FORBIDDEN").is_empty() && why(&answer, "SOURCE_ERROR").contains("pay"), "{answer}");
    assert!(answer["errors"].as_array().unwrap().iter().all(|error| error["extensions"]["state"] == "UNAVAILABLE"));
}

/// What the gateway below is sent, whatever it is: here only its headers and body are looked at.
#[tokio::test(flavor = "multi_thread")]
async fn each_call_has_a_token_of_its_own_that_lives_a_minute_and_says_no_more_than_the_binding() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let app = Router::new().route(
        "/graphql",
        post(async move |headers: HeaderMap, body: String| {
            keep.lock().unwrap().push((headers, serde_json::from_str::<Value>(&body).unwrap()));
            Json(json!({ "data": { "r": { "name": "Zhang" } }, "extensions": { "masked": [] } }))
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let below = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let roles = format!("roles:\n{}{}{}", all("viewer"), all("auditor"), all("guest"));
    let binding = above(address, "PROVINCE", "gateway province", "city", "{viewer: officer, auditor: city-inspector}");
    let top = level("province", "https://people.example", &KEYS[0], &roles, (&binding, "http://127.0.0.1:9")).await;
    let own = KEYS[0].sign(&claims("people", "province", "auditor", json!({ "roles": ["auditor", "guest"] })));
    for _ in 0..2 {
        assert_eq!(ask(&top, &own, json!({ "purpose": "inspection", "case": "丽-7" })).await.0, 200);
    }
    below.abort();
    let seen = seen.lock().unwrap();
    let read = |at: usize| {
        let (headers, body): &(HeaderMap, Value) = &seen[at];
        let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
        assert!(["x-principal", "x-purpose", "x-case"].iter().all(|name| !headers.contains_key(*name)), "{headers:?}");
        assert_eq!(body["extensions"], json!({ "purpose": "inspection", "case": "丽-7", "masked": true }));
        assert_ne!(token, own);
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&["city"]);
        let key = DecodingKey::from_ed_pem(KEYS[1].public_pem().as_bytes()).unwrap();
        let decoded = decode::<Value>(token, &key, &rules).unwrap();
        assert_eq!(decoded.header.kid.as_deref(), Some("province"));
        decoded.claims
    };
    let (first, second) = (read(0), read(1));
    assert_ne!(first["jti"], second["jti"]);
    let told: BTreeSet<&str> = first.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        Vec::from_iter(told),
        ["act", "aud", "divisions", "exp", "iat", "iss", "jti", "purposes", "roles", "sub"]
    );
    assert_eq!(first["exp"].as_u64().unwrap() - first["iat"].as_u64().unwrap(), 60);
    assert_eq!((&first["sub"], &first["roles"]), (&json!("li-4711"), &json!(["city-inspector"])));
    assert_eq!((&first["purposes"], &first["divisions"]), (&json!(["inspection"]), &json!(["3311"])));
    assert_eq!(
        (&first["act"], &first["iss"]),
        (&json!({ "sub": "gateway province" }), &json!("https://province.example"))
    );
}
