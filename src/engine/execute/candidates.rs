//! Candidates of a scan: entities out of a listing, or of a list of keys, stretch by stretch, in the source's own order.

use std::sync::{Arc, OnceLock};

use super::Execution;
use super::advance::Staged;
use super::cursor::{At, CursorSeal, Position};
use super::listing::only_related;
use super::root::Listed;
use super::rows::{Seeds, seed};
use super::total::Total;
use crate::base::json::Held;
use crate::engine::frame::{Failure, Frame, Row};
use crate::engine::operation::Selection;
use crate::engine::plan::NodeId;
use crate::engine::project::read::Named;
use crate::model::access::SlotSet;
use crate::model::binding::RootBinding;
use crate::model::contract::RootField;
use crate::source::PageAt;

/// Stands in what is sealed in place of an approval's id, where there is none.
pub(crate) const NO_APPROVAL: &str = "-";

/// Where candidates come from.
pub(crate) enum From<'s> {
    /// Listings, one after the other: each of a division. With what their cursors are bound to.
    Listings { query: &'s RootField, binding: &'s RootBinding, of: Vec<(Selection, String)> },
    /// These keys, and what their cursors are bound to.
    Keys(Vec<Arc<str>>, String),
}

impl From<'_> {
    fn names(&self) -> Vec<String> {
        match self {
            Self::Listings { of, .. } => of.iter().map(|(_, name)| name.clone()).collect(),
            Self::Keys(_, name) => vec![name.clone()],
        }
    }
}

/// One candidate, and where the scan goes on behind it.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub key: Option<Arc<str>>,
    pub embedded: Option<Held>,
    /// The entity whose relations it takes, by its key, once that is known.
    above: OnceLock<Arc<str>>,
    behind: Place,
}

impl Candidate {
    /// The key of the entity whose relations it takes (a person's household); `None`: it takes none, or that is not known.
    pub fn above(&self) -> Option<&Arc<str>> {
        self.above.get()
    }
}

/// A place in what is scanned.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Which of the listings.
    part: usize,
    position: Position,
}

/// How far a scan has gone, over all of its pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    pub candidates: usize,
    pub named: usize,
    pub undetermined: usize,
    /// How many there are in all.
    pub total: Total,
    /// The id of the approval that it goes by.
    pub approval: Option<Arc<str>>,
}

impl Reached {
    fn encode(&self, position: &Position) -> String {
        let approval = self.approval.as_deref().unwrap_or(NO_APPROVAL);
        let Self { candidates, named, undetermined, total, .. } = self;
        format!("{candidates} {named} {undetermined} {} {approval} {}", total.encode(), position.encode())
    }

    fn decode(text: &str) -> Option<(Self, Position)> {
        let (candidates, rest) = text.split_once(' ')?;
        let (named, rest) = rest.split_once(' ')?;
        let (undetermined, rest) = rest.split_once(' ')?;
        let (total, rest) = rest.split_once(' ')?;
        let (approval, position) = rest.split_once(' ')?;
        let reached = Self {
            candidates: candidates.parse().ok()?,
            named: named.parse().ok()?,
            undetermined: undetermined.parse().ok()?,
            total: Total::decode(total)?,
            approval: (approval != NO_APPROVAL).then(|| approval.into()),
        };
        Some((reached, Position::decode(position)?))
    }

    /// How far the scan had gone that a cursor is of, which is bound to one of these names.
    pub fn opened(seal: &CursorSeal, names: &[String], cursor: &str) -> Option<Self> {
        Self::placed(seal, names, cursor).map(|(reached, _)| reached)
    }

    fn placed(seal: &CursorSeal, names: &[String], cursor: &str) -> Option<(Self, Place)> {
        let open = |(part, name): (usize, &String)| {
            let (reached, position) = Self::decode(&seal.open_text(name, cursor)?)?;
            Some((reached, Place { part, position }))
        };
        names.iter().enumerate().find_map(open)
    }
}

/// What is left to look at.
pub(crate) struct Candidates<'s> {
    from: From<'s>,
    /// Where the first that was not looked at lies.
    at: Option<Place>,
    rest: std::vec::IntoIter<Named>,
    /// The source's page to read when those are through.
    next: Option<At>,
    /// On the pages before that one.
    listed: usize,
    pub total: Total,
}

impl<'s> Candidates<'s> {
    /// With how far the pages before went; `None`: the cursor is none of this scan.
    pub fn new(from: From<'s>, seal: &CursorSeal, after: Option<&str>) -> Option<(Self, Reached)> {
        let (reached, at) = match after {
            None => (Reached::default(), None),
            Some(cursor) => {
                let (reached, place) = Reached::placed(seal, &from.names(), cursor)?;
                (reached, Some(place))
            }
        };
        let next = at.as_ref().map(|place: &Place| place.position.page.clone());
        let (listed, total) = (before(at.as_ref(), reached.candidates), reached.total);
        Some((Self { from, at, rest: Vec::new().into_iter(), next, listed, total }, reached))
    }

    /// What is left behind a place ([`Self::place`]), before which so many candidates lie; `None`: it is none of these.
    pub fn going_on(from: From<'s>, place: Option<&str>, candidates: usize, total: Total) -> Option<Self> {
        let parts = match &from {
            From::Listings { of, .. } => of.len(),
            From::Keys(..) => 1,
        };
        let at = match place {
            None => None,
            Some(text) => {
                let (part, position) = text.split_once(' ')?;
                let part = part.parse().ok().filter(|part| *part < parts)?;
                Some(Place { part, position: Position::decode(position)? })
            }
        };
        let next = at.as_ref().map(|place: &Place| place.position.page.clone());
        let listed = before(at.as_ref(), candidates);
        Some(Self { from, at, rest: Vec::new().into_iter(), next, listed, total })
    }

    /// The place behind a candidate. It holds the source's own cursors, which are nobody's to see.
    pub fn place(&self, behind: &Candidate) -> String {
        let Place { part, position } = &behind.behind;
        format!("{part} {}", position.encode())
    }

    /// A cursor behind a candidate.
    pub fn cursor(&self, seal: &CursorSeal, behind: &Candidate, reached: &Reached) -> String {
        let Place { part, position } = &behind.behind;
        let name = match &self.from {
            From::Listings { of, .. } => of.get(*part).map(|(_, name)| name),
            From::Keys(_, name) => Some(name),
        };
        name.map(|name| seal.seal_text(name, reached.encode(position))).unwrap_or_default()
    }

    /// Some candidates, at most so many; none where all were looked at.
    pub async fn next(&mut self, execution: &Execution<'_>, most: usize) -> Result<Vec<Candidate>, Failure> {
        let place = self.reached(execution).await?;
        Ok(place.map(|place| self.taken(place, most)).unwrap_or_default())
    }

    /// Reads as far as there are candidates at hand; how many there are in all may be known then.
    pub async fn peek(&mut self, execution: &Execution<'_>) -> Result<(), Failure> {
        if let Some(place) = self.reached(execution).await? {
            self.at = Some(place);
        }
        Ok(())
    }

    /// Where the candidates at hand lie, read until there are some; `None`: all were looked at.
    async fn reached(&mut self, execution: &Execution<'_>) -> Result<Option<Place>, Failure> {
        loop {
            let place = match self.at.take() {
                Some(place) => place,
                None => match self.beginning(execution, 0)? {
                    Some(place) => place,
                    None => return Ok(None),
                },
            };
            if self.rest.len() > 0 {
                return Ok(Some(place));
            }
            let place = match self.next.take() {
                Some(next) => self.turned(execution, place, next).await?,
                // The listing is through: the next one, where there is one.
                None => match self.beginning(execution, place.part + 1)? {
                    Some(place) => place,
                    None => {
                        self.at = Some(place);
                        return Ok(None);
                    }
                },
            };
            self.at = Some(place);
        }
    }

    /// Whether there may be more behind those handed out.
    pub fn has_more(&self) -> bool {
        let parts = match &self.from {
            From::Listings { of, .. } => of.len(),
            From::Keys(..) => 1,
        };
        let part = self.at.as_ref().map_or(0, |place| place.part);
        self.at.is_none() || self.rest.len() > 0 || self.next.is_some() || part + 1 < parts
    }

    /// How many are left at most, where that is known before they are looked at: of keys.
    pub fn left_at_most(&self) -> Option<usize> {
        match &self.from {
            From::Listings { .. } => None,
            From::Keys(keys, _) => {
                let skipped = self.at.as_ref().map_or(0, |place| place.position.skip);
                Some(keys.len().saturating_sub(skipped))
            }
        }
    }

    fn taken(&mut self, mut place: Place, most: usize) -> Vec<Candidate> {
        let mut taken = Vec::new();
        for Named { key, record } in self.rest.by_ref().take(most) {
            place.position.skip += 1;
            taken.push(Candidate { key, embedded: record, above: OnceLock::new(), behind: place.clone() });
        }
        self.at = Some(place);
        taken
    }

    /// Where a part begins; `None`: there is no such part.
    fn beginning(&mut self, execution: &Execution<'_>, part: usize) -> Result<Option<Place>, Failure> {
        let page = match &self.from {
            From::Listings { binding, of, .. } => {
                let Some((selection, _)) = of.get(part) else { return Ok(None) };
                execution.beginning(selection, binding)?
            }
            From::Keys(..) if part > 0 => return Ok(None),
            From::Keys(..) => At { instance: None, page: PageAt::First },
        };
        self.next = Some(page.clone());
        Ok(Some(Place { part, position: Position { page, skip: 0 } }))
    }

    /// The next page of a part, read.
    async fn turned(&mut self, execution: &Execution<'_>, place: Place, next: At) -> Result<Place, Failure> {
        let skip = if next == place.position.page { place.position.skip } else { 0 };
        let read = match &self.from {
            From::Listings { query, binding, of } => {
                let Some((selection, _)) = of.get(place.part) else { return Ok(place) };
                let read = execution.listed(selection, query, binding, Some(next.clone())).await?;
                // What one of several listings tells is not how many there are in all.
                Listed { total: read.total.filter(|_| of.len() == 1), ..read }
            }
            From::Keys(keys, _) => {
                let named = |key: &Arc<str>| Named { key: Some(Arc::clone(key)), record: None };
                Listed { named: keys.iter().map(named).collect(), next: None, total: None }
            }
        };
        self.listed = self.listed.saturating_add(read.named.len());
        self.total.read(read.total, self.listed, read.next.is_none());
        self.rest = read.named.into_iter().skip(skip).collect::<Vec<Named>>().into_iter();
        self.next = read.next;
        Ok(Place { part: place.part, position: Position { page: next, skip } })
    }
}

/// How many of so many candidates lie on pages before the one where it is gone on. All that were listed are candidates, or how many
/// there are is not known anyway.
fn before(at: Option<&Place>, candidates: usize) -> usize {
    candidates.saturating_sub(at.map_or(0, |place| place.position.skip))
}

/// What is known of candidates once the caller's relations to them are.
pub(crate) struct Stood {
    /// Those of which the caller may compare what is compared.
    pub staged: Staged,
    /// By row of `staged`: its place among the candidates.
    pub places: Vec<usize>,
    /// Candidates of which it could not be found out, by their places.
    pub undecided: Vec<(usize, Failure)>,
}

impl Execution<'_> {
    /// Relates candidates. One that the caller stands in no relation to, or of which the caller may not compare everything in
    /// `compared` that is the entity's own, is none: as if it were not there.
    pub(crate) async fn candidates(
        &self,
        node: NodeId,
        found: &[Candidate],
        compared: &SlotSet,
        selection: &Selection,
    ) -> Stood {
        let rows = found.iter().map(|candidate| seed(candidate.key.clone(), candidate.embedded.clone())).collect();
        let mut related = self.relate(node, Seeds { rows, inherited: None }).await;
        if let Some((_, via)) = &related.via {
            for (candidate, range) in found.iter().zip(&via.ranges) {
                let above = range.clone().find_map(|at| via.related.rows.get(at)?.key.clone());
                above.map(|key| candidate.above.set(key));
            }
        }
        let contract = &self.snapshot.contract;
        let entity = self.plan.node(node).entity;
        let own = |slot: &crate::model::contract::SlotId| {
            let slot = contract.slot(*slot);
            slot.entity == entity && slot.class.is_some()
        };
        let own: Vec<_> = compared.iter().filter(own).collect();
        let may = |row: &Row| row.is_related() && own.iter().all(|slot| row.rights.may_compare(*slot));
        let (mut places, mut undecided) = (Vec::new(), Vec::new());
        for (at, row) in related.rows.iter_mut().enumerate() {
            let why = row.undecided;
            self.only_if_comparable(row, selection);
            if may(row) {
                places.push(at);
            } else if let Some(why) = why {
                undecided.push((at, why));
            }
        }
        let mut staged = Staged::from(related);
        staged.keep(&places);
        Stood { staged, places, undecided }
    }

    /// Everything that is selected of the entities that are shown, by an ordinary plan; and which of them are still there
    /// for the caller, by their places. An error: it could not be found out of one of them.
    pub(crate) async fn answered(&self, node: NodeId, found: &[Candidate]) -> Result<(Frame, Vec<usize>), Failure> {
        let rows = found.iter().map(|candidate| seed(candidate.key.clone(), candidate.embedded.clone())).collect();
        let related = self.relate(node, Seeds { rows, inherited: None }).await;
        let mut unrelated = related.rows.iter().filter(|row| !row.is_related());
        if let Some(failure) = unrelated.find_map(|row| row.undecided) {
            return Err(failure);
        }
        let (related, places) = only_related(related, usize::MAX);
        Ok((self.complete(related).await, places))
    }
}
