//! SOAP sources: envelopes, GBK both ways, faults, lists of one, nil.

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use encoding_rs::GBK;
use huxiang::base::code::ErrorCode;

use crate::support::{Asked, record, serve};

const BINDING: &str = r##"
source: test
title: Test
protocol: soap
base_url: ${URL}
encoding: gbk
endpoints:
  e:
    entity: Person
    one:
      post: /s
      action: Query
      xml: <q:Query xmlns:q="urn:q"><q:id>{key}</q:id></q:Query>
      items: /QueryResponse/row
    many:
      post: /s
      xml: <Query>{#keys}<id>{key}</id>{/keys}</Query>
      items: /QueryResponse/row
      item_key: /id
"##;

async fn answer(headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let (body, _, wrong) = GBK.decode(&body);
    assert!(!wrong && body.starts_with("<?xml version=\"1.0\" encoding=\"gbk\"?><soap:Envelope"), "{body}");
    assert_eq!(headers["content-type"], "text/xml; charset=gbk");
    let ids: Vec<&str> =
        body.split("id>").filter_map(|part| part.strip_suffix("</q:").or(part.strip_suffix("</"))).collect();
    if ids == ["fault"] {
        let fault = "<s:Fault><faultcode>s:Client</faultcode><faultstring>\u{8be5}\u{4eba} 331122198001011234 \
                     \u{4e0d}\u{5b58}\u{5728}</faultstring></s:Fault>";
        return (StatusCode::INTERNAL_SERVER_ERROR, gbk(fault));
    }
    if ids == ["张&三<"] || ids.len() == 1 {
        assert_eq!(headers["soapaction"], "\"Query\"");
    }
    let rows: String = ids
        .iter()
        .filter(|id| **id != "none")
        .map(|id| format!("<n:row><n:id>{id}</n:id><n:name>李四</n:name><n:moved xsi:nil=\"true\"/><n:note/></n:row>"))
        .collect();
    (StatusCode::OK, gbk(&format!("<n:QueryResponse xmlns:n=\"urn:n\">{rows}</n:QueryResponse>")))
}

fn gbk(inside: &str) -> Vec<u8> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"GBK\"?>\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><s:Header/><s:Body>{inside}</s:Body></s:Envelope>"
    );
    GBK.encode(&text).0.into_owned()
}

async fn asked() -> Asked {
    Asked::new(BINDING, &serve(Router::new().route("/s", post(answer))).await)
}

#[tokio::test]
async fn chinese_goes_out_and_comes_back_in_gbk_and_values_are_escaped() {
    let found = asked().await.one("张&三<", &[]).await.unwrap();
    assert_eq!(found, [record(0, r#"{"id":"张&三<","name":"李四","moved":null,"note":""}"#)]);
}

#[tokio::test]
async fn several_keys_go_in_one_envelope_and_nobody_is_no_record() {
    let asked = asked().await;
    let found = asked.many(&["1", "none", "2"], &[]).await.unwrap();
    let row = |key, id: u32| record(key, &format!(r#"{{"id":"{id}","name":"李四","moved":null,"note":""}}"#));
    assert_eq!(found, [row(0, 1), row(2, 2)]);
    assert_eq!(asked.one("none", &[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_fault_is_the_sources_error_without_the_persons_number() {
    let error = asked().await.one("fault", &[]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceError);
    assert_eq!(error.detail, "the source answered with a SOAP fault (Client)");
    assert_eq!(error.said.as_deref(), Some("s:Client: 该人 … 不存在"));
    assert_eq!(error.calls, 1);
}

#[tokio::test]
async fn an_answer_in_another_charset_or_with_a_document_type_is_a_bad_answer() {
    let utf8 = Router::new().route("/s", post(async || "<Envelope><Body><a>王</a></Body></Envelope>"));
    let other = Router::new().route("/s", post(async || "<Envelope><Body><Other/></Body></Envelope>"));
    assert!(Asked::new(BINDING, &serve(other).await).one("1", &[]).await.is_err());
    let error = Asked::new(BINDING, &serve(utf8).await).one("1", &[]).await.unwrap_err();
    assert_eq!(
        (error.code, error.detail.as_str()),
        (ErrorCode::SourceBadAnswer, "the answer is not GBK; see `encoding`")
    );
    let bomb =
        "<!DOCTYPE a [<!ENTITY x \"xxxxxxxxxx\"><!ENTITY y \"&x;&x;&x;\">]><Envelope><Body>&y;</Body></Envelope>";
    for hostile in [bomb, "<Envelope><Body>&y;</Body></Envelope>", "<Envelope><Body>", "<a></b>", "", "<a/><b/>"] {
        let router = Router::new().route("/s", post(async move || hostile.to_owned()));
        let error = Asked::new(BINDING, &serve(router).await).one("1", &[]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::SourceBadAnswer, "{hostile}: {}", error.detail);
    }
    let deep = Router::new().route("/s", post(async || "<a>".repeat(100_000)));
    let error = Asked::new(BINDING, &serve(deep).await).one("1", &[]).await.unwrap_err();
    assert_eq!(error.detail, "the answer is nested more than 128 deep");
}
