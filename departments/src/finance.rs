//! 财政局: payments through the one-card system (一卡通), as XML over REST.
//!
//! Payments are known by the payee's id number. Three years are kept, so a household has thirty payments and
//! more. Amounts are yuan with two digits, dates `20260310`; an element that has no value is there and empty.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::civil_affairs;
use crate::world::{Date, Household, Member, World};

/// One payment to one person.
#[derive(Debug, Clone)]
pub struct Payment {
    pub payee: String,
    pub payee_name: String,
    pub programme: &'static str,
    pub amount_fen: i64,
    pub entitled_by: &'static str,
    pub agricultural: bool,
    pub paid_on: Date,
    pub arrived_on: Option<Date>,
    pub bank: &'static str,
    pub last4: String,
    /// Raw code: `1` paid and under way, `2` arrived, `9` sent back by the bank.
    pub status: &'static str,
}

const BANKS: [&str; 4] = ["浙江缙云农村商业银行", "中国农业银行", "中国邮政储蓄银行", "中国工商银行"];

// Programme, entitled by, month paid, fen from and to, agricultural, percent of households.
const YEARLY: [(&str, &str, u32, i64, i64, bool, u64); 6] = [
    ("耕地地力保护补贴", "农业农村局", 5, 12_000, 68_000, true, 90),
    ("实际种粮农民一次性补贴", "农业农村局", 6, 5_000, 24_000, true, 70),
    ("规模种粮补贴", "农业农村局", 9, 20_000, 160_000, true, 25),
    ("公益林补偿", "自然资源局", 4, 8_000, 42_000, false, 80),
    ("春节慰问金", "民政局", 1, 50_000, 100_000, false, 85),
    ("低收入农户医疗补充保险补助", "医保局", 3, 10_000, 30_000, false, 75),
];

/// All payments of a household up to today, by payee in the order of members, then by date.
pub fn payments(household: &Household) -> Vec<Payment> {
    household.members.iter().flat_map(|member| member_payments(household, member)).collect()
}

/// One member's payments up to today, by date.
pub fn member_payments(household: &Household, member: &Member) -> Vec<Payment> {
    let (mut made, now) = (Vec::new(), household.today);
    if !member.alive || household.almost_nothing() {
        return made;
    }
    let first =
        household.members.iter().find(|other| other.alive).is_some_and(|other| other.id_number == member.id_number);
    for year in now.y - 2..=now.y {
        if first {
            head_payments(household, member, year, &mut made);
        }
        if member.age() >= 70 {
            let monthly = member.roll("finance/old-age").amount_fen(5_000, 10_000);
            for month in [3, 6, 9, 12] {
                made.push(payment(member, "高龄津贴", "民政局", monthly * 3, false, Date::new(year, month, 20)));
            }
        }
    }
    made.retain(|payment| payment.paid_on <= now);
    made.sort_by(|a, b| a.paid_on.cmp(&b.paid_on).then(a.programme.cmp(b.programme)));
    settle(member, &mut made);
    made
}

fn head_payments(household: &Household, member: &Member, year: i32, made: &mut Vec<Payment>) {
    // What civil affairs grant is what finance pays.
    let (programme, by, monthly) = match civil_affairs::dibao_share_fen(household) {
        Some(share) => ("最低生活保障金", "民政局", share * civil_affairs::counted(household).count() as i64),
        None => ("低收入农户生活补助", "农业农村局", household.roll("finance/low-income").amount_fen(10_000, 26_000)),
    };
    for month in 1..=12 {
        made.push(payment(member, programme, by, monthly, false, Date::new(year, month, 10)));
    }
    for (programme, by, month, low, high, agricultural, percent) in YEARLY {
        let mut roll = household.roll(&format!("finance/{programme}/{year}"));
        if roll.chance(percent) {
            let amount = roll.amount_fen(low, high);
            made.push(payment(member, programme, by, amount, agricultural, Date::new(year, month, 25)));
        }
    }
}

fn payment(
    member: &Member,
    programme: &'static str,
    entitled_by: &'static str,
    amount_fen: i64,
    agricultural: bool,
    paid_on: Date,
) -> Payment {
    let mut roll = member.roll("finance/card");
    let bank = BANKS[roll.below(BANKS.len() as u64) as usize];
    let last4 = format!("{:04}", roll.below(10_000));
    Payment {
        payee: member.id_number.clone(),
        payee_name: member.name.clone(),
        programme,
        amount_fen,
        entitled_by,
        agricultural,
        paid_on,
        arrived_on: None,
        bank,
        last4,
        status: "1",
    }
}

// The last payment may be under way; now and then one comes back from the bank; the others arrived.
fn settle(member: &Member, made: &mut [Payment]) {
    let count = made.len();
    for (index, payment) in made.iter_mut().enumerate() {
        let mut roll = member.roll(&format!("finance/settle/{}/{}", payment.programme, payment.paid_on));
        if index + 1 == count && roll.chance(40) {
            continue;
        }
        if roll.chance(3) {
            payment.status = "9";
        } else {
            payment.status = "2";
            let later = roll.below(4) as i64;
            payment.arrived_on = Some(payment.paid_on.plus_days(later));
        }
    }
}

/// Fen paid out in `year`, and the agricultural ones among them; what a bank sent back is paid again and counts.
/// None where there was never a payment.
pub fn totals<'a>(payments: impl Iterator<Item = &'a Payment>, year: i32) -> Option<(i64, i64)> {
    payments.fold(None, |sum, payment| {
        let (all, agricultural) = sum.unwrap_or((0, 0));
        if payment.paid_on.y != year {
            return Some((all, agricultural));
        }
        let more = if payment.agricultural { payment.amount_fen } else { 0 };
        Some((all + payment.amount_fen, agricultural + more))
    })
}

pub fn router(world: World) -> Router {
    Router::new()
        .route("/fiscal/ykt/payments", get(list_payments))
        .route("/fiscal/ykt/totals", get(list_totals))
        .with_state(world)
}

type Parameters = Query<Vec<(String, String)>>;

/// The most id numbers one call takes.
const BATCH_MAX: usize = 100;

fn asked(parameters: &[(String, String)]) -> Result<Vec<&str>, Box<Response>> {
    let ids: Vec<&str> =
        parameters.iter().filter(|(name, _)| name == "sfzh").map(|(_, value)| value.as_str()).collect();
    match ids.len() {
        0 => Err(Box::new(xml("9001", "缺少参数 sfzh", ""))),
        count if count > BATCH_MAX => Err(Box::new(xml("9002", "sfzh 超过 100 个", ""))),
        _ => Ok(ids),
    }
}

fn payments_of(world: &World, id_number: &str) -> Vec<Payment> {
    let Some((household, index)) = world.person(id_number) else { return Vec::new() };
    member_payments(&household, &household.members[index])
}

async fn list_payments(State(world): State<World>, Query(parameters): Parameters) -> Response {
    let ids = match asked(&parameters) {
        Ok(ids) => ids,
        Err(refused) => return *refused,
    };
    let mut rows = String::new();
    for payment in ids.iter().flat_map(|id| payments_of(&world, id)) {
        let arrived = payment.arrived_on.map(Date::compact).unwrap_or_default();
        rows.push_str(&format!(
            "<ROW><SFZH>{}</SFZH><XM>{}</XM><BTXM>{}</BTXM><FFJE>{}</FFJE><ZGBM>{}</ZGBM><FFRQ>{}</FFRQ>\
             <DZRQ>{arrived}</DZRQ><KHH>{}</KHH><KHWH>{}</KHWH><ZT>{}</ZT></ROW>",
            payment.payee,
            payment.payee_name,
            payment.programme,
            yuan(payment.amount_fen),
            payment.entitled_by,
            payment.paid_on.compact(),
            payment.bank,
            payment.last4,
            payment.status,
        ));
    }
    xml("0000", "成功", &rows)
}

async fn list_totals(State(world): State<World>, Query(parameters): Parameters) -> Response {
    let ids = match asked(&parameters) {
        Ok(ids) => ids,
        Err(refused) => return *refused,
    };
    let year = parameters.iter().find(|(name, _)| name == "nd").and_then(|(_, year)| year.parse().ok());
    let Some(year) = year else { return xml("9001", "缺少参数 nd", "") };
    let mut rows = String::new();
    for id in ids {
        if let Some((all, agricultural)) = totals(payments_of(&world, id).iter(), year) {
            rows.push_str(&format!(
                "<ROW><SFZH>{id}</SFZH><ND>{year}</ND><BTHJ>{}</BTHJ><NYBT>{}</NYBT></ROW>",
                yuan(all),
                yuan(agricultural),
            ));
        }
    }
    xml("0000", "成功", &rows)
}

fn xml(code: &str, text: &str, rows: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<RESPONSE><HEAD><CODE>{code}</CODE><DESC>{text}</DESC></HEAD>\
         <BODY><ROWS>{rows}</ROWS></BODY></RESPONSE>"
    );
    ([(CONTENT_TYPE, "application/xml; charset=utf-8")], body).into_response()
}

fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

/// Items 51 to 53.
pub fn expected(_world: &World, household: &Household) -> Value {
    let mut payments = payments(household);
    let Some((all, agricultural)) = totals(payments.iter(), household.today.y) else { return json!({}) };
    // The contract lists the latest first.
    payments.sort_by_key(|payment| std::cmp::Reverse(payment.paid_on));
    let list: Vec<Value> = payments
        .iter()
        .map(|payment| {
            let status = match payment.status {
                "2" => "ARRIVED",
                "1" => "PAID",
                _ => "RETURNED",
            };
            json!({
                "programme": payment.programme, "amount": yuan(payment.amount_fen), "entitledBy": payment.entitled_by,
                "paidOn": payment.paid_on.to_string(), "arrivedOn": payment.arrived_on.map(|day| day.to_string()),
                "bank": payment.bank, "accountLast4": payment.last4, "status": status, "statusCode": payment.status,
            })
        })
        .collect();
    json!({
        "funds.disbursements": list,
        "funds.totalThisYear": yuan(all),
        "funds.agriculturalSubsidy": yuan(agricultural),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn payments_and_totals_of_several_people_come_in_one_xml_answer() {
        let (world, household) = ask::world();
        let year = household.today.y.to_string();
        let mut query: Vec<(&str, &str)> =
            household.members.iter().map(|member| ("sfzh", member.id_number.as_str())).collect();
        let (_, text) = ask::get(router(world.clone()), "/fiscal/ykt/payments", &query).await;
        assert!(text.starts_with("<?xml") && text.contains("<CODE>0000</CODE>"), "{text}");
        assert_eq!(text.matches("<ROW>").count(), payments(&household).len());
        query.push(("nd", &year));
        let (_, text) = ask::get(router(world.clone()), "/fiscal/ykt/totals", &query).await;
        assert!(text.contains(&format!("<SFZH>{}</SFZH><ND>{year}</ND><BTHJ>", household.head().id_number)), "{text}");
        let (_, text) = ask::get(router(world), "/fiscal/ykt/payments", &[]).await;
        assert!(text.contains("<CODE>9001</CODE>"), "{text}");
    }

    #[test]
    fn a_household_has_thirty_payments_or_more_and_the_year_adds_up() {
        let (world, household) = ask::world();
        let answer = expected(&world, &household);
        let list = answer["funds.disbursements"].as_array().unwrap();
        assert!((30..=100).contains(&list.len()), "{}", list.len());
        let year = household.today.y.to_string();
        let sum: i64 = list
            .iter()
            .filter(|one| one["paidOn"].as_str().unwrap().starts_with(&year))
            .map(|one| one["amount"].as_str().unwrap().replace('.', "").parse::<i64>().unwrap())
            .sum();
        assert_eq!(answer["funds.totalThisYear"], yuan(sum));
        ask::dense(expected, &["funds.disbursements", "funds.totalThisYear", "funds.agriculturalSubsidy"]);
    }
}
