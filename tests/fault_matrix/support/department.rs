//! Departments that hold one record, each in its own protocol; and what they speak when they are ill.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;

/// What a source of the matrix speaks: its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Speaks {
    Json,
    Xml,
    Soap,
    Graphql,
    Sqlite,
    Postgres,
}

impl Speaks {
    pub const ALL: [Self; 6] = [Self::Json, Self::Xml, Self::Soap, Self::Graphql, Self::Sqlite, Self::Postgres];

    /// As it is called in the contract and the bindings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Xml => "xml",
            Self::Soap => "soap",
            Self::Graphql => "graphql",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Json => "REST, JSON",
            Self::Xml => "REST, XML",
            Self::Soap => "SOAP",
            Self::Graphql => "GraphQL",
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    pub fn is_xml(self) -> bool {
        matches!(self, Self::Xml | Self::Soap)
    }

    pub fn content_type(self) -> &'static str {
        if self.is_xml() { "text/xml; charset=utf-8" } else { "application/json" }
    }

    /// An answer around a record.
    pub fn answer(self, record: &str) -> String {
        match self {
            Self::Json => format!(r#"{{"ok":true,"data":{record}}}"#),
            Self::Graphql => format!(r#"{{"data":{{"r":{record}}}}}"#),
            Self::Xml => format!("<?xml version=\"1.0\"?><answer><data>{record}</data></answer>"),
            Self::Soap => enveloped(&format!("<AskResponse><data>{record}</data></AskResponse>")),
            Self::Sqlite | Self::Postgres => unreachable!("databases answer with rows"),
        }
    }

    /// The one of two records that it can hold: JSON or XML.
    pub fn of(self, json: &str, xml: &str) -> Vec<u8> {
        self.answer(if self.is_xml() { xml } else { json }).into_bytes()
    }
}

pub fn enveloped(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{body}</s:Body>\
         </s:Envelope>"
    )
}

/// A department that is well, of each protocol over HTTP under its name, and one more.
pub async fn start() -> SocketAddr {
    let answered = async |request: Request| {
        let speaks = Speaks::ALL.into_iter().find(|speaks| request.uri().path() == format!("/{}", speaks.name()));
        let Some(speaks) = speaks else {
            return ([(CONTENT_TYPE, "application/json")], r#"{"ok":"of the well one"}"#.into());
        };
        let text = format!("held by {}", speaks.name());
        let body = speaks.of(
            &format!(r#"{{"text":"{text}","count":7,"amount":"12.5"}}"#),
            &format!("<text>{text}</text><count>7</count><amount>12.5</amount>"),
        );
        ([(CONTENT_TYPE, speaks.content_type())], body)
    };
    listening(Router::new().fallback(answered)).await
}

pub async fn listening(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}
