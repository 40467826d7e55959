//! 商业银行: 73 banks that answer alike, each with its own server and key.
//!
//! REST with JSON, key in `X-Api-Key`; at most 100 id numbers a call. A bank says of each number only whether
//! it has an account and whether that is over the line.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::civil_affairs;
use crate::registry::BANKS;
use crate::world::{Household, Member, Roll, World};

const BATCH_MAX: usize = 100;

/// Names in the order of `resolvers/banks.csv`.
pub fn names() -> impl Iterator<Item = &'static str> {
    include_str!("../data/banks.txt").lines()
}

/// `(account, over the line)` at one bank, from 1 to 73.
pub fn account(household: &Household, member: &Member, instance: usize) -> (bool, bool) {
    if household.almost_nothing() || !member.alive || member.age() < 16 {
        return (false, false);
    }
    let mut roll = member.roll(&format!("bank/{instance}"));
    // People keep their money at the big ones and at the county's own.
    let has = roll.chance(if instance <= 8 { 40 } else { 3 });
    (has, has && roll.chance(6))
}

#[derive(Clone)]
struct Bank {
    world: World,
    instance: usize,
    key: String,
}

/// How long a bank's answer takes, from and to (exclusive): between 5 and 41 ms, each bank its own.
pub fn latency_ms(instance: usize) -> (u64, u64) {
    let from = Roll::new(0, "", "bank latency").below(7) + 5 + instance as u64 % 27;
    (from, from + 4)
}

/// The router of one bank; `instance` from 1 to 73.
pub fn router(world: World, instance: usize) -> Router {
    let key = crate::server::secret(&format!("bank-{instance:02}"));
    Router::new().route("/openapi/v2/accounts/check", post(check)).with_state(Bank { world, instance, key })
}

async fn check(State(bank): State<Bank>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if headers.get("x-api-key").is_none_or(|key| key.as_bytes() != bank.key.as_bytes()) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"retCode": "9401", "retMsg": "未授权"}))).into_response();
    }
    let ids = body.get("certNos").and_then(Value::as_array);
    let Some(ids) = ids.filter(|ids| ids.len() <= BATCH_MAX) else {
        return Json(json!({"retCode": "9400", "retMsg": "certNos 缺失或超过 100 条"})).into_response();
    };
    let list: Vec<Value> = ids
        .iter()
        .filter_map(Value::as_str)
        .filter_map(|id| Some((id, bank.world.person(id)?)))
        .map(|(id, (household, at))| {
            let (has, over) = account(&household, &household.members[at], bank.instance);
            json!({"certNo": id, "hasAcct": u8::from(has).to_string(), "overLimit": u8::from(over).to_string()})
        })
        .collect();
    Json(json!({"retCode": "0000", "retMsg": "成功", "data": {"list": list}})).into_response()
}

/// The items the department owns, as contract paths and values.
pub fn expected(_world: &World, household: &Household) -> Value {
    let Some(mandate) = civil_affairs::mandate(household) else { return json!({}) };
    let mut deposits = json!({
        "mandate": {
            "number": mandate.number, "signedBy": mandate.signed_by, "expiresOn": mandate.expires_on.to_string(),
        },
        "hasAccount": null, "overThreshold": null, "total": null, "totalCode": null, "banks": null,
    });
    // No bank is asked without a mandate that holds.
    if mandate.expires_on >= household.today {
        let any = |at: usize| {
            household
                .members
                .iter()
                .map(|member| account(household, member, at))
                .fold((false, false), |a, b| (a.0 || b.0, a.1 || b.1))
        };
        let answers: Vec<(bool, bool)> = (1..=BANKS).map(any).collect();
        let banks: Vec<Value> = answers
            .iter()
            .zip(names())
            .enumerate()
            .map(|(at, ((has, over), name))| {
                json!({
                    "bank": format!("{:02}", at + 1), "name": name, "state": "ANSWERED", "code": null,
                    "hasAccount": has, "overThreshold": over,
                })
            })
            .collect();
        deposits["hasAccount"] = json!(answers.iter().any(|(has, _)| *has));
        deposits["overThreshold"] = json!(answers.iter().any(|(_, over)| *over));
        deposits["total"] = json!("UNDETERMINED");
        deposits["banks"] = Value::Array(banks);
    }
    json!({"assets.deposits": deposits})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn a_bank_refuses_without_its_key() {
        let (status, answer) =
            ask::post(router(ask::world().0, 7), "/openapi/v2/accounts/check", json!({"certNos": []})).await;
        assert_eq!((status, answer["retCode"].as_str()), (StatusCode::UNAUTHORIZED, Some("9401")));
    }

    #[test]
    fn there_is_a_name_for_every_bank() {
        assert_eq!(names().count(), BANKS);
        assert_eq!(names().collect::<std::collections::BTreeSet<_>>().len(), BANKS);
    }

    #[test]
    fn every_item_is_dense() {
        ask::dense(expected, &["assets.deposits"]);
    }
}
