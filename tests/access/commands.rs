//! `huxiang access diff`: what a change of the files opens is named and fails the command; what it closes is named.
//! `huxiang access explain`: the grant that gives a field, or what is missing; departments are asked for relations alone.

use std::process::{Command, Output};

use departments::{Options, Running};
use huxiang::approval::{Act, Wanted};
use huxiang::audit::SubjectKey;
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::support::{self, HOUSEHOLD, config, records, repository};
use crate::temporary::Temporary;

/// The repository's files with some of `config/` changed; removed at the end.
struct Copied(Temporary);

impl Copied {
    fn new(name: &str, changes: &[(&str, &str, &str)]) -> Self {
        let to = Temporary::new(&format!("access-diff-{name}"));
        for folder in ["schema", "resolvers", "config"] {
            support::lay_over(&repository().join(folder), &to.join(folder));
        }
        for (file, from, with) in changes {
            let text = config(file);
            assert!(text.contains(from), "{file} has no `{from}`");
            std::fs::write(to.join("config").join(file), text.replacen(from, with, 1)).unwrap();
        }
        Self(to)
    }
}

fn diff(old: &Copied, new: &Copied, json: bool) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huxiang"));
    command.args(["access", "diff"]).arg(&old.0).arg(&new.0);
    if json {
        command.arg("--json");
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    (status.code().unwrap(), text)
}

/// Exit code, what opens and what closes: how many groups each.
fn counted(old: &Copied, new: &Copied) -> (i32, Value) {
    let (code, text) = diff(old, new, true);
    (code, serde_json::from_str(&text).unwrap())
}

fn grants(report: &Value, what: &str) -> usize {
    report[what]["grants"].as_array().unwrap().len()
}

#[test]
fn the_same_files_open_and_close_nothing() {
    let same = Copied::new("same", &[]);
    let (code, text) = diff(&same, &same, false);
    assert_eq!((code, text.as_str()), (0, "nothing opens, nothing closes\n"));
}

#[test]
fn a_field_more_opens_and_a_field_less_closes() {
    let base = Copied::new("base", &[]);
    let more = Copied::new(
        "more",
        &[(
            "roles.yaml",
            "fields: [medical.insured, assets.farmland]",
            "fields: [medical.insured, assets.farmland, assets.vehicles]",
        )],
    );
    let (code, text) = diff(&base, &more, false);
    assert_eq!(code, 1);
    assert!(
        text.contains("opens\n") && text.contains("town-officer: jurisdiction; from gov; purposes duty or help"),
        "{text}"
    );
    assert!(text.contains("assets.vehicles") && text.contains("nothing closes"), "{text}");
    let (code, text) = diff(&more, &base, false);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("nothing opens") && text.contains("assets.vehicles"), "{text}");
}

#[test]
fn a_role_or_a_relation_that_scans_over_more_opens() {
    let base = Copied::new("scans", &[]);
    let supervisor = "scans: {statistics: true, candidates_max: 20000, named_max: 5000}";
    let approval = "approval: {by: [supervisor], valid_minutes_max: 240, uses: 1, above: 200}";
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        (
            "more",
            "roles.yaml",
            supervisor,
            "scans: {statistics: true, candidates_max: 20001, named_max: 5000}",
            "role supervisor",
        ),
        ("fewer", "roles.yaml", supervisor, "scans: {candidates_max: 20000, named_max: 5000}", ""),
        ("none", "roles.yaml", supervisor, "introspection: true", ""),
        ("no-approval", "roles.yaml", approval, "", "role verifier"),
        (
            "later",
            "roles.yaml",
            approval,
            "approval: {by: [supervisor], valid_minutes_max: 240, uses: 1, above: 201}",
            "role verifier",
        ),
        (
            "others",
            "roles.yaml",
            approval,
            "approval: {by: [auditor], valid_minutes_max: 240, uses: 1, above: 200}",
            "role verifier",
        ),
        (
            "another-role",
            "roles.yaml",
            "    grants:\n      - relation: paired\n",
            // A role that scans needs a relation that scans go by.
            "    scans: {candidates_max: 10, named_max: 10}\n    grants:\n      - relation: jurisdiction\n",
            "role cadre",
        ),
    ];
    for (name, file, from, with, opened) in cases {
        let changed = Copied::new(&format!("scans-{name}"), &[(*file, *from, *with)]);
        let (code, report) = counted(&base, &changed);
        let told = report["opens"]["scans"].as_array().unwrap();
        assert_eq!(told.iter().any(|told| told == opened), !opened.is_empty(), "{name}: {report}");
        if opened.is_empty() {
            assert_eq!((code, told.len()), (0, 0), "{name}: {report}");
            assert_eq!(report["closes"]["scans"], json!(["role supervisor"]), "{name}");
        } else {
            assert_eq!(code, 1, "{name}");
        }
    }
    let unmarked =
        Copied::new("scans-unmarked", &[("rules/relations.yaml", "when: \"true\", scans: {}}", "when: \"true\"}")]);
    let (code, report) = counted(&base, &unmarked);
    assert_eq!((code, &report["closes"]["scans"]), (0, &json!(["relation any"])), "{report}");
    let (code, text) = diff(&unmarked, &base, false);
    assert!(code == 1 && text.contains("scans over more: relation any"), "{text}");
}

/// Each pair: a change, and whether it opens (1) or only closes (0).
#[test]
fn wider_conditions_open_and_narrower_ones_close() {
    let base = Copied::new("conditions", &[]);
    let roles = "roles.yaml";
    let grid = "purposes: [grid-watch]";
    let cases: &[(&str, (&str, &str, &str), i32)] = &[
        ("hours", (roles, grid, "purposes: [grid-watch]\n        hours: [\"08:00-18:00\"]"), 0),
        ("until", (roles, grid, "purposes: [grid-watch]\n        until: 2030-12-31"), 0),
        ("no-purpose", (roles, "        purposes: [grid-watch]\n", ""), 1),
        ("another-purpose", (roles, grid, "purposes: [grid-watch, duty]"), 1),
        (
            "unmasked",
            (
                roles,
                "mask: {registry.headName: name, Person.name: name, registry.phone: phone}",
                "mask: {registry.headName: name, Person.name: name}",
            ),
            1,
        ),
        ("case", (roles, "case: \"^JD-[0-9]{4}-[0-9]{3,6}$\"", "case: \".*\""), 1),
        ("approval-longer", (roles, "valid_minutes_max: 480", "valid_minutes_max: 481"), 1),
        ("approval-shorter", (roles, "valid_minutes_max: 480", "valid_minutes_max: 479"), 0),
        ("no-approval", (roles, "        approval: {by: [supervisor], valid_minutes_max: 480, uses: 1}\n", ""), 1),
        ("coarser-bands", (roles, "income.perCapita: band", "income.perCapita: {band: [0, 10000, 50000]}"), 0),
        ("other-bands", (roles, "income.perCapita: band", "income.perCapita: {band: [0, 12000]}"), 1),
        ("network", ("gateway.yaml", "public-proxy: [203.0.113.0/24]", "public-proxy: [203.0.112.0/23]"), 1),
        ("network-smaller", ("gateway.yaml", "public-proxy: [203.0.113.0/24]", "public-proxy: [203.0.113.0/25]"), 0),
        (
            "relation",
            ("rules/relations.yaml", "household.registry.grid in principal.grids", "household.registry.grid != ''"),
            1,
        ),
    ];
    for (name, change, code) in cases {
        let changed = Copied::new(name, &[*change]);
        let (found, report) = counted(&base, &changed);
        assert_eq!(found, *code, "{name}: {report:#}");
        if *code == 0 {
            let closes = &report["closes"];
            assert!(grants(&report, "closes") + closes["networks"].as_array().unwrap().len() > 0, "{name}: {report:#}");
        }
    }
    // An approval for what was given without one closes, and taking it away opens: the same fields either way.
    let open =
        Copied::new("open", &[(roles, "        approval: {by: [supervisor], valid_minutes_max: 480, uses: 1}\n", "")]);
    let (code, report) = counted(&open, &base);
    assert_eq!((code, grants(&report, "opens")), (0, 0), "{report:#}");
    assert_eq!(grants(&report, "closes"), 1, "{report:#}");
}

const AUDIT_KEY: &str = "0123456789abcdef0123456789abcdef";
const ABROAD: &str = "330109102202000001";

/// The demo's departments, and what the command needs to know of them.
struct Bench {
    departments: Running,
    folder: Temporary,
    key: rcgen::KeyPair,
}

impl Bench {
    async fn start(name: &str) -> Self {
        let departments = departments::start(Options { latency: false, ..Options::default() }).await.unwrap();
        let folder = Temporary::new(&format!("explain-{name}"));
        Self { departments, folder, key: rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap() }
    }

    /// The binary, with all that the files want set.
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_huxiang"));
        command.envs(self.departments.variables());
        command.env("DEMO_ISSUER_PUBLIC_KEY", self.key.public_key_pem());
        command.env("DEMO_ISSUER_PRIVATE_KEY", self.key.serialize_pem());
        command.env("AUDIT_KEY", AUDIT_KEY).env("HUXIANG_AUDIT", self.folder.join("audit.sqlite"));
        command.current_dir(&self.folder);
        command
    }

    async fn token(&self, role: &str, claims: &[&str]) -> String {
        let mut command = self.command();
        command.args(["token", "--role", role, "--sub", &format!("{role}-1"), "--root"]).arg(repository());
        let output = tokio::task::block_in_place(|| {
            command.args(claims.iter().flat_map(|claim| ["--claim", claim])).output().unwrap()
        });
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Output of `access explain`, and how often departments were asked.
    async fn explain(&self, token: &str, arguments: &[&str]) -> (Output, Vec<String>) {
        self.departments.clear_logs();
        let mut command = self.command();
        command.args(["access", "explain", "--token", token]).args(arguments);
        if !arguments.contains(&"--root") {
            command.arg("--root").arg(repository());
        }
        let output = tokio::task::block_in_place(|| command.output().unwrap());
        let asked = self.departments.sources().into_iter().filter(|source| !self.departments.log(source).is_empty());
        (output, asked.collect())
    }

    async fn report(&self, token: &str, arguments: &[&str]) -> (Value, Vec<String>) {
        let (output, asked) = self.explain(token, &[arguments, &["--json"]].concat()).await;
        let report = serde_json::from_slice(&output.stdout);
        (report.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr))), asked)
    }
}

fn field<'r>(report: &'r Value, path: &str) -> &'r Value {
    let fields = report["fields"].as_array().unwrap();
    fields.iter().find(|field| field["path"].as_str().unwrap().ends_with(path)).unwrap_or_else(|| panic!("{report:#}"))
}

fn holds<'r>(report: &'r Value, relation: &str) -> &'r str {
    let relations = report["relations"].as_array().unwrap();
    relations
        .iter()
        .find(|one| one["relation"] == relation)
        .map_or("not looked at", |one| one["holds"].as_str().unwrap())
}

const CHECK: [&str; 4] = ["--purpose", "recognition", "--case", "HD-2026-0001"];

#[tokio::test(flavor = "multi_thread")]
async fn each_field_names_its_grant_or_what_is_missing() {
    let bench = Bench::start("grants").await;
    let token = bench.token("verifier", &["divisions=331122"]).await;
    // Without an entity nobody is asked: under which relation is all that can be said.
    let (report, asked) = bench.report(&token, &CHECK).await;
    assert_eq!(asked, [""; 0]);
    assert_eq!(report["fields"].as_array().unwrap().len(), 64);
    let head = field(&report, "registry.headName");
    assert_eq!((&head["given"], &head["by"][0]["ifRelated"]), (&json!("full"), &json!(true)), "{head}");
    let line = usize::try_from(head["by"][0]["line"].as_u64().unwrap()).unwrap();
    let roles = config("roles.yaml");
    assert!(roles.lines().nth(line - 1).unwrap().contains("relation: jurisdiction"), "line {line}");
    let deposits = field(&report, "assets.deposits")["missing"].as_str().unwrap();
    assert!(deposits.contains("approval by `supervisor`"), "{deposits}");
    let illness = field(&report, "health.majorIllnesses")["missing"].as_str().unwrap();
    assert!(illness.contains("data class `health`"), "{illness}");
    for (arguments, said) in [
        (&["--network", "public-proxy"][..], "does not count from this network"),
        (&["--address", "198.51.100.7"], "does not count from this network"),
        (&["--purpose", "help"], "for the purpose `recognition`"),
        (&["--purpose", "recognition", "--case", "x"], "with a case number"),
    ] {
        let (report, _) = bench.report(&token, &[&["--field", "registry.headName"], arguments].concat()).await;
        let missing = report["fields"][0]["missing"].as_str().unwrap_or_else(|| panic!("{report:#}"));
        assert!(missing.contains(said) && missing.contains("roles.yaml:"), "{missing}");
    }
    let (output, _) = bench.explain(&token, &["--field", "registry.headNam"]).await;
    assert_eq!(output.status.code(), Some(2));
    let (output, _) = bench.explain("no.token.this", &[]).await;
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_names_the_class_of_another_entitys_field_is_told() {
    let bench = Bench::start("beyond").await;
    let token = bench.token("enterprise", &[]).await;
    let files = Copied::new(
        "beyond",
        &[("roles.yaml", "grants: []", "grants:\n      - {relation: self-person, classes: [contact]}")],
    );
    let root = files.0.display().to_string();
    let arguments = ["--root", &root, "--network", "public-proxy", "--field", "registry.phone"];
    let (report, _) = bench.report(&token, &arguments).await;
    let missing = report["fields"][0]["missing"].as_str().unwrap_or_else(|| panic!("{report:#}"));
    let said = "names its class, but the relation self-person is to Person, and the field is Household's";
    assert!(missing.contains("enterprise (roles.yaml:") && missing.contains(said), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_entity_relations_are_looked_at_live_and_nothing_else_is_asked_for() {
    let bench = Bench::start("live").await;
    let token = bench.token("verifier", &["divisions=331122"]).await;
    let (report, asked) = bench.report(&token, &[&CHECK[..], &["--household", HOUSEHOLD]].concat()).await;
    assert_eq!(holds(&report, "jurisdiction"), "yes", "{report:#}");
    assert_eq!(asked, ["agriculture"], "the division, and nothing of what the role is given");
    assert_eq!(field(&report, "registry.headName")["by"][0]["ifRelated"], false);
    let records = records(&bench.folder).await;
    let look = records.last().unwrap();
    assert_eq!((&look["kind"], &look["operation"]), (&json!("ADMIN"), &json!("accessExplain")), "{look}");
    assert_eq!(look["who"]["id"], "verifier-1");
    let subject = SubjectKey::new(AUDIT_KEY.as_bytes().into()).subject("Household", HOUSEHOLD);
    assert_eq!(look["access"][0]["subjects"], json!([subject]), "{look}");
    assert_eq!(look["sources"][0]["source"], "agriculture", "{look}");
    assert_eq!(look["access"][0]["relations"], json!(["jurisdiction"]), "{look}");
    assert_eq!(look["access"][0]["used"], json!(["6"]), "what the relation reads: {look}");
    assert_eq!(look["counting"], json!(["verifier"]), "{look}");
    assert!(!look.to_string().contains(HOUSEHOLD));

    let (report, _) = bench.report(&token, &[&CHECK[..], &["--entity", &format!("Household={ABROAD}")]].concat()).await;
    assert_eq!(holds(&report, "jurisdiction"), "no");
    let missing = field(&report, "registry.headName")["missing"].as_str().unwrap();
    assert!(missing.contains("relation jurisdiction: no"), "{missing}");

    // What the token alone rules out asks nobody.
    let nowhere = bench.token("verifier", &["divisions="]).await;
    let (report, asked) = bench.report(&nowhere, &[&CHECK[..], &["--household", HOUSEHOLD]].concat()).await;
    assert_eq!((holds(&report, "jurisdiction"), asked.len()), ("no: the token alone rules it out", 0));

    bench.departments.stop("agriculture");
    let (report, _) = bench.report(&token, &[&CHECK[..], &["--household", HOUSEHOLD]].concat()).await;
    assert!(holds(&report, "jurisdiction").starts_with("not available: SOURCE_UNREACHABLE"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_of_a_person_and_of_its_household_are_told_apart() {
    let bench = Bench::start("person").await;
    let known = bench.departments.world().household(HOUSEHOLD).unwrap();
    let own = known.members[0].id_number.clone();
    let token = bench.token("household", &[&format!("household={HOUSEHOLD}"), &format!("person={own}")]).await;
    let from = ["--network", "public-proxy"];
    let (report, _) = bench.report(&token, &[&from[..], &["--household", HOUSEHOLD]].concat()).await;
    assert_eq!(holds(&report, "same-household"), "yes", "{report:#}");
    assert!(holds(&report, "self-person").starts_with("not to this entity"), "{report:#}");
    let fields = ["--field", "Person.name", "--field", "Person.idNumber"];
    let (report, _) = bench.report(&token, &[&from[..], &["--person", &own], &fields].concat()).await;
    assert_eq!((holds(&report, "self-person"), holds(&report, "same-household")), ("yes", "yes"), "{report:#}");
    assert!(field(&report, "idNumber")["given"].is_string(), "{report:#}");
    let text = bench.explain(&token, &[&from[..], &["--person", &own], &fields].concat()).await.0.stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("self-person") && !text.contains(&own), "{text}");
}

/// What the gateway records as used for a look, and what the command does for the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_relations_read_is_recorded_as_the_gateway_records_it() {
    let bench = Bench::start("used").await;
    let known = bench.departments.world().household(HOUSEHOLD).unwrap();
    let own = known.members[0].id_number.clone();
    let token = bench.token("household", &[&format!("household={HOUSEHOLD}"), &format!("person={own}")]).await;
    bench.report(&token, &["--network", "public-proxy", "--person", &own]).await;
    let mut identity = support::caller("household", json!({ "household": HOUSEHOLD, "person": own }));
    identity.principal.as_mut().unwrap().id = "household-1".to_owned();
    let gateway = support::gateway(repository(), bench.departments.variables(), &bench.folder).await;
    let query = "query($id: ID!) { person(idNumber: $id) { name } }";
    support::ask(&gateway, &identity, query, json!({ "id": own })).await;
    let records = records(&bench.folder).await;
    let used = |kind: &str| {
        let record = records.iter().rfind(|one| one["kind"] == kind).unwrap();
        let used = record["access"].as_array().unwrap().iter().filter(|one| one["used"] != json!([]));
        let mut used: Vec<Value> = used.map(|one| json!([one["entity"], one["subjects"], one["used"]])).collect();
        used.sort_by_key(Value::to_string);
        used
    };
    assert!(!used("ADMIN").is_empty(), "{records:#?}");
    for read in used("REQUEST") {
        assert!(used("ADMIN").contains(&read), "{read}: {records:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_ends_in_an_error_or_assumes_an_emergency_is_on_record_too() {
    let bench = Bench::start("noted").await;
    let token = bench.token("duty-officer", &["divisions=331122"]).await;
    let declared = ["--purpose", "emergency", "--household", HOUSEHOLD, "--field", "registry.phone"];
    let (report, _) = bench.report(&token, &declared).await;
    assert!(field(&report, "registry.phone")["given"].is_null(), "{report:#}");
    let reason = ["--break-glass", "typhoon, the dyke has given way"];
    let (report, _) = bench.report(&token, &[&declared[..], &reason].concat()).await;
    assert_eq!(field(&report, "registry.phone")["given"], "full", "{report:#}");
    let (output, _) = bench.explain(&token, &[&declared[..], &["--break-glass", "331122101348000001"]].concat()).await;
    assert_eq!(output.status.code(), Some(2), "a reason that the gateway would not take");
    let (output, asked) = bench.explain(&token, &[&declared[..], &["--approval", "none"]].concat()).await;
    assert_eq!((output.status.code(), asked.len()), (Some(1), 0), "{}", String::from_utf8_lossy(&output.stderr));
    let looks: Vec<Value> = records(&bench.folder).await.into_iter().filter(|one| one["kind"] == "ADMIN").collect();
    let [plain, assumed, failed] = &looks[..] else { panic!("{looks:#?}") };
    assert!(plain.get("details").is_none(), "{plain}");
    let digest = assumed["details"]["assumedBreakGlass"].as_str().unwrap_or_else(|| panic!("{assumed}"));
    assert!(!digest.contains("typhoon"), "{digest}");
    assert_eq!((&failed["outcome"], &failed["errors"]), (&json!("REJECTED"), &json!(["FORBIDDEN"])), "{failed}");
    let subject = SubjectKey::new(AUDIT_KEY.as_bytes().into()).subject("Household", HOUSEHOLD);
    assert_eq!(failed["access"][0]["subjects"], json!([subject]), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_explained_and_not_used_up() {
    let bench = Bench::start("approval").await;
    let gateway = support::gateway(repository(), bench.departments.variables(), &bench.folder).await;
    let issuer = gateway.snapshot().config.issuers.iter().find(|issuer| issuer.demo).unwrap().issuer.clone();
    let of_issuer = |mut identity: Identity| {
        identity.principal.as_mut().unwrap().issuer = issuer.clone();
        identity
    };
    let mut verifier = of_issuer(support::caller("verifier", json!({ "divisions": ["331122"] })));
    (verifier.purpose, verifier.case) = (Some("recognition".to_owned()), Some("HD-2026-0001".to_owned()));
    let wanted = Wanted {
        role: "verifier".to_owned(),
        purpose: verifier.purpose.clone(),
        case: verifier.case.clone(),
        entity: "Household".to_owned(),
        key: HOUSEHOLD.to_owned(),
        reason: "deposits do not fit what was declared".to_owned(),
        minutes: None,
        uses: None,
    };
    let access = &gateway.snapshot().access;
    let act = |identity| Act { access, identity, request_id: "second-person" };
    let asked = gateway.approvals().request(&act(&verifier), &wanted).await.unwrap();
    let decider = of_issuer(support::supervisor());
    gateway.approvals().decide(&act(&decider), &asked.id, HOUSEHOLD, true).await.unwrap();

    let token = bench.token("verifier", &["divisions=331122"]).await;
    let relying = [&CHECK[..], &["--approval", &asked.id, "--field", "assets.deposits"]].concat();
    for _ in 0..2 {
        let (report, _) = bench.report(&token, &[&relying[..], &["--household", HOUSEHOLD]].concat()).await;
        assert_eq!(holds(&report, "jurisdiction:approved"), "yes", "{report:#}");
        assert_ne!(field(&report, "assets.deposits")["given"], Value::Null, "{report:#}");
    }
    let (report, _) = bench.report(&token, &[&relying[..], &["--household", "331122101348000009"]].concat()).await;
    assert_eq!(holds(&report, "jurisdiction:approved"), "no", "it is for another record: {report:#}");
    let tomorrow = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    let late = [&relying[..], &["--household", HOUSEHOLD, "--at", &tomorrow]].concat();
    let (output, _) = bench.explain(&token, &late).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("has ended"), "{said}");
    let records = records(&bench.folder).await;
    assert!(!records.iter().any(|one| one["operation"] == "use"), "{records:#?}");
    assert!(records.last().unwrap()["details"]["assumedTime"].is_string(), "{records:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_time_is_judged_by_its_own_hours() {
    let bench = Bench::start("at").await;
    let hours = "purposes: [grid-watch]\n        hours: [\"08:00-18:00\"]";
    let files = Copied::new("hours", &[("roles.yaml", "purposes: [grid-watch]", hours)]);
    let root = files.0.to_str().unwrap();
    let token = bench.token("grid-worker", &["grids=G1"]).await;
    for (at, given) in [("2026-06-01T09:00", true), ("2026-06-01T19:00", false), ("2026-06-01", false)] {
        let arguments = ["--root", root, "--purpose", "grid-watch", "--field", "registry.headName", "--at", at];
        let (report, _) = bench.report(&token, &arguments).await;
        assert_eq!(!report["fields"][0]["given"].is_null(), given, "{at}: {report:#}");
    }
    let (output, _) = bench.explain(&token, &["--at", "soon"]).await;
    assert!(String::from_utf8(output.stderr).unwrap().contains("2026-06-01T09:00"));
}
