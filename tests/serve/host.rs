//! The names that the gateway answers to: a page whose name was made to lead here (DNS rebinding) is refused.

use crate::support::{self, Options, Running};

const QUERY: &str = r#"{"query":"{a}"}"#;
const ADMIN: &str = "admin: {operator: [ops]}\n";

async fn listing(more: &'static str) -> Running {
    Running::start(Options { graphiql: true, get_queries: true, more, ..Options::default() }).await
}

/// As the browser of a rebound page asks: for it, the page and the gateway are one site.
async fn asked(running: &Running, path: &str, host: &str) -> u16 {
    let name = host.split(':').next().unwrap_or(host);
    let request = match path {
        "/graphql" | "/admin/graphql" | "/login/portal/start" => running.client.post(running.url(path)).body(QUERY),
        _ => running.client.get(running.url(path)),
    };
    let request = request.header("host", host).header("content-type", "application/json");
    let request = request.header("sec-fetch-site", "same-origin").header("origin", format!("http://{name}"));
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_name_that_is_not_listed_is_refused_on_every_path_but_health() {
    let running = listing(ADMIN).await;
    for path in ["/graphql", "/admin/graphql", "/graphiql", "/graphiql/page.js", "/login/portal/start", "/nowhere", "/"]
    {
        for host in ["evil.example", "evil.example:4000", "127.0.0.1.evil.example", "evil.localhost", "0x7f.1"] {
            assert_eq!(asked(&running, path, host).await, 421, "{path} at {host}");
        }
    }
    assert!(running.seen().is_empty());
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(asked(&running, path, "evil.example").await, 200, "{path}");
    }
}

#[tokio::test]
async fn addresses_and_localhost_need_not_be_listed() {
    let running = listing("").await;
    for host in ["127.0.0.1", "localhost", "LOCALHOST:4000", "10.20.30.40:8080", "[::1]:4000", "[2001:db8::1]"] {
        assert_eq!(asked(&running, "/graphiql", host).await, 200, "{host}");
        let request = running.post().header("host", host).body(QUERY);
        assert_eq!(request.send().await.unwrap().status(), 200, "{host}");
    }
}

#[tokio::test]
async fn listed_names_count_on_any_port_and_no_others() {
    let running = listing("hosts: [Gateway.example.gov.cn, '${PUBLIC_NAME:-second.example}']\n").await;
    for (host, status) in [
        ("gateway.example.gov.cn", 200),
        ("GATEWAY.example.gov.cn.:8443", 200),
        ("second.example", 200),
        ("www.gateway.example.gov.cn", 421),
        ("example.gov.cn", 421),
        ("gateway.example.gov.cn.evil.example", 421),
    ] {
        assert_eq!(asked(&running, "/graphiql", host).await, status, "{host}");
    }
}

#[tokio::test]
async fn any_name_counts_only_where_that_is_said() {
    let running = listing("hosts: ['*']\n").await;
    assert_eq!(asked(&running, "/graphiql", "whatever.example").await, 200);
}

/// The request line names one that is listed, `Host` another; and two `Host`.
#[tokio::test]
async fn every_name_of_a_request_must_be_one() {
    use tokio::io::AsyncWriteExt;
    let running = listing("").await;
    for (head, status) in [
        ("GET http://evil.example/graphiql HTTP/1.1\r\nhost: localhost\r\n\r\n", 421),
        ("GET http://localhost/graphiql HTTP/1.1\r\nhost: evil.example\r\n\r\n", 421),
        ("GET http://localhost/graphiql HTTP/1.1\r\nhost: localhost\r\n\r\n", 200),
        ("GET /graphiql HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n", 400),
        ("GET /graphiql HTTP/1.1\r\nhost: \r\n\r\n", 421),
    ] {
        let mut stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(support::status(&mut stream).await, status, "{head}");
    }
}

#[tokio::test]
async fn over_tls_the_names_of_the_certificate_count() {
    let names = ["gateway.example".to_owned(), "*.dept.example".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let tls = Some((made.cert.pem(), made.signing_key.serialize_pem()));
    let running = Running::start(Options { graphiql: true, tls, ..Options::default() }).await;
    let ca = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([ca])
        .resolve("gateway.example", running.address)
        .build()
        .unwrap();
    let url = format!("https://gateway.example:{}/graphiql", running.address.port());
    for (host, status) in
        [(None, 200), (Some("a.dept.example"), 200), (Some("a.b.dept.example"), 421), (Some("evil.example"), 421)]
    {
        let request = client.get(&url);
        let request = match host {
            Some(host) => request.header("host", host),
            None => request,
        };
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{host:?}");
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    }
    // Nor is it said where TLS ended elsewhere, or not at all.
    let plain = listing("").await;
    let answer = plain.client.get(plain.url("/graphiql")).send().await.unwrap();
    assert!(answer.headers().get("strict-transport-security").is_none());
}
