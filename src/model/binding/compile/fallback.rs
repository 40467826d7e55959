//! Who is asked where an endpoint does not answer.

use std::sync::Arc;

use super::Compiler;
use crate::base::fault::SourceText;
use crate::model::binding::connection::standbys;
use crate::model::binding::format::{self, Protocol, SourceFile};
use crate::model::binding::request::CallTemplate;
use crate::model::binding::request::reading::Condition;
use crate::model::yaml::{self, Spanned};

/// For one key, and for many.
type Templates = (Option<CallTemplate>, Option<CallTemplate>);

impl Compiler<'_> {
    /// The endpoint's templates with their fallbacks.
    pub(super) fn fallback(
        &mut self,
        (one, many): Templates,
        endpoint: &Spanned<format::Endpoint>,
        file: &SourceFile,
        text: &Arc<SourceText>,
    ) -> Templates {
        let Some(fallback) = &endpoint.value.fallback else { return (one, many) };
        let (written, place) = (&fallback.value, yaml::span(fallback));
        if file.protocol == Protocol::Audit {
            let message = "the gateway's own records have no fallback";
            self.faults.add(text, place, message, "take it out");
            return (one, many);
        }
        if let (Protocol::Sql, Some(on)) = (file.protocol, &written.on) {
            let message = "`on` looks at an answer, and a database gives rows alone";
            self.faults.add(text, yaml::span(&on.at), message, "take it out");
        }
        let own = written.one.is_some() || written.many.is_some();
        if !own && written.base_url.is_none() {
            let message = "the fallback is the endpoint itself";
            self.faults.add(text, place, message, "give it a `base_url`, or `one` and `many` of its own");
        }
        let on = written.on.as_ref().and_then(|test| Condition::compile(test, text, self.faults));
        let address = written.base_url.as_ref();
        let standby = address.and_then(|url| standbys(file).iter().position(|known| known.value == url.value));
        let requests = [
            ("one", one, &endpoint.value.one, &written.one, false),
            ("many", many, &endpoint.value.many, &written.many, true),
        ];
        let [one, many] = requests.map(|(name, template, main, request, is_many)| {
            if own && main.is_some() != request.is_some() {
                let has = if main.is_some() { "has no" } else { "has a" };
                let message = format!("the fallback {has} `{name}`, other than its endpoint");
                self.faults.add(text, place, message, "give both the same ways to be asked");
            }
            let request = request.as_ref().or(main.as_ref())?;
            let envelope = file.envelope.as_ref();
            // What is wrong with the endpoint's own request has been told.
            let mut told = crate::base::fault::Faults::default();
            let faults = if own { &mut *self.faults } else { &mut told };
            let fallback = CallTemplate::compile(request, file.protocol, is_many, envelope, text, faults)?;
            let fallback = fallback.with_times_of(&endpoint.value).at_standby(standby);
            if template.as_ref().is_some_and(|template| fallback.batch_max() < template.batch_max()) {
                let message = format!("the fallback's `{name}` takes fewer keys than its endpoint's");
                self.faults.add(text, place, message, "give the endpoint's `many` the smaller `batch_max`");
            }
            Some(template?.with_fallback(fallback, on.clone()))
        });
        (one, many)
    }
}
