//! 民政局: minimum living allowance (dibao), extreme poverty, temporary aid, the mandates to check deposits, what
//! departments found people entitled to, who is married, and who is whose guardian or has consented to what.
//!
//! REST with JSON in `{"success":true,"result":…}`; money in fen, dates `20210310`, codes. It knows people, and
//! answers up to 200 id numbers at once; whom it has no record of is not in the answer.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::finance;
use crate::housing;
use crate::standing;
use crate::world::{Date, Exception, Household, Member, Role, World, yuan};

const BATCH_MAX: usize = 200;

/// What a household is assessed as. Each excludes the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Dibao,
    Marginal,
    ExtremePoverty,
}

/// `None`: the department has never heard of the household.
pub fn class(household: &Household) -> Option<Class> {
    if household.almost_nothing() {
        return None;
    }
    // Sequence 8 is one of `DibaoDisagrees`, and falls on dibao here.
    Some(match household.sequence % 3 {
        _ if household.exception == Some(Exception::DibaoDisagrees) || household.sequence % 21 == 1 => Class::Dibao,
        2 => Class::Dibao,
        1 => Class::Marginal,
        _ => Class::ExtremePoverty,
    })
}

/// Table dibao-status.
pub fn dibao_status(household: &Household) -> Option<&'static str> {
    Some(match class(household)? {
        Class::Dibao => "01",
        Class::Marginal => household.roll("civil/status").pick(&["02", "03", "04", "05"]),
        Class::ExtremePoverty => "05",
    })
}

/// Table dibao-category.
pub fn dibao_category(household: &Household) -> Option<(&'static str, &'static str)> {
    (class(household)? == Class::Dibao).then(|| {
        household.roll("civil/category").pick(&[
            ("A1", "A类（重病重残）"),
            ("A2", "A类（无劳动能力）"),
            ("B1", "B类（部分劳动能力）"),
            ("C1", "C类（单人保）"),
        ])
    })
}

/// Each counted member's share of the household's allowance.
pub fn dibao_share_fen(household: &Household) -> Option<i64> {
    (class(household)? == Class::Dibao).then(|| household.roll("civil/share").amount_fen(320, 880) * 100)
}

/// Whom the department counts: the living who have not moved.
pub fn counted(household: &Household) -> impl Iterator<Item = &Member> {
    household.members.iter().filter(|member| member.alive && member.moved_on.is_none())
}

/// Yearly income a head, as the department reckons it; agriculture has the same.
pub fn income_fen(household: &Household) -> Option<i64> {
    let (low, high) = match class(household)? {
        Class::Dibao => (480_000, 1_090_000),
        Class::ExtremePoverty => (420_000, 900_000),
        Class::Marginal => (1_100_000, 2_150_000),
    };
    Some(household.roll("civil/income").amount_fen(low, high))
}

/// Extreme poverty support of one member.
#[derive(Debug, Clone)]
pub struct Support {
    pub id_number: String,
    /// Table support-kind.
    pub kind: &'static str,
    pub monthly_fen: i64,
    pub since: Date,
    pub placement: String,
}

pub fn support(household: &Household) -> Option<Support> {
    if class(household)? != Class::ExtremePoverty {
        return None;
    }
    let of_old = |member: &&Member| matches!(member.role, Role::Father | Role::Mother);
    let member = counted(household).find(of_old).unwrap_or(household.head());
    let mut roll = household.roll("civil/support");
    let concentrated = roll.chance(40);
    Some(Support {
        id_number: member.id_number.clone(),
        kind: if concentrated { "1" } else { "2" },
        monthly_fen: roll.amount_fen(1_150, 1_820) * 100,
        since: roll.date(2015, 2024),
        placement: match concentrated {
            true => format!("{}敬老院", household.division.town),
            false => household.head().name.clone(),
        },
    })
}

#[derive(Debug, Clone)]
pub struct Aid {
    pub paid_on: Date,
    pub amount_fen: i64,
    pub reason: &'static str,
    pub kind: &'static str,
}

/// The latest first.
pub fn aid(household: &Household) -> Vec<Aid> {
    if !household.one_in(2, "civil/aid") {
        return Vec::new();
    }
    let mut roll = household.roll("civil/aid");
    let count = 1 + roll.below(4);
    let mut list: Vec<Aid> = (0..count)
        .map(|_| Aid {
            paid_on: household.today.plus_days(-5 - roll.below(1000) as i64),
            amount_fen: roll.amount_fen(5, 60) * 10_000,
            reason: roll.pick(&["重大疾病", "火灾", "交通事故", "就学支出过大", "自然灾害"]),
            kind: roll.pick(&["急难型", "支出型"]),
        })
        .collect();
    list.sort_by(|a, b| b.paid_on.cmp(&a.paid_on).then(a.amount_fen.cmp(&b.amount_fen)));
    list.dedup_by_key(|aid| aid.paid_on);
    list
}

/// The household's mandate to check its deposits.
#[derive(Debug, Clone)]
pub struct Mandate {
    pub number: String,
    pub signed_by: String,
    /// In the past for one household in seven.
    pub expires_on: Date,
}

/// Every registered household has signed one; of those without any assistance it has lapsed.
pub fn mandate(household: &Household) -> Option<Mandate> {
    let mut roll = household.roll("civil/mandate");
    let days = 30 + roll.below(300) as i64;
    let lapsed = household.one_in(7, "civil/mandate") || class(household).is_none();
    Some(Mandate {
        number: format!("HD{}{:06}", household.today.y, roll.below(1_000_000)),
        signed_by: household.head().name.clone(),
        expires_on: household.today.plus_days(if lapsed { -days } else { days }),
    })
}

/// What somebody was found entitled to, and the day it was to be paid.
#[derive(Debug, Clone)]
pub struct Entitlement {
    pub programme: &'static str,
    pub amount_fen: i64,
    pub found_by: &'static str,
    pub due_on: Date,
}

/// Of one member, in no order that means anything. What departments find goes through the assistance system to finance:
/// but for two households, the lists are the same.
pub fn entitlements(household: &Household, member: &Member) -> Vec<Entitlement> {
    let of_payment = |payment: finance::Payment| Entitlement {
        programme: payment.programme,
        amount_fen: payment.amount_fen,
        found_by: payment.entitled_by,
        due_on: payment.paid_on,
    };
    let mut found: Vec<Entitlement> = finance::member_payments(household, member).into_iter().map(of_payment).collect();
    match household.exception.filter(|_| member.role == Role::Head) {
        Some(Exception::PaymentUnknown) => found.push(Entitlement {
            programme: "临时价格补贴",
            amount_fen: 20_000,
            found_by: "民政局",
            due_on: household.today.plus_days(-40),
        }),
        Some(Exception::PaymentDiffers) => {
            if let Some(last) = found.last_mut() {
                last.amount_fen += 5_000;
            }
        }
        _ => {}
    }
    found.sort_by(|a, b| a.programme.cmp(b.programme).then(b.due_on.cmp(&a.due_on)));
    found
}

/// An entry of the register of marriages.
#[derive(Debug, Clone)]
pub struct Marriage {
    /// Table marital-status.
    pub status: &'static str,
    pub registered_on: Date,
}

/// The latest entry of a living member: a marriage, or how one ended. Who never married has none, and of half of the old it
/// lies in files that nobody has read into the system.
pub fn marriage(household: &Household, member: &Member) -> Option<Marriage> {
    if household.almost_nothing() || !member.alive {
        return None;
    }
    let living = |role: Role| household.living().find(|other| other.role == role);
    let other = match member.role {
        Role::Head => living(Role::Spouse),
        Role::Spouse => living(Role::Head),
        Role::Father => living(Role::Mother),
        Role::Mother => living(Role::Father),
        Role::Child | Role::GrownChild => None,
    };
    let of_two = other.map_or(member.birth.y, |other| other.birth.y.max(member.birth.y));
    // A couple has one entry: both draw as the one with the smaller number.
    let (first, second) = (member.id_number.as_str(), other.map_or(member.id_number.as_str(), |it| &it.id_number));
    let mut roll = household.roll(&format!("civil/marriage/{}", first.min(second)));
    let status = match member.role {
        Role::Head | Role::Spouse if other.is_some() => roll.pick(&["21", "21", "21", "22", "23"]),
        Role::Head => roll.pick(&["30", "40", "40"]),
        Role::Father | Role::Mother if roll.chance(50) => return None,
        Role::Father | Role::Mother if other.is_some() => "20",
        Role::Father | Role::Mother => "30",
        Role::GrownChild if member.age() >= 24 && roll.chance(40) => "21",
        Role::Spouse | Role::Child | Role::GrownChild => return None,
    };
    let earliest = (of_two + 22).min(household.today.y - 1);
    let registered_on = roll.date(earliest, (earliest + 9).min(household.today.y - 1));
    Some(Marriage { status, registered_on })
}

fn marriage_record(household: &Household, member: &Member) -> Option<Value> {
    let found = marriage(household, member)?;
    Some(json!({
        "sfzh": member.id_number, "xm": member.name, "hyzk": found.status, "djrq": found.registered_on.compact(),
    }))
}

fn marital_status(code: &str) -> &'static str {
    match code {
        "20" => "MARRIED",
        "21" => "FIRST_MARRIAGE",
        "22" => "REMARRIED",
        "23" => "REMARRIED_SAME_SPOUSE",
        "30" => "WIDOWED",
        _ => "DIVORCED",
    }
}

fn record(household: &Household, member: &Member) -> Option<Value> {
    let class = class(household)?;
    counted(household).find(|other| other.id_number == member.id_number)?;
    let support = support(household).filter(|support| support.id_number == member.id_number);
    let category = dibao_category(household);
    let mut record = json!({
        "sfzh": member.id_number,
        "xm": member.name,
        "dsrlx": match class { Class::Dibao => "01", Class::Marginal => "02", Class::ExtremePoverty => "03" },
        "dbzt": dibao_status(household),
        "dblb": category.map(|(code, _)| code),
        "dblbmc": category.map(|(_, text)| text),
        "dbje": dibao_share_fen(household),
        "dbby": if class == Class::Marginal { "1" } else { "0" },
        "rjsr": income_fen(household),
        "shrq": household.today.plus_days(-(household.roll("civil/reviewed").below(180) as i64)).compact(),
        "tkgy": support.map(|support| json!({
            "gyfs": support.kind, "gybz": support.monthly_fen, "qsrq": support.since.compact(), "gyjg": support.placement,
        })),
    });
    if member.role == Role::Head {
        record["zfdj"] = json!(housing::house(household).map(|house| house.grade));
        record["lsjz"] = aid(household)
            .into_iter()
            .map(|aid| json!({"rq": aid.paid_on.compact(), "je": aid.amount_fen, "yy": aid.reason, "lx": aid.kind}))
            .collect();
    }
    Some(record)
}

fn mandate_record(household: &Household, member: &Member) -> Option<Value> {
    let mandate = mandate(household).filter(|_| member.role == Role::Head)?;
    Some(json!({
        "sfzh": member.id_number, "sqsbh": mandate.number, "qsr": mandate.signed_by,
        "yxqz": mandate.expires_on.compact(),
    }))
}

fn entitlement_record(household: &Household, member: &Member) -> Option<Value> {
    let list: Vec<Value> = entitlements(household, member)
        .iter()
        .map(|one| {
            json!({
                "xmmc": one.programme, "rdje": one.amount_fen, "rdbm": one.found_by, "bfrq": one.due_on.compact(),
            })
        })
        .collect();
    (!list.is_empty()).then(|| json!({"sfzh": member.id_number, "rdxx": list}))
}

fn guardianship_record(household: &Household, member: &Member) -> Option<Value> {
    let list: Vec<Value> = standing::guardianships(household, member)
        .iter()
        .map(|one| {
            json!({
                "jhr": one.guardian, "lb": one.kind, "qsrq": one.since.compact(),
                "zzrq": one.until.map(Date::compact),
            })
        })
        .collect();
    (!list.is_empty()).then(|| json!({"sfzh": member.id_number, "jhgx": list}))
}

fn consent_record(household: &Household, member: &Member) -> Option<Value> {
    let list: Vec<Value> = standing::consents(household, member)
        .iter()
        .map(|one| {
            json!({
                "bsqr": one.to, "nr": one.classes, "yt": one.purpose, "qsrq": one.term.since.compact(),
                "zzrq": one.term.until.map(Date::compact), "chrq": one.term.withdrawn_on.map(Date::compact),
            })
        })
        .collect();
    (!list.is_empty()).then(|| json!({"sfzh": member.id_number, "sqs": list}))
}

pub fn router(world: World) -> Router {
    Router::new()
        .route("/v1/assist/batch", post(async |State(world), Json(body)| answer(&world, &body, record)))
        .route("/v1/mandate/batch", post(async |State(world), Json(body)| answer(&world, &body, mandate_record)))
        .route(
            "/v1/entitlement/batch",
            post(async |State(world), Json(body)| answer(&world, &body, entitlement_record)),
        )
        .route(
            "/v1/guardianship/batch",
            post(async |State(world), Json(body)| answer(&world, &body, guardianship_record)),
        )
        .route("/v1/marriage/batch", post(async |State(world), Json(body)| answer(&world, &body, marriage_record)))
        .route("/v1/consent/batch", post(async |State(world), Json(body)| answer(&world, &body, consent_record)))
        .with_state(world)
}

fn answer(world: &World, body: &Value, record: fn(&Household, &Member) -> Option<Value>) -> Json<Value> {
    let Some(ids) = body.get("ids").and_then(Value::as_array) else {
        return Json(json!({"success": false, "error": {"code": "E400", "text": "缺少参数 ids"}}));
    };
    if ids.len() > BATCH_MAX {
        return Json(json!({"success": false, "error": {"code": "E413", "text": "每次最多 200 人"}}));
    }
    let list: Vec<Value> = ids
        .iter()
        .filter_map(|id| world.person(id.as_str()?))
        .filter_map(|(household, at)| record(&household, &household.members[at]))
        .collect();
    Json(json!({"success": true, "result": {"total": list.len(), "list": list}}))
}

/// The items the department owns, as contract paths and values, and the marriages beside them.
pub fn expected(_world: &World, household: &Household) -> Value {
    let Some(class) = class(household) else { return json!({}) };
    let status = dibao_status(household);
    let category = dibao_category(household);
    let people = counted(household).count() as i64;
    let list: Vec<Value> = aid(household)
        .iter()
        .map(|aid| {
            json!({
                "paidOn": aid.paid_on.to_string(), "amount": yuan(aid.amount_fen), "reason": aid.reason,
                "kind": aid.kind,
            })
        })
        .collect();
    let marriages = household.members.iter().filter_map(|member| {
        let found = marriage(household, member)?;
        Some(json!({
            "name": member.name, "idNumber": member.id_number, "status": marital_status(found.status),
            "statusCode": found.status, "registeredOn": found.registered_on.to_string(),
        }))
    });
    json!({
        "assistance.dibaoStatus": status.map(|code| match code {
            "01" => "RECEIVING", "02" => "PENDING", "03" => "SUSPENDED", "04" => "STOPPED", _ => "NONE",
        }),
        "assistance.dibaoStatusCode": status,
        "assistance.dibaoCategory": category.map(|(_, text)| text),
        "assistance.dibaoCategoryCode": category.map(|(code, _)| code),
        "assistance.dibaoMonthly": dibao_share_fen(household).map(|share| yuan(share * people)),
        "assistance.extremePoverty": support(household).map(|support| json!({
            "kind": if support.kind == "1" { "CONCENTRATED" } else { "DISPERSED" },
            "kindCode": support.kind, "monthly": yuan(support.monthly_fen), "since": support.since.to_string(),
            "placement": support.placement,
        })),
        "assistance.marginal": class == Class::Marginal,
        "assistance.temporaryAid": list,
        "recognition.marriages": marriages.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn a_batch_answers_for_those_it_knows() {
        let (world, household) = ask::world();
        let mut ids: Vec<&str> = household.members.iter().map(|m| m.id_number.as_str()).collect();
        ids.push("110101199003070011");
        let (_, answer) = ask::post(router(world.clone()), "/v1/assist/batch", json!({"ids": ids})).await;
        assert_eq!(answer["success"], true);
        assert_eq!(answer["result"]["list"].as_array().unwrap().len(), 6);
        assert_eq!(answer["result"]["list"][0]["dbzt"], "01");
        let (_, answer) = ask::post(router(world.clone()), "/v1/mandate/batch", json!({"ids": ids})).await;
        assert_eq!(answer["result"]["list"].as_array().unwrap().len(), 1);
        let (_, answer) = ask::post(router(world), "/v1/assist/batch", json!({})).await;
        assert_eq!(answer["success"], false);
    }

    #[test]
    fn what_was_found_is_what_finance_paid_but_for_two_households() {
        let (world, _) = ask::world();
        let mut differ = Vec::new();
        for household in world.village_household_ids("331122101348").filter_map(|id| world.household(&id)) {
            let mut found: Vec<_> =
                household.members.iter().flat_map(|member| entitlements(&household, member)).collect();
            found.sort_by(|a, b| (a.due_on, a.programme, a.amount_fen).cmp(&(b.due_on, b.programme, b.amount_fen)));
            let mut paid = finance::payments(&household);
            paid.sort_by(|a, b| (a.paid_on, a.programme, a.amount_fen).cmp(&(b.paid_on, b.programme, b.amount_fen)));
            let same = found.len() == paid.len()
                && found.iter().zip(&paid).all(|(found, paid)| {
                    (found.due_on, found.programme, found.amount_fen, found.found_by)
                        == (paid.paid_on, paid.programme, paid.amount_fen, paid.entitled_by)
                });
            if !same {
                differ.push(household.sequence);
            }
        }
        assert_eq!(differ, [17, 19]);
    }

    #[test]
    fn a_couple_has_one_entry_in_the_register_of_marriages_and_some_have_none() {
        let (world, _) = ask::world();
        let households: Vec<_> =
            world.village_household_ids("331122101348").filter_map(|id| world.household(&id)).collect();
        let entry = |household: &Household, role: Role| {
            let member = household.members.iter().find(|member| member.role == role)?;
            marriage(household, member).map(|found| (found.status, found.registered_on))
        };
        for household in households.iter().filter(|household| household.members.iter().any(|m| m.role == Role::Spouse))
        {
            assert_eq!(entry(household, Role::Head), entry(household, Role::Spouse), "{}", household.id);
        }
        let all = households.iter().flat_map(|household| household.members.iter().map(move |it| (household, it)));
        let (some, none): (Vec<_>, Vec<_>) =
            all.filter(|(_, member)| member.age() >= 18).partition(|(household, it)| marriage(household, it).is_some());
        assert!(some.len() >= 10 && none.len() >= 10, "{} {}", some.len(), none.len());
    }

    #[test]
    fn every_item_is_dense() {
        let paths = ["dibaoStatus", "dibaoCategory", "dibaoMonthly", "extremePoverty", "marginal", "temporaryAid"];
        let paths: Vec<String> = paths.iter().map(|path| format!("assistance.{path}")).collect();
        ask::dense(expected, &paths.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
