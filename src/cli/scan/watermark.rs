//! Who asked for what, and why: what stands in every export, so that it can be told from which look a row came.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::ScanArgs;
use super::document::Asked;
use super::read;
use super::tally::Tally;
use crate::audit::timestamp;

/// What everybody who reads an export is told.
pub const NOTICE: &str = "线索，须人工核实";
/// Where tokens have their roles.
const ROLES: [&str; 2] = ["/roles", "/realm_access/roles"];

pub struct Watermark {
    pub subject: String,
    pub issuer: String,
    roles: Vec<String>,
    purpose: Option<String>,
    case: Option<String>,
    approval: Option<String>,
    query: String,
    division: Option<String>,
    condition: String,
    /// When the export was begun; later runs keep it.
    pub began: String,
}

/// The digest of a text, as hexadecimal.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a token says of its holder, unchecked: checking is the gateway's, which answers nothing to a wrong one.
fn claims(token: &str) -> Value {
    let body = token.split('.').nth(1).and_then(|body| URL_SAFE_NO_PAD.decode(body.trim_end_matches('=')).ok());
    body.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default()
}

impl Watermark {
    pub fn new(args: &ScanArgs, token: &str, asked: &Asked) -> Self {
        let claims = claims(token);
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or("unknown").to_owned();
        let roles = ROLES.iter().find_map(|at| claims.pointer(at)?.as_array());
        let roles = roles.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let condition = json!([asked.text, read::canonical(&Value::Object(asked.variables.clone())), asked.among]);
        Self {
            subject: text("sub"),
            issuer: text("iss"),
            roles,
            purpose: args.purpose.clone(),
            case: args.case.clone(),
            approval: args.approval.clone(),
            query: asked.query.clone(),
            division: args.division.clone(),
            condition: format!("sha256:{}", digest(&condition.to_string())),
            began: timestamp(Timestamp::now()),
        }
    }

    /// The first line of JSON lines.
    pub fn opening(&self) -> Value {
        json!({ "watermark": self.as_json() })
    }

    /// The last line: with what it came to.
    pub fn closing(&self, tally: &Tally) -> Value {
        let mut of = self.as_json();
        if let Value::Object(of) = &mut of {
            of.insert("ended".to_owned(), json!(timestamp(Timestamp::now())));
            of.insert("rows".to_owned(), json!(tally.rows));
            of.insert("requests".to_owned(), json!(tally.requests));
            of.insert("requestsMore".to_owned(), json!(tally.requests_more));
            of.insert("coverage".to_owned(), tally.as_json());
        }
        json!({ "watermark": of })
    }

    pub fn as_json(&self) -> Value {
        json!({
            "notice": NOTICE, "subject": self.subject, "issuer": self.issuer, "roles": self.roles,
            "purpose": self.purpose, "case": self.case, "approval": self.approval, "query": self.query,
            "division": self.division, "condition": self.condition, "began": self.began,
        })
    }

    /// The first line of CSV. No comma and no quotation mark stands in it: it is one cell, and begins with `#`.
    pub fn comment(&self) -> String {
        let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        plain(&format!(
            "# {NOTICE}; subject {}; issuer {}; roles {}; purpose {}; case {}; approval {}; query {}; division {}; \
             condition {}; began {}",
            self.subject,
            self.issuer,
            self.roles.join(" "),
            or(&self.purpose),
            or(&self.case),
            or(&self.approval),
            self.query,
            or(&self.division),
            self.condition,
            self.began
        ))
    }

    /// The last line of CSV.
    pub fn closing_comment(&self, tally: &Tally) -> String {
        let more = match tally.requests_more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        plain(&format!(
            "{}; ended {}; rows {}; candidates {}; matched {}; undetermined {}; whole {}; requests {}{more}",
            self.comment(),
            timestamp(Timestamp::now()),
            tally.rows,
            tally.candidates,
            tally.matched,
            tally.undetermined,
            tally.is_whole(),
            tally.requests.join(" ")
        ))
    }

    /// The last cell of a row: a row that is copied out of its file still says whose look it came from.
    pub fn cell(&self, request: &str) -> String {
        let parts =
            [NOTICE, &self.subject, self.purpose.as_deref().unwrap_or("-"), self.case.as_deref().unwrap_or("-")];
        format!("{}; request {request}", parts.join("; "))
    }
}

fn plain(text: &str) -> String {
    let of = |c: char| match c {
        ',' => ';',
        '"' => '\'',
        c if c.is_control() => ' ',
        c => c,
    };
    text.chars().map(of).collect()
}
