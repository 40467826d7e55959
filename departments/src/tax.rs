//! 税务局: declared income and invoices, REST JSON behind mutual TLS (the listener's business, not the router's).
//!
//! Known by id number, a hundred in a call, a year a call: the last full one, unless another is asked for. Amounts are
//! yuan, as JSON numbers.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::world::{Household, Member, World};

/// What one person declared for one year; fen.
#[derive(Debug, Clone)]
pub struct Declared {
    pub wages: i64,
    pub business: i64,
    pub tax: i64,
}

/// Invoices one person's business issued in one year; `amount` in fen.
#[derive(Debug, Clone)]
pub struct Invoices {
    pub count: u64,
    pub amount: i64,
}

/// None for who declared nothing: children, the old, the dead, and most others.
pub fn declared(household: &Household, member: &Member, year: i32) -> Option<Declared> {
    if household.almost_nothing() || !member.alive || !(18..66).contains(&member.age()) || year >= household.today.y {
        return None;
    }
    let mut roll = member.roll(&format!("tax/declared/{year}"));
    if !roll.chance(45) {
        return None;
    }
    let wages = if roll.chance(80) { roll.amount_fen(1_200_000, 6_600_000) } else { 0 };
    let business = if roll.chance(20) { roll.amount_fen(500_000, 4_000_000) } else { 0 };
    // 3 % of what is over the yearly allowance of 60 000 yuan.
    let tax = (wages + business - 6_000_000).max(0) * 3 / 100;
    Some(Declared { wages, business, tax })
}

/// None for who issues no invoices.
pub fn invoices(household: &Household, member: &Member, year: i32) -> Option<Invoices> {
    let mut roll = member.roll(&format!("tax/invoices/{year}"));
    let may = !household.almost_nothing() && member.alive && (18..66).contains(&member.age());
    if !may || year > household.today.y || !roll.chance(12) {
        return None;
    }
    let count = 1 + roll.below(60);
    Some(Invoices { count, amount: count as i64 * roll.amount_fen(20_000, 180_000) })
}

pub fn router(world: World) -> Router {
    Router::new()
        .route("/api/v1/income/query", post(income))
        .route("/api/v1/invoices/query", post(invoice_totals))
        .with_state(world)
}

/// Id numbers in one call at most.
const BATCH_MAX: usize = 100;

struct Asked {
    year: i32,
    people: Vec<(Household, usize)>,
}

fn asked(world: &World, body: &Value) -> Result<Asked, Box<Response>> {
    let refuse = |text: &str| Box::new((StatusCode::BAD_REQUEST, Json(json!({"error": text}))).into_response());
    let ids = body.get("taxpayerIds").and_then(Value::as_array).ok_or_else(|| refuse("taxpayerIds is missing"))?;
    let year = match body.get("year") {
        None => i64::from(world.today().y) - 1,
        Some(year) => year.as_i64().ok_or_else(|| refuse("year is a number"))?,
    };
    if ids.len() > BATCH_MAX {
        return Err(refuse("at most 100 taxpayerIds"));
    }
    let people = ids.iter().filter_map(Value::as_str).filter_map(|id| world.person(id)).collect();
    Ok(Asked { year: year as i32, people })
}

async fn income(State(world): State<World>, Json(body): Json<Value>) -> Response {
    let Asked { year, people } = match asked(&world, &body) {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    let declarations: Vec<Value> = people
        .iter()
        .filter_map(|(household, index)| {
            let member = household.members.get(*index)?;
            let found = declared(household, member, year)?;
            Some(json!({
                "taxpayerId": member.id_number, "taxpayerName": member.name, "year": year,
                "wages": number(found.wages), "business": number(found.business), "taxPaid": number(found.tax),
            }))
        })
        .collect();
    Json(json!({"declarations": declarations})).into_response()
}

async fn invoice_totals(State(world): State<World>, Json(body): Json<Value>) -> Response {
    let Asked { year, people } = match asked(&world, &body) {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    let totals: Vec<Value> = people
        .iter()
        .filter_map(|(household, index)| {
            let member = household.members.get(*index)?;
            let found = invoices(household, member, year)?;
            Some(json!({
                "taxpayerId": member.id_number, "taxpayerName": member.name, "year": year, "count": found.count,
                "amount": number(found.amount),
            }))
        })
        .collect();
    Json(json!({"invoices": totals})).into_response()
}

// Two digits are what a double keeps of amounts below 10^13 yuan.
fn number(fen: i64) -> f64 {
    fen as f64 / 100.0
}

/// What a check of recognition reads: of the last full year.
pub fn expected(_world: &World, household: &Household) -> Value {
    let year = household.today.y - 1;
    let amount = |fen: i64| json!(number(fen)).to_string();
    let incomes = household.members.iter().filter_map(|member| {
        let found = declared(household, member, year)?;
        Some(json!({
            "name": member.name, "idNumber": member.id_number, "year": year, "wages": amount(found.wages),
            "business": amount(found.business), "taxPaid": amount(found.tax),
        }))
    });
    let totals = household.members.iter().filter_map(|member| {
        let found = invoices(household, member, year)?;
        Some(json!({
            "name": member.name, "idNumber": member.id_number, "year": year, "count": found.count,
            "amount": amount(found.amount),
        }))
    });
    json!({
        "recognition.declaredIncomes": incomes.collect::<Vec<_>>(), "recognition.invoices": totals.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::ask;
    use crate::server::{Options, Running, start};

    #[tokio::test]
    async fn income_is_declared_by_some_of_working_age() {
        let (world, household) = ask::world();
        let ids: Vec<String> = world
            .village_household_ids("331122101348")
            .filter_map(|id| world.household(&id))
            .flat_map(|household| household.members.into_iter().map(|member| member.id_number))
            .collect();
        let body = json!({"taxpayerIds": ids, "year": household.today.y - 1});
        let (_, answer) = ask::post(router(world.clone()), "/api/v1/income/query", body).await;
        let found = answer["declarations"].as_array().unwrap().len();
        assert!(found >= 5 && found < ids.len(), "{found} of {}", ids.len());
        let (_, latest) = ask::post(router(world), "/api/v1/income/query", json!({"taxpayerIds": ids})).await;
        assert_eq!(latest, answer, "the last full year, unless another is asked for");
    }

    #[test]
    fn incomes_and_invoices_are_there_in_some_households() {
        ask::some(expected, &["recognition.declaredIncomes", "recognition.invoices"]);
    }

    // The first line of the answer; an error where the listener cut the connection.
    async fn asked_over_tls(running: &Running, certificate: bool) -> std::io::Result<String> {
        let variables = running.variables();
        let pem = |name: &str| std::fs::read(&variables[name]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem("TAX_CA")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = if certificate {
            let chain = vec![CertificateDer::from_pem_slice(&pem("TAX_CLIENT_CERT")).unwrap()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&pem("TAX_CLIENT_KEY")).unwrap())
                .unwrap()
        } else {
            builder.with_no_client_auth()
        };
        let address = variables["TAX_URL"].trim_start_matches("https://").to_owned();
        let stream = tokio::net::TcpStream::connect(&address).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(b"POST /api/v1/income/query HTTP/1.1\r\nHost: tax\r\nConnection: close\r\n\r\n").await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    #[tokio::test]
    async fn only_a_client_with_the_certificate_is_answered() {
        let running = start(Options { latency: false, ..Options::default() }).await.unwrap();
        assert!(asked_over_tls(&running, true).await.unwrap().starts_with("HTTP/1.1 4"));
        assert!(asked_over_tls(&running, false).await.is_err());
    }
}
