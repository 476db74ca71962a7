//! JSON as it comes from outside, read into values.
//!
//! **Invariants**
//! - A field that is there twice is an error: whoever looked at the request before us may have seen the other one.
//! - What nests too deep is an error with its place, before anything recursive meets it.

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, map::Entry};

/// How many arrays and objects may stand in each other: more than people and programs write, and less than half of
/// what any of our own readers takes.
pub const DEEPEST_JSON: usize = 64;

// As much of a place as an error shows: the names in it are somebody else's.
const LONGEST_PLACE: usize = 200;

/// Reads a text of JSON.
///
/// # Errors
/// This returns an error that says what is wrong with it and where, and quotes no value.
pub(crate) fn read(json: &[u8]) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = Nested { levels: DEEPEST_JSON }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| described(json, &error))
}

/// The error with the path to its place, which only this second reading keeps track of.
fn described(json: &[u8], error: &serde_json::Error) -> String {
    if !error.is_data() {
        return format!("is not JSON: {error}");
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    drop(Nested { levels: DEEPEST_JSON }.deserialize(tracked));
    let place = track.path().to_string();
    if place == "." {
        return format!("is not accepted: {error}");
    }
    let place: String = place.chars().take(LONGEST_PLACE).collect();
    format!("is not accepted: in `{place}`, {error}")
}

/// Reads a value in which at most so many arrays and objects stand in each other.
#[derive(Clone, Copy)]
struct Nested {
    levels: usize,
}

impl Nested {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1);
        let levels = levels.ok_or_else(|| E::custom(format!("it nests deeper than {DEEPEST_JSON} levels")))?;
        Ok(Self { levels })
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a value of JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(inside)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            match fields.entry(name) {
                Entry::Vacant(free) => drop(free.insert(entries.next_value_seed(inside)?)),
                Entry::Occupied(taken) => {
                    let name: String = taken.key().chars().take(LONGEST_PLACE).collect();
                    return Err(A::Error::custom(format!("the field `{name}` is there twice")));
                }
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_good_json_is_read_as_anybody_reads_it() {
        let texts = [
            "null",
            "-1",
            "18446744073709551615",
            "1.5e300",
            "\"a\\n\\u00e9\"",
            "[]",
            r#"{"b": [1, {"a": true}], "a": ""}"#,
        ];
        for text in texts {
            assert_eq!(read(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn a_field_that_is_there_twice_is_named_with_its_place() {
        let problem = read(br#"{"data": [{"id": "a secret", "id": "another"}]}"#).unwrap_err();
        assert_eq!(problem, "is not accepted: in `data[0]`, the field `id` is there twice at line 1 column 33");
        let problem = read(br#"{"a": 1, "a": 1}"#).unwrap_err();
        assert_eq!(problem, "is not accepted: the field `a` is there twice at line 1 column 12");
        // An escape is another way to write the same name.
        assert!(read(br#"{"type": 1, "\u0074ype": 2}"#).is_err());
    }

    #[test]
    fn a_value_may_nest_so_deep_and_no_deeper() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(nested(DEEPEST_JSON).as_bytes()).is_ok());
        let problem = read(format!("{{\"data\": {}}}", nested(DEEPEST_JSON)).as_bytes()).unwrap_err();
        assert!(problem.contains("in `data[0][0]") && problem.contains("deeper than 64 levels"), "{problem}");
        assert!(problem.len() < 400, "{problem}");
        // What never ends is refused where it gets too deep, not where it would end.
        assert!(read("[".repeat(100_000).as_bytes()).unwrap_err().contains("deeper than 64 levels"));
    }

    #[test]
    fn what_is_no_json_says_where_it_stops_being() {
        for text in ["", "{\"type\":", "[1,]", "1 2", "\u{fffd}"] {
            let problem = read(text.as_bytes()).unwrap_err();
            assert!(problem.starts_with("is not JSON: ") && problem.contains("line 1 column"), "{problem}");
        }
        assert!(read(&[b'"', 0xff, b'"']).is_err());
    }
}
