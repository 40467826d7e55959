//! `huxiang source try`, `try --record` and `source test`: a live call through the gateway's own code, what is shown of it,
//! and a recording that holds no value of the department's.

use std::ops::Deref;
use std::path::Path;
use std::process::{Command, Output};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use huxiang::answer::{Gateway, GraphqlRequest};
use huxiang::base::fault::Faults;
use huxiang::identify::{Declared, Identity, Principal};
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::{Value, json};

use crate::project::Project;

const CONTRACT: &str = r#"
directive @key(fields: String!) on OBJECT
directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT
directive @finds(by: String!) on ARGUMENT_DEFINITION
scalar Date
scalar Decimal
type Query { farm(id: ID!): Farm farms(place: String!): [Farm!] }
type Farm @key(fields: "id") @class(name: "open", level: 1) {
  id: ID!
  name: String
  place: String
  since: Date
  area: Decimal
  grade: Grade
  herds: [Herd!]
  phone: String
}
type Herd { kind: String size: Int born: Date }
enum Grade { A B UNRECOGNIZED }
"#;

const BINDING: &str = r#"
source: farms
title: Farms
base_url: ${FARMS_URL}
headers: {X-Api-Key: "${FARMS_KEY}"}
sign:
  scheme: digest
  hash: sm3
  app_key: "${FARMS_APP}"
  secret: "${FARMS_SECRET}"
  text: "{app_key}{secret}{timestamp}"
  send: {query: {sign: "{signature}"}, headers: {X-App: "{app_key}"}}
limits: {timeout_ms: 5000, in_flight_max: 8}
envelope: {ok: {at: /code, is: 0}, data: /data, message: /msg}
endpoints:
  farm:
    entity: Farm
    establishes: true
    many: {post: /farms, body: {ids: "{keys}"}, item_key: /id, batch_max: 3}
    fields:
      name: /name
      place: /place
      since: {at: /since, date: yyyyMMdd}
      area: /area
      grade: {at: /g, codes: grade}
      herds: {list: /herds, fields: {kind: /k, size: /n, born: /born}}
      phone: /fone
queries:
  farms:
    ask: {get: /list, query: {place: "{arg.place}"}, items: ""}
    key_at: /id
"#;

/// Everything here is of somebody, but for codes: none of it may stand in a recording.
const MARKS: [&str; 12] = [
    "331122197501011234",
    "331122198812120007",
    "欧阳若兰",
    "上官婉清",
    "Canary Street",
    "19750101",
    "1988-12-12",
    "13957800001",
    "mark-in-a-header",
    "mark-in-a-cookie",
    "87654.25",
    "nobody-reads-this",
];

fn farms() -> Value {
    json!({"code": 0, "msg": "ok", "data": [
        {"id": "331122197501011234", "name": "欧阳若兰", "place": "Canary Street", "since": "19750101", "area": 87654.25, "g": "1",
         "herds": [{"k": "sheep", "n": 120, "born": "1988-12-12"}, {"k": "goats", "n": "many", "born": null}],
         "phone": "13957800001", "by": {"331122198812120007": {"note": "nobody-reads-this", "same": "欧阳若兰"}}},
        {"id": "331122198812120007", "name": "上官婉清", "place": "Canary Street", "since": "19750101", "area": 87654.25, "g": "7",
         "herds": [], "phone": null}]})
}

async fn answer(State(fail): State<bool>, uri: Uri, headers: HeaderMap, _: Bytes) -> Response {
    let signed = headers.contains_key("x-api-key") && uri.query().is_some_and(|query| query.contains("sign="));
    let (status, kind, body) = match uri.path() {
        _ if fail => {
            (500, "application/json", json!({"code": 9, "msg": "欧阳若兰 331122197501011234"}).to_string().into_bytes())
        }
        _ if !signed && uri.path() != "/xml" => (401, "application/json", b"{}".to_vec()),
        "/farms" => (200, "application/json", farms().to_string().into_bytes()),
        "/echo" => {
            let secret = headers["x-mounted"].to_str().unwrap();
            let escaped: String = secret.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect();
            let plain = json!(format!("{}{secret}", "x".repeat(20)));
            let farm = format!(r#"{{"id":"331122197501011234","name":{plain},"place":"{escaped}","other":{plain}}}"#);
            (200, "application/json", format!(r#"{{"code":0,"data":[{farm}]}}"#).into_bytes())
        }
        "/queries" => (
            200,
            "application/json",
            json!({"code": 0, "state": "QUEUED", "ticket": "13957800001"}).to_string().into_bytes(),
        ),
        "/queries/13957800001" => {
            let rows = json!([{"id": "331122197501011234", "name": "欧阳若兰"}]);
            (200, "application/json", json!({"code": 0, "state": "DONE", "data": rows}).to_string().into_bytes())
        }
        "/list" => (
            200,
            "application/json",
            json!({"code": 0, "data": [{"id": "331122197501011234"}]}).to_string().into_bytes(),
        ),
        "/xml" => {
            let text = "<?xml version=\"1.0\" encoding=\"GBK\"?><r><row no=\"13957800001\"><name>欧阳若兰</name><g>1</g><!-- 上官婉清 -->\
                        <since>19750101</since><other><![CDATA[nobody-reads-this]]></other></row></r>";
            (200, "text/xml", encoding_rs::GBK.encode(text).0.into_owned())
        }
        _ => (404, "application/json", b"{}".to_vec()),
    };
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .header("x-trace", "mark-in-a-header")
        .header("x-echo", headers.get("x-mounted").cloned().unwrap_or_else(|| "none".parse().unwrap()))
        .header("set-cookie", "session=mark-in-a-cookie")
        .body(Body::from(body))
        .unwrap()
}

/// A department on a port of its own, as long as it is held.
struct Department {
    url: String,
    _runtime: tokio::runtime::Runtime,
}

impl Department {
    fn new(fail: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(answer).with_state(fail);
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { url, _runtime: runtime }
    }
}

struct Root(Project);

impl Deref for Root {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.0
    }
}

impl Root {
    fn new(name: &str) -> Self {
        let project = Project::new(&format!("source-try-{name}"), CONTRACT, "open");
        project.write("resolvers/farms.yaml", BINDING);
        Self(project)
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.0.join(path)).unwrap()
    }

    fn try_it(&self, department: &Department, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["source", "try"])
            .arg(self.0.join("resolvers/farms.yaml"))
            .args(more)
            .env("FARMS_URL", &department.url)
            .env("FARMS_KEY", "the-key-of-farms")
            .env("FARMS_APP", "the-app-of-farms")
            .env("FARMS_SECRET", "the-secret-of-farms")
            .output()
            .unwrap()
    }

    fn test(&self, file: &str) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["source", "test"])
            .arg(self.0.join(file))
            .args(["--root", self.0.to_str().unwrap()])
            .output()
            .unwrap();
        (output.status.code().unwrap(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    }

    fn out(&self) -> String {
        self.0.join("out.md").display().to_string()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const KEYS: [&str; 4] = ["--key", "331122197501011234", "--key", "331122198812120007"];

/// Neither where it is sent nor where a department repeats it.
#[test]
fn a_secret_in_a_file_is_blanked_as_one_in_a_variable() {
    let (root, department) = (Root::new("mounted"), Department::new(false));
    root.write("secrets/farms", "the/secret in a file\n");
    let folder = root.0.join("secrets").display().to_string();
    root.edit("config/gateway.yaml", "audit:", &format!("egress: {{secrets: {folder}}}\naudit:"));
    root.edit("resolvers/farms.yaml", "base_url: ${FARMS_URL}", "base_url: \"${FARMS_URL}/${file:farms}\"");
    root.edit("resolvers/farms.yaml", "headers: {", "headers: {X-Mounted: \"${file:farms}\", ");
    let output = root.try_it(&department, &KEYS);
    let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(shown.contains("< x-echo: •••") && shown.contains("/•••/farms?"), "{shown}");
    assert!(!shown.contains("the/secret") && !shown.contains("the%2Fsecret"), "{shown}");
}

/// However the department writes it, and however little of it a line or a column has room for.
#[test]
fn a_secret_that_is_escaped_or_cut_is_blanked() {
    let (root, department) = (Root::new("escaped"), Department::new(false));
    root.write(
        "secrets/farms",
        "meadow\"brook/of<the>\\south&with much more to it, far beyond a column or a half of one",
    );
    let folder = root.0.join("secrets").display().to_string();
    root.edit("config/gateway.yaml", "audit:", &format!("egress: {{secrets: {folder}}}\naudit:"));
    root.edit("resolvers/farms.yaml", "headers: {", "headers: {X-Mounted: \"${file:farms}\", ");
    root.edit("resolvers/farms.yaml", "post: /farms", "post: /echo");
    for more in [&[][..], &["--json"]] {
        let output = root.try_it(&department, &[&KEYS[..2], more].concat());
        let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(shown.contains(&format!("{}•••", "x".repeat(20))), "{shown}");
        for part in ["meadow", "brook", "south", "much", "beyond", "006D", "006d"] {
            assert!(!shown.contains(part), "{part}: {shown}");
        }
    }
}

#[test]
fn a_signature_in_a_form_is_blanked_and_the_form_is_recorded_with_made_up_keys() {
    let (root, department) = (Root::new("form"), Department::new(false));
    root.edit("resolvers/farms.yaml", "body: {ids: \"{keys}\"}", "form: {ids: \"{keys:,}\", kind: a b}");
    root.edit(
        "resolvers/farms.yaml",
        "send: {query: {sign:",
        "send: {body: {token: \"{app_key}{signature}\"}, query: {sign:",
    );
    let shown = text(&root.try_it(&department, &KEYS).stdout);
    for line in [
        "> content-type: application/x-www-form-urlencoded",
        "ids=331122197501011234%2C331122198812120007&kind=a%20b&token=•••",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    let output = root.try_it(&department, &[&KEYS[..], &["--record", &root.out()]].concat());
    let recorded = root.read("out.md");
    assert!(recorded.contains("\nids=") && recorded.contains("&kind=a%20b\n"), "{recorded}{}", text(&output.stderr));
    assert!(MARKS.iter().all(|mark| !recorded.contains(mark)) && !recorded.contains("-of-farms"), "{recorded}");
    let (code, said) = root.test("out.md");
    assert_eq!(code, 0, "{said}");
}

/// What a source holds beside the one that answers can be withheld by itself.
#[test]
fn what_a_second_holder_withholds_is_not_shown_as_seen() {
    let (root, department) = (Root::new("second"), Department::new(false));
    root.edit("resolvers/farms.yaml", "      name: /name\n", "");
    root.edit("resolvers/farms.yaml", "    fields:\n      place", "    also: {name: /name}\n    fields:\n      place");
    root.write(
        "resolvers/names.yaml",
        "source: names\ntitle: Names\nbase_url: ${FARMS_URL}\nendpoints:\n  names:\n    entity: Farm\n    \
         one: {get: \"/names/{key}\"}\n    fields: {name: /name}\n",
    );
    let name = |root: &Root| {
        let output = root.try_it(&department, &[&KEYS[..2], &["--json", "--role", "clerk"]].concat());
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        let fields = told["tried"][0]["records"][0]["fields"].as_array().unwrap().clone();
        fields.into_iter().find(|field| field["path"] == "name").unwrap()["seen"]["given"][0]["given"].clone()
    };
    assert_eq!(name(&root), "full");
    root.edit("resolvers/farms.yaml", "endpoints:", "withhold: [{roles: [clerk], fields: [name]}]\nendpoints:");
    assert_eq!(name(&root), "withheld");
}

/// What a gateway answers a caller with the role, of one farm.
fn answered(root: &Root, department: &Department, networks: &[&str]) -> Value {
    let variable = |name: &str| {
        Some(match name {
            "FARMS_URL" => department.url.clone(),
            _ => "the-secret-of-all-that-are-needed".to_owned(),
        })
    };
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(&root.0), &variable, &mut faults);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
    let principal = Principal {
        id: "somebody".to_owned(),
        issuer: String::new(),
        roles: vec!["clerk".to_owned()],
        actors: Vec::new(),
        claims: serde_json::Map::new(),
    };
    let networks = networks.iter().map(|name| (*name).to_owned()).collect();
    let local = std::net::IpAddr::from([127, 0, 0, 1]);
    let identity = Identity::new(Some(principal), local, networks, Declared::default());
    let query = "{ farm(id: \"331122197501011234\") { name place since area grade herds { kind } phone } }";
    let request = GraphqlRequest { query: Some(query.to_owned()), ..GraphqlRequest::default() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let body = runtime.block_on(async {
        let gateway = Gateway::start(snapshot).await.unwrap();
        gateway.answer(identity, request, "request-1".to_owned(), None).await.body
    });
    serde_json::from_slice::<Value>(&body).unwrap()["data"]["farm"].clone()
}

/// Held against the gateway itself, which is asked in the same role.
#[test]
fn what_a_role_would_see_is_shown_beside_the_fields_and_is_what_the_gateway_answers() {
    let (root, department) = (Root::new("role"), Department::new(false));
    let roles = |grants: &str| {
        format!(
            "roles:\n  clerk:\n    title: Clerk\n    networks: [local]\n    grants:\n{grants}  guest: {{title: Guest, networks: [local], grants: []}}\n"
        )
    };
    let any = "      - {relation: any, classes: [open], except: [phone], mask: {name: name, area: band}}\n";
    let near = "      - {relation: near, fields: [name, phone], purposes: [visit]}\n";
    root.write("config/roles.yaml", &roles(&format!("{any}{near}")));
    root.edit("config/gateway.yaml", "audit:", "purposes: {visit: {zh: 走访, en: A visit}}\naudit:");
    root.write(
        "config/rules/relations.yaml",
        "relations:\n  any: {on: Farm, when: \"true\"}\n  near: {on: Farm, when: \"farm.place == 'nowhere'\"}\n",
    );
    let hand = "withhold:\n  - {roles: [clerk], fields: [since]}\n  - {roles: [clerk], codes: {grade: [\"1\"], herds.kind: [goats]}}\nendpoints:";
    root.edit("resolvers/farms.yaml", "endpoints:", hand);

    let seen = |more: &[&str]| -> Vec<(String, Value)> {
        let output = root.try_it(&department, &[&KEYS[..2], &["--json", "--role", "clerk"], more].concat());
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        let fields = told["tried"][0]["records"][0]["fields"].as_array().unwrap().clone();
        fields.into_iter().map(|field| (field["path"].as_str().unwrap().to_owned(), field)).collect()
    };
    let of = |seen: &[(String, Value)], path: &str| {
        seen.iter().find(|(known, _)| known == path).unwrap_or_else(|| panic!("{path}: {seen:?}")).1.clone()
    };
    let plain = seen(&[]);
    let full = json!({"given": [{"relations": ["any"], "given": "full"}]});
    let held = json!({"given": [{"relations": ["any"], "given": "withheld"}]});
    for path in ["place", "herds[0].kind", "herds[0].size"] {
        assert_eq!(of(&plain, path)["seen"], full, "{path}");
    }
    for path in ["grade", "herds[1].kind", "herds[1].size"] {
        assert_eq!(of(&plain, path)["seen"], held, "{path}");
    }
    assert_eq!(of(&plain, "name")["seen"]["given"][0]["mask"], "name");
    for path in ["since", "phone"] {
        assert!(of(&plain, path)["seen"]["refused"].as_str().is_some_and(|why| !why.is_empty()), "{path}");
    }
    assert!(
        of(&plain, "phone")["seen"]["refused"].as_str().unwrap().contains("visit"),
        "the purpose is what is missing"
    );

    let answer = answered(&root, &department, &["local"]);
    for path in ["name", "place", "since", "area", "grade", "phone"] {
        let field = of(&plain, path);
        let expected = match &field["seen"]["given"][0] {
            Value::Null => Value::Null,
            way if way["given"] == "full" => field["value"].clone(),
            way if way["given"] == "masked" => way["value"].clone(),
            _ => Value::Null,
        };
        assert_eq!(answer[path], expected, "{path}: {field} {answer}");
    }
    assert_eq!(answer["herds"], json!([{"kind": "sheep"}]), "{answer}");
    assert!(answer["name"].as_str().unwrap().contains('*') && answer["place"] == "Canary Street", "{answer}");

    // For a purpose, a relation gives more; it is told by its name, for nobody looks whether it holds.
    let visiting = seen(&["--purpose", "visit"]);
    let ways = of(&visiting, "name")["seen"]["given"].clone();
    assert_eq!(
        (ways.as_array().unwrap().len(), &ways[1]),
        (2, &json!({"relations": ["near"], "given": "full"})),
        "{ways}"
    );
    assert_eq!(of(&visiting, "phone")["seen"], json!({"given": [{"relations": ["near"], "given": "full"}]}));

    let shown = text(&root.try_it(&department, &[&KEYS[..2], &["--role", "clerk"]].concat()).stdout);
    for line in
        ["as clerk", "● in full (any)", "masked name (any)", "— left out: a code that the department withholds (any)"]
    {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    let guest = text(&root.try_it(&department, &[&KEYS[..2], &["--role", "guest"]].concat()).stdout);
    assert!(guest.contains("as guest") && !guest.contains("● ") && !guest.contains("○ "), "{guest}");
    let unknown = root.try_it(&department, &[&KEYS[..2], &["--role", "clrek"]].concat());
    assert!(text(&unknown.stderr).contains("did you mean `clerk`?"), "{}", text(&unknown.stderr));
    // What a role sees is not told of files that are not whole.
    root.edit("config/roles.yaml", "except: [phone]", "except: [phnoe]");
    let faulty = root.try_it(&department, &[&KEYS[..2], &["--role", "clerk"]].concat());
    assert_eq!((faulty.status.code(), faulty.stdout.as_slice()), (Some(2), &[][..]));
    assert!(text(&faulty.stderr).contains("`huxiang check` tells them"), "{}", text(&faulty.stderr));
}

/// How the binding signs, where nobody else does.
fn own_sign() -> &'static str {
    let (from, to) = (BINDING.find("sign:\n").unwrap(), BINDING.find("limits:").unwrap());
    &BINDING[from..to]
}

/// Asks `/list` with further variables.
fn list(root: &Root, department: &Department, variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_huxiang"))
        .args(["source", "try", "--key", "place=here"])
        .arg(root.0.join("resolvers/farms.yaml"))
        .env("FARMS_URL", &department.url)
        .env("FARMS_KEY", "the-key-of-farms")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn what_a_platform_signs_with_is_blanked_and_told_where_it_is_not_set() {
    let (root, department) = (Root::new("platform"), Department::new(false));
    root.write(
        "config/platforms.yaml",
        "platforms:\n  hub: {base_url: \"${HUB_URL}\", sources: [farms], \
         sign: {scheme: api-key, header: X-Mounted, key: \"${HUB_KEY}\"}}\n  \
         another: {base_url: \"${ANOTHER_URL}\", sources: [farms]}\n",
    );
    root.edit("resolvers/farms.yaml", own_sign(), "platform: hub\n");
    root.edit("resolvers/farms.yaml", "base_url: ${FARMS_URL}\n", "");
    root.edit("resolvers/farms.yaml", "limits: {timeout_ms: 5000, in_flight_max: 8}", "limits: {timeout_ms: 5000}");
    root.edit("resolvers/farms.yaml", "query: {place:", "query: {sign: x, place:");
    let said = text(&list(&root, &department, &[]).stderr);
    assert!(said.contains("HUB_URL") && said.contains("HUB_KEY") && !said.contains("ANOTHER_URL"), "{said}");
    let output = list(&root, &department, &[("HUB_URL", &department.url), ("HUB_KEY", "the-key-of-the-hub")]);
    let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(shown.contains("< x-echo: •••") && !shown.contains("the-key-of-the-hub"), "{shown}");
}

#[test]
fn what_an_instance_signs_with_is_blanked_and_told_where_it_is_not_set() {
    let (root, department) = (Root::new("instance"), Department::new(false));
    root.write("resolvers/farms.csv", "id,title,key\nnorth,North,${NORTH_KEY}\nsouth,South,${SOUTH_KEY}\n");
    let head = "instances: {file: farms.csv}\nheaders: {X-Mounted: \"${instance.key}\", X-Api-Key: ";
    root.edit("resolvers/farms.yaml", own_sign(), "");
    root.edit("resolvers/farms.yaml", "headers: {X-Api-Key: ", head);
    let binding = root.read("resolvers/farms.yaml");
    let (endpoints, _) = binding.split_once("queries:").unwrap();
    root.write(
        "resolvers/farms.yaml",
        &endpoints.replace("post: /farms, body: {ids: \"{keys}\"}", "get: /list, query: {sign: x, id: \"{keys}\"}"),
    );
    root.edit("schema/contract.graphql", " farms(place: String!): [Farm!]", "");
    let ask = |variables: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["source", "try", "--key", "1", "--instance", "south"])
            .arg(root.0.join("resolvers/farms.yaml"))
            .env("FARMS_URL", &department.url)
            .env("FARMS_KEY", "the-key-of-farms")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    };
    let said = ask(&[]);
    assert!(said.contains("SOUTH_KEY") && !said.contains("NORTH_KEY"), "{said}");
    let shown = ask(&[("SOUTH_KEY", "the-key-of-the-south")]);
    assert!(shown.contains("< x-echo: •••") && !shown.contains("the-key-of-the-south"), "{shown}");
}

#[test]
fn what_is_encrypted_is_not_recorded() {
    let (root, department) = (Root::new("ciphers"), Department::new(false));
    let ciphers = "ciphers: {own: {algorithm: sm4, mode: cbc, key: \"${FARMS_KEY}\", iv: prefixed}}\nlimits:";
    root.edit("resolvers/farms.yaml", "limits:", ciphers);
    let out = root.out();
    let output = Command::new(env!("CARGO_BIN_EXE_huxiang"))
        .args(["source", "try", "--key", "1", "--record", &out])
        .arg(root.0.join("resolvers/farms.yaml"))
        .envs([("FARMS_URL", department.url.as_str()), ("FARMS_KEY", "00112233445566778899aabbccddeeff")])
        .envs([("FARMS_APP", "the-app-of-farms"), ("FARMS_SECRET", "the-secret-of-farms")])
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("with `ciphers` cannot be recorded"), "{said}");
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_try_shows_the_exchange_beside_the_fields_and_no_secret() {
    let (root, department) = (Root::new("shows"), Department::new(false));
    let output = root.try_it(&department, &KEYS);
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "a value did not fit: {shown}{said}");
    for line in [
        &format!("> POST {}/farms?sign=•••", department.url),
        "> x-api-key: •••",
        "> x-app: •••",
        "< 200, ",
        "< set-cookie: •••",
        "2 records for 2 keys",
        "record of 331122197501011234",
        "name /name \"欧阳若兰\" \"欧阳若兰\"",
        "since /since \"19750101\" \"1975-01-01\"",
        "grade /g \"1\" \"A\"",
        "phone  /fone  did you mean `/phone`?",
        "herds[1].size  \"many\"  ",
        "grade  \"7\"  a code that no table knows",
        "/by  {\"331122198812120007\"",
        "Time: ",
        " ms to the head of the answer, ",
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&shown).contains(&words(line)), "{line}\n{shown}");
    }
    assert!(said.contains("for this terminal alone"), "{said}");
    for secret in ["the-key-of-farms", "the-app-of-farms", "the-secret-of-farms"] {
        assert!(!shown.contains(secret) && !said.contains(secret), "{shown}{said}");
    }
    let output = root.try_it(&department, &[&KEYS[..], &["--json"]].concat());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let one = &told["tried"][0];
    assert_eq!(one["exchanges"][0]["status"], 200);
    assert_eq!(one["records"][1]["fields"][1]["path"], "grade");
    assert_eq!(one["records"][1]["fields"][1]["outcome"], "unrecognized");
    assert_eq!(one["missing"], json!(["phone  /fone  did you mean `/phone`?"]));
    let unexpected: Vec<&str> =
        one["not_expected"].as_array().unwrap().iter().map(|one| one["at"].as_str().unwrap()).collect();
    assert_eq!(unexpected, ["/phone", "/by"]);
    assert!(one["exchanges"][0]["head_ms"].is_u64() && one["total_ms"].is_u64());
    assert!(!text(&output.stdout).contains("-of-farms"));
}

#[test]
fn what_is_wanting_is_told_and_nothing_is_sent() {
    let (root, department) = (Root::new("wanting"), Department::new(false));
    let output = root.try_it(&department, &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("farm: --key id=…") && said.contains("farms: --key place=…"), "{said}");
    let said = text(&root.try_it(&department, &["--key", "1", "--endpoint", "fram"]).stderr);
    assert!(said.contains("no endpoint or query `fram`; did you mean `farm`?"), "{said}");
    let keys = ["--key", "1", "--key", "2", "--key", "3", "--key", "4"];
    assert!(text(&root.try_it(&department, &keys).stderr).contains("takes 3 keys in one call, and 4 were given"));
    let output = root.try_it(&department, &["--key", "place=Canary Street"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(
        text(&output.stdout).contains("== farms (Farm)")
            && text(&output.stdout).contains("/list?place=Canary%20Street")
    );
    root.edit("resolvers/farms.yaml", "name: /name", "nam: /name");
    let output = root.try_it(&department, &KEYS);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean `name`?"));
    let unset = Command::new(env!("CARGO_BIN_EXE_huxiang"))
        .args(["source", "try", "--key", "1"])
        .arg(Root::new("unset").0.join("resolvers/farms.yaml"))
        .output()
        .unwrap();
    assert_eq!(unset.status.code(), Some(2));
}

#[test]
fn a_call_that_fails_is_told_with_its_code() {
    let (root, department) = (Root::new("fails"), Department::new(true));
    let output = root.try_it(&department, &KEYS[..2]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("< 500, ") && shown.contains("The call failed: SOURCE_ERROR: "), "{shown}");
}

#[test]
fn a_recording_holds_no_value_of_the_departments_and_runs_without_it() {
    let root = Root::new("record");
    {
        let department = Department::new(false);
        let output = root.try_it(&department, &[&KEYS[..], &["--record", &root.out()]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    }
    let recorded = root.read("out.md");
    for mark in MARKS.iter().chain(&["the-key-of-farms", "the-app-of-farms", "the-secret-of-farms", "127.0.0.1"]) {
        assert!(!recorded.contains(mark), "{mark} in\n{recorded}");
    }
    // Shapes, codes and what is equal are kept.
    let block =
        |kind: &str| recorded.split(&format!("```{kind}\n")).nth(1).unwrap().split("\n```").next().unwrap().to_owned();
    let asked: Value = serde_json::from_str(&block("json try")).unwrap();
    let response = block("http response");
    let answer: Value = serde_json::from_str(response.split_once("\n\n").unwrap().1).unwrap();
    let first = &answer["data"][0];
    assert_eq!((&answer["code"], &first["g"], answer["data"][1]["g"] == "7"), (&json!(0), &json!("1"), false));
    assert_eq!(first["id"], asked["keys"][0]);
    assert_eq!(first["place"], answer["data"][1]["place"]);
    let by = first["by"].as_object().unwrap();
    assert_eq!(by.keys().next().unwrap(), asked["keys"][1].as_str().unwrap());
    assert_eq!(by.values().next().unwrap()["same"], first["name"]);
    let digits = |value: &Value| value.as_str().unwrap().bytes().all(|b| b.is_ascii_digit());
    assert!(digits(&first["id"]) && first["id"].as_str().unwrap().len() == 18, "{first}");
    assert!(digits(&first["since"]) && first["name"].as_str().unwrap().chars().count() == 4, "{first}");
    let fields: Value = serde_json::from_str(&block("json fields")).unwrap();
    assert_eq!(fields["records"][0]["fields"]["grade"], "A");
    assert!(fields["records"][0]["fields"]["since"].as_str().is_some_and(|since| since.len() == 10), "{fields}");
    // The department is gone; the binding is as it was, then not.
    let (code, said) = root.test("out.md");
    assert_eq!((code, said.as_str()), (0, "ok  farm\n1 exchange, 0 with differences\n"));
    root.edit("resolvers/farms.yaml", "phone: /fone", "phone: /phone");
    let (code, said) = root.test("out.md");
    assert!(code == 1 && said.contains("phone: recorded {\"outcome\":\"missing\""), "{said}");
    root.edit("resolvers/farms.yaml", "{ids: \"{keys}\"}", "{id: \"{keys}\"}");
    assert!(root.test("out.md").1.contains("the request is another"));
    root.write("out.md", "## x\n```json try\n{}\n");
    let (code, said) = root.test("out.md");
    assert!(code == 2 && said.contains("a block is not closed"), "{said}");
}

/// Two recordings of one exchange have no made-up value in common: nobody can look one up in the other.
#[test]
fn a_recording_runs_where_another_source_is_not_there() {
    let (root, department) = (Root::new("alone"), Department::new(false));
    let out = root.out();
    root.try_it(&department, &[&KEYS[..], &["--record", &out]].concat());
    root.edit("schema/contract.graphql", "  phone: String\n", "  phone: String\n  filledByTheRegistry: String\n");
    let (code, said) = root.test("out.md");
    assert_eq!(code, 0, "{said}");
}

#[test]
fn recordings_are_made_up_each_by_a_key_of_its_own() {
    let (root, department) = (Root::new("twice"), Department::new(false));
    let names: Vec<String> = (0..2)
        .map(|_| {
            root.try_it(&department, &[&KEYS[..], &["--record", &root.out()]].concat());
            let text = root.read("out.md");
            text.split("\"id\": \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
        })
        .collect();
    assert_ne!(names[0], names[1]);
}

#[test]
fn xml_in_gbk_is_recorded_as_well() {
    let root = Root::new("xml");
    root.write(
        "resolvers/farms.yaml",
        "source: farms\ntitle: Farms\nbase_url: ${FARMS_URL}\nformat: xml\nencoding: gbk\nlimits: {timeout_ms: 5000, \
         in_flight_max: 8}\nendpoints:\n  farm:\n    entity: Farm\n    one: {get: \"/xml\", query: {no: \"{key}\"}, items: \
         /r/row}\n    fields:\n      name: /name\n      phone: /@no\n      since: {at: /since, date: yyyyMMdd}\n      grade: {at: \
         /g, codes: grade}\n",
    );
    for taken_out in ["farms(place: String!): [Farm!]", "  place: String\n", "  area: Decimal\n", "  herds: [Herd!]\n"]
    {
        root.edit("schema/contract.graphql", taken_out, "");
    }
    let department = Department::new(false);
    let output = root.try_it(&department, &["--key", "13957800001", "--record", &root.out()]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("\"欧阳若兰\""), "{}", text(&output.stdout));
    let recorded = root.read("out.md");
    for mark in MARKS {
        assert!(!recorded.contains(mark), "{mark} in\n{recorded}");
    }
    assert!(recorded.contains("<g>1</g>") && recorded.contains("\"grade\": \"A\""), "{recorded}");
    drop(department);
    let (code, said) = root.test("out.md");
    assert_eq!((code, said.as_str()), (0, "ok  farm\n1 exchange, 0 with differences\n"));
}

#[test]
fn a_ticket_is_handed_in_and_asked_after_in_the_recording_too() {
    let root = Root::new("ticket");
    root.edit("resolvers/farms.yaml", "post: /farms, body: {ids: \"{keys}\"}, item_key: /id, batch_max: 3", "post: /queries, body: {ids: \"{keys}\"}, \
         items: /data, item_key: /id, ticket: {at: /ticket, poll: {get: \"/queries/{ticket}\"}, pending: {at: /state, is: QUEUED}, \
         interval_ms: 100}");
    root.edit("resolvers/farms.yaml", ", data: /data", "");
    root.edit("resolvers/farms.yaml", "items: \"\"}", "items: /data}");
    {
        let output = root.try_it(&Department::new(false), &[&KEYS[..2], &["--record", &root.out()]].concat());
        assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    }
    let recorded = root.read("out.md");
    assert!(recorded.contains("GET /queries/") && recorded.contains("\"QUEUED\""), "{recorded}");
    for mark in MARKS {
        assert!(!recorded.contains(mark), "{mark} in\n{recorded}");
    }
    assert_eq!(root.test("out.md"), (0, "ok  farm\n1 exchange, 0 with differences\n".to_owned()));
}

/// What was tried leaves nothing behind: no file but the one that was asked for.
#[test]
fn a_try_writes_no_file() {
    let (root, department) = (Root::new("files"), Department::new(false));
    let files = |root: &Path| {
        let mut found = Vec::new();
        let mut next = vec![root.to_owned()];
        while let Some(path) = next.pop() {
            for entry in std::fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { next.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    };
    let before = files(&root.0);
    root.try_it(&department, &KEYS);
    assert_eq!(files(&root.0), before);
}
