//! Bands with edges of their own, by grant: the caller is told the band and nothing finer.

use departments::expected::{at, portrait};
use huxiang::base::clock::Clock;
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::support::{World, ask, caller, config, world_at};

const MASK: &str = "income.perCapita: band}";
const QUERY: &str = "query($id: ID!) { household(id: $id) { income { perCapita } } }";

async fn masking(with: &str) -> World {
    let roles = config("roles.yaml");
    assert!(roles.contains(MASK));
    world_at(Clock::system(), &[("roles.yaml", roles.replacen(MASK, with, 1))]).await
}

fn town_officer(purpose: &str) -> Identity {
    let mut identity = caller("town-officer", json!({"divisions": ["331122"]}));
    identity.purpose = Some(purpose.to_owned());
    identity
}

/// Every household of the village: its income a head, and what the officer is told of it. Where departments disagree,
/// the one that answers is told.
async fn told(world: &World, purpose: &str) -> Vec<(u32, String)> {
    let known = world.departments.world();
    let mut told = Vec::new();
    for id in known.village_household_ids("331122101348") {
        let answer = ask(&world.gateway, &town_officer(purpose), QUERY, json!({"id": id})).await;
        let income = at(&portrait(known, &id).unwrap(), "income.perCapita").as_str().map(str::to_owned);
        let Some(income) = income else { continue };
        let shown = &answer["data"]["household"]["income"]["perCapita"];
        assert!(!answer.to_string().contains(&income), "{answer}");
        if let Value::String(shown) = shown {
            told.push((income.split('.').next().unwrap().parse().unwrap(), shown.clone()));
        }
    }
    assert!(told.len() > 10, "{told:?}");
    told
}

fn band(income: u32, edges: &[u32]) -> String {
    match (edges.iter().rfind(|edge| **edge <= income), edges.iter().find(|edge| **edge > income)) {
        (Some(low), Some(high)) => format!("{low}-{high}"),
        (Some(low), None) => format!("{low}+"),
        (None, high) => format!("<{}", high.unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_says_where_its_bands_begin_and_end() {
    let world = masking("income.perCapita: {band: [9000, 12000, 15000]}}").await;
    let told = told(&world, "duty").await;
    for (income, shown) in &told {
        assert_eq!(*shown, band(*income, &[9_000, 12_000, 15_000]), "{income}");
    }
    let different: std::collections::BTreeSet<&String> = told.iter().map(|(_, shown)| shown).collect();
    assert!(different.len() > 1, "{different:?}");
}

/// Together two grants tell no more than either: neither whose edges come first, nor the finer ones.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_grants_only_the_edges_that_both_name_are_told() {
    let second = "income.perCapita: {band: [6000, 12000, 15000]}}\n      - relation: jurisdiction\n        \
                  purposes: [duty]\n        fields: [id, income.perCapita]\n        \
                  mask: {income.perCapita: {band: [9000, 12000, 13000]}}";
    let world = masking(second).await;
    for (income, shown) in told(&world, "duty").await {
        assert_eq!(shown, band(income, &[12_000]), "{income}");
    }
    // For another purpose the second grant says nothing.
    for (income, shown) in told(&world, "help").await {
        assert_eq!(shown, band(income, &[6_000, 12_000, 15_000]), "{income}");
    }
}
