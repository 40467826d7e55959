//! Sources whose instances divide their territory.

use std::sync::Arc;

use super::Compiler;
use crate::base::fault::{Faults, Place, SourceText};
use crate::model::binding::Bindings;
use crate::model::binding::connection::{Connection, Instance, instances, territory};
use crate::model::binding::format::{DividedBy, SourceFile};

/// What the source covers: as it says, else what its instances cover together.
pub(super) fn territory(file: &SourceFile, connections: &[Connection]) -> Vec<String> {
    if !file.territory.is_empty() {
        return file.territory.iter().map(|prefix| prefix.value.clone()).collect();
    }
    let covers = connections.iter().filter_map(|connection| connection.instance.as_ref()?.cover.as_ref());
    let mut all: Vec<String> = covers.flat_map(|cover| cover.prefixes.iter().cloned()).collect();
    all.sort();
    all.dedup();
    all
}

impl Compiler<'_> {
    /// The list that says which instance covers what, where it does.
    pub(super) fn divided(&mut self, file: &SourceFile, text: &Arc<SourceText>) -> Option<Arc<SourceText>> {
        let list = file.instances.as_ref().filter(|list| list.value.by == Some(DividedBy::Territory))?;
        // Where it cannot be read, that has been told.
        instances::open(text, &list.value.file, &mut Faults::default())
    }

    /// Endpoints of which nobody can say whom to ask.
    pub(super) fn undecided(&mut self, whole: &Arc<SourceText>) {
        for endpoint in &self.bindings.endpoints {
            let source = self.bindings.source(endpoint.source);
            if source.divided.is_none()
                || self.bindings.territory_slot(self.against.contract, endpoint).is_some()
                || source.connections.is_empty()
            {
                continue;
            }
            let entity = &self.against.contract.entity(endpoint.entity).name;
            self.faults.add(
                whole,
                Place::default(),
                format!("which instance of `{}` is asked by {} cannot be decided", source.id, endpoint.name),
                format!("`{entity}` needs `@territory(by:)` in the contract, and another source that fills that field"),
            );
        }
    }
}

impl Bindings {
    /// Divisions that no instance of their source covers, today or from some day on.
    pub fn gaps(&self, today: jiff::civil::Date) -> Faults {
        let mut warnings = Faults::default();
        for source in &self.sources {
            let Some(list) = &source.divided else { continue };
            let instances: Vec<&Instance> =
                source.connections.iter().filter_map(|connection| connection.instance.as_ref()).collect();
            territory::gaps(list, &instances, &source.territory, today, &mut warnings);
        }
        warnings
    }
}
