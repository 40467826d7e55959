//! Entities that others refer to: their names, once all are known. What is no entity in the end is referred to by nobody.

use std::collections::HashMap;

use super::{Entity, Query};
use crate::draft::types::{Definition, Member, Shape, Types};

pub(super) fn resolve(
    entities: &mut [Entity],
    queries: &mut [Query],
    types: &mut Types,
    by_record: &HashMap<String, usize>,
) {
    for (record, entity) in by_record {
        if let Some(entity) = entities.get(*entity) {
            types.is_entity(record, entity.name.clone());
        }
    }
    for entity in entities {
        only_known(&mut entity.fields, by_record);
        entity.endpoints.iter_mut().for_each(|endpoint| only_known(&mut endpoint.fields, by_record));
        entity.endpoints.retain(|endpoint| !endpoint.fields.is_empty());
    }
    queries.iter_mut().for_each(|query| only_known(&mut query.fields, by_record));
    for definition in &mut types.definitions {
        if let Definition::Object { fields, .. } = definition {
            only_known(fields, by_record);
        }
    }
}

fn only_known(members: &mut Vec<Member>, by_record: &HashMap<String, usize>) {
    for member in members.iter_mut() {
        if let Shape::Object { inside, .. } | Shape::List { inside, .. } = &mut member.shape {
            only_known(inside, by_record);
        }
    }
    members.retain(|member| match &member.shape {
        Shape::Entity { record, .. } => by_record.contains_key(record),
        Shape::Object { inside, .. } | Shape::List { inside, .. } => !inside.is_empty(),
        Shape::Leaf { .. } => true,
    });
}
