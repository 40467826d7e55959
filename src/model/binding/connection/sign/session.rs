//! `sign.session`: a call that gives the secret of other calls.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::mounted::Found;
use super::super::{Compiler, Instance};
use super::format::{self, Sign};
use super::{Origin, Session, SessionCall};
use crate::model::binding::request::reading::{Condition, pointer};
use crate::model::yaml::{self, Spanned};

/// Where nothing says how long a secret is good.
const LIFE_DEFAULT: u64 = 300;
const LIFE_MAX: u64 = 86_400;

impl Compiler<'_> {
    pub(super) fn session(&mut self, sign: &Sign, instance: Option<&Instance>) -> Option<(Session, Origin)> {
        let at = yaml::span(sign.session.as_ref()?);
        let session = &sign.session.as_ref()?.value;
        let before = self.faults.len();
        let (written, post) = match (&session.get, &session.post) {
            (Some(get), None) => (get, false),
            (None, Some(post)) => (post, true),
            _ => {
                let hint = "say where the secret is fetched: `post: /auth/secret`";
                self.faults.add(self.text, at, "a session has exactly one of `get` and `post`", hint);
                return None;
            }
        };
        let key = if post { "post" } else { "get" };
        let place = yaml::span(written);
        let url = self.absolute(&written.value, key, place, instance);
        if url.as_ref().is_some_and(|url| url.text.contains(['?', '#'])) {
            let hint = "write parameters under the session's `query`";
            self.faults.add(self.text, place, "the session's address has parameters", hint);
        }
        if !post && let Some((_, member)) = session.body.iter().next() {
            self.faults.add(self.text, yaml::span(member), "a `get` has no body", "write `post`, or use `query`");
        }
        if let Some(form) = &session.form {
            let both = session.body.values().next().map(|_| "the session has both `body` and `form`");
            if let Some(wrong) = both.or((!post).then_some("a `get` has no form")) {
                let hint = "`form` goes with `post`, in place of `body`; parameters of a `get` stand under `query`";
                self.faults.add(self.text, yaml::span(form), wrong, hint);
            }
        }
        let written = session.form.as_ref().map_or(&session.body, |form| &form.value);
        let (query, body) = (self.values(&session.query, instance), self.values(written, instance));
        let seal = match &session.sign {
            Some(own) if own.session.is_some() || own.scheme.value == format::Scheme::Oauth2 => {
                let hint = "sign the call that gives the secret with a secret of your own";
                self.faults.add(self.text, yaml::span(&own.scheme), "a session cannot need a session", hint);
                None
            }
            Some(own) => self.sign(own, instance).map(|(signing, _)| signing.seal),
            None => None,
        };
        let life = session.life_s.as_ref().map_or(LIFE_DEFAULT, |life| life.value);
        if !(1..=LIFE_MAX).contains(&life) {
            let at = session.life_s.as_ref().map_or(at, yaml::span);
            self.faults.add(self.text, at, "life_s is out of range", "it is between 1 and 86 400 seconds");
        }
        let secret_at = pointer(&session.secret_at, self.text, self.faults);
        let life_at = session.life_at.as_ref().and_then(|at| pointer(at, self.text, self.faults));
        let renew_on = session.renew_on.as_ref().and_then(|test| Condition::compile(test, self.text, self.faults));
        if self.faults.len() > before {
            return None;
        }
        let Found { text: url, origin } = url?;
        let call = Session::Call(Box::new(SessionCall {
            url,
            post,
            query,
            body,
            is_form: session.form.is_some(),
            seal,
            secret_at: secret_at?,
            life_at,
            life: Duration::from_secs(life),
            renew_on,
        }));
        Some((call, origin))
    }

    fn values(
        &mut self,
        written: &BTreeMap<String, Spanned<String>>,
        instance: Option<&Instance>,
    ) -> Vec<(String, Origin)> {
        let value = |(name, text): (&String, &Spanned<String>)| {
            self.secret(Some(text), instance).map(|origin| (name.clone(), origin))
        };
        written.iter().filter_map(value).collect()
    }
}
