//! Bodies of requests, read into what the handlers ask for.

use std::collections::BTreeSet;

use axum::{body::Bytes, extract::rejection::BytesRejection};
use http::{HeaderMap, StatusCode, header};
use ihelper_workflow::domain::input::{self, Violation};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Problem, json};

/// A body as it came.
pub(crate) type Body = Result<Bytes, BytesRejection>;

/// The fields of an object.
pub(crate) type Fields = Map<String, Value>;

pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

// Whoever sends a hundred thousand strange fields learns of some.
const MOST_VIOLATIONS: usize = 20;

// Nothing takes more than a handful of parameters.
const MOST_PARAMETERS: usize = 20;
// A page shows some texts to edit, and each is a field.
const MOST_FORM_FIELDS: usize = 1000;

/// The bytes of a body of `limit` bytes at the most.
pub(crate) fn bytes(body: Body, limit: usize, upload: Option<&'static str>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLarge { limit: limit as u64, upload },
        _ => Problem::Malformed("the body broke off".to_owned()),
    })
}

/// The media type that a body is declared as, in lower case and without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let declared = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').next()?;
    Some(declared.trim().to_ascii_lowercase())
}

/// Whether a media type is JSON, or a type made of it.
pub(crate) fn is_json(media_type: &str) -> bool {
    media_type == JSON || media_type.ends_with("+json")
}

/// The fields of a body that must be declared as JSON and be an object.
pub(crate) fn object(headers: &HeaderMap, body: &[u8]) -> Result<Fields, Problem> {
    if !media_type(headers).is_some_and(|media_type| is_json(&media_type)) {
        return Err(Problem::UnsupportedMediaType(JSON));
    }
    match json::read(body).map_err(|problem| Problem::Malformed(format!("the body {problem}")))? {
        Value::Object(fields) => Ok(fields),
        _ => Err(Problem::Malformed("the body is not a JSON object".to_owned())),
    }
}

/// The fields as a type that has these and no others.
pub(crate) fn typed<T: DeserializeOwned>(fields: Fields, known: &[&str]) -> Result<T, Problem> {
    let unknown: Vec<Violation> = fields
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .take(MOST_VIOLATIONS)
        .map(|name| Violation {
            field: shortened(name),
            problem: format!("is not known; there are `{}`", known.join("`, `")),
        })
        .collect();
    if !unknown.is_empty() {
        return Err(Problem::Invalid(unknown));
    }
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let problem = input::problem(error.inner());
        match problem.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            Some(field) => Problem::invalid(field, "is missing"),
            None => Problem::invalid(error.path().to_string(), problem),
        }
    })
}

/// As much of a name as an error shows.
pub(crate) fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

/// The parameters of a query, decoded, each at most once. What is not UTF-8 shows as `�`.
pub(crate) fn parameters(query: Option<&str>) -> Result<Vec<(String, String)>, Problem> {
    let query = query.unwrap_or_default().as_bytes();
    if query.split(|byte| *byte == b'&').count() > MOST_PARAMETERS {
        return Err(Problem::Malformed(format!("there are more than {MOST_PARAMETERS} parameters")));
    }
    once_each("parameter", form_urlencoded::parse(query).into_owned().collect())
}

/// The fields of a form, decoded, each at most once.
pub(crate) fn form(form: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    if form.split(|byte| *byte == b'&').count() > MOST_FORM_FIELDS {
        return Err(Problem::Malformed(format!("the form has more than {MOST_FORM_FIELDS} fields")));
    }
    once_each("field", form_urlencoded::parse(form).into_owned().collect())
}

/// Whoever looked at a request before us may have taken the other one of two.
fn once_each(what: &str, pairs: Vec<(String, String)>) -> Result<Vec<(String, String)>, Problem> {
    let mut seen = BTreeSet::new();
    match pairs.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        Some((name, _)) => Err(Problem::Malformed(format!("{what} `{}`: is there twice", shortened(name)))),
        None => Ok(pairs),
    }
}

/// Whether a value nests at most so many arrays and objects in each other.
pub(crate) fn fits_depth(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| fits_depth(item, levels - 1)),
        Value::Object(fields) => levels > 0 && fields.values().all(|field| fits_depth(field, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Wanted {
        #[serde(rename = "name")]
        _name: String,
        #[serde(rename = "count")]
        _count: Option<u8>,
    }

    fn problem(value: Value) -> String {
        let Value::Object(fields) = value else { panic!("{value} is no object") };
        match typed::<Wanted>(fields, &["name", "count"]) {
            Err(Problem::Invalid(violations)) => {
                violations.iter().map(|violation| format!("{}: {}; ", violation.field, violation.problem)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_field_that_is_missing_wrong_or_unknown_is_named_and_no_value_is_quoted() {
        assert_eq!(problem(json!({})), "name: is missing; ");
        assert!(problem(json!({"name": ["a secret"]})).starts_with("name: "));
        let shown = problem(json!({"name": "x", "count": "a secret"}));
        assert!(shown.starts_with("count: ") && !shown.contains("secret"), "{shown}");
        let shown = problem(json!({"a": 1, "b": "a secret", "name": "x"}));
        assert!(shown.starts_with("a: is not known") && shown.contains("b: is not known"), "{shown}");
        assert!(!shown.contains("secret"));
    }

    #[test]
    fn a_parameter_comes_once_and_with_few_others() {
        let problem = |query: &str| match parameters(Some(query)) {
            Err(Problem::Malformed(problem)) => problem,
            other => panic!("{other:?}"),
        };
        assert_eq!(problem("type=a&limit=1&type=a"), "parameter `type`: is there twice");
        // An escape is another way to write the same name.
        assert_eq!(problem("type=a&%74ype=a"), "parameter `type`: is there twice");
        assert_eq!(problem(&"&".repeat(20)), "there are more than 20 parameters");
        let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parameters(Some("type=a%20b&limit")), Ok(vec![named("type", "a b"), named("limit", "")]));
        assert_eq!(parameters(None), Ok(Vec::new()));
        assert!(form(b"by=a&by=b").is_err() && form(b"by=a&comment=a").is_ok());
    }

    #[test]
    fn depth_counts_arrays_and_objects() {
        assert!(fits_depth(&json!(1), 0));
        assert!(!fits_depth(&json!([]), 0));
        assert!(fits_depth(&json!([{"a": []}]), 3));
        assert!(!fits_depth(&json!([{"a": []}]), 2));
    }
}
