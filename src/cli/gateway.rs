//! A running gateway's own API, asked from the command line.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};
use reqwest::Url;
use serde_json::{Value, json};

use super::Stop;
use super::holder::HolderArgs;
use crate::egress::{self, Http, Unanswered};
use crate::model::binding::connection::TlsFiles;
use crate::model::binding::connection::sign::Secret;
use crate::model::config::egress::EgressConfig;
use crate::source::{Hindrance, Settings, reason};

/// Longer than the gateway takes for any request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER_MAX: usize = 32 << 20;

const WHERE: &str = "say where it is: --gateway URL, or HUXIANG_GATEWAY";
/// How this command's options are called.
const SETTINGS: Settings =
    Settings { authority: "--ca FILE", address: "--gateway URL", client: "this command shows none" };
/// Fields of the admin API that its messages name, and what shows the same here.
const COMMANDS: [(&str, &str); 1] = [("`sourceVersions`", "`huxiang source versions SOURCE`")];

/// Which gateway, and who asks it.
#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// Where the gateway is; without it, the variable HUXIANG_GATEWAY, or http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// PEM of the authorities of the gateway's certificate, where they are not the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
    #[command(flatten)]
    holder: HolderArgs,
}

impl GatewayArgs {
    /// What the admin API answers: its `data`. An error of its own ends the command: 1, where it was refused.
    pub fn ask(&self, query: &str, variables: Value) -> Result<Value, Stop> {
        let token = self.holder.token()?;
        let body = json!({ "query": query, "variables": variables }).to_string();
        let (status, bytes) = super::runtime()?.block_on(self.post(&token, body))?;
        let not_json = |_| {
            let hint = match status {
                StatusCode::NOT_FOUND => {
                    "a gateway answers so without `admin` in its config/gateway.yaml; else --gateway URL says where one is"
                }
                _ => WHERE,
            };
            let (url, status) = (self.url(), status.as_u16());
            Stop::failed(format!(
                "error: what answers at {url} (HTTP status {status}) is no admin API\n  = hint: {hint}"
            ))
        };
        let answer: Value = serde_json::from_slice(&bytes).map_err(not_json)?;
        let errors = answer.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if errors.is_empty() {
            return Ok(answer.get("data").cloned().unwrap_or_default());
        }
        let told = |error: &Value| {
            let message = error.get("message").and_then(Value::as_str).unwrap_or("an error");
            COMMANDS.iter().fold(message.to_owned(), |told, (field, command)| told.replace(field, command))
        };
        let messages: Vec<String> = errors.iter().map(|error| format!("error: {}", told(error).trim_end())).collect();
        Err(Stop::refused(messages.join("\n")))
    }

    fn url(&self) -> String {
        let set = || std::env::var("HUXIANG_GATEWAY").ok();
        self.gateway.clone().or_else(set).unwrap_or_else(|| "http://127.0.0.1:8080".to_owned())
    }

    /// Why there is no answer, and the way out.
    fn unreached(&self, error: &Unanswered) -> Stop {
        let (why, hint) = match reason(error, &SETTINGS) {
            Some((Hindrance::Refused, why)) => (why, format!("start it (`huxiang serve`), or {WHERE}")),
            Some((Hindrance::Name, why)) => (why, WHERE.to_owned()),
            Some((Hindrance::Tls, why)) => (why, format!("--ca FILE names its certificate's authority; {WHERE}")),
            None if error.is_connect() => ("no connection is made".to_owned(), WHERE.to_owned()),
            None if matches!(error, Unanswered::Failed(_)) && self.url().starts_with("http://") => {
                let why = "it closed the connection, or does not speak HTTP there: is it `https://`?";
                (why.to_owned(), WHERE.to_owned())
            }
            None => ("it closed the connection".to_owned(), WHERE.to_owned()),
        };
        Stop::failed(format!("error: the gateway at {} cannot be reached: {why}\n  = hint: {hint}", self.url()))
    }

    async fn post(&self, token: &str, body: String) -> Result<(StatusCode, Bytes), Stop> {
        let failed = |error: &dyn std::fmt::Display| {
            Stop::failed(format!("error: the gateway at {} cannot be asked: {error}\n  = hint: {WHERE}", self.url()))
        };
        let url = format!("{}/admin/graphql", self.url().trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| failed(&error))?;
        let unread = |path: &Path, error| Stop::failed(format!("error: {} cannot be read: {error}", path.display()));
        let ca = self.ca.as_ref().map(|path| std::fs::read_to_string(path).map_err(|error| unread(path, error)));
        let ca = ca.transpose()?;
        let tls = TlsFiles { ca: ca.map(Secret::new), ..TlsFiles::default() };
        let http = Http::new(&tls, &Arc::new(EgressConfig::default())).map_err(|error| failed(&error))?;
        let client = http.to(std::iter::once(url.as_str())).map_err(|error| failed(&error))?;
        let request = egress::request(Method::POST, &url).map_err(|error| failed(&error))?;
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json").body(body.into());
        let request = request.map_err(|error| failed(&error))?;
        let asked = async {
            let answer = client.send(request).await.map_err(|error| self.unreached(&error))?;
            answer.bytes(ANSWER_MAX).await.map_err(|error| failed(&error))
        };
        let late = |_| failed(&format!("no answer within {} s", TIMEOUT.as_secs()));
        let (head, bytes) = tokio::time::timeout(TIMEOUT, asked).await.map_err(late)??;
        Ok((head.status, bytes))
    }
}
