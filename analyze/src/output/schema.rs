//! The JSON of every command, as JSON Schemas of draft 2020-12. The repository has them as files in `analyze/schemas/`.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use super::json::Stats;
use super::{batch, breakdown, diff, growth, info, lifetimes, map, objects, partial, rates, sites, timeline};
use crate::commands::{events, verify};

/// A command that writes JSON, and what makes the schema of it.
type Described = (&'static str, fn() -> Schema);

/// Every command that writes JSON, and the schema of its document; of `events` and `partial`, of each line.
pub const ALL: [Described; 15] = [
    ("stats", of::<StatsDocument>),
    ("rates", of::<rates::Document<'static>>),
    ("timeline", of::<timeline::Document<'static>>),
    ("lifetimes", of::<lifetimes::Document<'static>>),
    ("growth", of::<growth::Document<'static>>),
    ("breakdown", of::<breakdown::Document<'static>>),
    ("map", of::<map::Document<'static>>),
    ("objects", of::<objects::Document<'static>>),
    ("sites", of::<sites::Document<'static>>),
    ("diff", of::<diff::Document>),
    ("batch", of::<batch::Document<'static>>),
    ("verify", of::<verify::Document>),
    ("info", of::<info::Document<'static>>),
    ("events", of::<events::Row>),
    ("partial", of::<partial::Row<'static>>),
];

/// One VM's heap, or those of several. All sizes are in bytes.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "this is never made, only described")]
enum StatsDocument {
    /// Of a trace with one VM, or if one was asked for.
    One(Stats),
    /// Of a trace with several.
    Several(Vec<Stats>),
}

/// A command's schema as it is published, with a line's end; nothing if it writes no JSON.
pub fn text(command: &str) -> Option<String> {
    let (name, of) = ALL.into_iter().find(|(name, _)| *name == command)?;
    let mut schema = of();
    schema.insert("title".to_owned(), format!("analyze {name}").into());
    serde_json::to_string_pretty(&schema).ok().map(|text| text + "\n")
}

/// What a type is written as.
fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use serde_json::Value;
    use std::path::Path;

    #[test]
    fn every_command_with_json_has_a_schema() {
        for command in crate::cli::Arguments::command().get_subcommands() {
            let formats = command.get_arguments().find(|argument| argument.get_id() == "format");
            let formats = formats.map(clap::Arg::get_possible_values).unwrap_or_default();
            let json = formats.iter().any(|format| matches!(format.get_name(), "json" | "jsonl"));
            assert_eq!(text(command.get_name()).is_some(), json, "{}", command.get_name());
        }
    }

    /// `BLESS=1 cargo test --release -p analyze --lib` writes them anew.
    #[test]
    fn the_files_are_these_schemas() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        for (command, _) in ALL {
            let path = folder.join(format!("{command}.json"));
            let text = text(command).unwrap();
            if std::env::var_os("BLESS").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            assert!(std::fs::read_to_string(&path).is_ok_and(|file| file == text), "{} differs", path.display());
        }
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), ALL.len(), "a file of no command");
    }

    /// Every property says what it is, here or in what it refers to.
    fn undocumented(value: &Value, path: &str, found: &mut Vec<String>) {
        if let Some(properties) = value.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                if property.get("description").is_none() {
                    found.push(format!("{path}.{name}"));
                }
            }
        }
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, field)| undocumented(field, &format!("{path}/{name}"), found))
            }
            Value::Array(items) => items.iter().for_each(|item| undocumented(item, path, found)),
            _ => {}
        }
    }

    #[test]
    fn every_field_is_documented() {
        let mut found = Vec::new();
        for (command, of) in ALL {
            let schema = of().to_value();
            assert!(schema.get("description").is_some(), "{command}");
            undocumented(&schema, command, &mut found);
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}
