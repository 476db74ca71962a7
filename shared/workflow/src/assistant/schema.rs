use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::ports::AnswerSchema;

/// The schema of a type, in the words that all services understand: everything in its place and nothing referred to,
/// objects closed, every property required, choices as `enum` or `anyOf`.
pub(super) fn of<T: JsonSchema>(name: &str) -> AnswerSchema {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut schema);
    AnswerSchema::new(name, schema)
}

fn simplify(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    // What it is called in Rust says nothing, and what services make of formats and bounds differs.
    for unknown in ["title", "format", "minimum", "maximum", "default"] {
        fields.remove(unknown);
    }
    if let Some(Value::Array(choices)) = fields.remove("oneOf") {
        match choices.iter().map(|choice| choice.get("const").cloned()).collect::<Option<Vec<Value>>>() {
            Some(names) => {
                fields.insert("type".to_owned(), json!("string"));
                fields.insert("enum".to_owned(), Value::Array(names));
            }
            None => {
                fields.insert("anyOf".to_owned(), Value::Array(choices));
            }
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(simplify);
        let names: Value = properties.keys().cloned().collect();
        fields.insert("required".to_owned(), names);
        fields.insert("additionalProperties".to_owned(), json!(false));
    }
    if let Some(items) = fields.get_mut("items") {
        simplify(items);
    }
    if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
        choices.iter_mut().for_each(simplify);
    }
}

/// An answer, read as its type.
///
/// # Errors
/// This returns what is wrong, and where, in words for the model.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = json_in(text)?;
    serde_path_to_error::deserialize(&Value::Object(value)).map_err(|error| match error.path().to_string().as_str() {
        "." => error.inner().to_string(),
        path => format!("at `{path}`: {}", error.inner()),
    })
}

/// The JSON object in a text. A model that is held to nothing puts words and fences around it.
fn json_in(text: &str) -> Result<Map<String, Value>, String> {
    let trimmed = text.trim();
    let problem = match serde_json::from_str(trimmed) {
        Ok(Value::Object(object)) => return Ok(object),
        Ok(_) => "it is not a JSON object".to_owned(),
        Err(error) => format!("it is not JSON: {error}"),
    };
    let inner = match (trimmed.find('{'), trimmed.rfind('}')) {
        (Some(start), Some(end)) if start < end => &trimmed[start..=end],
        _ => return Err(problem),
    };
    match serde_json::from_str(inner) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::assistant::answers::{EmailAnswer, PlanAnswer};

    /// Whether a schema is what the strictest of the services takes.
    fn check(schema: &Value) {
        match schema {
            Value::Object(fields) => {
                for absent in ["$ref", "$defs", "oneOf", "format", "title", "default", "$schema"] {
                    assert!(
                        !fields.contains_key(absent) || fields.contains_key("type") && absent == "title",
                        "{absent}: {schema}"
                    );
                }
                if fields.get("type") == Some(&json!("object")) {
                    assert_eq!(fields["additionalProperties"], json!(false), "{schema}");
                    let names: Value = fields["properties"].as_object().unwrap().keys().cloned().collect();
                    assert_eq!(fields["required"], names);
                }
                if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                    properties.values().for_each(check);
                }
                fields.get("items").into_iter().for_each(check);
                fields.get("anyOf").and_then(Value::as_array).into_iter().flatten().for_each(check);
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_schema_is_closed_complete_and_whole() {
        check(&of::<EmailAnswer>("email").schema);
        check(&of::<PlanAnswer>("plan").schema);
        let category = &of::<EmailAnswer>("email").schema["properties"]["category"];
        assert_eq!(category["type"], "string");
        assert!(category["enum"].as_array().unwrap().contains(&json!("complaint")), "{category}");
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Small {
        a: u8,
        #[serde(default)]
        b: Vec<u8>,
    }

    #[test]
    fn an_answer_is_found_among_words_and_fences() {
        for text in [
            r#"{"a": 1}"#,
            "  \n{\"a\": 1}\n",
            "```json\n{\"a\": 1}\n```",
            "Here you are: {\"a\": 1} Anything else?",
            "<think>braces, say</think>{\"a\": 1}",
        ] {
            assert_eq!(read(text), Ok(Small { a: 1, b: vec![] }), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_answer_is_told_with_its_place() {
        let problem = |text: &str| read::<Small>(text).unwrap_err();
        assert!(problem("").starts_with("it is not JSON"));
        assert!(problem("[1]").starts_with("it is not a JSON object"));
        assert!(problem("} {").starts_with("it is not JSON"));
        assert!(problem(r#"{"a": 1"#).starts_with("it is not JSON"));
        assert!(problem(r#"{"a": 1, "b": [2, -3]}"#).starts_with("at `b[1]`: "));
        assert!(problem(r#"{"b": []}"#).contains("missing field `a`"));
        assert!(problem(r#"{"a": 1, "c": 2}"#).contains("unknown field `c`"));
        assert!(problem(&format!("{{\"a\": {}", "[".repeat(100_000))).starts_with("it is not JSON"));
    }
}
