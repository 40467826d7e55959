//! Signatures, verified by the listener from what it received, with nothing of the gateway's own code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use huxiang::base::code::ErrorCode;
use md5::{Digest, Md5};
use sha2::Sha256;
use sm2::dsa::signature::Verifier as _;
use sm3::Sm3;

use crate::support::signed::{Received, binding, hex, hmac, received};
use crate::support::{Asked, compile};
use crate::temporary::Temporary;

const GET: &str = "{get: /a, query: {z: \"{key}\", b: x}}";
const POST: &str = "{post: /a, query: {q: 1}, body: {id: \"{key}\", n: 5}}";

fn seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_key_goes_into_a_header_or_the_query_and_a_token_is_a_bearer() {
    let seen = received("sign: {scheme: api-key, header: X-API-Key, key: \"k{1}\"}", GET).await;
    assert_eq!(seen.header("x-api-key"), "k{1}");
    assert_eq!(seen.query, "b=x&z=k%201");
    let seen = received("sign: {scheme: api-key, query: apikey, key: \"a&b\"}", GET).await;
    assert_eq!(seen.query, "b=x&z=k%201&apikey=a%26b");
    let seen = received("sign: {scheme: api-key, query: apikey, key: s}", "{get: /a}").await;
    assert_eq!(seen.query, "apikey=s");
    let seen = received("sign: {scheme: bearer, token: abc.def}", GET).await;
    assert_eq!(seen.header("authorization"), "Bearer abc.def");
    let seen = received("sign: {scheme: basic, user: u, password: \"p:w\"}", GET).await;
    assert_eq!(seen.header("authorization"), format!("Basic {}", STANDARD.encode("u:p:w")));
}

/// The forms that have a name of their own: as they were before they were special cases.
#[tokio::test]
async fn the_named_hmac_schemes_sign_parameters_or_method_path_and_body() {
    let seen = received("sign: {scheme: hmac-params, hash: sm3, app_key: app, secret: s}", POST).await;
    let (timestamp, nonce) = (seen.header("x-timestamp"), seen.header("x-nonce"));
    assert!(timestamp.parse::<u64>().unwrap().abs_diff(seconds()) < 5 && nonce.len() == 32);
    let text = format!("id=k 1&n=5&nonce={nonce}&q=1&timestamp={timestamp}");
    assert_eq!(seen.header("x-sign"), hex(&hmac::<Hmac<Sm3>>("s", &text)));
    assert_eq!(seen.header("x-app-key"), "app");

    let seen = received("sign: {scheme: hmac-header, hash: sha256, header: X-Auth, key_id: id, secret: s}", POST).await;
    let parts: Vec<&str> = seen.header("x-auth").split(':').collect();
    let text =
        format!("{}\n{}?{}\n{}\n{}", seen.method, seen.path, seen.query, parts[1], hex(&Sha256::digest(&seen.body)));
    assert_eq!((parts[0], parts[2]), ("id", STANDARD.encode(hmac::<Hmac<Sha256>>("s", &text)).as_str()));
}

#[tokio::test]
async fn a_declared_text_is_signed_and_sent_where_the_binding_says() {
    let sign = r#"sign:
  scheme: hmac
  hash: sha256
  app_key: app
  secret: s3
  text: "{method}|{path}|{query}|{timestamp}|{nonce}|{body_digest}|{app_key}|v1"
  hmac_key: "<{secret}>&"
  encoding: base64
  timestamp: ms
  body_digest: {hash: md5, encoding: base64}
  send:
    headers: {Authorization: "HX {app_key}:{signature}", X-Nonce: "{nonce}", Content-MD5: "{body_digest}"}
    query: {ts: "{timestamp}"}"#;
    let seen = received(sign, POST).await;
    let (timestamp, nonce) = (seen.parameter("ts"), seen.header("x-nonce"));
    assert!((timestamp.parse::<u64>().unwrap() / 1000).abs_diff(seconds()) < 5);
    let digest = STANDARD.encode(Md5::digest(&seen.body));
    assert_eq!(seen.header("content-md5"), digest);
    let text = format!("POST|/a|q=1&ts={timestamp}|{timestamp}|{nonce}|{digest}|app|v1");
    let mac = STANDARD.encode(hmac::<Hmac<Sha256>>("<s3>&", &text));
    assert_eq!(seen.header("authorization"), format!("HX app:{mac}"));
}

#[tokio::test]
async fn members_of_the_body_are_sorted_among_the_parameters_and_carry_the_signature() {
    let sign = r#"sign:
  scheme: hmac
  hash: sm3
  app_key: app
  secret: s
  text: "{parameters}"
  encoding: hex-upper
  timestamp: yyyyMMddHHmmss
  parameters: {pair: "", join: ",", skip_empty: true, also: {ver: "2"}}
  send: {body: {appKey: "{app_key}", time: "{timestamp#}", sign: "{signature}"}}"#;
    let seen = received(sign, "{post: /a, body: {id: \"{key}\", none: \"\"}}").await;
    let body = seen.json();
    let time = body["time"].as_u64().unwrap().to_string();
    assert_eq!(time.len(), 14);
    let text = format!("appKeyapp,idk 1,time{time},ver2");
    assert_eq!(body["sign"], hex(&hmac::<Hmac<Sm3>>("s", &text)).to_uppercase());
    assert_eq!((body["id"].as_str(), body["appKey"].as_str()), (Some("k 1"), Some("app")));
    // An empty body's first member has no comma before it.
    assert_eq!(received(sign, "{post: /a, body: {}}").await.json()["appKey"], "app");
    // Where there is no such body, nothing is sent unsigned.
    let asked = Asked::new(&binding(sign, "{get: /a}"), "http://127.0.0.1:1");
    assert_eq!(asked.one("k", &[]).await.unwrap_err().code, ErrorCode::Internal);
}

#[tokio::test]
async fn parameters_are_percent_encoded_where_the_binding_says() {
    let sign = "sign: {scheme: hmac, hash: sha256, secret: s, text: \"{query}\", parameters: {encoded: true}, \
                send: {headers: {X-Sign: \"{signature}\"}}}";
    let seen = received(sign, GET).await;
    assert_eq!(seen.header("x-sign"), hex(&hmac::<Hmac<Sha256>>("s", "b=x&z=k%201")));
}

/// `md5/sha1/sha256/sm3(appKey + secret + timestamp)`.
#[tokio::test]
async fn older_platforms_get_a_digest_of_key_secret_and_time() {
    let sign = |hash: &str| {
        format!(
            "sign: {{scheme: digest, hash: {hash}, app_key: app, secret: s3, text: \"{{app_key}}{{secret}}{{timestamp}}\", \
             send: {{query: {{appKey: \"{{app_key}}\", ts: \"{{timestamp}}\", sign: \"{{signature}}\"}}}}}}"
        )
    };
    let text = |seen: &Received| format!("apps3{}", seen.parameter("ts"));
    let seen = received(&sign("md5"), GET).await;
    assert_eq!(seen.parameter("sign"), hex(&Md5::digest(text(&seen))));
    assert!(!seen.query.contains("s3"), "the secret itself is not sent: {}", seen.query);
    let seen = received(&sign("sha256"), GET).await;
    assert_eq!(seen.parameter("sign"), hex(&Sha256::digest(text(&seen))));
    let seen = received(&sign("sm3"), GET).await;
    assert_eq!(seen.parameter("sign"), hex(&Sm3::digest(text(&seen))));
    let fixed = "sign: {scheme: digest, hash: sha1, secret: abc, text: \"{secret}\", \
                 send: {headers: {X-Sign: \"{signature}\"}}}";
    // FIPS 180-4's example.
    assert_eq!(received(fixed, GET).await.header("x-sign"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    // RFC 2202's second case, for SHA-1 and MD5.
    let keyed = |hash: &str| {
        format!(
            "sign: {{scheme: hmac, hash: {hash}, secret: Jefe, text: \"what do ya want for nothing?\", \
             send: {{headers: {{X-Sign: \"{{signature}}\"}}}}}}"
        )
    };
    assert_eq!(received(&keyed("sha1"), GET).await.header("x-sign"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    assert_eq!(received(&keyed("md5"), GET).await.header("x-sign"), "750c783e6ab0b503eaa86e310a5db738");
}

#[test]
fn a_signature_that_anybody_could_make_or_nobody_gets_is_a_fault() {
    let fault = |sign: &str| compile(&binding(sign, GET), "http://127.0.0.1:1").err().unwrap_or_default();
    let send = "send: {headers: {X-Sign: \"{signature}\"}}";
    let with = |rest: &str| fault(&format!("sign: {{scheme: digest, hash: md5, secret: s, {rest}}}"));
    assert!(with(&format!("text: \"{{timestamp}}\", {send}")).contains("does not hold the secret"));
    assert!(with("text: \"{secret}\", send: {headers: {X-T: \"{timestamp}\"}}").contains("sent nowhere"));
    assert!(with("text: \"{secret}\", send: {headers: {X-T: \"{secret}{signature}\"}}").contains("no placeholder"));
    assert!(fault("sign: {scheme: api-key, key: k}").contains("exactly one of"));
    assert!(fault("sign: {scheme: bearer, token: \"\"}").contains("the secret is empty"));
}

/// The key pair of GB/T 32918.5-2017, A.2, and its signature over `message digest`.
const SM2_KEY: &str = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8";
const SM2_PUBLIC: &str = "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020\
                          CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13";
const SM2_SIGNATURE: &str = "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3\
                             B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
}

/// RFC 5915, and PKCS#8 around it.
fn sm2_keys() -> [String; 2] {
    let inside = [&bytes("306b0201010420")[..], &bytes(SM2_KEY), &bytes("a144034200"), &bytes(SM2_PUBLIC)].concat();
    let whole = [&bytes("308187020100301306072a8648ce3d020106082a811ccf5501822d046d")[..], &inside].concat();
    [pem("EC PRIVATE KEY", &inside), pem("PRIVATE KEY", &whole)]
}

fn is_signed(id: &str, text: &str, signature: &[u8]) -> bool {
    let key = sm2::dsa::VerifyingKey::from_sec1_bytes(id, &bytes(SM2_PUBLIC)).unwrap();
    key.verify(text.as_bytes(), &sm2::dsa::Signature::from_slice(signature).unwrap()).is_ok()
}

/// None: there is no OpenSSL here.
fn openssl_verifies(id: &str, text: &str, der: &[u8]) -> Option<bool> {
    let folder = Temporary::new("sm2");
    let file = |name: &str, content: &[u8]| {
        std::fs::write(folder.join(name), content).unwrap();
        folder.join(name).display().to_string()
    };
    let public = [&bytes("3059301306072a8648ce3d020106082a811ccf5501822d034200")[..], &bytes(SM2_PUBLIC)].concat();
    let (public, text, signature) = (
        file("public.pem", pem("PUBLIC KEY", &public).as_bytes()),
        file("text", text.as_bytes()),
        file("signature", der),
    );
    let verified = std::process::Command::new("openssl")
        .args(["dgst", "-sm3", "-sigopt", &format!("distid:{id}"), "-verify", &public, "-signature", &signature, &text])
        .output();
    Some(verified.ok()?.status.success())
}

#[tokio::test]
async fn sm2_signs_what_the_standard_and_openssl_verify() {
    assert!(is_signed("1234567812345678", "message digest", &bytes(SM2_SIGNATURE)), "the standard's own example");
    let [sec1, pkcs8] = sm2_keys().map(|pem| pem.replace('\n', "\\n"));
    let sign = |key: &str, more: &str| {
        format!(
            "sign: {{scheme: sm2, key: \"{key}\", text: \"{{method}}{{query}}{{timestamp}}\", {more}\
             send: {{headers: {{X-Time: \"{{timestamp}}\", X-Sign: \"{{signature}}\"}}}}}}"
        )
    };
    for key in [SM2_KEY, &sec1, &pkcs8] {
        let seen = received(&sign(key, ""), GET).await;
        let text = format!("GETb=x&z=k 1{}", seen.header("x-time"));
        let signature = bytes(seen.header("x-sign"));
        assert_eq!(signature.len(), 64);
        assert!(is_signed("1234567812345678", &text, &signature), "{seen:?}");
        assert!(!is_signed("1234567812345678", &format!("{text}."), &signature));
    }
    for id in ["1234567812345678", "ALICE123@YAHOO.COM"] {
        let seen = received(&sign(SM2_KEY, &format!("user_id: {id}, form: der, encoding: base64, ")), GET).await;
        let text = format!("GETb=x&z=k 1{}", seen.header("x-time"));
        let der = STANDARD.decode(seen.header("x-sign")).unwrap();
        match openssl_verifies(id, &text, &der) {
            Some(verified) => {
                assert!(verified, "OpenSSL does not verify {}", hex(&der));
                assert_eq!(openssl_verifies("another", &text, &der), Some(false), "it verifies anything");
            }
            None => println!("OpenSSL is not there: not held against it"),
        }
    }
    let fault = |sign: &str| compile(&binding(sign, GET), "http://127.0.0.1:1").err().unwrap_or_default();
    let p256 = rcgen::KeyPair::generate().unwrap().serialize_pem().replace('\n', "\\n");
    for other in [&SM2_KEY[2..], &p256, &"0".repeat(64)] {
        assert!(fault(&sign(other, "")).contains("no private key of SM2"), "{other}");
    }
}
