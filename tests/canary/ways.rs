//! The other ways in: through a portal's login, by trusted documents, and by the commands that read what the gateway keeps.
//! Each is seen to have happened.

use departments::Running;
use departments::world::Role;
use serde_json::{Value, json};

use crate::gateway::{Caller, Serving};
use crate::portal::{BACK, Portal};
use crate::support::{self, HOUSEHOLD};

/// What must have happened in each round.
pub const STEPS: [&str; 24] = [
    "metrics",
    "a login through the portal",
    "a code that was used up",
    "a guardian's look at a minor",
    "a minor's access log",
    "a document by its id, posted",
    "a document by its id, in a URL",
    "a text that is no trusted document, refused",
    "audit verify",
    "audit export",
    "audit export of one household",
    "audit prove",
    "access explain",
    "token revoked",
    "an approval, asked for, given and used",
    "a list of emergencies",
    "an auditor's search",
    "a revocation",
    "a department that answers wrongly",
    "a batch",
    "a stream",
    "a stream over a WebSocket",
    "a WebSocket that is closed for what came",
    "GET with the id in the query",
];

/// Of the minor, what only a guardian is told of here.
const MINOR: &str = "query ($id: ID!, $minor: IdNumber!) { household(id: $id) { health { majorIllnesses { name idNumber } \
                     followUps { name idNumber } } } person(idNumber: $minor) { name accessLog(first: 5) { at } } }";

fn of<'c>(callers: &'c [Caller], role: &str) -> &'c Caller {
    callers.iter().find(|caller| caller.role == role).expect("a caller of that role")
}

/// Puts the portrait among the trusted documents, before the gateway starts; its id.
pub fn trust(serving: &Serving) -> String {
    let file = serving.root().join("portrait.graphql");
    std::fs::write(&file, support::document::portrait(&serving.snapshot().contract)).expect("a file");
    let output = serving.command(&["documents", "add", &file.display().to_string()], "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.split_whitespace().next().expect("the document's id").to_owned()
}

/// The head of the household logs in, and looks at the child.
pub async fn through_the_portal(serving: &Serving, departments: &Running, portal: &Portal) {
    let household = departments.world().household(HOUSEHOLD).expect("the household is there");
    let minor = household.members.iter().find(|member| member.role == Role::Child).expect("a child");
    assert!(minor.age() < 18, "the child is a minor");
    let (status, begun) = serving.post_openly("/login/portal/start", &json!({"redirectUri": BACK})).await;
    assert_eq!(status, 200, "{begun}");
    let who = json!({
        "sub": "h-7", "roles": ["household"], "household": HOUSEHOLD, "person": household.head().id_number,
    });
    let code = portal.authorize(begun["authorizeUrl"].as_str().expect("an address"), who);
    let sent =
        json!({"code": code, "codeVerifier": begun["codeVerifier"], "redirectUri": BACK, "nonce": begun["nonce"]});
    let (status, done) = serving.post_openly("/login/portal/token", &sent).await;
    assert_eq!(status, 200, "{done}");
    serving.done("a login through the portal");
    for shown in ["code", "codeVerifier", "nonce"] {
        serving.show(sent[shown].as_str().expect("a text"));
    }
    let (status, again) = serving.post_openly("/login/portal/token", &sent).await;
    assert_eq!(status, 403, "a code is good once: {again}");
    serving.done("a code that was used up");

    let token = done["token"].as_str().expect("a token").to_owned();
    let guardian =
        Caller { role: "guardian", token, forwarded: Some("203.0.113.7"), purpose: None, case: None, reason: None };
    departments.clear_logs();
    let variables = json!({"id": HOUSEHOLD, "minor": minor.id_number});
    let (_, answer) = serving.ask(&guardian, MINOR, &variables).await;
    let asked = departments.log("health");
    let of_minor =
        |call: &departments::Logged| [&call.path, &call.query, &call.body].map(|text| text.contains(&minor.id_number));
    assert!(asked.iter().any(|call| of_minor(call).contains(&true)), "{answer}");
    serving.done("a guardian's look at a minor");
    assert!(answer["data"]["person"]["accessLog"].is_array(), "{answer}");
    serving.done("a minor's access log");
}

/// The same document by its id, both ways; and other texts, which are refused to a role that takes trusted ones only.
pub async fn by_trusted_documents(serving: &Serving, id: &str, departments: &Running) {
    let callers = serving.callers(departments);
    let counter = of(&callers, "counter");
    let variables = json!({"id": HOUSEHOLD});
    let phone = |answer: &Value| answer["data"]["household"]["registry"]["phone"].is_string();
    let posted = serving.post_body(counter, json!({"documentId": id, "variables": variables})).await;
    assert!(phone(&posted), "{posted:.300}");
    serving.done("a document by its id, posted");
    let got = serving.get_document(counter, id, &variables).await;
    assert!(phone(&got), "{got:.300}");
    serving.done("a document by its id, in a URL");
    let other = "query ($id: ID!) { household(id: $id) { registry { phone } } }";
    let (_, answer) = serving.ask(counter, other, &variables).await;
    assert!(!phone(&answer) && answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", "{answer:.300}");
    let unknown = serving.post_body(counter, json!({"documentId": "0".repeat(64), "variables": variables})).await;
    assert!(unknown.get("data").is_none() && unknown["errors"].is_array(), "{unknown:.300}");
    serving.done("a text that is no trusted document, refused");
}

/// Commands that read the stores, or departments, beside the running gateway.
pub async fn commands(serving: &Serving, departments: &Running) {
    let callers = serving.callers(departments);
    let run = |step: &'static str, caller: &Caller, arguments: &[&str]| {
        let output = serving.command(arguments, &caller.token);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text:.500}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!text.is_empty(), "{arguments:?} prints something");
        serving.done(step);
        text
    };
    let auditor = of(&callers, "auditor");
    run("audit verify", auditor, &["audit", "verify"]);
    let always = ["audit", "export", "--from", "2020-01-01", "--to", "2120-01-01"];
    for format in ["jsonl", "csv"] {
        let all = run("audit export", auditor, &[&always[..], &["--format", format]].concat());
        assert!(all.lines().count() > 100, "{all:.300}");
    }
    // The newest of the household is the one just made.
    let query = "query ($id: ID!) { household(id: $id) { registry { headName phone } } }";
    let answer = serving.raw(of(&callers, "supervisor"), query, &json!({"id": HOUSEHOLD})).await;
    let subject = format!("Household:{HOUSEHOLD}");
    let of_one = run("audit export of one household", auditor, &[&always[..], &["--subject", &subject]].concat());
    let newest: Value = serde_json::from_str(of_one.lines().next().expect("a record")).expect("a record is JSON");
    // What the auditor was handed is not the gateway's to keep.
    let handed = std::env::temp_dir().join(format!("huxiang-canary-{}-answer", std::process::id()));
    std::fs::write(&handed, answer).expect("a file");
    let record = newest["seq"].to_string();
    let prove = ["audit", "prove", "--record", &record, "--answer", &handed.display().to_string()];
    run("audit prove", auditor, &prove);
    std::fs::remove_file(&handed).expect("it is there");
    let child = serving.members(departments).pop().expect("a member");
    for (role, purpose) in [("supervisor", "supervision"), ("cadre", "help")] {
        let caller = of(&callers, role);
        let case = caller.case.map_or(&[][..], |_| &["--case", "JD-2026-0001"]);
        let explain = ["access", "explain", "--purpose", purpose];
        let household = run("access explain", caller, &[&explain[..], case, &["--household", HOUSEHOLD]].concat());
        assert!(household.contains('●'), "{household:.500}");
        run("access explain", caller, &[&explain[..], case, &["--person", &child, "--field", "Person.name"]].concat());
    }
    run("token revoked", of(&callers, "security-officer"), &["token", "revoked"]);
}
