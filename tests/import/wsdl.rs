//! `huxiang source import` from WSDL 1.1: the draft is checked, and served against a mock of the service.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Output;

use axum::Router;
use axum::http::{HeaderMap, Uri};
use axum::routing::post;
use serde_json::json;

use crate::support::{Folder, asked, gateway};

fn import(document: &Path, more: &[&str]) -> Output {
    let arguments = ["source", "import", document.to_str().unwrap(), "--source", "src", "--title", "T"];
    std::process::Command::new(env!("CARGO_BIN_EXE_huxiang")).args(arguments).args(more).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
}

fn person(sfzh: &str) -> String {
    format!(
        "<c:sfzh>{sfzh}</c:sfzh><c:updated>2026-03-01T08:00:00Z</c:updated><r:name>张三</r:name><r:born>1980-02-03</r:born>\
         <r:state>02</r:state><r:office><r:id>5</r:id><r:title>One</r:title></r:office>\
         <r:paid><r:year>2025</r:year><r:sum>12.50</r:sum></r:paid>"
    )
}

/// Answers as the document says, and only to what is asked as the document says.
async fn service(uri: Uri, headers: HeaderMap, body: String) -> String {
    assert_eq!(uri.path(), "/services/Registry");
    let ids = between(&body, "<n1:sfzh>", "</").into_iter().chain(between(&body, "<m:sfzh>", "</")).collect::<Vec<_>>();
    let inside = if body.contains("<m:queryPerson xmlns:m=\"urn:registry\">") {
        assert_eq!(headers["soapaction"], "\"urn:registry/queryPerson\"");
        assert!(body.contains("<m:version>2</m:version>") && !body.contains("note"), "{body}");
        let found = if ids == ["none"] { String::new() } else { format!("<r:return>{}</r:return>", person(ids[0])) };
        format!("<r:queryPersonResponse>{found}</r:queryPersonResponse>")
    } else if body.contains("<m:queryMany ") {
        let people: String = ids.iter().rev().map(|id| format!("<r:person>{}</r:person>", person(id))).collect();
        format!("<r:queryManyResponse>{people}</r:queryManyResponse>")
    } else if body.contains("<m:listOffices ") {
        "<r:listOfficesResponse><r:office><r:id>5</r:id><r:title>One</r:title></r:office></r:listOfficesResponse>"
            .to_owned()
    } else {
        let asked = "<m:where><m:district>331122</m:district><m:year>2025</m:year></m:where></m:countHouses>";
        assert!(body.contains(asked), "{body}");
        "<r:countHousesResponse><r:count>41</r:count></r:countHousesResponse>".to_owned()
    };
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:r=\"urn:registry\" xmlns:c=\"urn:common\">\
         <s:Body>{inside}</s:Body></s:Envelope>"
    )
}

#[tokio::test]
async fn a_draft_of_a_wsdl_is_checked_and_answers() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import/registry.wsdl");
    let root = Folder::new("wsdl");
    let output = import(&document, &["--out", root.path()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("4 operations bound, 1 left out"), "{}", stderr(&output));
    let binding = root.read("resolvers/src.yaml");
    assert!(
        binding.contains("protocol: soap") && binding.contains("{#keys}") && !binding.contains("updatePerson"),
        "{binding}"
    );
    assert!(binding.contains("operation queryElsewhere: its input is no element"), "{binding}");
    let contract = root.read("schema/src.graphql");
    let entities = contract.lines().filter(|line| line.starts_with("type ") && line.contains(" @key("));
    let entities: Vec<String> = entities.filter_map(|line| Some(line.split(' ').nth(1)?.to_owned())).collect();
    root.grant("src", &entities);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(service))).await });
    let gateway = gateway(&root, &url).await.unwrap_or_else(|faults| panic!("{faults}\n{binding}\n{contract}"));
    let answer = asked(
        &gateway,
        "{ person(sfzh: \"33&<\") { sfzh updated name born state stateCode phone office { id title } paid { year sum } }
           listOffices { id title } countHouses(district: \"331122\", year: \"2025\") { count } none: person(sfzh: \"none\") { name } }",
    )
    .await;
    let expected = json!({
        "person": {"sfzh": "33&<", "updated": "2026-03-01T16:00:00+08:00", "name": "张三", "born": "1980-02-03",
                   "state": "N02", "stateCode": "02", "phone": null, "office": {"id": "5", "title": "One"},
                   "paid": [{"year": 2025, "sum": "12.50"}]},
        "listOffices": [{"id": "5", "title": "One"}],
        "countHouses": {"count": 41},
        "none": null,
    });
    assert_eq!(answer["data"], expected, "{answer:#}\n{binding}\n{contract}");
    let answer = asked(&gateway, "{ a: person(sfzh: \"1\") { sfzh born } b: person(sfzh: \"2\") { sfzh } }").await;
    assert_eq!(answer["data"], json!({"a": {"sfzh": "1", "born": "1980-02-03"}, "b": {"sfzh": "2"}}), "{answer:#}");
}

/// A service of style rpc; the second operation is encoded.
const RPC: &str = r#"<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/"
  xmlns:x="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:houses" targetNamespace="urn:houses">
  <types><x:schema targetNamespace="urn:houses">
    <x:complexType name="House"><x:sequence>
      <x:element name="no" type="x:string"/><x:element name="area" type="x:decimal"/>
    </x:sequence></x:complexType>
  </x:schema></types>
  <message name="findIn"><part name="no" type="x:string"/></message>
  <message name="findOut"><part name="house" type="t:House"/></message>
  <message name="countIn"><part name="district" type="x:string"/><part name="year" type="x:int"/></message>
  <message name="countOut"><part name="total" type="x:int"/></message>
  <portType name="Houses">
    <operation name="findHouse"><input message="t:findIn"/><output message="t:findOut"/></operation>
    <operation name="countHouses"><input message="t:countIn"/><output message="t:countOut"/></operation>
    <operation name="oldHouse"><input message="t:findIn"/><output message="t:findOut"/></operation>
  </portType>
  <binding name="HousesSoap" type="t:Houses">
    <s:binding style="rpc" transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="findHouse"><s:operation soapAction="find"/>
      <input><s:body use="literal" namespace="urn:rpc"/></input><output><s:body use="literal" namespace="urn:rpc"/></output>
    </operation>
    <operation name="countHouses"><s:operation soapAction="count"/>
      <input><s:body use="literal" namespace="urn:rpc"/></input><output><s:body use="literal" namespace="urn:rpc"/></output>
    </operation>
    <operation name="oldHouse"><s:operation soapAction="old"/>
      <input><s:body use="encoded" namespace="urn:rpc"/></input><output><s:body use="encoded" namespace="urn:rpc"/></output>
    </operation>
  </binding>
  <service name="S"><port name="P" binding="t:HousesSoap"><s:address location="http://x.example/rpc"/></port></service>
</definitions>"#;

async fn rpc(uri: Uri, body: String) -> String {
    assert_eq!(uri.path(), "/rpc");
    let inside = match between(&body, "<m:findHouse xmlns:m=\"urn:rpc\"><no>", "</no></m:findHouse>").as_slice() {
        ["none"] => "<r:findHouseResponse/>".to_owned(),
        [no] => format!("<r:findHouseResponse><house><no>{no}</no><area>81.50</area></house></r:findHouseResponse>"),
        _ => {
            let asked = "<m:countHouses xmlns:m=\"urn:rpc\"><district>33</district><year>2025</year></m:countHouses>";
            assert!(body.contains(asked), "{body}");
            "<r:countHousesResponse><total>7</total></r:countHousesResponse>".to_owned()
        }
    };
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:r=\"urn:rpc\"><s:Body>{inside}</s:Body>\
         </s:Envelope>"
    )
}

#[tokio::test]
async fn literal_messages_of_style_rpc_are_drafted_and_encoded_ones_are_told() {
    let root = Folder::new("wsdl-rpc");
    root.write("rpc.wsdl", RPC);
    let output = import(&root.0.join("rpc.wsdl"), &["--out", root.path()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let (binding, contract) = (root.read("resolvers/src.yaml"), root.read("schema/src.graphql"));
    assert!(binding.contains("operation oldHouse: its messages are encoded (SOAP 1.1, section 5)"), "{binding}");
    let entities = contract.lines().filter(|line| line.starts_with("type ") && line.contains(" @key("));
    let entities: Vec<String> = entities.filter_map(|line| Some(line.split(' ').nth(1)?.to_owned())).collect();
    root.grant("src", &entities);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(rpc))).await });
    let gateway = gateway(&root, &url).await.unwrap_or_else(|faults| panic!("{faults}\n{binding}\n{contract}"));
    let query = "{ house(no: \"7&1\") { no area } none: house(no: \"none\") { area }
        countHouses(district: \"33\", year: \"2025\") { total } }";
    let answer = asked(&gateway, query).await;
    let expected = json!({"house": {"no": "7&1", "area": "81.50"}, "none": null, "countHouses": {"total": 7}});
    assert_eq!(answer["data"], expected, "{answer:#}\n{binding}\n{contract}");
}

#[test]
fn what_is_wrong_with_a_wsdl_is_told_with_its_place() {
    let folder = Folder::new("wsdl-faults");
    let cases = [
        ("<a>\n  <b></a>", "doc.wsdl:2:", "not well-formed XML"),
        ("<a>\n", "doc.wsdl:", "breaks off"),
        (
            "<description xmlns=\"http://www.w3.org/ns/wsdl\"/>",
            "doc.wsdl",
            "the document is `description`, not WSDL 1.1",
        ),
        ("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "doc.wsdl:1:", "document type"),
        ("<definitions/>", "doc.wsdl", "no operation that reads could be bound"),
    ];
    for (text, place, message) in cases {
        folder.write("doc.wsdl", text);
        let output = import(&folder.0.join("doc.wsdl"), &[]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}\n{told}");
        assert!(told.contains(place) && told.contains(message) && told.contains("hint:"), "{text}\n{told}");
    }
    folder.write("doc.wsdl", &"<a>".repeat(100_000));
    assert!(stderr(&import(&folder.0.join("doc.wsdl"), &[])).contains("nested too deeply"));
}
