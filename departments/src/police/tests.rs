use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt as _;

use super::*;
use crate::ask;

async fn ask_police(operation: &str, inner: &str) -> (StatusCode, String) {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"GBK\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">\
         <s:Body><x:{operation} xmlns:x=\"{NAMESPACE}\">{inner}</x:{operation}></s:Body></s:Envelope>"
    );
    let body = encoding_rs::GBK.encode(&text).0.into_owned();
    let request = Request::post("/services/RkglService").header("SOAPAction", format!("\"{operation}\""));
    let response = router(ask::world().0).oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, encoding_rs::GBK.decode(&bytes).0.into_owned())
}

#[tokio::test]
async fn a_name_is_verified_and_a_mismatch_tells_nothing_else() {
    let (world, household) = ask::world();
    let head = household.head();
    let asked = format!("<sfzh>{}</sfzh><xm>{}</xm>", head.id_number, head.name);
    let (_, text) = ask_police("QueryRegister", &asked).await;
    assert!(text.contains("<rk:hyjg>00</rk:hyjg>") && text.contains(&household.address), "{text}");
    assert!(text.contains("<rk:swrq xsi:nil=\"true\"/>"));
    let other = world.household("331122101348000004").unwrap();
    let odd = other.members.iter().find(|member| member.name != member.police_name).unwrap();
    let asked = format!("<sfzh>{}</sfzh><xm>{}</xm>", odd.id_number, odd.name);
    let (_, text) = ask_police("QueryRegister", &asked).await;
    assert!(text.contains("<rk:hyjg>01</rk:hyjg>") && !text.contains("hjdz"), "{text}");
}

#[tokio::test]
async fn what_is_not_understood_is_a_fault() {
    let (status, text) = ask_police("QueryWeather", "<sfzh>1</sfzh>").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("<faultstring>无此服务"));
    let (status, text) = ask_police("QueryVehicle", "<sfzh>331122101348000001</sfzh>").await;
    assert!(status.is_success() && !text.contains("<rk:cl>"));
}

#[test]
fn every_item_is_dense() {
    ask::dense(expected, &["identity.residence", "assets.vehicles"]);
}
