//! The page `/graphiql`, wholly from files inside the binary.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderValue, Response, StatusCode, header};

/// Only what this gateway serves itself; GraphiQL sets styles from scripts, and its fonts are data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src data:; \
                      img-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

const PAGE: &[u8] = include_bytes!("../../assets/graphiql/index.html");

const FILES: &[(&str, &str, &[u8])] = &[
    ("page.js", SCRIPT, include_bytes!("../../assets/graphiql/page.js")),
    ("page.css", STYLE, include_bytes!("../../assets/graphiql/page.css")),
    ("react.production.min.js", SCRIPT, include_bytes!("../../assets/graphiql/react.production.min.js")),
    ("react-dom.production.min.js", SCRIPT, include_bytes!("../../assets/graphiql/react-dom.production.min.js")),
    ("graphiql.min.js", SCRIPT, include_bytes!("../../assets/graphiql/graphiql.min.js")),
    ("graphiql.min.css", STYLE, include_bytes!("../../assets/graphiql/graphiql.min.css")),
    ("LICENSE.graphiql", TEXT, include_bytes!("../../assets/graphiql/LICENSE.graphiql")),
    ("LICENSE.react", TEXT, include_bytes!("../../assets/graphiql/LICENSE.react")),
];

pub async fn page() -> Response<Body> {
    response(HTML, PAGE)
}

pub async fn file(Path(name): Path<String>) -> Response<Body> {
    match FILES.iter().find(|(known, _, _)| *known == name) {
        Some((_, kind, bytes)) => response(kind, bytes),
        None => {
            let mut missing = Response::new(Body::empty());
            *missing.status_mut() = StatusCode::NOT_FOUND;
            missing
        }
    }
}

fn response(kind: &'static str, bytes: &'static [u8]) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}
