//! Figures of the JSON, and how the outputs say them.

use analyze::output::{rates, words};
use serde_json::Value;

/// The elements of a list.
pub(crate) fn all(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// A whole number.
pub(crate) fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no amount"))
}

/// Any number.
pub(crate) fn real(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Text.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// `1,234`
pub(crate) fn thousands(value: &Value) -> String {
    words::thousands(whole(value))
}

/// `1.2 KiB`
pub(crate) fn bytes(value: &Value) -> String {
    words::bytes(whole(value))
}

/// `1.2K`
pub(crate) fn short_bytes(value: &Value) -> String {
    words::short_bytes(whole(value))
}

/// `12.3 %`
pub(crate) fn share(part: &Value, of: &Value) -> String {
    words::share(whole(part), whole(of))
}

/// Of a share between 0 and 1: `12.3 %`
pub(crate) fn percent(value: &Value) -> String {
    rates::words::share(real(value))
}

/// Of a rate: `1,234`, `3.2`
pub(crate) fn number(value: &Value) -> String {
    rates::words::number(real(value))
}

/// Of a rate: `1.2 KiB`
pub(crate) fn byte_rate(value: &Value) -> String {
    rates::words::bytes(real(value))
}

/// The largest size that a class counts, as rows have it.
pub(crate) fn size_to(size_from: &Value) -> u64 {
    words::last_of(whole(size_from))
}

/// `64 B - 127 B`
pub(crate) fn sizes(size_from: &Value) -> String {
    words::size_range(whole(size_from))
}

/// Each amount of a document, by any name.
pub(crate) fn amounts(value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Number(number) => found.extend(number.as_f64()),
        Value::Array(all) => {
            found.push(all.len() as f64);
            all.iter().for_each(|value| amounts(value, found));
        }
        Value::Object(all) => all.values().for_each(|value| amounts(value, found)),
        Value::String(_) | Value::Bool(_) | Value::Null => {}
    }
}

/// Each text of a document.
pub(crate) fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(all) => all.iter().for_each(|value| texts(value, found)),
        Value::Object(all) => all.values().for_each(|value| texts(value, found)),
        Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}
