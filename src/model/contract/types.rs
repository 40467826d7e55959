//! The contract as rules see it.

use apollo_compiler::schema::ExtendedType;

use super::Contract;
use super::published::text_argument;
use crate::model::rule::{FieldKind, FieldType, FieldTypes};

impl FieldTypes for Contract {
    fn field(&self, type_name: &str, field: &str) -> Option<FieldType> {
        let definition = self.full.get_object(type_name)?.fields.get(field)?;
        let name = definition.ty.inner_named_type();
        let kind = match self.full.types.get(name) {
            // Rules read objects whole: they name no types, so no field of an interface or a union.
            Some(ExtendedType::Object(_) | ExtendedType::Interface(_) | ExtendedType::Union(_)) => FieldKind::Object,
            Some(ExtendedType::Enum(_)) => FieldKind::Enum,
            _ => FieldKind::Scalar,
        };
        Some(FieldType { name: name.to_string(), list: definition.ty.is_list(), kind })
    }

    fn fields(&self, type_name: &str) -> Vec<String> {
        self.full
            .get_object(type_name)
            .map(|object| object.fields.keys().map(ToString::to_string).collect())
            .unwrap_or_default()
    }

    fn enum_values(&self, type_name: &str) -> Option<Vec<String>> {
        self.full.get_enum(type_name).map(|definition| definition.values.keys().map(ToString::to_string).collect())
    }

    fn is_entity(&self, type_name: &str) -> bool {
        self.entity_named(type_name).is_some()
    }

    fn subjects(&self, type_name: &str, field: &str) -> Option<String> {
        let field = self.full.get_object(type_name)?.fields.get(field)?;
        text_argument(&field.directives, "subjects", "entity").map(str::to_owned)
    }

    fn territory(&self, type_name: &str) -> Option<Vec<String>> {
        let slot = self.entity(self.entity_named(type_name)?).territory?;
        Some(self.slot(slot).path.split('.').map(str::to_owned).collect())
    }
}
