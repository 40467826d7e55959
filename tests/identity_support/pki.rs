//! Certificate authorities and certificates, made for each test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
pub struct Made {
    pub cert: String,
    pub key: String,
    pub der: Vec<u8>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn make(&self, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Made {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Made { cert: cert.pem(), key: key.serialize_pem(), der: cert.der().to_vec() }
    }

    pub fn client(&self, name: &str) -> Made {
        self.make(name, |_| {})
    }

    pub fn expired(&self, name: &str) -> Made {
        self.make(name, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })
    }
}

impl Made {
    /// As a token's `cnf.x5t#S256` names it.
    pub fn thumbprint(&self) -> String {
        use base64::Engine as _;
        use sha2::Digest as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(&self.der))
    }

    /// As RFC 9440 forwards it.
    pub fn forwarded(&self) -> String {
        use base64::Engine as _;
        format!(":{}:", base64::engine::general_purpose::STANDARD.encode(&self.der))
    }

    /// As nginx's `$ssl_client_escaped_cert` forwards it.
    pub fn escaped(&self) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        self.cert.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    }
}
