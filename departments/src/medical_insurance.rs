//! 医保局: one URL for everything, the transaction's number in the body, and HTTP 200 even for errors.

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};

use crate::money::yuan;
use crate::world::{Household, Member, World};

/// Certificate numbers one transaction takes.
const BATCH_MAX: usize = 100;

/// National outpatient chronic and special disease codes, as the insurance platform names them.
const CHRONIC: [(&str, &str); 6] = [
    ("M03900", "高血压"),
    ("M01600", "糖尿病"),
    ("M04600", "冠心病"),
    ("M00500", "恶性肿瘤门诊治疗"),
    ("M07800", "慢性肾功能衰竭"),
    ("M05300", "慢性阻塞性肺疾病"),
];

/// What the department knows of one living person.
struct Insurance {
    insured: bool,
    employee: bool,
    assistance_fen: i64,
    self_paid_fen: i64,
    /// Code, name, from, until (ISO).
    chronic: Option<(&'static str, &'static str, String, String)>,
    /// Why not insured.
    reason: &'static str,
}

fn insurance(household: &Household, index: usize) -> Option<Insurance> {
    let member = household.members.get(index).filter(|member| member.alive)?;
    let mut roll = member.roll("medical-insurance");
    let insured = !(household.sequence % 7 == 3 && index + 1 == household.members.len());
    let employee = (22..60).contains(&member.age()) && roll.chance(20);
    let patient = member.age() >= 45 && (household.one_in(3, "chronic") || roll.chance(25));
    let ill = index == 0 && household.one_in(3, "major illness");
    let assistance_fen = match (insured, ill || patient) {
        (true, true) => roll.amount_fen(30_000, 860_000),
        _ => 0,
    };
    let self_paid_fen = match (ill, patient) {
        (true, _) => roll.amount_fen(800_000, 4_600_000),
        (_, true) => roll.amount_fen(60_000, 540_000),
        _ => roll.amount_fen(0, 60_000),
    };
    let chronic = (insured && patient).then(|| {
        let (code, name) = roll.pick(&CHRONIC);
        let from = roll.date(2021, 2024);
        (code, name, from.to_string(), from.plus_days(5 * 365).to_string())
    });
    let reason = roll.pick(&["未缴纳本年度保费", "在外地参保待核实", "本人暂不参保"]);
    Some(Insurance { insured, reason, employee, assistance_fen, self_paid_fen, chronic })
}

/// The department's server.
pub fn router(world: World) -> Router {
    Router::new().route("/fsi/api/service", post(transaction)).with_state(world)
}

async fn transaction(State(world): State<World>, Json(request): Json<Value>) -> Json<Value> {
    let refused = |message: &str| {
        Json(json!({"infcode": -1, "inf_refmsgid": "331100000000", "err_msg": message, "output": null}))
    };
    let ids: Vec<&str> =
        request["input"]["certnos"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if ids.is_empty() {
        return refused("certnos不能为空");
    }
    if ids.len() > BATCH_MAX {
        return refused("certnos超过100个");
    }
    let write: fn(&Member, &Insurance) -> Vec<Value> = match request["infno"].as_str() {
        Some("HX1101") => enrolment,
        Some("HX5203") => spending,
        Some("HX5301") => chronic,
        _ => return refused("交易编号不存在"),
    };
    let mut list = Vec::new();
    for id in ids {
        let Some((household, index)) = world.person(id) else { continue };
        if let Some(facts) = insurance(&household, index) {
            list.extend(write(&household.members[index], &facts));
        }
    }
    Json(json!({"infcode": 0, "inf_refmsgid": "331100000001", "err_msg": "", "output": {"psnlist": list}}))
}

fn enrolment(member: &Member, facts: &Insurance) -> Vec<Value> {
    vec![json!({
        "certno": member.id_number, "psn_name": member.name, "insu_admdvs": member.id_number[..6],
        "psn_insu_stas": if facts.insured { "1" } else { "0" },
        "uninsu_rsn": if facts.insured { "" } else { facts.reason },
        "insutype": if facts.employee { "310" } else { "390" },
    })]
}

fn spending(member: &Member, facts: &Insurance) -> Vec<Value> {
    vec![json!({
        "certno": member.id_number,
        "maf_pay_year": yuan(facts.assistance_fen),
        "psn_pay_12m": yuan(facts.self_paid_fen),
    })]
}

fn chronic(member: &Member, facts: &Insurance) -> Vec<Value> {
    let line = |(code, name, from, until): &(&str, &str, String, String)| {
        json!({
            "certno": member.id_number, "psn_name": member.name, "opsp_dise_code": code, "opsp_dise_name": name,
            "begndate": from, "enddate": until,
        })
    };
    facts.chronic.iter().map(line).collect()
}

/// Items 22 to 25, from the facts alone.
pub fn expected(_world: &World, household: &Household) -> Value {
    let known: Vec<(&Member, Insurance)> = (0..household.members.len())
        .filter_map(|index| Some((&household.members[index], insurance(household, index)?)))
        .collect();
    let sum = |of: fn(&Insurance) -> i64| yuan(known.iter().map(|(_, facts)| of(facts)).sum());
    let uninsured = |(member, facts): &(&Member, Insurance)| {
        (!facts.insured).then(|| json!({"name": member.name, "idNumber": member.id_number, "reason": facts.reason}))
    };
    let benefit = |(member, facts): &(&Member, Insurance)| {
        let (code, illness, from, until) = facts.chronic.clone()?;
        Some(json!({
            "name": member.name, "idNumber": member.id_number, "code": code, "illness": illness,
            "since": from, "until": until,
        }))
    };
    json!({
        "medical.insured": known.iter().all(|(_, facts)| facts.insured),
        "medical.uninsured": known.iter().filter_map(uninsured).collect::<Vec<_>>(),
        "medical.assistanceThisYear": sum(|facts| facts.assistance_fen),
        "medical.selfPaid12Months": sum(|facts| facts.self_paid_fen),
        "medical.chronicBenefits": known.iter().filter_map(benefit).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn every_transaction_goes_to_one_url_and_errors_come_with_http_200() {
        let (world, household) = ask::world();
        let ids: Vec<&str> = household.members.iter().map(|member| member.id_number.as_str()).collect();
        let ask = json!({"infno": "HX1101", "input": {"certnos": ids}});
        let (_, answer) = ask::post(router(world.clone()), "/fsi/api/service", ask).await;
        assert_eq!(answer["infcode"], 0);
        assert_eq!(answer["output"]["psnlist"].as_array().unwrap().len(), household.living().count());
        let ask = json!({"infno": "HX9999", "input": {"certnos": ids}});
        let (status, answer) = ask::post(router(world), "/fsi/api/service", ask).await;
        assert_eq!((status.as_u16(), &answer["infcode"]), (200, &json!(-1)));
    }

    #[test]
    fn every_item_is_answered_in_five_of_21_households() {
        let items = ["insured", "assistanceThisYear", "selfPaid12Months", "chronicBenefits"];
        ask::dense(expected, &items.map(|item| format!("medical.{item}")).each_ref().map(String::as_str));
    }
}
