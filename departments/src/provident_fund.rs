//! 公积金中心: accounts of the housing provident fund, REST JSON.
//!
//! Known by id number, fifty in a call, joined by commas. Amounts are texts with thousands separators (`12,345.60`).

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::world::{Date, Household, Member, World, yuan};

/// Amounts in fen.
#[derive(Debug, Clone)]
pub struct Account {
    pub number: String,
    pub monthly: i64,
    pub balance: i64,
    pub opened_on: Date,
    pub paid_until: Date,
    /// Raw: `0` paid in, `1` sealed.
    pub status: &'static str,
}

/// Few have one: who works for a unit that pays in.
pub fn account(household: &Household, member: &Member) -> Option<Account> {
    let mut roll = member.roll("provident-fund");
    let may = !household.almost_nothing() && member.alive && (20..61).contains(&member.age());
    if !may || !roll.chance(18) {
        return None;
    }
    let monthly = roll.amount_fen(30_000, 160_000);
    let opened_on = roll.date(2015, household.today.y - 2);
    let active = roll.chance(75);
    let months = i64::from(household.today.y - opened_on.y) * 12;
    let paid_until = if active {
        Date::new(household.today.y - 1, 12, 31)
    } else {
        roll.date(opened_on.y + 1, household.today.y - 1)
    };
    Some(Account {
        number: format!("3311{:08}", roll.below(100_000_000)),
        monthly,
        balance: monthly * months * 2 / 3,
        opened_on,
        paid_until,
        status: if active { "0" } else { "1" },
    })
}

pub fn router(world: World) -> Router {
    Router::new().route("/gjj/accounts", get(accounts)).with_state(world)
}

/// Id numbers in one call at most.
const BATCH_MAX: usize = 50;

async fn accounts(State(world): State<World>, Query(parameters): Query<Vec<(String, String)>>) -> Json<Value> {
    let ids = parameters.iter().find(|(name, _)| name == "zjhm").map_or("", |(_, ids)| ids.as_str());
    if ids.is_empty() || ids.split(',').count() > BATCH_MAX {
        return Json(json!({"status": "fail", "info": "zjhm 须为 1 至 50 个证件号码", "rows": []}));
    }
    let rows: Vec<Value> = ids
        .split(',')
        .filter_map(|id| world.person(id))
        .filter_map(|(household, index)| {
            let member = household.members.get(index)?;
            let found = account(&household, member)?;
            Some(json!({
                "zjhm": member.id_number, "xingming": member.name, "grzh": found.number,
                "yjce": thousands(found.monthly), "grzhye": thousands(found.balance),
                "khrq": found.opened_on.slashed(), "jzny": found.paid_until.compact()[..6], "grzhzt": found.status,
            }))
        })
        .collect();
    Json(json!({"status": "ok", "info": "", "rows": rows}))
}

/// `1234567` fen → `12,345.67`.
fn thousands(fen: i64) -> String {
    let yuan = (fen / 100).to_string();
    let mut grouped = String::new();
    for (index, digit) in yuan.chars().enumerate() {
        if index > 0 && (yuan.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped}.{:02}", fen % 100)
}

/// What a check of recognition reads.
pub fn expected(_world: &World, household: &Household) -> Value {
    let accounts = household.members.iter().filter_map(|member| {
        let found = account(household, member)?;
        Some(json!({
            "name": member.name, "idNumber": member.id_number, "account": found.number, "monthly": yuan(found.monthly),
            "balance": yuan(found.balance), "status": if found.status == "0" { "PAID_IN" } else { "SEALED" },
            "statusCode": found.status, "openedOn": found.opened_on.to_string(),
            "paidUntil": found.paid_until.to_string()[..7],
        }))
    });
    json!({"recognition.providentFund": accounts.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn accounts_come_by_joined_numbers_with_separated_thousands() {
        let (world, _) = ask::world();
        let mut found = Vec::new();
        for id in world.village_household_ids("331122101348") {
            let household = world.household(&id).unwrap();
            let ids: Vec<&str> = household.members.iter().map(|member| member.id_number.as_str()).collect();
            let (_, text) = ask::get(router(world.clone()), "/gjj/accounts", &[("zjhm", &ids.join(","))]).await;
            let answer: Value = serde_json::from_str(&text).unwrap();
            found.extend(answer["rows"].as_array().unwrap().clone());
        }
        assert!(found.len() >= 5, "{}", found.len());
        assert!(found.iter().any(|row| row["grzhye"].as_str().unwrap().contains(',')));
        assert_eq!(thousands(123_456_789), "1,234,567.89");
        assert_eq!(thousands(5), "0.05");
    }

    #[test]
    fn accounts_are_there_in_some_households() {
        ask::some(expected, &["recognition.providentFund"]);
    }
}
