//! Texts with placeholders, and the forms of timestamps, as `sign` has them.

use std::collections::BTreeMap;

use super::super::{Compiler, Instance};
use super::{Clock, Hole, Origin, Piece, Secret, Text};
use crate::base::fault::did_you_mean;
use crate::model::yaml::{self, Spanned};

impl Compiler<'_> {
    pub(super) fn texts(
        &mut self,
        written: &BTreeMap<String, Spanned<String>>,
        allowed: &[Hole],
        instance: Option<&Instance>,
    ) -> Vec<(String, Text)> {
        let text = |(name, written): (&String, &Spanned<String>)| {
            self.template(written, allowed, instance).map(|text| (name.clone(), text))
        };
        written.iter().filter_map(text).collect()
    }

    /// Variables are filled in piece by piece: what they hold is never read as a placeholder.
    pub(super) fn template(
        &mut self,
        written: &Spanned<String>,
        allowed: &[Hole],
        instance: Option<&Instance>,
    ) -> Option<Text> {
        let at = yaml::span(written);
        let mut pieces = Vec::new();
        let mut rest = written.value.as_str();
        while let Some(open) = rest.find('{') {
            let (before, inside) = (rest.get(..open)?, rest.get(open + 1..)?);
            let Some((name, after)) = inside.split_once('}') else {
                self.faults.add(self.text, at, "a `{` is not closed", "placeholders are written `{timestamp}`");
                return None;
            };
            if let Some(before) = before.strip_suffix('$') {
                pieces.push(Piece::Literal(Origin::Text(Secret::new(before.to_owned()))));
                pieces.push(Piece::Literal(self.found(&format!("${{{name}}}"), at, instance)?.origin));
            } else {
                pieces.push(Piece::Literal(Origin::Text(Secret::new(before.to_owned()))));
                let hole = Hole::NAMES.iter().find(|(known, hole)| *known == name && allowed.contains(hole));
                let Some((_, hole)) = hole else {
                    let known = Hole::NAMES.iter().filter(|(_, hole)| allowed.contains(hole)).map(|(name, _)| *name);
                    let all: Vec<String> = known.clone().map(|name| format!("{{{name}}}")).collect();
                    let hint = did_you_mean(name, known, &format!("here may stand {}", all.join(", ")));
                    self.faults.add(self.text, at, format!("`{{{name}}}` is no placeholder here"), hint);
                    return None;
                };
                pieces.push(Piece::Hole(*hole));
            }
            rest = after;
        }
        pieces.push(Piece::Literal(Origin::Text(Secret::new(rest.to_owned()))));
        pieces.retain(|piece| !matches!(piece, Piece::Literal(Origin::Text(text)) if text.reveal().is_empty()));
        Some(Text(pieces))
    }

    pub(super) fn clock(&mut self, written: &Spanned<String>) -> Option<Clock> {
        let pattern = match written.value.as_str() {
            "s" => return Some(Clock::Seconds),
            "ms" => return Some(Clock::Milliseconds),
            pattern => pattern,
        };
        let parts =
            [("yyyy", "%Y"), ("MM", "%m"), ("dd", "%d"), ("HH", "%H"), ("mm", "%M"), ("ss", "%S"), ("SSS", "%3f")];
        let (mut out, mut rest, mut found) = (String::new(), pattern, false);
        while let Some(c) = rest.chars().next() {
            if let Some((part, directive)) = parts.iter().find(|(part, _)| rest.starts_with(part)) {
                out.push_str(directive);
                rest = rest.strip_prefix(part)?;
                found = true;
                continue;
            }
            if c == '%' || (c.is_ascii_alphabetic() && c != 'T') {
                found = false;
                break;
            }
            out.push(c);
            rest = rest.get(c.len_utf8()..)?;
        }
        if !found {
            let hint = "write `s`, `ms`, or a pattern of yyyy, MM, dd, HH, mm, ss and SSS, for example yyyyMMddHHmmss";
            let message = format!("`{pattern}` is no form of a timestamp");
            self.faults.add(self.text, yaml::span(written), message, hint);
            return None;
        }
        Some(Clock::Pattern(out))
    }
}
