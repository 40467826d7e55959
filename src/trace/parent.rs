//! W3C Trace Context: the trace that a request belongs to, and whether it is to be recorded.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use rustls::crypto::aws_lc_rs::default_provider;

/// Random bytes; where the system gives none there is no id to trust, so all are zero and nothing else breaks.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = default_provider().secure_random.fill(&mut bytes);
    bytes
}

/// Whether one of so large a share of all is it.
pub(super) fn chosen(ratio: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    let drawn = u64::from_be_bytes(random()) as f64;
    // 2^64.
    drawn < ratio * 18_446_744_073_709_551_616.0
}

/// The trace that a request came with, or a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    trace: TraceId,
    /// Who asks; none: the trace begins here.
    span: Option<SpanId>,
    sampled: bool,
    /// It came from a listed proxy.
    trusted: bool,
}

impl Parent {
    /// Of the header `traceparent`; a new trace where there is none, or a broken one.
    pub fn read(header: Option<&str>, trusted: bool) -> Self {
        let new = || Self { trace: TraceId::from_bytes(random()), span: None, sampled: false, trusted: false };
        header.and_then(|text| Self::of(text, trusted)).unwrap_or_else(new)
    }

    /// Of a valid header. Later versions may carry more fields after these.
    fn of(text: &str, trusted: bool) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower_hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let known = lower_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
        if !known || !lower_hex(trace, 32) || !lower_hex(span, 16) || !lower_hex(flags, 2) {
            return None;
        }
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        let there = trace != TraceId::INVALID && span != SpanId::INVALID;
        there.then_some(Self { trace, span: Some(span), sampled, trusted })
    }

    /// What who asks has decided, where that counts.
    pub(super) fn decided(self, trust: bool) -> Option<bool> {
        (self.span.is_some() && (self.trusted || trust)).then_some(self.sampled)
    }

    pub(super) fn above(self) -> Option<SpanContext> {
        let state = TraceState::default();
        Some(SpanContext::new(self.trace, self.span?, TraceFlags::SAMPLED, true, state))
    }

    /// The `traceparent` to pass on where nothing is recorded here: the same trace, and a span of our own. `not_chosen`: it
    /// was decided here that it is not recorded; else it is as who asks says.
    pub(super) fn passed_on(self, not_chosen: bool) -> String {
        let span = SpanId::from_bytes(random());
        let sampled = self.sampled && !not_chosen;
        format!("00-{}-{span}-{:02x}", self.trace, u8::from(sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_trace_goes_on_with_a_new_span_and_a_broken_one_is_replaced() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let passed_on = |header: &str| Parent::read(Some(header), false).passed_on(false);
        let out = passed_on(&format!("00-{trace}-00f067aa0ba902b7-01"));
        assert!(out.starts_with(&format!("00-{trace}-")) && out.ends_with("-01") && out.len() == 55, "{out}");
        assert!(!out.contains("00f067aa0ba902b7"));
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let later = format!("cc-{trace}-00f067aa0ba902b7-00-more");
        assert!(passed_on(&later).contains(trace));
        for broken in ["", "00-x-y-z", &zero, &format!("ff-{trace}-00f067aa0ba902b7-01"), &trace.to_uppercase()] {
            let out = passed_on(broken);
            assert!(out.len() == 55 && !out.contains(trace) && Parent::of(&out, false).is_some(), "{broken} {out}");
        }
    }

    #[test]
    fn only_a_listed_proxy_decides_what_is_recorded_unless_all_are_trusted() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(Parent::read(Some(header), true).decided(false), Some(true));
        assert_eq!(Parent::read(Some(header), false).decided(false), None);
        assert_eq!(Parent::read(Some(header), false).decided(true), Some(true));
        assert_eq!(Parent::read(None, true).decided(true), None, "a trace that begins here");
        assert!(chosen(1.0) && !chosen(0.0));
    }
}
