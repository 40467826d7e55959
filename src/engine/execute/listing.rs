//! A page of a connection: related entities only, refilled from the source's listing within a budget.

use std::sync::Arc;

use serde_json::Value;

use super::Execution;
use super::cursor::{At, Position};
use super::node::Related;
use super::root::text;
use super::rows::{Seeds, seed};
use crate::engine::frame::{Failure, RootAnswer, RootRows};
use crate::engine::operation::Selection;
use crate::engine::plan::NodeId;
use crate::engine::plan::cost::FIRST_DEFAULT;
use crate::engine::project::read::Named;
use crate::model::binding::RootBinding;
use crate::model::contract::RootField;

/// Stretches of a listing that one request looks at, to fill its page with entities the caller may see.
const STRETCHES_MAX: usize = 10;

/// What is listed, and how much of it is asked for.
struct Listing<'l> {
    selection: &'l Selection,
    query: &'l RootField,
    binding: &'l RootBinding,
    node: NodeId,
    /// What its cursors are bound to.
    name: String,
    first: usize,
}

/// A page while it is filled.
struct Filling {
    /// Where the first record that was not looked at lies.
    at: Position,
    /// Records of the source's page at hand that were not looked at.
    rest: std::vec::IntoIter<Named>,
    /// The source's page to read when those are through.
    next: Option<At>,
    found: Option<Related>,
    cursors: Vec<String>,
}

impl Filling {
    fn new(at: Position) -> Self {
        let next = Some(at.page.clone());
        Self { at, rest: Vec::new().into_iter(), next, found: None, cursors: Vec::new() }
    }

    fn has_next(&self) -> bool {
        self.rest.len() > 0 || self.next.is_some()
    }

    /// Where the listing goes on.
    fn end(&self) -> Position {
        match &self.next {
            Some(next) if self.rest.len() == 0 && *next != self.at.page => Position { page: next.clone(), skip: 0 },
            _ => self.at.clone(),
        }
    }
}

impl Execution<'_> {
    pub(super) async fn connection(
        &self,
        selection: &Selection,
        node: NodeId,
        query: &RootField,
        binding: &RootBinding,
    ) -> RootAnswer {
        let name = self.listing_name(selection, query);
        let (first, after) = match self.page_asked(selection, query, &name) {
            Ok(asked) => asked,
            Err(message) => return RootAnswer { refused: Some(message), ..self.nothing(node, None) },
        };
        let has_previous = after.is_some();
        let listing = Listing { selection, query, binding, node, name, first };
        let begin = match self.beginning(selection, binding) {
            Ok(begin) => begin,
            Err(failure) => return self.nothing(node, Some(failure)),
        };
        let mut page = Filling::new(after.unwrap_or(Position { page: begin, skip: 0 }));
        for _ in 0..STRETCHES_MAX {
            if let Err(failure) = self.turn(&listing, &mut page).await {
                return self.nothing(node, Some(failure));
            }
            if page.cursors.len() >= first || !page.has_next() {
                break;
            }
            if page.rest.len() > 0 {
                self.stretch(&listing, &mut page).await;
            }
        }
        let has_next = page.has_next();
        let end = match has_next && page.cursors.len() < first {
            true => Some(self.cursors.seal(&listing.name, &page.end())),
            false => page.cursors.last().cloned(),
        };
        let frame = match page.found {
            Some(related) => Arc::new(self.complete(related).await),
            None => self.nothing(node, None).frame,
        };
        let rows = RootRows::Page { cursors: page.cursors, end, has_next, has_previous, told: None };
        RootAnswer { frame, rows, failure: None, refused: None }
    }

    /// `first` and `after`, or what is wrong with them.
    fn page_asked(
        &self,
        selection: &Selection,
        query: &RootField,
        name: &str,
    ) -> Result<(usize, Option<Position>), String> {
        let first = match selection.argument("first", self.variables) {
            Value::Null => FIRST_DEFAULT.min(query.first_max),
            value => value
                .as_u64()
                .and_then(|first| usize::try_from(first).ok())
                .filter(|first| *first <= query.first_max)
                .ok_or_else(|| format!("`first` is between 0 and {}", query.first_max))?,
        };
        let after = match text(selection.argument("after", self.variables)) {
            None => None,
            Some(cursor) => {
                let position = self.cursors.open(name, &cursor);
                Some(position.ok_or_else(|| "`after` is not a cursor of this listing".to_owned())?)
            }
        };
        Ok((first, after))
    }

    /// What a cursor is bound to: the query and its arguments, but for those that move through it.
    fn listing_name(&self, selection: &Selection, query: &RootField) -> String {
        let arguments = selection.arguments.iter().filter(|argument| !matches!(&*argument.name, "first" | "after"));
        let values: Vec<(&str, &Value)> =
            arguments.map(|argument| (&*argument.name, selection.argument(&argument.name, self.variables))).collect();
        serde_json::json!([&*query.name, values]).to_string()
    }

    /// Reads the source's next page, where the one at hand is through.
    async fn turn(&self, listing: &Listing<'_>, page: &mut Filling) -> Result<(), Failure> {
        if page.rest.len() > 0 {
            return Ok(());
        }
        let Some(next) = page.next.take() else { return Ok(()) };
        let asked = next.clone();
        let read = self.listed(listing.selection, listing.query, listing.binding, Some(asked)).await?;
        if next != page.at.page {
            page.at = Position { page: next, skip: 0 };
        }
        let behind = read.named.into_iter().skip(page.at.skip).collect::<Vec<Named>>();
        (page.rest, page.next) = (behind.into_iter(), read.next);
        Ok(())
    }

    /// Looks at some records: those to which the caller stands in a relation are on the page.
    async fn stretch(&self, listing: &Listing<'_>, page: &mut Filling) {
        let missing = listing.first.saturating_sub(page.cursors.len());
        // More than are missing, since some may be left out, but not the whole of a long listing.
        let take = missing.saturating_mul(2).clamp(missing, missing.saturating_add(50));
        let mut looked_at: Vec<Named> = page.rest.by_ref().take(take).collect();
        let rows = looked_at.iter().map(|named| seed(named.key.clone(), named.record.clone())).collect();
        let mut related = self.relate(listing.node, Seeds { rows, inherited: None }).await;
        related.rows.iter_mut().for_each(|row| self.only_if_comparable(row, listing.selection));
        let (related, places) = only_related(related, missing);
        let behind = |place: &usize| Position { page: page.at.page.clone(), skip: page.at.skip + place + 1 };
        page.cursors.extend(places.iter().map(|place| self.cursors.seal(&listing.name, &behind(place))));
        let used = if places.len() == missing { places.last().map_or(0, |place| place + 1) } else { looked_at.len() };
        page.at.skip += used;
        // What lies behind the page's last entity was looked at in vain: the next page begins with it.
        page.rest = looked_at.drain(used..).chain(page.rest.by_ref()).collect::<Vec<Named>>().into_iter();
        page.found = Some(match page.found.take() {
            Some(before) => joined(before, related),
            None => related,
        });
    }
}

/// Leaves out the entities to which the caller stands in no relation; says where the others stood.
pub(super) fn only_related(mut related: Related, most: usize) -> (Related, Vec<usize>) {
    let places: Vec<usize> =
        related.rows.iter().enumerate().filter(|(_, row)| row.is_related()).map(|(at, _)| at).take(most).collect();
    related.keep(&places);
    (related, places)
}

/// Two stretches of one listing as one.
fn joined(mut before: Related, after: Related) -> Related {
    before.rows.extend(after.rows);
    before.subjects.extend(after.subjects);
    for (answers, more) in before.answers.iter_mut().zip(after.answers) {
        match (answers.as_mut(), more) {
            (Some(answers), Some(more)) => answers.extend(more),
            (None, None) => {}
            // Both stretches went through the same gate; answers of one alone are asked again.
            _ => *answers = None,
        }
    }
    if let (Some((_, via)), Some((_, more))) = (&mut before.via, after.via) {
        let offset = via.related.rows.len();
        via.ranges.extend(more.ranges.into_iter().map(|range| range.start + offset..range.end + offset));
        let rows = std::mem::replace(
            &mut *via.related,
            Related { node: more.related.node, rows: Vec::new(), answers: Vec::new(), via: None, subjects: Vec::new() },
        );
        *via.related = joined(rows, *more.related);
    }
    before
}
