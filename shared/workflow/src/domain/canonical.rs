//! Values as one text, whatever order their fields came in: for hashes and ids that follow from what was asked for.
//!
//! Whether `serde_json` keeps the order of fields is a feature that any crate of a binary may switch on, so nothing here
//! rests on it.

use serde::Serialize;
use serde_json::{Map, Value};

/// The JSON text of a value, its fields sorted by their names.
pub fn canonical_text(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// The same of an object by its fields.
pub fn canonical_text_of(fields: &Map<String, Value>) -> String {
    let mut text = String::new();
    write_fields(fields, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => write_fields(fields, text),
        Value::Array(items) => {
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&json(value)),
    }
}

fn write_fields(fields: &Map<String, Value>, text: &mut String) {
    let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    text.push('{');
    for (number, (name, value)) in sorted.into_iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&json(name));
        text.push(':');
        write(value, text);
    }
    text.push('}');
}

fn json(scalar: &impl Serialize) -> String {
    serde_json::to_string(scalar).expect("a scalar is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_the_order_of_their_names_at_every_level() {
        let value: Value = serde_json::from_str(r#"{"b":[{"z":1.0,"a":null},"x\n"],"a":{"d":{},"c":[]}}"#).unwrap();
        let text = canonical_text(&value);
        assert_eq!(text, r#"{"a":{"c":[],"d":{}},"b":[{"a":null,"z":1.0},"x\n"]}"#);
        assert_eq!(canonical_text_of(value.as_object().unwrap()), text);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
