//! Client certificates, as roles look at them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};

/// A client certificate that was verified against the configured authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Distinguished names, as in `C=CN, O=Example, CN=name`.
    pub subject: String,
    pub issuer: String,
    /// The subject's alternative names: `dns:…`, `email:…`, `uri:…`, `ip:…`.
    pub names: Vec<String>,
    /// SHA-256 of the certificate, base64url: a token's `cnf.x5t#S256` (RFC 8705).
    pub thumbprint: String,
    /// Seconds since 1970. Connections may outlive their certificate, which then counts no more.
    pub not_after: i64,
}

impl ClientCertificate {
    /// It ended, by the machine's clock.
    pub fn is_over(&self) -> bool {
        self.not_after < jiff::Timestamp::now().as_second()
    }
}

/// Which certificate a role asks for. What is left out is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateFields {
    /// One of these must be among the alternative names; `dns:*.example.org` stands for one more label.
    pub san: Vec<String>,
    /// The subject's distinguished name, compared whole.
    pub subject: Option<String>,
    /// The issuer's distinguished name, compared whole.
    pub issuer: Option<String>,
}

/// `certificate` of a role: `required`, or what must stand in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateRule(pub CertificateFields);

impl CertificateRule {
    /// How alternative names start.
    pub const NAMES: [&str; 4] = ["dns:", "email:", "uri:", "ip:"];

    /// Whether the certificate is one that is asked for.
    pub fn holds(&self, shown: Option<&ClientCertificate>) -> bool {
        let Some(shown) = shown else { return false };
        let Self(asked) = self;
        let named = |name: &String| shown.names.iter().any(|shown| is_name(name, shown));
        (asked.san.is_empty() || asked.san.iter().any(named))
            && asked.subject.as_deref().is_none_or(|subject| subject == shown.subject)
            && asked.issuer.as_deref().is_none_or(|issuer| issuer == shown.issuer)
    }
}

/// DNS names are compared without case; a leading `*` stands for one label, as in certificates.
fn is_name(asked: &str, shown: &str) -> bool {
    match (asked.strip_prefix("dns:"), shown.strip_prefix("dns:")) {
        (Some(asked), Some(shown)) => match asked.strip_prefix("*.") {
            Some(parent) => shown
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
            None => asked.eq_ignore_ascii_case(shown),
        },
        _ => asked == shown,
    }
}

impl JsonSchema for CertificateRule {
    fn schema_name() -> Cow<'static, str> {
        "Certificate".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fields = generator.subschema_for::<CertificateFields>();
        json_schema!({
            "description": "The client certificate that a role asks for: any that is accepted, or what must stand in it.",
            "anyOf": [{"const": "required"}, fields],
        })
    }
}

// By hand: a word or a mapping, and a wrong one should say what is allowed.
impl<'de> Deserialize<'de> for CertificateRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rule;
        impl<'de> Visitor<'de> for Rule {
            type Value = CertificateRule;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`required`, or a mapping with `san`, `subject` or `issuer`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<CertificateRule, E> {
                match text {
                    "required" => Ok(CertificateRule::default()),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CertificateRule, A::Error> {
                CertificateFields::deserialize(MapAccessDeserializer::new(map)).map(CertificateRule)
            }
        }
        deserializer.deserialize_any(Rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dns_stand_for_a_label_at_most_and_others_for_themselves() {
        for (asked, shown, fits) in [
            ("dns:a.example", "dns:A.Example", true),
            ("dns:a.example", "dns:b.example", false),
            ("dns:*.example", "dns:a.EXAMPLE", true),
            ("dns:*.example", "dns:example", false),
            ("dns:*.example", "dns:.example", false),
            ("dns:*.example", "dns:a.b.example", false),
            ("dns:*.example", "dns:a.other", false),
            ("dns:a.example", "email:a.example", false),
            ("email:a@example", "email:a@example", true),
            ("email:a@example", "email:A@example", false),
            ("uri:*.example", "uri:a.example", false),
        ] {
            assert_eq!(is_name(asked, shown), fits, "{asked} {shown}");
        }
    }
}
