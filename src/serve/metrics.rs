//! `GET /metrics`, at a listener of its own: what monitoring may read without being anybody.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, header};

use super::{App, Gateway};

/// Prometheus text format 0.0.4.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn handle<G: Gateway>(State(app): State<Arc<App<G>>>) -> ([(HeaderName, &'static str); 1], String) {
    let mut text = app.gateway.now().metrics();
    text.family("huxiang_refused_requests_total", "counter", "Requests refused before the contract was looked at.");
    for (status, count) in app.refusals.totals() {
        text.sample(&[("status", &status.to_string())], count);
    }
    app.turns.count(&mut text);
    app.sockets.count(&mut text);
    let help = "Bytes of large answers that clients have not taken yet.";
    text.single("huxiang_unsent_bytes", "gauge", help, app.unsent.bytes());
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    text.single("huxiang_tasks", "gauge", "Tasks of the runtime: connections, requests, calls and watches.", tasks);
    ([(header::CONTENT_TYPE, TEXT)], text.finish())
}
