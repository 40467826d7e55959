//! What the arguments of root queries find entities by.

use apollo_compiler::ast::InputValueDefinition;
use apollo_compiler::schema::FieldDefinition;

use super::published::text_argument;
use super::slots::SlotBuilder;
use super::{EntityId, FindsBy, Shape, Slot, SlotId};

/// Arguments that move through a listing and find nothing.
const PAGING: [&str; 2] = ["first", "after"];

impl SlotBuilder<'_> {
    /// Every argument but those of paging stands for a field: to find by it needs the grant to read it.
    pub(super) fn finds_by(&mut self, field: &FieldDefinition, entity: EntityId) -> Vec<FindsBy> {
        let arguments = field.arguments.iter().filter(|argument| !PAGING.contains(&argument.name.as_str()));
        arguments.filter_map(|argument| self.found_by(field, argument, entity)).collect()
    }

    /// The field that `@finds(by:)` names, else the one that is named as the argument.
    fn found_by(
        &mut self,
        field: &FieldDefinition,
        argument: &InputValueDefinition,
        entity: EntityId,
    ) -> Option<FindsBy> {
        let path = text_argument(&argument.directives, "finds", "by").unwrap_or(argument.name.as_str());
        let slots = self.values_at(entity, path);
        if slots.is_empty() {
            self.fault(
                argument.name.location().or(field.name.location()),
                format!("the argument `{}` of `{}` finds by `{path}`, which is no field", argument.name, field.name),
                "say by which field of the entity: @finds(by: \"a.field\"); who may not read it finds nothing by it",
            );
            return None;
        }
        Some(FindsBy { argument: argument.name.as_str().into(), slots })
    }

    /// The values at a path of an entity: itself, or everything inside. Where it leads to another entity (its household's
    /// division), with what leads there, without which nobody reads them either.
    fn values_at(&self, entity: EntityId, path: &str) -> Vec<SlotId> {
        let led = self.slots.iter().filter(|slot| slot.entity == entity).find_map(|slot| match slot.shape {
            Shape::Entity(next) => Some((slot.id, next, path.strip_prefix(&*slot.path)?.strip_prefix('.')?)),
            _ => None,
        });
        if let Some((leads, next, rest)) = led {
            // Each entity lies behind a shorter path, so this ends.
            let mut found = self.values_at(next, rest);
            if !found.is_empty() {
                found.push(leads);
            }
            return found;
        }
        let is_value = |slot: &&Slot| matches!(slot.shape, Shape::Leaf(_) | Shape::LeafList(_));
        let inside = format!("{path}.");
        let here = |slot: &&Slot| slot.entity == entity && (*slot.path == *path || slot.path.starts_with(&inside));
        self.slots.iter().filter(here).filter(is_value).map(|slot| slot.id).collect()
    }
}
