//! The commands, run as a user runs them, on the repository's own files and on broken copies.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::temporary::Temporary;

fn huxiang(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_huxiang"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("DEMO_ISSUER_PRIVATE_KEY")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A copy of the repository's files that a test may break; removed at the end.
struct Copied(Temporary);

impl Copied {
    fn new(name: &str) -> Self {
        let to = Temporary::new(&format!("cli-{name}"));
        for folder in ["schema", "resolvers", "config"] {
            copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &to.join(folder));
        }
        Self(to)
    }

    fn path(&self, inside: &str) -> String {
        self.0.join(inside).display().to_string()
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.0.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn check_finds_no_fault_in_the_repository_and_says_which_variables_are_placeholders() {
    let output = huxiang(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let text = stdout(&output);
    assert!(text.contains("64 of 64 items") && text.contains("AGRICULTURE_URL"), "{text}");
}

#[test]
fn check_takes_unset_variables_as_faults_where_asked() {
    let output = huxiang(&["check", "--variables"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("AGRICULTURE_URL"));
}

#[test]
fn check_reports_the_faults_of_all_files_at_once_with_their_places() {
    let copied = Copied::new("faults");
    copied.replace("config/roles.yaml", "relation: grid", "relation: gird");
    copied.replace("resolvers/civil-affairs.yaml", "codes: dibao-status", "codes: dibao-stauts");
    copied.replace("config/gateway.yaml", "depth_max:", "depht_max:");
    let output = huxiang(&["check", "--json", "--root", &copied.path("")]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let faults = report["faults"].as_array().unwrap();
    for (file, said) in [("roles.yaml", "gird"), ("civil-affairs.yaml", "dibao-stauts"), ("gateway.yaml", "depht_max")]
    {
        let found = faults.iter().find(|fault| {
            fault["file"].as_str().unwrap().ends_with(file) && fault["message"].as_str().unwrap().contains(said)
        });
        let found = found.unwrap_or_else(|| panic!("{file}: {said} not in {report:#}"));
        assert!(found["line"].as_u64().unwrap() > 0, "{found}");
    }
    // Nothing that only follows from another fault.
    assert_eq!(faults.len(), 3, "{report:#}");
}

/// Names in a grant under a relation to a person that stand for fields of the household alone.
#[test]
fn check_warns_where_a_name_in_a_grant_stands_for_fields_of_another_entity() {
    let grant = "classes: [disability]\n        fields: [disability.certificates.name]";
    let cases = [
        (
            "classes",
            grant.replace("[disability]", "[disability, risk]"),
            "`risk` under `classes`: the class gives nothing",
        ),
        (
            "except",
            format!("{grant}\n        except: [registry.phone]"),
            "`registry.phone` under `except`: it takes nothing",
        ),
        (
            "mask",
            format!("{grant}\n        mask: {{registry.headName: name}}"),
            "`registry.headName` under `mask`: it masks",
        ),
    ];
    for (name, to, said) in cases {
        let copied = Copied::new(&format!("idle-{name}"));
        copied.replace("config/roles.yaml", grant, &to);
        let output = huxiang(&["check", "--json", "--root", &copied.path("")]);
        assert_eq!(output.status.code(), Some(0), "a warning stops nothing: {}", stdout(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let [warning] = report["warnings"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
        let message = warning["message"].as_str().unwrap();
        assert!(message.starts_with(said), "{message}");
        assert!(
            message.ends_with("the relation `consented-disability` is to Person, and what it names is Household's")
        );
        let hint = warning["hint"].as_str().unwrap();
        let way_out = if name == "classes" { "by a relation to Household" } else { "tells of a single Person" };
        assert!(hint.contains(way_out) && hint.contains("Single persons"), "{hint}");
        let roles = std::fs::read_to_string(copied.path("config/roles.yaml")).unwrap();
        let at = |key: &str| usize::try_from(warning[key].as_u64().unwrap()).unwrap() - 1;
        let (line, named) = (roles.lines().nth(at("line")).unwrap(), message.split('`').nth(1).unwrap());
        assert!(line[at("column")..].starts_with(named), "{line}: {warning}");
    }
}

/// Each change of the roles, and what `check` then says that the mask is told by.
#[test]
fn check_warns_where_a_mask_is_moot_beside_what_else_is_given() {
    let town = "mask: {identity.headIdNumber: id-number, Person.idNumber: id-number, Person.birthDate: year, income";
    let cases = [
        ("date", town, town.replace("Person.idNumber: id-number, ", ""), "Person.birthDate", "`Person.idNumber`"),
        ("id", town, town.replace("Person.idNumber: id-number, ", ""), "identity.headIdNumber", "`Person.idNumber`"),
        (
            "elsewhere",
            "assets.vehicles, assets.deposits,\n                 disability.certificates.idNumber, ",
            "assets.vehicles, assets.deposits, ".to_owned(),
            "Person.idNumber",
            "disability.certificates.idNumber`",
        ),
        (
            "code",
            town,
            town.replace("income", "Person.nationality: name, income"),
            "Person.nationality",
            "`Person.nationalityCode`",
        ),
    ];
    for (name, from, to, masked, told_by) in cases {
        let copied = Copied::new(&format!("moot-{name}"));
        copied.replace("config/roles.yaml", from, &to);
        let output = huxiang(&["check", "--json", "--root", &copied.path("")]);
        assert_eq!(output.status.code(), Some(0), "a warning stops nothing: {}", stdout(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let warnings = report["warnings"].as_array().unwrap();
        let of =
            |warning: &&Value| warning["message"].as_str().unwrap().contains(&format!("{masked}` may hide nothing"));
        let warning = warnings.iter().find(of).unwrap_or_else(|| panic!("{name}: {report:#}"));
        let said = warning["message"].as_str().unwrap();
        let (role, relation) = if name == "elsewhere" { ("cadre", "paired") } else { ("town-officer", "jurisdiction") };
        assert!(said.contains(told_by) && said.contains(&format!("`{role}` is given")), "{said}");
        assert!(said.ends_with(&format!("`{relation}`")), "{said}");
        let roles = std::fs::read_to_string(copied.path("config/roles.yaml")).unwrap();
        let line = usize::try_from(warning["line"].as_u64().unwrap()).unwrap();
        assert!(roles.lines().nth(line - 1).unwrap().contains(&format!("- relation: {relation}")), "line {line}");
        assert!(warning["file"].as_str().unwrap().ends_with("roles.yaml"));
        let text = stdout(&huxiang(&["check", "--root", &copied.path("")]));
        assert!(
            text.contains("warning: the mask of") && text.contains("No faults, ") && !text.contains("error:"),
            "{text}"
        );
    }
    let report: Value = serde_json::from_slice(&huxiang(&["check", "--json"]).stdout).unwrap();
    assert_eq!(report["warnings"], serde_json::json!([]), "the repository's own roles");
}

#[test]
fn access_tells_of_every_role_and_item() {
    let output = huxiang(&["access", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let roles = report["roles"].as_array().unwrap();
    assert_eq!(roles.len(), 15);
    for role in roles {
        assert_eq!(role["items"].as_array().unwrap().len(), 64, "{}", role["role"]);
    }
    let given = |role: &str, no: &str| {
        let role = roles.iter().find(|found| found["role"] == role).unwrap();
        let item = role["items"].as_array().unwrap().iter().find(|item| item["no"] == no).unwrap();
        item["grants"].as_array().unwrap().iter().map(|grant| grant["given"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(given("supervisor", "26"), ["full"]);
    // As the paired cadre, and acting for a household that lets it.
    assert_eq!(given("cadre", "13"), ["masked", "full"]);
    assert!(given("cadre", "26").is_empty());
    for nobody in ["operator", "security-officer", "auditor", "steward", "department-head", "public", "enterprise"] {
        assert!((1..=61).all(|no| given(nobody, &no.to_string()).is_empty()), "{nobody}");
    }
    let table = stdout(&huxiang(&["access"]));
    assert!(table.contains("低保月保障金") && table.contains("督查干部"), "{table}");
}

#[test]
fn schema_is_pruned_to_what_a_role_may_be_given() {
    let whole = stdout(&huxiang(&["schema"]));
    assert!(whole.contains("type Medical ") && !whole.contains("personIds"));
    let grid_worker = stdout(&huxiang(&["schema", "--role", "grid-worker"]));
    assert!(grid_worker.contains("type Household ") && !grid_worker.contains("type Medical "));
    assert!(stdout(&huxiang(&["schema", "--role", "operator"])).contains("given nothing"));
    let unknown = huxiang(&["schema", "--role", "cadr"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("did you mean `cadre`?"));
}

#[test]
fn schema_diff_tells_breaks_from_notes() {
    let copied = Copied::new("diff");
    let (old, new) = (format!("{}/schema", env!("CARGO_MANIFEST_DIR")), copied.path("schema"));
    assert_eq!(huxiang(&["schema", "diff", &old, &new]).status.code(), Some(0));
    let (number, text) = ("  dibaoMonthly: Decimal @range(max: \"20000\")", "  dibaoMonthly: String");
    copied.replace("schema/assistance.graphql", number, text);
    copied.replace("schema/assistance.graphql", "  STOPPED\n", "  HALTED\n");
    let output = huxiang(&["schema", "diff", &old, &new]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("Assistance.dibaoMonthly: Decimal becomes String"), "{text}");
    assert!(text.contains("DibaoStatus.STOPPED: the value is gone"), "{text}");
}

#[test]
fn tokens_are_made_only_for_a_demo_issuer() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let token = |root: &str, claim: &str| {
        Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["token", "--root", root, "--role", "supervisor", "--sub", "someone", "--claim", claim])
            .env("DEMO_ISSUER_PRIVATE_KEY", &key)
            .output()
            .unwrap()
    };
    let copied = Copied::new("token");
    let typo = huxiang(&["token", "--role", "supervisr", "--sub", "x"]);
    assert!(stderr(&typo).contains("did you mean `supervisor`?"), "{}", stderr(&typo));
    let made = token(&copied.path(""), "divisions=331122");
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    assert_eq!(stdout(&made).trim().split('.').count(), 3);
    assert!(stderr(&token(&copied.path(""), "divison=331122")).contains("did you mean `divisions`?"));
    // A gateway that runs goes on with what it has, and is asked with tokens.
    std::fs::remove_file(copied.path("resolvers/help.yaml")).unwrap();
    assert_eq!(token(&copied.path(""), "divisions=331122").status.code(), Some(0));
    copied.replace("config/gateway.yaml", "demo: true", "demo: false");
    copied.replace("config/gateway.yaml", "signing_key: ${DEMO_ISSUER_PRIVATE_KEY}", "");
    let refused = token(&copied.path(""), "divisions=331122");
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty() && stderr(&refused).contains("demo: true"), "{}", stderr(&refused));
}

#[test]
fn documents_are_checked_planned_added_and_listed() {
    let copied = Copied::new("documents");
    let root = ["--root", &copied.path("")];
    let run = |arguments: &[&str]| huxiang(&[&["documents"], arguments, &root].concat());
    let (good, bad) = (copied.path("good.graphql"), copied.path("bad.graphql"));
    std::fs::write(&good, "query Head($id: ID!) { household(id: $id) { registry { headName } } }").unwrap();
    std::fs::write(&bad, "query Bad {\n  household(id: 1) { registry { hedName } }\n}").unwrap();
    let own = "  trusted_documents: config/documents ";
    copied.replace("config/gateway.yaml", own, "  # trusted_documents: documents ");
    let none = run(&["add", &good]);
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("graphql.trusted_documents"), "{}", stderr(&none));
    copied.replace("config/gateway.yaml", "  # trusted_documents: documents", "  trusted_documents: documents");
    let missing = run(&["list"]);
    assert!(stderr(&missing).contains("trusted documents cannot be read"), "{}", stderr(&missing));
    std::fs::create_dir(copied.path("documents")).unwrap();

    let checked = run(&["check", &good, "--role", "supervisor"]);
    assert!(stdout(&checked).contains("Head") && stdout(&checked).contains("calls"), "{}", stdout(&checked));
    let faulty = run(&["check", &good, &bad]);
    assert_eq!(faulty.status.code(), Some(1));
    assert!(stderr(&faulty).contains("bad.graphql:2:") && stderr(&faulty).contains("hedName"), "{}", stderr(&faulty));
    assert_eq!(run(&["add", &bad]).status.code(), Some(1));
    let added = run(&["add", &good]);
    assert_eq!(added.status.code(), Some(0), "{}", stderr(&added));
    let id = stdout(&added).split(' ').next().unwrap().to_owned();
    assert!(Path::new(&copied.path(&format!("documents/{id}.graphql"))).exists());
    assert!(stdout(&run(&["list"])).starts_with(&id));

    // What is in the folder is checked at load: its name, and against the contract.
    std::fs::rename(&bad, copied.path("documents/bad.graphql")).unwrap();
    let listed = run(&["list"]);
    assert_eq!(listed.status.code(), Some(2));
    assert!(stderr(&listed).contains("not the SHA-256") && stderr(&listed).contains("hedName"), "{}", stderr(&listed));
}
