use super::*;

fn parse(text: &str) -> Result<GatewayConfig, String> {
    let mut faults = Faults::default();
    let file = SourceText::new("config/gateway.yaml", text);
    let variables = |name: &str| match name {
        "AUDIT_KEY" => Some("0123456789abcdef0123456789abcdef".to_owned()),
        "DEMO_ISSUER_PUBLIC_KEY" | "DEMO_ISSUER_PRIVATE_KEY" => Some("-----BEGIN PUBLIC KEY-----\n".to_owned()),
        _ => None,
    };
    GatewayConfig::parse(&file, Path::new("."), &variables, &mut faults).ok_or_else(|| faults.render())
}

const AUDIT: &str = "audit: {store: a.sqlite, key: '${AUDIT_KEY}'}\n";

#[test]
fn the_sample_file_loads_and_says_what_it_means() {
    let config = parse(include_str!("../../../config/gateway.yaml")).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert!(config.issuers[0].demo);
    assert_eq!(config.claims["divisions"], ClaimType::Texts);
    assert_eq!(config.claims["household"], ClaimType::Text);
    assert!(!config.graphql.get_queries);
    assert_eq!(config.graphql.introspection, Introspection::On);
    assert!(!format!("{config:?}").contains("0123456789abcdef"), "secrets are not in debug output");
}

#[test]
fn all_faults_are_reported_at_once_with_their_places() {
    let text = "listen: nowhere\nissuers:\n  - {issuer: a, audience: b, algorithms: [HS256, none], keys: [no.pem]}\n\
                networks: {office: [10.0.0.0/99]}\naudit: {store: a.sqlite, key: '${MISSING}'}\n";
    let faults = parse(text).unwrap_err();
    for part in ["gateway.yaml:1:9", "`HS256` is not accepted", "`none` is not accepted", "no.pem", "10.0.0.0/99"] {
        assert!(faults.contains(part), "{part} in {faults}");
    }
    assert!(faults.contains("`MISSING` is not set"), "{faults}");
}

#[test]
fn an_unknown_key_is_a_fault() {
    let faults = parse(&format!("listen: 127.0.0.1:1\nlimits: {{depth_maxx: 3}}\n{AUDIT}")).unwrap_err();
    assert!(faults.contains("depth_maxx") && faults.contains("gateway.yaml:2"), "{faults}");
}

#[test]
fn only_a_demo_issuer_may_hold_a_signing_key() {
    let text = format!(
        "listen: 127.0.0.1:1\nissuers:\n  - {{issuer: a, audience: b, algorithms: [EdDSA], \
         keys: ['${{DEMO_ISSUER_PUBLIC_KEY}}'], signing_key: '${{DEMO_ISSUER_PRIVATE_KEY}}'}}\n{AUDIT}"
    );
    assert!(parse(&text).unwrap_err().contains("only a demo issuer"));
}

#[test]
fn keys_are_not_fetched_in_the_clear_and_mapped_claims_are_declared() {
    let text = format!(
        "listen: 127.0.0.1:1\nprincipal: {{claims: {{household: string}}}}\nissuers:\n  - {{issuer: a, audience: b, \
         algorithms: [RS256], jwks: 'http://keys.example/jwks', claims: {{houshold: hh}}}}\n{AUDIT}"
    );
    let faults = parse(&text).unwrap_err();
    assert!(faults.contains("in the clear") && faults.contains("did you mean `household`?"), "{faults}");
}

#[test]
fn networks_hold_mapped_addresses_too() {
    let config =
        parse(&format!("listen: 127.0.0.1:1\nnetworks: {{office: [10.1.0.0/16, 10.9.9.9]}}\n{AUDIT}")).unwrap();
    assert_eq!(config.networks.of("::ffff:10.1.2.3".parse().unwrap()), ["office"]);
    assert_eq!(config.networks.of("10.9.9.9".parse().unwrap()), ["office"]);
    assert!(config.networks.of("10.2.0.1".parse().unwrap()).is_empty());
}

#[test]
fn client_certificates_need_an_authority_and_forwarded_ones_a_proxy_and_a_header() {
    let text = format!(
        "listen: 127.0.0.1:1\ntls: {{cert: '${{DEMO_ISSUER_PUBLIC_KEY}}', key: '${{DEMO_ISSUER_PUBLIC_KEY}}', \
         client_certificates: required}}\nforwarded_certificate: {{header: 'no header', ca: none.pem}}\n{AUDIT}"
    );
    let faults = parse(&text).unwrap_err();
    for part in ["without `client_ca`", "no proxy is listed", "not a header's name", "no file `none.pem`"] {
        assert!(faults.contains(part), "{part} in {faults}");
    }
    let text = text.replace("required", "perhaps").replace("no header", "client-cert");
    assert!(parse(&text).unwrap_err().contains("`perhaps` is not a value of this key"));
}
