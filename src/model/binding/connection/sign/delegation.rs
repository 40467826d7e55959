//! `sign: {scheme: delegation}`: tokens in the caller's name, which the source checks as any other (RFC 8693, section 4.1:
//! the token's subject is the caller, its actor the gateway).

use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::super::{Compiler, Instance};
use super::format::Sign;
use super::{Delegation, Origin};
use crate::base::fault::{Faults, Place, SourceText, did_you_mean};
use crate::model::binding::format::{Authority, SourceFile};
use crate::model::binding::hand::Named;
use crate::model::yaml::{self, Spanned};

/// What stands for a variable that is not set where files are only looked at.
const PLACEHOLDER: &str = "-----BEGIN PLACEHOLDER-----";

/// A private key, and what it signs with; `None`: it is neither Ed25519 nor P-256, or not PKCS#8 in PEM.
pub fn signing_key(pem: &str) -> Option<(Algorithm, EncodingKey)> {
    if let Ok(key) = EncodingKey::from_ed_pem(pem.as_bytes()) {
        return Some((Algorithm::EdDSA, key));
    }
    let key = EncodingKey::from_ec_pem(pem.as_bytes()).ok()?;
    // Keys of other curves are found out only when they sign.
    encode(&Header::new(Algorithm::ES256), &(), &key).ok()?;
    Some((Algorithm::ES256, key))
}

/// What a binding names of other files: roles and claims of the gateway.
#[derive(Debug, Default)]
pub struct PassedOn {
    text: Option<Arc<SourceText>>,
    roles: Vec<Named>,
    claims: Vec<Named>,
}

impl PassedOn {
    pub fn of(file: &SourceFile, text: &Arc<SourceText>) -> Self {
        let Some(sign) = file.sign.as_ref().map(|sign| &sign.value) else { return Self::default() };
        let named = |name: &str, at: &Spanned<String>| Named { name: name.into(), place: yaml::span(at) };
        Self {
            text: Some(Arc::clone(text)),
            roles: sign.roles.iter().map(|(name, there)| named(name, there)).collect(),
            claims: sign.claims.iter().map(|claim| named(&claim.value, claim)).collect(),
        }
    }

    /// Whether the roles and claims are there.
    pub fn check(&self, roles: &[&str], claims: &[&str], faults: &mut Faults) {
        let Some(text) = &self.text else { return };
        let mut check = |named: &Named, what: &str, known: &[&str], declared: &str| {
            if !known.contains(&&*named.name) {
                let hint = did_you_mean(&named.name, known.iter().copied(), declared);
                faults.add(text, named.place, format!("there is no {what} `{}`", named.name), hint);
            }
        };
        self.roles.iter().for_each(|role| check(role, "role", roles, "roles are declared in roles.yaml"));
        let declared = "claims are declared in gateway.yaml (principal.claims)";
        self.claims.iter().for_each(|claim| check(claim, "claim", claims, declared));
    }
}

impl Compiler<'_> {
    pub(super) fn delegation(&mut self, sign: &Sign, instance: Option<&Instance>) -> Option<Delegation> {
        if self.file.authority != Authority::Caller {
            let hint = "add `authority: caller` to the binding: calls in a caller's name are never shared";
            let message = "the scheme delegation goes with `authority: caller`";
            self.faults.add(self.text, yaml::span(&sign.scheme), message, hint);
            return None;
        }
        let issuer = self.named("issuer", sign.issuer.as_ref(), instance);
        let audience = self.named("audience", sign.audience.as_ref(), instance);
        let actor = match &sign.actor {
            Some(actor) => self.named("actor", Some(actor), instance),
            None => issuer.clone(),
        };
        let key_id = match &sign.key_id {
            Some(id) => Some(self.named("key_id", Some(id), instance)?),
            None => None,
        };
        let mut roles = Vec::with_capacity(sign.roles.len());
        for (role, there) in &sign.roles {
            roles.push((role.clone(), self.named("roles", Some(there), instance)?));
        }
        let claims = sign.claims.iter().map(|claim| claim.value.clone()).collect();
        let (issuer, audience, actor) = (issuer?, audience?, actor?);
        Some(Delegation { key_id, issuer, audience, actor, roles: roles.into_iter().collect(), claims })
    }

    fn named(&mut self, key: &str, written: Option<&Spanned<String>>, instance: Option<&Instance>) -> Option<String> {
        let at = yaml::span(written?);
        let text = self.filled(written, instance)?;
        if text.trim().is_empty() {
            self.faults.add(self.text, at, format!("`{key}` is empty"), "say what the source knows it by");
            return None;
        }
        Some(text)
    }

    pub(super) fn delegation_key(
        &mut self,
        written: Option<&Spanned<String>>,
        instance: Option<&Instance>,
    ) -> Option<Origin> {
        let at: Place = yaml::span(written?);
        let origin = self.secret(written, instance)?;
        let text = match &origin {
            Origin::Text(text) => Some(text.reveal().to_owned()),
            // Where files are only looked at, it need not be there.
            Origin::File(path) => std::fs::read_to_string(path).ok(),
            Origin::Joined { .. } => None,
        };
        let fits = |text: &String| text.starts_with(PLACEHOLDER) || signing_key(text).is_some();
        if !text.as_ref().is_none_or(fits) {
            let hint = "make one with `openssl genpkey -algorithm ed25519`; the source needs its public key";
            let message = "`key` is no private key that tokens can be signed with (Ed25519 or P-256, PKCS#8 in PEM)";
            self.faults.add(self.text, at, message, hint);
            return None;
        }
        Some(origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_issuers_may_have_sign_and_others_are_refused() {
        let pem = |kind| rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem();
        let signs = |pem: &str| signing_key(pem).map(|(algorithm, _)| algorithm);
        assert_eq!(signs(&pem(&rcgen::PKCS_ED25519)), Some(Algorithm::EdDSA));
        assert_eq!(signs(&pem(&rcgen::PKCS_ECDSA_P256_SHA256)), Some(Algorithm::ES256));
        assert_eq!(signs(&pem(&rcgen::PKCS_ECDSA_P384_SHA384)), None);
        let public = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().public_key_pem();
        assert_eq!(signs(&public), None);
    }
}
