//! Whether the ciphers that requests and records name are there, and fit.

use std::sync::Arc;

use super::Compiler;
use crate::base::fault::{Place, SourceText};
use crate::model::binding::connection::cipher::unknown;
use crate::model::binding::format::{Protocol, SourceFile};
use crate::model::binding::request::CallTemplate;

impl Compiler<'_> {
    pub(super) fn ciphers_there(
        &mut self,
        template: &CallTemplate,
        file: &SourceFile,
        place: Place,
        text: &Arc<SourceText>,
    ) {
        let [asked, polled] = template.sealed_with();
        let named = asked.iter().chain(&polled).copied().chain(template.key_cipher());
        for name in named.filter(|name| !file.ciphers.contains_key(&***name)) {
            let (message, hint) = unknown(name, file.ciphers.keys().map(String::as_str));
            self.faults.add(text, place, message, hint);
        }
        if template.key_cipher().is_some() && !matches!(file.protocol, Protocol::Rest | Protocol::Soap) {
            let message = "`key_cipher` is for rest and soap: others are asked with keys as they are";
            self.faults.add(text, place, message, "take it out");
        }
        let prefixed = |name: &Arc<str>| {
            let entry = file.ciphers.get(&**name);
            entry.is_some_and(|entry| entry.value.iv.as_ref().is_some_and(|iv| iv.value == "prefixed"))
        };
        if template.ticket().is_some() && asked.into_iter().any(prefixed) {
            let message =
                "a request for a ticket is encrypted otherwise each time: its ticket would not be found again";
            self.faults.add(text, place, message, "use a cipher with a fixed `iv`, or `ecb`");
        }
        if let Some(fallback) = template.fallback() {
            self.ciphers_there(fallback, file, place, text);
        }
    }
}
