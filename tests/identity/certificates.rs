//! Client certificates: of the connection, forwarded by a proxy, asked for by roles, bound to tokens.

use huxiang::identify::ClientCertificate;
use serde_json::{Value, json};

use crate::identity_support::issuer::{Key, clerk};
use crate::identity_support::pki::{Authority, Made};
use crate::identity_support::{Files, World, client, has_name, world};

/// One server, its authority, and a token issuer.
struct Pki {
    authority: Authority,
    server: Made,
    key: Key,
}

impl Pki {
    fn new() -> Self {
        let authority = Authority::new("Departments");
        let server = authority.make("localhost", |_| {});
        Self { authority, server, key: Key::new(Some("one")) }
    }

    /// `tls`: the rest of the mapping of that name, or none.
    async fn world(&self, tls: Option<&str>, more: &str, roles: Option<&str>) -> World {
        let tls = tls.map_or_else(String::new, |rest| format!("tls: {{cert: '${{CERT}}', key: '${{KEY}}'{rest}}}\n"));
        let issuers =
            "issuers:\n  - {issuer: 'https://id', audience: huxiang, algorithms: [EdDSA], keys: ['${PUBLIC}']}\n";
        let variables = [
            ("CERT", self.server.cert.clone()),
            ("KEY", self.server.key.clone()),
            ("CA", self.authority.pem()),
            ("PUBLIC", self.key.public_pem()),
        ];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let roles = roles.map(str::to_owned);
        world(Files { gateway: format!("{tls}{issuers}{more}"), roles, variables, ..Files::default() }).await
    }

    fn client(&self, with: Option<&Made>) -> reqwest::Client {
        let ca = reqwest::Certificate::from_pem(self.authority.pem().as_bytes()).unwrap();
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([ca]);
        match with {
            None => builder.build().unwrap(),
            Some(made) => {
                let pem = format!("{}{}", made.cert, made.key);
                builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap()).build().unwrap()
            }
        }
    }

    fn token(&self, change: Value) -> String {
        self.key.sign(&clerk(change))
    }
}

const ASKED: &str = ", client_ca: '${CA}', client_certificates: ";

async fn status(world: &World, client: &reqwest::Client) -> Option<u16> {
    client.get(world.url("/health/live")).send().await.ok().map(|answer| answer.status().as_u16())
}

#[tokio::test]
async fn where_a_certificate_is_required_only_a_good_one_gets_a_connection() {
    let pki = Pki::new();
    let world = pki.world(Some(&format!("{ASKED}required")), "", None).await;
    let strangers = Authority::new("Strangers");
    let server_only = pki.authority.make("help.dept", |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(status(&world, &pki.client(Some(&pki.authority.client("help.dept")))).await, Some(200));
    assert_eq!(status(&world, &pki.client(None)).await, None, "none");
    assert_eq!(status(&world, &pki.client(Some(&pki.authority.expired("help.dept")))).await, None, "expired");
    assert_eq!(status(&world, &pki.client(Some(&strangers.client("help.dept")))).await, None, "of strangers");
    assert_eq!(status(&world, &pki.client(Some(&server_only))).await, None, "not for clients");
}

#[tokio::test]
async fn where_it_is_optional_a_bad_one_is_refused_all_the_same() {
    let pki = Pki::new();
    let world = pki.world(Some(&format!("{ASKED}optional")), "", None).await;
    let strangers = Authority::new("Strangers");
    assert_eq!(status(&world, &pki.client(None)).await, Some(200));
    assert_eq!(status(&world, &pki.client(Some(&pki.authority.client("help.dept")))).await, Some(200));
    assert_eq!(status(&world, &pki.client(Some(&pki.authority.expired("help.dept")))).await, None);
    assert_eq!(status(&world, &pki.client(Some(&strangers.client("help.dept")))).await, None);
}

/// A connection may outlive the certificate that it was opened with.
#[tokio::test]
async fn a_certificate_that_expires_while_its_connection_is_open_counts_no_more() {
    let pki = Pki::new();
    let ends = std::time::SystemTime::now() + std::time::Duration::from_secs(4);
    let made = pki.authority.make("help.dept", |params| params.not_after = ends.into());
    let roles = roles("required");
    let world = pki.world(Some(&format!("{ASKED}required")), "", Some(&roles)).await;
    let (kept, token) = (pki.client(Some(&made)), pki.token(json!({})));
    let (told, answer) = world.ask(&kept, &token, &[]).await;
    assert!(told == 200 && has_name(&answer), "{answer}");
    tokio::time::sleep(std::time::Duration::from_millis(5_100)).await;
    let (told, answer) = world.ask(&kept, &token, &[]).await;
    assert_eq!((told, has_name(&answer)), (401, false), "{answer}");
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("expired"), "{answer}");
    // It was the connection of before: no other can be opened.
    assert_eq!(status(&world, &pki.client(Some(&made))).await, None);
}

fn roles(rule: &str) -> String {
    format!(
        "roles:\n  clerk:\n    title: Clerk\n    networks: [office]\n    certificate: {rule}\n    \
         grants: [{{relation: any, classes: [open]}}]\n"
    )
}

#[tokio::test]
async fn a_role_counts_only_over_a_connection_with_the_certificate_it_asks_for() {
    let pki = Pki::new();
    let made = pki.authority.client("help.dept.example");
    for (rule, with, expected) in [
        ("required", true, true),
        ("required", false, false),
        ("{san: ['dns:help.dept.example']}", true, true),
        ("{san: ['dns:other.example', 'dns:*.dept.example']}", true, true),
        ("{san: ['dns:*.example']}", true, false),
        ("{san: ['dns:dept.example']}", true, false),
        ("{subject: 'CN=help.dept.example'}", true, true),
        ("{subject: 'CN=help'}", true, false),
        ("{issuer: 'CN=Departments'}", true, true),
        ("{issuer: 'CN=Departments', san: ['dns:other.example']}", true, false),
        ("{issuer: 'CN=Departments'}", false, false),
    ] {
        let world = pki.world(Some(&format!("{ASKED}optional")), "", Some(&roles(rule))).await;
        let client = pki.client(with.then_some(&made));
        let (status, answer) = world.ask(&client, &pki.token(json!({})), &[]).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(has_name(&answer), expected, "{rule} {with}: {answer}");
        let text = answer.to_string();
        assert_eq!(world.farms.taken().is_empty(), !expected, "{rule}: what is refused is not asked");
        if !expected {
            assert!(
                text.contains("the role `clerk` counts only over a connection with the client certificate"),
                "{text}"
            );
            assert!(!text.contains("dept.example") && !text.contains("CN="), "{text}");
        }
    }
}

#[tokio::test]
async fn a_token_bound_to_a_certificate_counts_over_no_other_connection() {
    let pki = Pki::new();
    let world = pki.world(Some(&format!("{ASKED}optional")), "", None).await;
    let (own, other) = (pki.authority.client("help.dept"), pki.authority.client("help.dept"));
    let bound = pki.token(json!({"cnf": {"x5t#S256": own.thumbprint()}}));
    // In this order: what was accepted once is not accepted for others.
    for (with, expected) in [(Some(&own), 200), (Some(&other), 401), (None, 401), (Some(&own), 200)] {
        let (status, answer) = world.ask(&pki.client(with), &bound, &[]).await;
        assert_eq!(status, expected, "{answer}");
    }
    for cnf in [
        json!({"jkt": "x"}),
        json!({"x5t#S256": own.thumbprint(), "jkt": "x"}),
        json!({}),
        json!("x"),
        json!({"x5t#S256": 1}),
    ] {
        let (status, answer) = world.ask(&pki.client(Some(&own)), &pki.token(json!({"cnf": cnf})), &[]).await;
        assert_eq!(status, 401, "{cnf}: {answer}");
    }
}

const FORWARDED: &str = "forwarded_certificate: {header: client-cert, ca: '${CA}'}\n";

#[tokio::test]
async fn a_forwarded_certificate_counts_only_from_a_listed_proxy_and_if_it_is_good() {
    let pki = Pki::new();
    let made = pki.authority.client("help.dept");
    let world = pki.world(None, FORWARDED, Some(&roles("{san: ['dns:help.dept']}"))).await;
    let token = pki.token(json!({}));
    let caller = ("x-forwarded-for", "203.0.113.9");
    for (value, status, expected) in [
        (made.forwarded(), 200, true),
        (made.escaped(), 200, true),
        (String::new(), 200, false),
        (pki.authority.client("other.dept").forwarded(), 200, false),
        (Authority::new("Departments").client("help.dept").forwarded(), 401, false),
        (pki.authority.expired("help.dept").forwarded(), 401, false),
        (":AAAA:".to_owned(), 401, false),
        ("help.dept".to_owned(), 401, false),
        (":".to_owned(), 401, false),
        (format!("{0}{0}", made.escaped()), 401, false),
        ("%".to_owned(), 401, false),
        ("A".repeat(20_000), 401, false),
    ] {
        let (told, answer) = world.ask(&client(), &token, &[caller, ("client-cert", &value)]).await;
        assert_eq!((told, has_name(&answer)), (status, expected), "{value:.60}: {answer}");
    }
    let twice = [caller, ("client-cert", &*made.forwarded()), ("client-cert", &*made.forwarded())];
    assert_eq!(world.ask(&client(), &token, &twice).await.0, 401);
    assert!(!has_name(&world.ask(&client(), &token, &[caller]).await.1));
}

#[tokio::test]
async fn from_anybody_but_a_listed_proxy_the_header_is_not_looked_at() {
    let pki = Pki::new();
    let made = pki.authority.client("help.dept");
    let more = FORWARDED.to_owned();
    let roles = roles("required");
    let world = pki.world(None, &more, Some(&roles)).await;
    // The listed proxy is 127.0.0.1; 127.0.0.2 is not.
    let from = reqwest::Client::builder().no_proxy().local_address(Some("127.0.0.2".parse().unwrap())).build().unwrap();
    let (status, answer) = world.ask(&from, &pki.token(json!({})), &[("client-cert", &made.forwarded())]).await;
    assert_eq!((status, has_name(&answer)), (200, false), "{answer}");
}

#[tokio::test]
async fn a_proxys_own_certificate_is_not_its_clients() {
    let pki = Pki::new();
    let proxy = pki.authority.client("proxy");
    let world = pki.world(Some(&format!("{ASKED}optional")), "", Some(&roles("required"))).await;
    let client = pki.client(Some(&proxy));
    let through = world.ask(&client, &pki.token(json!({})), &[("x-forwarded-for", "203.0.113.9")]).await;
    assert_eq!((through.0, has_name(&through.1)), (200, false), "{through:?}");
    assert!(has_name(&world.ask(&client, &pki.token(json!({})), &[]).await.1));
}

#[test]
fn what_a_certificate_says_is_read_whole() {
    let authority = Authority::new("Departments");
    let made = authority.make("help.dept", |params| {
        params.subject_alt_names.push(rcgen::SanType::Rfc822Name("a@help.dept".try_into().unwrap()));
        params.subject_alt_names.push(rcgen::SanType::URI("urn:dept:help".try_into().unwrap()));
        params.subject_alt_names.push(rcgen::SanType::IpAddress("10.0.0.1".parse().unwrap()));
    });
    let ClientCertificate { subject, issuer, names, thumbprint, .. } =
        huxiang::identify::certificate_from_der(&made.der).unwrap();
    assert_eq!((subject.as_str(), issuer.as_str()), ("CN=help.dept", "CN=Departments"));
    assert_eq!(names, ["dns:help.dept", "email:a@help.dept", "uri:urn:dept:help", "ip:10.0.0.1"]);
    assert_eq!(thumbprint, made.thumbprint());
    for end in 0..made.der.len() {
        assert!(huxiang::identify::certificate_from_der(&made.der[..end]).is_err(), "{end}");
    }
}
