//! The members of a JSON object, each there once.

use std::{cell::Cell, collections::BTreeMap, fmt};

use serde::{
    Deserializer as _,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;

/// The members of an object.
pub(super) struct Members(BTreeMap<String, Value>);

/// A member was there twice: readers differ in which of the two they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Twice;

impl Members {
    /// Reads an object.
    ///
    /// # Errors
    /// This returns [`Twice`] when a member is there twice, and nothing more of what is no JSON object.
    pub(super) fn parse(json: &[u8]) -> Result<Self, Option<Twice>> {
        let twice = Cell::new(false);
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let members = deserializer.deserialize_map(Object(&twice));
        let members = members.and_then(|members| deserializer.end().map(|()| members));
        members.map(Self).map_err(|_| twice.get().then_some(Twice))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

struct Object<'a>(&'a Cell<bool>);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = BTreeMap<String, Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            if members.insert(name, value).is_some() {
                self.0.set(true);
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_once_and_nothing_but_an_object_is() {
        assert_eq!(Members::parse(br#"{"a": 1, "b": [2]}"#).unwrap().get("b"), Some(&serde_json::json!([2])));
        assert_eq!(Members::parse(br#"{"a": 1, "\u0061": 2}"#).err(), Some(Some(Twice)));
        for json in ["", "[]", "null", "{", "{} {}", "{\"a\":1}x", "\u{feff}{}"] {
            assert_eq!(Members::parse(json.as_bytes()).err(), Some(None), "{json}");
        }
    }
}
