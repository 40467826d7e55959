//! 人民银行: microloans to households lifted out of poverty (脱贫人口小额信贷), as REST JSON.
//!
//! Known by the borrower's id number, fifty in a call. Amounts in wan (10 000 yuan), dates `2026年3月10日`.
//! Rules: at most 50 000 yuan and three years, extended at most once, for production only.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::world::{Date, Household, Member, World};

#[derive(Debug, Clone)]
pub struct Loan {
    pub contract: String,
    pub borrower: String,
    pub borrower_name: String,
    pub bank: &'static str,
    /// Yuan; whole hundreds.
    pub amount: i64,
    pub balance: i64,
    pub purpose: &'static str,
    pub started_on: Date,
    pub due_on: Date,
    pub extended: bool,
}

const BANKS: [&str; 3] = ["浙江缙云农村商业银行", "中国邮政储蓄银行缙云县支行", "中国农业银行缙云县支行"];
const PURPOSES: [&str; 6] = ["茭白种植", "麻鸭养殖", "黄茶种植", "香菇种植", "烧饼经营", "农机购置"];

/// Loans of one person: the first living member of working age borrows for the household.
pub fn loans(household: &Household, member: &Member) -> Vec<Loan> {
    let borrower = household.living().find(|other| (20..=65).contains(&other.age()));
    if household.almost_nothing() || borrower.is_none_or(|borrower| borrower.id_number != member.id_number) {
        return Vec::new();
    }
    let mut roll = member.roll("banks-association/loan");
    let borrows = household.one_in(3, "banks-association/loan") || roll.chance(30);
    let count = if borrows { 1 + roll.below(2) } else { 0 };
    (0..count).map(|index| loan(member, index)).collect()
}

fn loan(member: &Member, index: u64) -> Loan {
    let mut roll = member.roll(&format!("banks-association/loan/{index}"));
    let amount = (50 + roll.below(451) as i64) * 100;
    // The second loan starts after the first was paid back.
    let year = if index == 0 { 2024 + roll.below(2) as i32 } else { 2019 + roll.below(2) as i32 };
    let started_on = Date::new(year, 1 + roll.below(12) as u32, 1 + roll.below(28) as u32);
    let extended = roll.chance(15);
    let due_on = Date { y: year + 1 + roll.below(3) as i32 + i32::from(extended), ..started_on };
    let balance = if index == 0 { amount * roll.below(11) as i64 / 10 / 100 * 100 } else { 0 };
    Loan {
        contract: format!("XEXD{year}{:08}", roll.below(100_000_000)),
        borrower: member.id_number.clone(),
        borrower_name: member.name.clone(),
        bank: BANKS[roll.below(BANKS.len() as u64) as usize],
        amount,
        balance,
        purpose: PURPOSES[roll.below(PURPOSES.len() as u64) as usize],
        started_on,
        due_on,
        extended,
    }
}

pub fn router(world: World) -> Router {
    Router::new().route("/pbc/microloans/query", post(query)).with_state(world)
}

/// Id numbers in one call at most.
const BATCH_MAX: usize = 50;

async fn query(State(world): State<World>, Json(body): Json<Value>) -> Json<Value> {
    let Some(ids) = body.get("certNos").and_then(Value::as_array) else {
        return Json(json!({"retCode": "E001", "retMsg": "certNos 缺失", "data": null}));
    };
    if ids.len() > BATCH_MAX {
        return Json(json!({"retCode": "E002", "retMsg": "certNos 最多 50 个", "data": null}));
    }
    let loans: Vec<Value> = ids
        .iter()
        .filter_map(Value::as_str)
        .filter_map(|id| world.person(id))
        .flat_map(|(household, index)| loans(&household, &household.members[index]))
        .map(|loan| {
            json!({
                "contractNo": loan.contract, "certNo": loan.borrower, "custName": loan.borrower_name,
                "bankName": loan.bank, "loanAmt": wan(loan.amount), "loanBal": wan(loan.balance),
                "usage": loan.purpose, "startDate": loan.started_on.chinese(), "dueDate": loan.due_on.chinese(),
                "extFlag": if loan.extended { "Y" } else { "N" },
            })
        })
        .collect();
    Json(json!({"retCode": "S000", "retMsg": "success", "data": {"total": loans.len(), "loans": loans}}))
}

fn wan(yuan: i64) -> String {
    format!("{}.{:04}", yuan / 10_000, yuan % 10_000)
}

/// Item 50.
pub fn expected(_world: &World, household: &Household) -> Value {
    let list: Vec<Value> = household
        .members
        .iter()
        .flat_map(|member| loans(household, member))
        .map(|loan| {
            json!({
                "bank": loan.bank,
                "amount": format!("{}.00", loan.amount), "balance": format!("{}.00", loan.balance),
                "purpose": loan.purpose, "startedOn": loan.started_on.to_string(), "dueOn": loan.due_on.to_string(),
                "extended": loan.extended,
            })
        })
        .collect();
    if list.is_empty() { json!({}) } else { json!({"loans.microloans": list}) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn loans_come_by_fifty_borrowers_at_most() {
        let (world, _) = ask::world();
        let ids: Vec<String> = world
            .village_household_ids("331122101348")
            .filter_map(|id| world.household(&id))
            .map(|household| household.head().id_number.clone())
            .collect();
        let (_, answer) = ask::post(router(world.clone()), "/pbc/microloans/query", json!({"certNos": ids})).await;
        assert_eq!(answer["retCode"], "S000");
        assert!(answer["data"]["loans"].as_array().unwrap().len() >= 5);
        let many = vec!["331122"; 51];
        let (_, answer) = ask::post(router(world), "/pbc/microloans/query", json!({"certNos": many})).await;
        assert_eq!(answer["retCode"], "E002");
    }

    #[test]
    fn loans_keep_to_their_rules_and_are_dense() {
        let (world, _) = ask::world();
        for id in world.village_household_ids("331122101348") {
            let household = world.household(&id).unwrap();
            for loan in household.members.iter().flat_map(|member| loans(&household, member)) {
                assert!(loan.amount <= 50_000 && loan.balance <= loan.amount);
                assert!(loan.due_on.y - loan.started_on.y <= 3 + i32::from(loan.extended));
            }
        }
        ask::dense(expected, &["loans.microloans"]);
    }
}
