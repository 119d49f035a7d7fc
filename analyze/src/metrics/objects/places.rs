//! Where functions were written, with what their closures and code take: only of a trace that has names.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::census::{Census, ObjectKind};
use shared::trace::names::Names;

use super::{Class, add};
use crate::metrics::population::Tally;

/// A place in a program's source, with what was made from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// The name of the chunk, as Lua has it: `@` and a file's name, or `=` and another; `(text)` of all that have none. None
    /// for functions in C, and for what is not known of.
    pub chunk: Option<String>,
    /// The line that the function starts at; 0 for a chunk as a whole.
    pub line: u64,
    /// Closures.
    pub functions: Made,
    /// The code that they share.
    pub protos: Made,
}

/// Objects that were made from a place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Made {
    /// All of them.
    pub all: Tally,
    /// Garbage not yet collected among them.
    pub garbage: Tally,
    /// All of them by size.
    pub classes: Vec<Class>,
}

impl Place {
    /// Bytes of its closures and their code.
    pub fn bytes(&self) -> u64 {
        self.functions.all.bytes.saturating_add(self.protos.all.bytes)
    }

    /// `file.lua:12`, `(string):1`; `file.lua` for a chunk as a whole.
    pub fn name(&self) -> Option<String> {
        let chunk = self.chunk.as_deref()?;
        let name = chunk.strip_prefix(['@', '=']).unwrap_or(chunk);
        Some(if self.line == 0 { name.to_owned() } else { format!("{name}:{}", self.line) })
    }
}

/// What is counted of a place, its classes by their smallest size.
type Counted = (Made, BTreeMap<u64, Class>);

/// Counts functions and protos by place, the place of most bytes first; `blocks` are the sizes that belong to the labels.
///
/// # Errors
/// If the names are not of this census.
pub(super) fn count(census: &Census, names: &Names, blocks: &[(u64, bool)]) -> Result<Vec<Place>, String> {
    let labels = |kind| census.labels.iter().filter(move |label| label.kind == kind).count();
    let (functions, protos) = (labels(ObjectKind::Function), labels(ObjectKind::Proto));
    if (functions, protos) != (names.functions.len(), names.protos.len()) {
        let (found, of) = (names.functions.len(), names.protos.len());
        return Err(format!("names of {found} functions and {of} protos for a census of {functions} and {protos}"));
    }
    let place = |proto: usize| {
        let place = names.protos.get(proto).copied().flatten()?;
        Some((names.chunks.get(place.chunk as usize)?.as_str(), place.first_line))
    };
    let mut of_functions = names.functions.iter().map(|proto| place((*proto)? as usize));
    let mut of_protos = (0..protos).map(place);
    let mut found: BTreeMap<Option<(&str, u64)>, [Counted; 2]> = BTreeMap::new();
    for (label, (size, _)) in census.labels.iter().zip(blocks) {
        let (at, place) = match label.kind {
            ObjectKind::Function => (0, of_functions.next().flatten()),
            ObjectKind::Proto => (1, of_protos.next().flatten()),
            _ => continue,
        };
        let (made, classes) = &mut found.entry(place).or_default()[at];
        add(*size, label.garbage, (&mut made.all, &mut made.garbage), classes);
    }
    let whole = |(made, classes): Counted| Made { classes: classes.into_values().collect(), ..made };
    let places = found.into_iter().map(|(place, made)| {
        let [functions, protos] = made.map(whole);
        let (chunk, line) = place.map_or((None, 0), |(chunk, line)| (Some(chunk.to_owned()), line));
        Place { chunk, line, functions, protos }
    });
    let mut places: Vec<Place> = places.collect();
    places.sort_by_key(|place| std::cmp::Reverse(place.bytes()));
    Ok(places)
}
