//! What is shown: rows, plans, statistics, and what is wrong.

use std::collections::BTreeMap;

use departments::Fault;
use departments::expected::{at, portrait};
use serde_json::{Value, json};

use super::{Asked, DIBAO, DIBAO_AND_VEHICLE, TOWN, VILLAGE, calls, cells, finished, has_a_vehicle, receives_dibao};

#[tokio::test]
async fn rows_are_a_table_or_json_and_what_was_asked_is_told() {
    let asked = Asked::start().await;
    let scan = ["--division", TOWN, "--where", DIBAO_AND_VEHICLE, "--show", "id registry { headName }"];
    let expected = asked.expected(TOWN, |portrait| receives_dibao(portrait) && has_a_vehicle(portrait));
    assert!(expected.len() > 3, "{expected:?}");
    let done = asked.run(&scan).await.ends_with(0);
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(lines[0].starts_with("id ") && lines[0].contains("registry.headName"), "{}", done.out);
    assert!(done.out.contains("线索，须人工核实"), "{}", done.out);
    let found: Vec<&str> = lines[2..2 + expected.len()].iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(found, expected);
    // How far it was, and who was asked for what.
    assert!(done.err.contains("looked at, ") && done.err.contains("police"), "{}", done.err);

    let json = asked.run(&[&scan[..], &["--json", "--first", "2", "--quiet"]].concat()).await.ends_with(0).json();
    let found: Vec<&str> =
        json["rows"].as_array().unwrap().iter().map(|row| row["node"]["id"].as_str().unwrap()).collect();
    assert_eq!(found, expected[..2]);
    assert_eq!((&json["coverage"]["matched"], &json["coverage"]["whole"]), (&json!(2), &json!(false)));
    let stages = json["coverage"]["plan"].as_array().unwrap();
    assert!(stages.iter().any(|stage| stage["calls"].as_u64().unwrap() > 0), "{json:#}");
}

#[tokio::test]
async fn a_silent_department_makes_exit_code_three_and_is_named() {
    let asked = Asked::start().await;
    asked.served.world.departments.set_fault("police", Fault::Http500);
    let done = asked.run(&["--division", VILLAGE, "--where", DIBAO_AND_VEHICLE]).await.ends_with(3);
    let open = asked.expected(VILLAGE, receives_dibao).len();
    let police = asked.served.world.gateway.snapshot().bindings.sources.iter().find(|source| &*source.id == "police");
    let title = &police.unwrap().title;
    assert!(done.err.contains(&format!("{open} undetermined, for these reasons")), "{}", done.err);
    assert!(done.err.contains(&format!("{title} SOURCE_")) && done.err.contains("assets.vehicles"), "{}", done.err);

    // Found without it, and not all of it can be shown.
    let done =
        asked.run(&["--division", VILLAGE, "--where", DIBAO, "--show", "id assets { vehicles { plate } }"]).await;
    let done = done.ends_with(3);
    assert!(done.err.contains(&format!("not shown of {open} rows: police SOURCE_")), "{}", done.err);
    assert!(done.out.lines().next().unwrap().ends_with("missing"), "{}", done.out);
}

#[tokio::test]
async fn persons_are_found_by_naming_their_query_and_so_are_their_figures() {
    let asked = Asked::start().await;
    let of = asked.served.world.departments.world();
    let members = of.village_household_ids(TOWN).flat_map(|id| of.household(&id).unwrap().members);
    let expected: Vec<String> = members.filter(|one| one.relation == "52").map(|one| one.id_number).collect();
    let mothers = r#"{"relationCode": {"eq": "52"}}"#;
    let scan = ["--query", "persons", "--division", TOWN, "--where", mothers];
    let json = asked.run(&[&scan[..], &["--show", "idNumber household { id }", "--json"]].concat()).await;
    let json = json.ends_with(0).json();
    let found: Vec<&str> =
        json["rows"].as_array().unwrap().iter().map(|row| row["node"]["idNumber"].as_str().unwrap()).collect();
    assert_eq!(found, expected);
    assert_eq!(json["coverage"]["candidates"], json["coverage"]["total"], "{json:#}");
    let done = asked.run(&[&scan[..], &["--stats", "--count", "--json"]].concat()).await.ends_with(0);
    let told = done.json();
    assert_eq!(told["groups"][0]["values"][0]["value"], expected.len().to_string(), "{told:#}");
}

#[tokio::test]
async fn a_plan_asks_the_list_alone_and_says_what_all_would_take() {
    let asked = Asked::start().await;
    asked.served.world.departments.clear_logs();
    let scan = ["--division", TOWN, "--where", DIBAO_AND_VEHICLE, "--plan"];
    let done = asked.run(&scan).await.ends_with(0);
    assert_eq!(calls(&asked), BTreeMap::from([("agriculture".to_owned(), 1)]));
    let all = asked.served.world.departments.world().households_in(TOWN);
    assert!(done.out.contains(&format!("for all {all} that are listed")), "{}", done.out);
    let at = |name: &str| done.out.find(name).unwrap_or_else(|| panic!("{name}: {}", done.out));
    assert!(at("civil-affairs") < at("police"), "in the order in which they would be asked: {}", done.out);
    let json = asked.run(&[&scan[..], &["--json"]].concat()).await.ends_with(0).json();
    let estimates: Vec<&Value> = json.as_array().unwrap().iter().map(|stage| &stage["estimatedCalls"]).collect();
    assert!(!estimates.is_empty() && estimates.iter().all(|calls| calls.as_u64().unwrap() > 0), "{json}");
    asked.run(&["--division", TOWN, "--where", DIBAO]).await.ends_with(0);
    assert!(!calls(&asked).is_empty(), "the logs do tell of calls");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_a_way_out() {
    let asked = Asked::start().await;
    let of_town = ["--division", TOWN];
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--where", "{assistance: 1}"], &["--where is no JSON", "double quotes"]),
        (
            &["--where", r#"{"assistance": {"dibaoStaus": {"eq": "RECEIVING"}}}"#],
            &["dibaoStaus", "AssistanceFilter", "huxiang schema"],
        ),
        (&["--where", r#"{"assistance": {"dibaoStatus": {"eq": "RECEVING"}}}"#], &["RECEVING", "DibaoStatus"]),
        (&["--where", "@no-such-file"], &["no-such-file"]),
        (&["--where", DIBAO, "--query", "farms"], &["no such query `farms`", "households"]),
        (&["--where", DIBAO, "--show", "id registry {"], &["--show is no GraphQL"]),
        (&["--where", DIBAO, "--show", "id registry { headname }"], &["headname"]),
        (&["--where", DIBAO, "--order-by", "assistance_dibaoMonthly:down"], &["neither `asc` nor `desc`"]),
        (&["--where", DIBAO, "--resume"], &["--csv FILE"]),
    ];
    for (arguments, told) in cases {
        let done = asked.run(&[&of_town[..], arguments].concat()).await.ends_with(1);
        for told in told {
            assert!(done.err.contains(told), "{arguments:?}: {told} not in {}", done.err);
        }
    }
    // What is refused leaves no file behind that stood in the way of the next try.
    let file = asked.path("never.csv");
    let elsewhere = asked.run(&["--division", "330109", "--where", DIBAO, "--csv", &file]).await.ends_with(1);
    assert!(!asked.is_there("never.csv") && !asked.is_there("never.csv.resume"));
    assert!(elsewhere.err.contains("(FORBIDDEN)") && elsewhere.err.contains("request: "), "{}", elsewhere.err);
    let nowhere = asked.run(&["--where", DIBAO]).await.ends_with(1);
    assert!(nowhere.err.contains("--division CODE"), "{}", nowhere.err);
    // Of roles that do not scan, one sees no query that could be asked so, and the other nothing at all.
    for (role, purpose, told) in [("cadre", "help", "roles.yaml"), ("operator", "duty", "(FORBIDDEN)")] {
        asked.write("token", &asked.token(role, &json!({})));
        let command = asked.command_for(&["--purpose", purpose], &["--division", TOWN, "--where", DIBAO]);
        let nobody = finished(command).await.ends_with(1);
        assert!(nobody.err.contains(told), "{role}: {}", nobody.err);
    }
}

#[tokio::test]
async fn a_document_of_ones_own_is_gone_through_page_by_page() {
    let asked = Asked::start().await;
    asked.write(
        "own.graphql",
        "query Mine($division: ID!, $status: DibaoStatus!) {
           found: households(division: $division, first: 3, where: {assistance: {dibaoStatus: {eq: $status}}}) {
             nodes { ...Head number: id }
             pageInfo { hasNextPage }
           }
         }
         fragment Head on Household { registry { head: headName } }",
    );
    let own = asked.path("own.graphql");
    let mine = ["--document", &own, "--division", TOWN, "--variables", r#"{"status": "RECEIVING"}"#, "--json"];
    let answer = asked.run(&mine).await.ends_with(0).json();
    let found: Vec<&str> =
        answer["rows"].as_array().unwrap().iter().map(|row| row["node"]["number"].as_str().unwrap()).collect();
    assert_eq!(found, asked.expected(TOWN, receives_dibao));
    assert!(answer["rows"][0]["node"]["registry"]["head"].is_string(), "{answer}");
}

#[tokio::test]
async fn the_greatest_come_first_where_it_is_sorted() {
    let asked = Asked::start().await;
    let sorted = ["--order-by", "assistance_dibaoMonthly:desc", "--first", "5"];
    let scan = ["--division", TOWN, "--where", DIBAO, "--show", "id assistance { dibaoMonthly }", "--json"];
    let answer = asked.run(&[&scan[..], &sorted].concat()).await.ends_with(0).json();
    let monthly = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let rows = answer["rows"].as_array().unwrap();
    let shown: Vec<f64> = rows.iter().map(|row| monthly(&row["node"]["assistance"]["dibaoMonthly"])).collect();
    let of = asked.served.world.departments.world();
    let all = asked.expected(TOWN, receives_dibao);
    let mut expected: Vec<f64> =
        all.iter().map(|id| monthly(at(&portrait(of, id).unwrap(), "assistance.dibaoMonthly"))).collect();
    expected.sort_by(|one, other| other.total_cmp(one));
    assert_eq!(shown, expected[..5]);
    // As many as one request shows, and more match: that is not all that was asked for.
    let open = asked.run(&[&scan[..], &sorted[..2], &["--page", "3"]].concat()).await.ends_with(3);
    assert_eq!(open.json()["rows"].as_array().unwrap().len(), 3);
    assert!(open.err.contains("--first"), "{}", open.err);
}

#[tokio::test]
async fn statistics_are_those_of_the_generator_and_small_groups_are_marked() {
    let asked = Asked::start().await;
    let stats = ["--stats", "--division", TOWN, "--group-by", "registry_category"];
    let measured = ["--count", "--sum", "assistance_dibaoMonthly"];
    let answer = asked.run(&[&stats[..], &measured, &["--json"]].concat()).await.ends_with(0).json();
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    let of = asked.served.world.departments.world();
    for id in of.village_household_ids(TOWN) {
        let category = at(&portrait(of, &id).unwrap(), "registry.category").as_str().unwrap().to_owned();
        *expected.entry(category).or_default() += 1;
    }
    let groups = answer["groups"].as_array().unwrap();
    assert_eq!(groups.len(), expected.len(), "{answer:#}");
    for group in groups {
        let category = group["key"][0]["value"].as_str().unwrap();
        assert_eq!(group["values"][0]["value"], expected[category].to_string(), "{group}");
    }
    let table = asked.run(&[&stats[..], &measured].concat()).await.ends_with(0);
    let header = table.out.lines().next().unwrap();
    assert!(header.contains("count") && header.contains("sum(assistance.dibaoMonthly)"), "{}", table.out);
    for (category, count) in &expected {
        let line = table.out.lines().find(|line| line.starts_with(category.as_str())).unwrap();
        assert!(line.split_whitespace().any(|cell| cell == count.to_string()), "{line}");
    }
    // Of a village, groups are small.
    let village = ["--stats", "--division", VILLAGE, "--group-by", "registry_category"];
    let small = asked.run(&village).await.ends_with(0);
    assert!(small.out.contains("(suppressed)") || small.out.contains("no group can be told"), "{}", small.out);
    assert!(small.err.contains("kept back") && !small.err.contains("0 match"), "{}", small.err);
    let small = asked.run(&[&village[..], &["--json"]].concat()).await.ends_with(0).json();
    assert_eq!(small["coverage"]["matched"], Value::Null, "{small:#}");
    // Where a department is silent, a figure lies between two.
    asked.served.world.departments.set_fault("police", Fault::Http500);
    let open = asked.run(&["--stats", "--division", TOWN, "--where", DIBAO_AND_VEHICLE]).await.ends_with(3);
    let most = asked.expected(TOWN, receives_dibao).len();
    assert!(open.out.contains(&format!(" … {most}")), "{}", open.out);
    assert!(open.err.contains("undetermined, for these reasons"), "{}", open.err);
}

#[tokio::test]
async fn what_takes_more_than_one_request_may_is_gone_on_with() {
    // One stretch of candidates takes less, and all of them take more.
    let asked = Asked::start_edited(|snapshot| snapshot.config.limits.upstream_calls_max = 900).await;
    let scan = ["--division", TOWN, "--where", DIBAO_AND_VEHICLE, "--json"];
    let expected = asked.expected(TOWN, |portrait| receives_dibao(portrait) && has_a_vehicle(portrait));
    let found = asked.run(&[&scan[..], &["--page", "200"]].concat()).await.ends_with(0).json();
    assert_eq!(found["rows"].as_array().unwrap().len(), expected.len());
    assert_eq!(found["coverage"]["whole"], true, "{}", found["coverage"]);
    let stats = asked.run(&[&scan[..], &["--stats"]].concat()).await.ends_with(0).json();
    assert_eq!(stats["groups"][0]["values"][0]["value"], expected.len().to_string(), "{stats:#}");
    assert!(stats["requests"].as_array().unwrap().len() > 1, "{}", stats["requests"]);
    // What is sorted is looked at as a whole, or not known as a whole.
    let sorted = ["--order-by", "assistance_dibaoMonthly", "--first", "3"];
    let sorted = asked.run(&[&scan[..], &sorted].concat()).await.ends_with(3);
    assert!(sorted.err.contains("it ended (CALLS) before all were looked at"), "{}", sorted.err);
}

/// The words of a command as a shell takes them apart: single quotes, line ends with a backslash.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in text.replace("\\\n", " ").split('\'').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

#[tokio::test]
async fn the_commands_of_the_guide_work() {
    let asked = Asked::start().await;
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/supervisors.md")).unwrap();
    let blocks = guide.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands: Vec<String> =
        blocks.flat_map(|block| block.split("huxiang scan").skip(1).map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(commands.len() >= 6, "{commands:?}");
    for told in &commands {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_huxiang"));
        command.arg("scan").args(words(told)).current_dir(&*asked.folder);
        command.env("HUXIANG_GATEWAY", format!("http://{}", asked.served.address));
        command.env("HUXIANG_TOKEN", asked.read("token"));
        let done = finished(command).await.ends_with(0);
        assert!(!done.out.is_empty() || told.contains("--csv") || told.contains("--jsonl"), "{told}");
    }
    assert!(cells(&asked.read("vehicles.csv")).len() > 5);
    assert_eq!(asked.read("open.jsonl").lines().count(), 2, "nobody is undetermined");
}
