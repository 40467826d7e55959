//! The bindings of `resolvers/` compile down to their connections and requests.

use std::path::Path;
use std::sync::LazyLock;

use huxiang::base::fault::{Faults, SourceText};
use huxiang::model::binding::connection::Connection;
use huxiang::model::binding::format::SourceFile;
use huxiang::model::binding::platform::Platforms;
use huxiang::model::binding::request::CallTemplate;
use huxiang::model::config::egress::EgressConfig;
use huxiang::source::{Connector, Shared};
use rcgen::{CertificateParams, KeyPair};

/// A certificate, which stands for an authority's too, and its key.
static CERTIFICATE: LazyLock<(String, String)> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
});

/// A value that fits where the variable stands.
fn variable(name: &str) -> Option<String> {
    Some(match name {
        "HOUSING_URL" => "sqlite:/nowhere/housing.db".to_owned(),
        _ if name.ends_with("URL") || name.starts_with("BANK_") => "http://127.0.0.1:9".to_owned(),
        _ if name.ends_with("_CA") || name.ends_with("_CLIENT_CERT") => CERTIFICATE.0.clone(),
        _ if name.ends_with("_CLIENT_KEY") => CERTIFICATE.1.clone(),
        _ => "value".to_owned(),
    })
}

#[test]
fn every_request_of_the_bindings_compiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("resolvers");
    let (mut faults, mut sources) = (Faults::default(), 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = SourceText::new(&path, std::fs::read_to_string(&path).unwrap());
        let file: SourceFile = serde_saphyr::from_str(&text.text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let shared = Shared::default();
        for connection in
            Connection::compile(&file, &text, &variable, &EgressConfig::default(), &Platforms::default(), &mut faults)
        {
            let name = connection.name();
            Connector::new(connection, &shared).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let requests = file.endpoints.values().flat_map(|endpoint| {
            let (one, many) = (&endpoint.value.one, &endpoint.value.many);
            one.iter().map(|one| (one, false)).chain(many.iter().map(|many| (many, true)))
        });
        for (request, many) in requests.chain(file.queries.values().map(|query| (&query.value.ask, false))) {
            CallTemplate::compile(request, file.protocol, many, file.envelope.as_ref(), &text, &mut faults);
        }
        sources += 1;
    }
    assert!(sources > 0);
    assert!(faults.is_empty(), "{}", faults.render());
}
