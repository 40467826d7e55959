//! Lists and connections, and what the gateway made itself.

use std::sync::Arc;

use serde_json::Value;

use super::errors::{Cause, Segment};
use super::read::RowView;
use super::write::Writer;
use crate::engine::frame::Told;
use crate::engine::operation::{Selection, What};
use crate::model::contract::scan::{COVERAGE, MISSING};

pub(super) fn nodes(writer: &mut Writer<'_>, views: &[RowView<'_>], selection: &Selection) {
    writer.out.push(b'[');
    for (at, view) in views.iter().enumerate() {
        if at > 0 {
            writer.out.push(b',');
        }
        writer.journal.enter(Segment::Index(at));
        writer.entity_object(view, &selection.children);
        writer.journal.leave();
    }
    writer.out.push(b']');
}

/// A page of a listing.
pub(super) struct Page<'p, 'a> {
    pub views: &'p [RowView<'a>],
    pub cursors: &'p [String],
    pub end: Option<&'p String>,
    pub has_next: bool,
    pub has_previous: bool,
    pub told: Option<&'p Told>,
    /// How many are undetermined is told elsewhere.
    pub is_told: bool,
}

/// What of a coverage tells that something is not known.
const TELLING: [&str; 2] = ["whole", "missing"];
/// Tells it too, but for a listing that broke off before anything was undetermined.
const UNDETERMINED: &str = "undetermined";

pub(super) fn connection(writer: &mut Writer<'_>, page: &Page<'_, '_>, selection: &Selection) {
    // Who does not ask what a scan rests on is told that it is not whole, as of any field that a department did not give.
    let failures =
        page.told.filter(|told| !page.is_told && !tells(selection, told)).map(|told| told.failures.as_slice());
    for failure in failures.unwrap_or_default() {
        writer.journal.note(Cause::Failed(*failure));
    }
    members(writer, selection, |writer, field| match &field.what {
        What::Nodes(_) => nodes(writer, page.views, field),
        What::Meta(name) if &**name == "edges" => {
            writer.out.push(b'[');
            for (at, view) in page.views.iter().enumerate() {
                if at > 0 {
                    writer.out.push(b',');
                }
                writer.journal.enter(Segment::Index(at));
                let missing = page.told.and_then(|told| told.missing.get(at));
                edge(writer, view, page.cursors.get(at), missing, field);
                writer.journal.leave();
            }
            writer.out.push(b']');
        }
        What::Meta(name) if &**name == "pageInfo" => members(writer, field, |writer, field| match &field.what {
            What::Meta(name) => match &**name {
                "hasNextPage" => bool(writer, page.has_next),
                "hasPreviousPage" => bool(writer, page.has_previous),
                "startCursor" => cursor(writer, page.cursors.first()),
                "endCursor" => cursor(writer, page.end),
                _ => writer.null(),
            },
            What::Typename(name) => writer.string(name),
            _ => writer.null(),
        }),
        What::Meta(name) if **name == *COVERAGE => made(writer, page.told.map(|told| &told.coverage), field),
        What::Typename(name) => writer.string(name),
        _ => writer.null(),
    });
}

/// Whether a member of this name selects how many are undetermined.
pub(super) fn tells_undetermined(selection: &Selection, name: &str) -> bool {
    selects(selection, name, &[UNDETERMINED])
}

fn tells(selection: &Selection, told: &Told) -> bool {
    let is_counted = told.coverage.get(UNDETERMINED).and_then(Value::as_u64) > Some(0);
    selects(selection, COVERAGE, &TELLING) || is_counted && tells_undetermined(selection, COVERAGE)
}

fn selects(selection: &Selection, member: &str, of_it: &[&str]) -> bool {
    let named = |field: &Selection, names: &[&str]| matches!(&field.what, What::Meta(name) if names.contains(&&**name));
    let members = selection.children.iter().filter(|field| named(field, &[member]));
    members.flat_map(|field| &field.children).any(|field| named(field, of_it))
}

/// What the gateway made itself, as far as it is selected.
pub(super) fn made(writer: &mut Writer<'_>, value: Option<&Value>, selection: &Selection) {
    match value {
        Some(Value::Object(object)) if !selection.children.is_empty() => {
            members(writer, selection, |writer, field| match &field.what {
                What::Meta(name) => made(writer, object.get(&**name), field),
                What::Typename(name) => writer.string(name),
                _ => writer.null(),
            });
        }
        Some(Value::Array(list)) => {
            writer.out.push(b'[');
            for (at, element) in list.iter().enumerate() {
                if at > 0 {
                    writer.out.push(b',');
                }
                made(writer, Some(element), selection);
            }
            writer.out.push(b']');
        }
        other => {
            let _ = serde_json::to_writer(&mut writer.out, other.unwrap_or(&Value::Null));
        }
    }
}

fn edge(
    writer: &mut Writer<'_>,
    view: &RowView<'_>,
    at: Option<&String>,
    missing: Option<&Value>,
    selection: &Selection,
) {
    members(writer, selection, |writer, field| match &field.what {
        What::Nodes(_) => {
            writer.entity_object(view, &field.children);
        }
        What::Meta(name) if &**name == "cursor" => cursor(writer, at),
        What::Meta(name) if **name == *MISSING => made(writer, missing, field),
        What::Typename(name) => writer.string(name),
        _ => writer.null(),
    });
}

pub(super) fn members(
    writer: &mut Writer<'_>,
    selection: &Selection,
    mut one: impl FnMut(&mut Writer<'_>, &Selection),
) {
    writer.out.push(b'{');
    for (at, field) in selection.children.iter().enumerate() {
        if at > 0 {
            writer.out.push(b',');
        }
        writer.string(&field.key);
        writer.out.push(b':');
        writer.journal.enter(Segment::Key(Arc::clone(&field.key)));
        one(writer, field);
        writer.journal.leave();
    }
    writer.out.push(b'}');
}

fn bool(writer: &mut Writer<'_>, value: bool) {
    writer.out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn cursor(writer: &mut Writer<'_>, cursor: Option<&String>) {
    match cursor {
        Some(cursor) => writer.string(cursor),
        None => writer.null(),
    }
}
