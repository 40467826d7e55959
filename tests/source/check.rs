//! `huxiang source check`: every fault of a binding as a compiler tells it, and what will hurt in service.

use std::ops::Deref;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::project::Project;

const CONTRACT: &str = r#"
directive @key(fields: String!) on OBJECT
directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT
directive @territory(by: String!) on OBJECT
scalar Decimal
type Query { farm(id: ID!): Farm farms(place: String!): [Farm!] }
type Farm @key(fields: "id") @class(name: "open", level: 1) {
  id: ID!
  name: String
  place: String
  holders: [ID!]
  area: Decimal
  herds: [Herd!]
  price: Decimal @class(name: "trade", level: 2)
  bids: [String!] @class(name: "trade", level: 2)
  grade: Grade
}
type Herd { kind: String size: Int }
enum Grade { A B UNRECOGNIZED }
"#;

const REGISTER: &str = r#"
source: register
title: Register
base_url: ${REGISTER_URL}
limits: {timeout_ms: 4000, in_flight_max: 8}
endpoints:
  farm:
    entity: Farm
    establishes: true
    one: {get: "/farm/{key}"}
    many: {post: /farms, body: {ids: "{keys}"}, item_key: /id}
    fields:
      name: /name
      place: /place
      holders: {list: /holders}
queries:
  farms:
    ask: {get: /farms, query: {place: "{arg.place}"}, items: "", pages: {number: page}}
    key_at: /id
"#;

const HERDS: &str = r#"
source: herds
title: Herds
base_url: ${HERDS_URL}
limits: {timeout_ms: 1000, in_flight_max: 8}
endpoints:
  herds:
    entity: Farm
    many: {post: /herds, body: {ids: "{keys}"}, item_key: /id}
    fields:
      herds: {list: records, fields: {kind: /k, size: /n}}
      area: /area
      price: /price
      bids: {list: /bids}
      grade: {at: /g, codes: grade}
"#;

/// A folder of its own, removed at the end.
struct Root(Project);

impl Deref for Root {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.0
    }
}

impl Root {
    fn new(name: &str) -> Self {
        let project = Project::new(&format!("source-check-{name}"), CONTRACT, "open, trade");
        project.write("resolvers/register.yaml", REGISTER);
        project.write("resolvers/herds.yaml", HERDS);
        Self(project)
    }

    fn check(&self, file: &str, more: &[&str]) -> (i32, String) {
        let output = check(&self.0.join(file), more);
        (output.status.code().unwrap(), out(&output).replace(&format!("{}/", self.0.display()), ""))
    }

    fn told(&self, file: &str) -> Value {
        let (_, text) = self.check(file, &["--json"]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn warnings(&self, file: &str) -> Vec<String> {
        let told = self.told(file);
        assert_eq!(told["faults"], Value::Array(Vec::new()));
        told["warnings"].as_array().unwrap().iter().map(|one| one["message"].as_str().unwrap().to_owned()).collect()
    }
}

fn check(file: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huxiang"));
    command.args(["source", "check"]).arg(file).args(more).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_binding_without_fault_or_warning_says_so() {
    let root = Root::new("fine");
    let (code, text) = root.check("resolvers/herds.yaml", &["--deny-warnings"]);
    assert_eq!(
        (code, text.as_str()),
        (0, "No faults, no warnings; 5 slots filled.\n1 variable not set here and taken as placeholders: HERDS_URL\n")
    );
}

/// Of shape (unknown keys, wrong types, misspelt values) and of meaning (paths, tables, units, placeholders) in one run,
/// several in a line, and none that only follows from another.
#[test]
fn every_fault_is_told_at_once_each_with_what_was_meant() {
    let root = Root::new("every");
    root.write(
        "resolvers/herds.yaml",
        r#"source: herds
title: Herds
protocol: rset
base_url: ${HERDS_URL}
tls: {ca_file: x, client_crt: y}
limits: {timeout_ms: soon, in_flight_max: 8}
endpoints:
  herds:
    entity: Frm
    many: {pots: /herds, body: {ids: "{keys}"}, item_kye: /id}
    fields: {name: /x}
  rest:
    entity: Farm
    key: holder
    one: {get: "/rest/{kye}"}
    fields:
      aera: /area
      price: {at: price, unti: fen}
      bids:
        list: /bids
        splt: ","
      grade: {at: /g, codes: gade}
      herds: {list: /h, fields: {knd: /k, size: {at: /n, thousand: true}}}
queries:
  frms:
    ask: {get: /farms, query: {place: "{arg.plce}"}, items: /rows}
    key_at: /id
"#,
    );
    let told = root.told("resolvers/herds.yaml");
    let faults: Vec<(i64, i64, String)> = told["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| {
            let text = format!("{} = {}", fault["message"].as_str().unwrap(), fault["hint"].as_str().unwrap());
            (fault["line"].as_i64().unwrap(), fault["column"].as_i64().unwrap(), text)
        })
        .collect();
    let expected = [
        (3, 11, "`rset` is not a value of this key = did you mean `rest`?"),
        (5, 7, "unknown key `ca_file` = the keys here are `ca`, `client_cert`, `client_key`"),
        (5, 19, "unknown key `client_crt` = did you mean `client_cert`?"),
        (6, 22, "a whole number is expected here = see the reference of this file in docs/"),
        (9, 13, "the contract has no entity `Frm` = did you mean `Farm`?"),
        (10, 12, "unknown key `pots` = did you mean `post`?"),
        (10, 49, "unknown key `item_kye` = did you mean `item_key`?"),
        (14, 10, "`Farm` has no field `holder` = did you mean `holders`?"),
        (
            15,
            23,
            "the endpoint `rest` uses `{kye}`, which nothing gives = did you mean `{key}`? Other inputs stand under `with`",
        ),
        (17, 7, "the contract has no field `aera` in `Farm` = did you mean `area`?"),
        (18, 19, "`price` is not a JSON Pointer = a JSON Pointer starts with `/`, or is empty for the whole document"),
        (18, 26, "unknown key `unti` = did you mean `unit`?"),
        (21, 9, "unknown key `splt` = did you mean `split`?"),
        (22, 30, "there is no code table `gade` = did you mean `grade`?"),
        (23, 34, "the contract has no field `herds.knd` in `Farm` = did you mean `kind`?"),
        (23, 58, "unknown key `thousand` = did you mean `thousands`?"),
        (25, 3, "the contract has no query `frms` = did you mean `farms`?"),
    ];
    for (fault, wanted) in faults.iter().zip(&expected) {
        assert_eq!((fault.0, fault.1, fault.2.as_str()), *wanted);
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    let (code, text) = root.check("resolvers/herds.yaml", &[]);
    assert_eq!(code, 1);
    assert!(
        text.contains(
            "error: unknown key `unti`\n  --> resolvers/herds.yaml:18:26\n    |\n 18 |       price: {at: price, unti: fen}\n    \
             |                          ^^^^\n  = hint: did you mean `unit`?\n"
        ),
        "{text}"
    );
}

#[test]
fn what_a_root_query_is_asked_with_must_be_one_of_its_arguments() {
    let root = Root::new("arguments");
    root.edit("resolvers/register.yaml", "{arg.place}", "{arg.palce}");
    let (code, text) = root.check("resolvers/register.yaml", &[]);
    assert!(code == 1 && text.contains("the query `farms` uses `{arg.palce}`, which nothing gives"), "{text}");
    assert!(text.contains("did you mean `{arg.place}`?"), "{text}");
}

/// Also where the root has no configuration yet: its faults are not the integrator's.
#[test]
fn a_draft_outside_the_root_is_held_against_its_contract_in_place_of_its_source() {
    let root = Root::new("draft");
    let draft = Root::new("draft-elsewhere");
    draft.edit("resolvers/herds.yaml", "      area: /area", "      aera: /area");
    let check_draft = || check(&draft.0.join("resolvers/herds.yaml"), &["--root", root.0.to_str().unwrap()]);
    let text = out(&check_draft());
    assert!(text.contains("did you mean `area`?") && text.contains("\n1 fault; "), "{text}");
    // What another source answers for is told at the draft.
    draft.edit("resolvers/herds.yaml", "      aera: /area", "      name: /name");
    let text = out(&check_draft());
    assert!(text.contains("`Farm.name` is bound twice: by register.farm and by herds.herds"), "{text}");
    assert!(text.contains("herds.yaml:12:7"), "{text}");
    std::fs::remove_dir_all(root.0.join("config")).unwrap();
    std::fs::remove_dir_all(root.0.join("resolvers")).unwrap();
    draft.write("resolvers/herds.yaml", &HERDS.replace(", codes: grade", ""));
    let output = check_draft();
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("No faults") && text.contains("in other files of the root"), "{text}");
}

#[test]
fn a_file_or_a_contract_that_is_not_there_is_no_verdict() {
    let root = Root::new("nothing");
    let output = check(&root.0.join("resolvers/none.yaml"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be read"));
    std::fs::remove_dir_all(root.0.join("schema")).unwrap();
    let output = check(&root.0.join("resolvers/herds.yaml"), &["--root", root.0.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--root"));
}

#[test]
fn a_list_without_batches_is_told_with_what_it_costs() {
    let root = Root::new("calls");
    root.edit(
        "resolvers/herds.yaml",
        "many: {post: /herds, body: {ids: \"{keys}\"}, item_key: /id}",
        "one: {get: \"/h/{key}\"}",
    );
    assert_eq!(root.warnings("resolvers/herds.yaml"), ["a list of 100 at `farms` costs 100 calls of `herds`"]);
    root.edit("resolvers/herds.yaml", "in_flight_max: 8}", "in_flight_max: 8, per_second_max: 5}");
    assert_eq!(
        root.warnings("resolvers/herds.yaml"),
        ["a list of 100 at `farms` costs 100 calls of `herds`; at `per_second_max: 5` they take 20 s, and a request \
          ends after 10000 ms"]
    );
    root.edit("config/gateway.yaml", "listen: ", "egress: {replicas: 2}\nlisten: ");
    assert_eq!(
        root.warnings("resolvers/herds.yaml"),
        ["a list of 100 at `farms` costs 100 calls of `herds`; at 2 a second, this gateway's part of \
          `per_second_max: 5`, they take 50 s, and a request ends after 10000 ms"]
    );
    // Warnings fail only where that is asked for.
    assert_eq!(root.check("resolvers/herds.yaml", &[]).0, 0);
    assert_eq!(root.check("resolvers/herds.yaml", &["--deny-warnings"]).0, 1);
    root.edit(
        "resolvers/herds.yaml",
        "one: {get: \"/h/{key}\"}",
        "many: {get: \"/h/{keys:,}\", item_key: /id, batch_max: 4}",
    );
    let warnings = root.warnings("resolvers/herds.yaml");
    assert!(warnings[0].starts_with("a list of 100 at `farms` costs 25 calls of `herds`"), "{warnings:?}");
}

#[test]
fn calls_in_a_row_are_told_with_their_chain_and_their_time() {
    let root = Root::new("row");
    root.write(
        "schema/contract.graphql",
        &CONTRACT.replace("  name: String", "  name: String\n  plot: ID\n  deed: String"),
    );
    root.write(
        "resolvers/plots.yaml",
        "source: plots\ntitle: Plots\nbase_url: ${PLOTS_URL}\nlimits: {timeout_ms: 4000, in_flight_max: 8}\nendpoints:\n  \
         plot:\n    entity: Farm\n    key: name\n    many: {post: /p, body: {n: \"{keys}\"}, item_key: /n}\n    fields: \
         {plot: /id}\n",
    );
    root.write(
        "resolvers/deeds.yaml",
        "source: deeds\ntitle: Deeds\nbase_url: ${DEEDS_URL}\nlimits: {timeout_ms: 4000, in_flight_max: 8}\nendpoints:\n  \
         deed:\n    entity: Farm\n    key: plot\n    many: {post: /d, body: {n: \"{keys}\"}, item_key: /n}\n    fields: \
         {deed: /id}\n",
    );
    assert_eq!(root.warnings("resolvers/plots.yaml"), Vec::<String>::new());
    assert_eq!(
        root.warnings("resolvers/deeds.yaml"),
        [
            "3 calls in a row: `register.farm` for `Farm.name`, then `plots.plot` for `Farm.plot`, then `deeds.deed`; their \
          deadlines are 12000 ms together, and a request ends after 10000 ms"
        ]
    );
}

#[test]
fn fields_that_no_role_may_read_are_told_by_class() {
    let root = Root::new("nobody");
    root.edit("config/roles.yaml", "[open, trade]", "[open]");
    assert_eq!(
        root.warnings("resolvers/herds.yaml"),
        ["no role may read `Farm.bids`, `Farm.price`, of the class `trade`"]
    );
    // What other departments are asked with is read, though nobody is shown it.
    root.edit("resolvers/herds.yaml", "    many:", "    key: holders\n    many:");
    root.edit("config/roles.yaml", "classes: [open]", "classes: [open], except: [holders]");
    assert!(!root.warnings("resolvers/register.yaml").iter().any(|warning| warning.contains("holders")));
}

#[test]
fn what_an_integrator_should_ask_the_department_is_told() {
    let root = Root::new("ask");
    root.edit("resolvers/herds.yaml", "    many:", "    key: holders\n    many:");
    root.edit("resolvers/herds.yaml", "base_url: ${HERDS_URL}", "base_url: http://herds.example.org");
    root.edit(
        "resolvers/herds.yaml",
        "limits: {timeout_ms: 1000, in_flight_max: 8}",
        "territory: [\"33\"]   # decide: which",
    );
    let warnings = root.warnings("resolvers/herds.yaml");
    let wanted = [
        "`limits.timeout_ms` and `limits.in_flight_max` are not said: 2 000 ms for a call and 64 calls at once will be taken",
        "answers, and secrets that are sent, go over the network in the clear",
        "`territory` does not bound `herds`: the contract does not say where a `Farm` is",
        "this is still to be decided",
        "where several of `holders` have a record, `area` is that of the first alone",
        "where several of `holders` have a record, `price` is that of the first alone",
    ];
    assert_eq!(warnings, wanted);
    root.edit("resolvers/register.yaml", ", pages: {number: page}", "");
    root.edit("resolvers/register.yaml", "timeout_ms: 4000", "timeout_ms: 14000");
    let warnings = root.warnings("resolvers/register.yaml");
    let wanted = [
        "`farm` may take 14000 ms, and a request ends after 10000 ms",
        "`farms` is read in one answer, and one of more than 8 MiB fails as a whole",
    ];
    assert_eq!(warnings, wanted);
}
