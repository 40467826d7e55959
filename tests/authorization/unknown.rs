//! A deployment over data that is not known here: what is learned of it, and that a hole in it is found.

use departments::World;
use serde_json::{Value, json};

use crate::access_oracle::Caller;
use crate::bench::Bench;
use crate::case::{ABSENT, HOUSEHOLDS, NO_CODE, NOBODY, VILLAGE};
use crate::stage::{Gate, Stage};
use crate::tally::Tally;
use crate::{drawn, tree};

/// Cases within which a hole must be found.
const FOUND_WITHIN: u64 = 600;
/// Cases of the same role that find nothing where nothing was opened.
const CONTROL: u64 = 30;

/// What a run against such a deployment stands on, in a line.
pub fn learned(stage: &Stage, seen: usize, described: &Value) -> String {
    assert!(seen > 0 || described["seeing"].is_null(), "`seeing` of KEYS is shown nothing of the households it names");
    let values = stage.facts.learned().map_or(0, |learned| learned.values());
    let named = described["households"].as_array().map_or(0, Vec::len);
    format!("data not known: {seen} of {named} households learned, {values} values of them")
}

/// As the owner of a deployment writes it: keys, what tokens may say, and who may see all.
fn description() -> Value {
    let options = departments::Options::default();
    let world = World::new(options.seed, options.households_per_village);
    let households: Vec<_> = HOUSEHOLDS.iter().filter_map(|id| world.household(id)).collect();
    let each = |of: &dyn Fn(&departments::world::Household) -> Value| households.iter().map(of).collect::<Vec<_>>();
    json!({
        "households": each(&|household| json!(household.id)),
        "nobody": {"household": ABSENT, "person": NOBODY, "code": NO_CODE},
        "division": VILLAGE,
        "subjects": each(&|household| json!(household.cadre_id)),
        "claims": {
            "household": each(&|household| json!(household.id)),
            "person": each(&|household| json!(household.members[household.members.len() - 1].id_number)),
            "grids": each(&|household| json!([household.grid])),
            "divisions": each(&|household| json!([&household.id[..12]])),
            "department": ["health", "education", "banks", "water", "police"],
        },
        "cases": ["JD-2026-0001", "HD-2026-0001"],
        "emergencies": true,
        "seeing": {
            "sub": "s-1", "roles": ["supervisor"], "network": "gov", "purpose": "supervision", "case": "JD-2026-0001",
            "claims": {"divisions": ["33"]},
        },
    })
}

/// Runs cases against one gateway of a stage as if its data was not known, until one fails; of one role, where it is named.
async fn run(own: &Stage, gate: &Gate, described: Value, role: Option<&str>, cases: u64) -> Result<Tally, String> {
    let mut stage = own.described(gate, described.clone());
    let mut drawn = drawn(&stage);
    if let Some(role) = role {
        drawn.roles = vec![role.to_owned()];
        drawn.granted = drawn.roles.clone();
    }
    let seen = stage.learn(&drawn).await;
    println!("{}", learned(&stage, seen, &described));
    let bench = Bench::new(stage, drawn.clone());
    for at in 0..cases {
        let case = proptest::strategy::ValueTree::current(&tree(&drawn, 3, at));
        bench.run(&case).await.map_err(|fault| format!("CASE={at}: {fault}"))?;
    }
    Ok(bench.tally.take())
}

fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn a_deployment_over_unknown_data_is_held_to_its_policy() {
    wait(async {
        let own = Stage::own(2_000, 1, 0).await;
        let all = run(&own, &own.gates[0], description(), None, 120).await.unwrap_or_else(|fault| panic!("{fault}"));
        println!("{}", all.summary(1.0));
        assert!(all.refused > 100 && all.secrets > 1_000 && all.absent > 10 && all.narrowed > 10, "{all:?}");
        assert!(all.unsure > 0 && all.unsure < all.cases, "{all:?}");
        // With nobody who may see all, and tokens in place of the key.
        let mut blind = description();
        let of = |roles: &[&str], claims: Value| Caller {
            id: "t-1".to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            claims: claims.as_object().cloned().unwrap_or_default(),
            ..Caller::default()
        };
        let claims = json!({"divisions": ["331122"], "grids": description()["claims"]["grids"][0]});
        let tokens = [&["grid-worker"][..], &["town-officer"], &["grid-worker", "town-officer"]];
        blind["tokens"] = tokens.iter().map(|roles| own.token_for(&of(roles, claims.clone()))).collect();
        blind["seeing"] = Value::Null;
        let blind = run(&own, &own.gates[0], blind, None, 60).await.unwrap_or_else(|fault| panic!("{fault}"));
        assert!(blind.refused > 50 && blind.absent > 5 && blind.narrowed > 5 && blind.unsure > 10, "{blind:?}");
    });
}

/// What the caller who may see all was shown is looked for wherever another is answered.
#[test]
fn a_value_learned_of_a_deployment_is_noticed_in_the_answer_of_whom_it_is_refused_to() {
    wait(async {
        let own = Stage::own(4_000, 1, 0).await;
        let mut stage = own.described(&own.gates[0], description());
        let mut drawn = drawn(&stage);
        drawn.roles = vec!["grid-worker".to_owned()];
        drawn.granted = drawn.roles.clone();
        drawn.households.truncate(1);
        stage.learn(&drawn).await;
        let head = stage.facts.home(HOUSEHOLDS[0]).expect("it is learned").members[0].id_number.clone();
        let bench = Bench::new(stage, drawn.clone());
        let mut noticed = 0;
        for at in 0..20 {
            let case = proptest::strategy::ValueTree::current(&tree(&drawn, 5, at));
            assert!(!bench.notices(&case, "nobody's secret").await, "CASE={at}");
            noticed += usize::from(bench.notices(&case, &format!("the department said {head}")).await);
        }
        assert!(noticed > 5, "of 20 leaks {noticed} were noticed");
    });
}

/// The gateway runs with other roles than its owner says.
#[test]
fn a_grant_opened_in_a_deployment_over_unknown_data_is_found() {
    type Opening = (&'static str, &'static str, fn(&mut Value));
    let openings: [Opening; 6] = [
        ("grid-worker", "a class more", |role| role["grants"][0]["classes"] = json!(["basic", "health", "finance"])),
        ("cadre", "a wider relation", |role| role["grants"][0]["relation"] = json!("any")),
        ("town-officer", "no mask", |role| role["grants"][0]["mask"] = json!({})),
        ("supervisor", "no case number", |role| role["grants"][0]["case"] = Value::Null),
        ("verifier", "another network", |role| role["networks"] = json!(["gov", "public-proxy"])),
        // Whether the relation holds is not known of it: what it reads is shown to nobody.
        ("household", "more than the members' own", |role| {
            role["grants"][0]["classes"] = json!(["basic", "identity", "health", "mandate", "finance"]);
            role["grants"][0]["except"] = json!(["registry.personIds"]);
        }),
    ];
    wait(async {
        let own = Stage::own(3_000, 1, 0).await;
        for (role, name, open) in openings {
            let as_said = run(&own, &own.gates[0], description(), Some(role), CONTROL).await;
            as_said.unwrap_or_else(|fault| panic!("{role} as it is said to be: {fault}"));
            let gate = own.opened(&name.replace(' ', "-"), |roles| open(&mut roles["roles"][role])).await;
            let found = run(&own, &gate, description(), Some(role), FOUND_WITHIN).await;
            let fault = found.err().unwrap_or_else(|| panic!("{role}, {name}: nothing is found"));
            println!("{role}, {name}: {}", fault.lines().next().unwrap_or_default());
        }
    });
}
