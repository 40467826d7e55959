//! 农业农村局: the register of low-income households, which everything else hangs on.
//!
//! REST with JSON, every answer in `{"code":0,"msg":"ok","data":…}` (status 200, also for errors), keys of
//! pinyin initials. Requests are signed with HMAC-SM3 over sorted parameters, timestamp and nonce.
//! The department lists whom it assessed: the dead and the departed stay until the next assessment.

mod sign;

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::civil_affairs::{self, Class};
use crate::police;
use crate::standing;
use crate::world::{Date, Exception, Household, Member, Role, Sex, World, yuan};

/// Ids in one batch.
const BATCH_MAX: usize = 200;
/// Rows of one page of the list.
const PAGE_MAX: usize = 200;

/// What the department knows of a household beside its members.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Table low-income-category.
    pub category: &'static str,
    /// Day and reason of exit.
    pub exited: Option<(Date, &'static str)>,
    pub recognized_on: Date,
    /// Table hardship-causes.
    pub causes: Vec<&'static str>,
    pub member_count: usize,
    pub labour_count: usize,
    /// Hundredths of a mu.
    pub farmland: Option<i64>,
    pub per_capita_fen: Option<i64>,
    pub dividend_fen: Option<i64>,
    /// As heard from civil affairs, some time ago; table dibao-status.
    pub dibao_status: &'static str,
    pub marginal: bool,
}

const METHOD: &str = "家庭年可支配收入除以认定人口";

pub fn facts(household: &Household) -> Facts {
    let class = civil_affairs::class(household);
    let disagrees = household.exception == Some(Exception::DibaoDisagrees);
    let nothing = household.almost_nothing();
    let (category, dibao_status, marginal) = match class {
        _ if disagrees => ("09", "05", false),
        Some(Class::Dibao) => ("01", "01", false),
        Some(Class::Marginal) => ("02", civil_affairs::dibao_status(household).unwrap_or("05"), true),
        Some(Class::ExtremePoverty) => ("03", "05", false),
        None => ("09", "05", false),
    };
    let mut roll = household.roll("agriculture/facts");
    let recognized_on = roll.date(2016, 2021);
    let exited_on = roll.date(2022, 2024);
    let reason = roll.pick(&["收入稳定超过标准", "自愿退出", "家庭成员就业"]);
    let area = roll.amount_fen(60, 980);
    let income = civil_affairs::income_fen(household);
    let dividend = roll.amount_fen(80_000, 460_000);
    Facts {
        category,
        exited: household.one_in(7, "agriculture/exit").then_some((exited_on, reason)),
        recognized_on,
        causes: causes(household),
        member_count: household.members.len()
            + usize::from(household.exception == Some(Exception::MemberCountDisagrees)),
        labour_count: household.members.iter().filter(|m| (18..60).contains(&m.age())).count(),
        farmland: (!nothing).then_some(area),
        per_capita_fen: income,
        dividend_fen: household.one_in(2, "agriculture/dividend").then_some(dividend),
        dibao_status,
        marginal,
    }
}

fn causes(household: &Household) -> Vec<&'static str> {
    if household.almost_nothing() {
        return Vec::new();
    }
    let mut roll = household.roll("agriculture/causes");
    let first = roll.pick(&["01", "02", "04", "05", "06", "07", "08", "99"]);
    let mut causes = vec![first];
    if household.members.iter().any(|member| member.role == Role::Child) && roll.chance(50) {
        causes.push("03");
    }
    causes.sort_unstable();
    causes
}

fn record(household: &Household) -> Value {
    let facts = facts(household);
    let division = &household.division;
    let head = household.head();
    json!({
        "hbh": household.id,
        "znm": household.agri_code,
        "hzxm": head.name,
        "hzsfzh": head.id_number,
        "lxdh": household.phone,
        "jtzz": household.address,
        "xzqh": {
            "dm": division.code, "mc": division.name, "sheng": division.province, "shi": division.city,
            "xian": division.county, "xiang": division.town, "cun": division.village,
        },
        "wgbh": household.grid,
        "dsrlx": facts.category,
        "zczt": if facts.exited.is_some() { "2" } else { "1" },
        "tcrq": facts.exited.map(|(day, _)| day.to_string()),
        "tcyy": facts.exited.map(|(_, reason)| reason),
        "rdrq": facts.recognized_on.to_string(),
        // The monthly check: not on one day everywhere.
        "gxrq": household.today.plus_days(-(household.roll("agriculture/checked").below(30) as i64)).to_string(),
        "zpyy": facts.causes.join(","),
        "jtrks": facts.member_count,
        "ldlrs": facts.labour_count,
        "sfzhs": household.members.iter().map(|member| member.id_number.as_str()).collect::<Vec<_>>(),
        "cy": household.members.iter().map(|member| person(household, member)).collect::<Vec<_>>(),
        "cbdmj": facts.farmland.map(yuan),
        "rjsr": facts.per_capita_fen.map(yuan),
        "srnd": facts.per_capita_fen.map(|_| household.today.y - 1),
        "srhsff": facts.per_capita_fen.map(|_| METHOD),
        "btzsfh": facts.dividend_fen.map(yuan),
        "dbzt": facts.dibao_status,
        "dbby": if facts.marginal { "1" } else { "0" },
    })
}

fn person(household: &Household, member: &Member) -> Value {
    json!({
        "sfzh": member.id_number,
        "xm": member.name,
        "xbdm": member.sex.code(),
        "mzdm": member.nationality,
        "csrq": member.birth.compact(),
        "yhzgx": member.relation,
        "gtsh": if member.lives_together { "1" } else { "0" },
        "sfsyr": if member.is_supporter { "1" } else { "0" },
        "hbh": household.id,
    })
}

/// A subsidy for a machine that a member bought.
#[derive(Debug, Clone)]
pub struct MachinerySubsidy {
    pub machine: &'static str,
    pub amount_fen: i64,
    pub paid_on: Date,
}

/// Of those who still work the land; one a person at most.
pub fn machinery_subsidy(household: &Household, member: &Member) -> Option<MachinerySubsidy> {
    let mut roll = member.roll("agriculture/machinery");
    let may = !household.almost_nothing() && member.alive && (20..71).contains(&member.age());
    (may && roll.chance(if member.role == Role::Head { 24 } else { 4 })).then(|| MachinerySubsidy {
        machine: roll.pick(&["微耕机", "茶叶修剪机", "植保无人驾驶航空器", "轮式拖拉机", "水稻插秧机", "轨道运输机"]),
        amount_fen: roll.amount_fen(4, 160) * 10_000,
        paid_on: roll.date(household.today.y - 5, household.today.y - 1),
    })
}

fn subsidy_record((household, at): &(Household, usize)) -> Option<Value> {
    let member = &household.members[*at];
    let found = machinery_subsidy(household, member)?;
    Some(json!({
        "sfzh": member.id_number, "xm": member.name, "jjmc": found.machine, "btje": yuan(found.amount_fen),
        "ffrq": found.paid_on.to_string(),
    }))
}

pub fn router(world: World) -> Router {
    let guard = sign::Guard::new("agriculture");
    Router::new()
        .route("/api/nh/detail", get(detail))
        .route("/api/nh/batch", post(batch))
        .route("/api/nh/list", get(list))
        .route("/api/nh/code", get(by_code))
        .route("/api/ry/batch", post(people))
        .route("/api/ry/list", get(people_list))
        .route("/api/nj/batch", post(machinery))
        .layer(axum::middleware::from_fn_with_state(guard, sign::check))
        .with_state(world)
}

fn ok(data: Value) -> Json<Value> {
    Json(json!({"code": 0, "msg": "ok", "data": data}))
}

fn failed(code: u32, message: &str) -> Json<Value> {
    Json(json!({"code": code, "msg": message, "data": null}))
}

type Parameters = Query<BTreeMap<String, String>>;

fn parameter<'a>(query: &'a Parameters, name: &str) -> &'a str {
    query.get(name).map_or("", String::as_str)
}

async fn detail(State(world): State<World>, query: Parameters) -> Json<Value> {
    match world.household(parameter(&query, "hbh")) {
        Some(household) => ok(record(&household)),
        None => failed(1404, "查无此户"),
    }
}

fn texts<'a>(body: &'a Value, name: &str) -> Result<Vec<&'a str>, Json<Value>> {
    let list = body.get(name).and_then(Value::as_array).ok_or_else(|| failed(1400, "参数缺失"))?;
    if list.len() > BATCH_MAX {
        return Err(failed(1413, "批量查询不得超过200条"));
    }
    Ok(list.iter().filter_map(Value::as_str).collect())
}

async fn batch(State(world): State<World>, Json(body): Json<Value>) -> Json<Value> {
    match texts(&body, "hbhs") {
        Ok(ids) => ok(ids.into_iter().filter_map(|id| world.household(id)).map(|h| record(&h)).collect()),
        Err(error) => error,
    }
}

async fn people(State(world): State<World>, Json(body): Json<Value>) -> Json<Value> {
    match texts(&body, "sfzhs") {
        Ok(ids) => ok(ids
            .into_iter()
            .filter_map(|id| world.person(id))
            .map(|(household, at)| person(&household, &household.members[at]))
            .collect()),
        Err(error) => error,
    }
}

async fn machinery(State(world): State<World>, Json(body): Json<Value>) -> Json<Value> {
    match texts(&body, "sfzhs") {
        Ok(ids) => {
            ok(ids.into_iter().filter_map(|id| world.person(id)).filter_map(|person| subsidy_record(&person)).collect())
        }
        Err(error) => error,
    }
}

/// Households of a division in key order, and how many there are: `xzqh`, `size`, and the page as `after` (an id) or `page`
/// (from 1).
async fn list(State(world): State<World>, query: Parameters) -> Json<Value> {
    let division = parameter(&query, "xzqh");
    if division.len() < 2 {
        return failed(1400, "参数缺失");
    }
    let size = parameter(&query, "size").parse().unwrap_or(20).clamp(1, PAGE_MAX);
    let page: usize = parameter(&query, "page").parse().unwrap_or(1).max(1);
    let before = world.households_up_to(division, parameter(&query, "after"));
    let first = before.saturating_add((page - 1).saturating_mul(size));
    let total = world.households_in(division);
    let ids: Vec<String> = world.household_ids_from(division, first).take(size).collect();
    let next = if first.saturating_add(ids.len()) < total { ids.last().cloned() } else { None };
    let rows: Value = ids.iter().filter_map(|id| world.household(id)).map(|household| brief(&household)).collect();
    ok(json!({"rows": rows, "next": next, "total": total}))
}

fn brief(household: &Household) -> Value {
    let facts = facts(household);
    json!({
        "hbh": household.id,
        "znm": household.agri_code,
        "hzxm": household.head().name,
        "xzqhdm": household.division.code,
        "dsrlx": facts.category,
        "zczt": if facts.exited.is_some() { "2" } else { "1" },
        "jtrks": facts.member_count,
    })
}

/// Persons of a division, household by household, and how many there are: `xzqh`, `size`, and the page as `after`, a place as
/// `next` names it (the household and how many of its members were told). It is no id number: addresses are logged.
async fn people_list(State(world): State<World>, query: Parameters) -> Json<Value> {
    let division = parameter(&query, "xzqh");
    if division.len() < 2 {
        return failed(1400, "参数缺失");
    }
    let size = parameter(&query, "size").parse().unwrap_or(20).clamp(1, PAGE_MAX);
    let (household, told) = parameter(&query, "after").split_once('-').unwrap_or_default();
    let mut told: usize = told.parse().unwrap_or(0);
    // It goes on within the household that is named, or with the first.
    let first = world.households_up_to(division, household).saturating_sub(1);
    let (mut rows, mut next) = (Vec::new(), None);
    for id in world.household_ids_from(division, first) {
        let Some(household) = world.household(&id) else { continue };
        if rows.len() == size {
            next.get_or_insert(format!("{id}-0"));
            break;
        }
        let left = household.members.iter().skip(std::mem::take(&mut told));
        let skipped = household.members.len() - left.len();
        let taken = left.len().min(size - rows.len());
        let row = |member: &Member| json!({"sfzh": member.id_number, "xm": member.name, "hbh": household.id});
        rows.extend(left.take(taken).map(row));
        if skipped + taken < household.members.len() {
            next = Some(format!("{id}-{}", skipped + taken));
            break;
        }
    }
    ok(json!({"rows": rows, "next": next, "total": world.persons_in(division)}))
}

async fn by_code(State(world): State<World>, query: Parameters) -> Json<Value> {
    match world.household_by_code(parameter(&query, "znm")) {
        Some(household) => ok(json!({"hbh": household.id})),
        None => failed(1404, "查无此码"),
    }
}

/// The items the department owns, as contract paths and values, and the subsidies for machines beside them.
pub fn expected(_world: &World, household: &Household) -> Value {
    let facts = facts(household);
    let division = &household.division;
    let head = household.head();
    let causes: Vec<&str> = facts.causes.iter().map(|code| cause(code)).collect();
    let subsidies = household.members.iter().filter_map(|member| {
        let found = machinery_subsidy(household, member)?;
        Some(json!({
            "name": member.name, "idNumber": member.id_number, "machine": found.machine,
            "amount": yuan(found.amount_fen), "paidOn": found.paid_on.to_string(),
        }))
    });
    json!({
        "recognition.machinerySubsidies": subsidies.collect::<Vec<_>>(),
        "id": household.id,
        "registry.personIds": household.members.iter().map(|m| m.id_number.as_str()).collect::<Vec<_>>(),
        "registry.agriCode": household.agri_code,
        "registry.headName": head.name,
        "registry.phone": household.phone,
        "registry.address": household.address,
        "registry.division": {
            "code": division.code, "name": division.name, "province": division.province, "city": division.city,
            "county": division.county, "town": division.town, "village": division.village,
        },
        "registry.grid": household.grid,
        "registry.category": match facts.category {
            "01" => "DIBAO", "02" => "MARGINAL", "03" => "EXTREME_POVERTY", _ => "OTHER",
        },
        "registry.categoryCode": facts.category,
        "registry.status": {
            "state": if facts.exited.is_some() { "EXITED" } else { "REGISTERED" },
            "stateCode": if facts.exited.is_some() { "2" } else { "1" },
            "exitedOn": facts.exited.map(|(day, _)| day.to_string()),
            "exitReason": facts.exited.map(|(_, reason)| reason),
        },
        "registry.recognizedOn": facts.recognized_on.to_string(),
        "registry.causes": causes,
        "registry.causesCode": facts.causes,
        "registry.memberCount": facts.member_count,
        "registry.labourCount": facts.labour_count,
        "identity.headIdNumber": head.id_number,
        "identity.members": household.members.iter().map(|m| expected_person(household, m)).collect::<Vec<_>>(),
        "assets.farmland": facts.farmland.map(yuan),
        "income.perCapita": facts.per_capita_fen.map(yuan),
        "income.perCapitaYear": facts.per_capita_fen.map(|_| household.today.y - 1),
        "income.perCapitaMethod": facts.per_capita_fen.map(|_| METHOD),
        "income.groupDividend": facts.dividend_fen.map(yuan),
    })
}

fn cause(code: &str) -> &'static str {
    match code {
        "01" => "ILLNESS",
        "02" => "DISABILITY",
        "03" => "SCHOOLING",
        "04" => "DISASTER",
        "05" => "NO_LABOUR",
        "06" => "NO_SKILL",
        "07" => "NO_CAPITAL",
        "08" => "REMOTE",
        _ => "OTHER",
    }
}

/// A Person of the contract: what agriculture holds, and what police say.
pub fn expected_person(household: &Household, member: &Member) -> Value {
    let mut person = json!({
        "idNumber": member.id_number,
        "name": member.name,
        "sex": if member.sex == Sex::Male { "MALE" } else { "FEMALE" },
        "sexCode": member.sex.code(),
        "nationality": if member.nationality == "22" { "She" } else { "Han" },
        "nationalityCode": member.nationality,
        "birthDate": member.birth.to_string(),
        "relation": match member.relation {
            "02" => "HEAD", "10" => "SPOUSE", "20" => "SON", "30" => "DAUGHTER", _ => "PARENT",
        },
        "relationCode": member.relation,
        "livesTogether": member.lives_together,
        "isSupporter": member.is_supporter,
        "household": {"id": household.id},
    });
    for more in [police::expected_person(member), standing::expected_person(household, member)] {
        if let (Value::Object(person), Value::Object(more)) = (&mut person, more) {
            person.extend(more);
        }
    }
    person
}

#[cfg(test)]
mod tests;
