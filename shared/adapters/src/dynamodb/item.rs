//! Items, read and written attribute by attribute.

use std::{collections::HashMap, str::FromStr};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::Blob;
use ihelper_workflow::domain::{
    Failure,
    run::{Footprint, Usage},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::IntoDeserializer};

/// An item of the table.
pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// The name of a value that serde writes as one: a status, a kind, a trigger.
pub(super) fn named(value: &impl Serialize) -> Result<AttributeValue, Failure> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Ok(text(name)),
        _ => Err(Failure::validation("a value has no name to be stored under")),
    }
}

/// A moment for people to read; it sorts only by being parsed.
pub(super) fn moment(at: Timestamp) -> AttributeValue {
    text(at.to_string())
}

/// A moment for conditions to compare, and the shortest form of one: nanoseconds since 1970.
pub(super) fn instant(at: Timestamp) -> AttributeValue {
    number(at.as_nanosecond())
}

/// A moment for the table's own deletion: seconds since 1970.
pub(super) fn expiry(at: Timestamp) -> AttributeValue {
    number(at.as_second())
}

pub(super) fn bytes(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// What the assistant was asked: its calls, the tokens in, the tokens out; then, where one of them says something, the
/// cached tokens, the cost and the calls that `rules` answered in a model's place. `None` when nothing was asked: an
/// attribute that says nothing is not stored.
pub(super) fn usage(usage: Usage) -> Option<AttributeValue> {
    let always = [usage.api_calls, usage.input_tokens, usage.output_tokens];
    let seldom = [usage.cached_tokens, usage.cost_microdollars, usage.degraded_calls];
    let seldom = if seldom == [0; 3] { &[] } else { &seldom[..] };
    (!usage.is_none()).then(|| AttributeValue::L(always.iter().chain(seldom).map(number).collect()))
}

/// What attempts took: the round trips, the milliseconds, the memory. `None` when nothing was measured.
pub(super) fn footprint(footprint: Footprint) -> Option<AttributeValue> {
    let numbers = [footprint.store_calls, footprint.working_ms, footprint.peak_memory_bytes];
    (!footprint.is_none()).then(|| AttributeValue::L(numbers.iter().map(number).collect()))
}

/// Reads attributes; one that is missing or of another type is a failure that names it.
pub(super) struct Reader<'a>(pub(super) &'a Item);

impl<'a> Reader<'a> {
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&'a str>, Failure> {
        self.read(name, |value| value.as_s().ok().map(String::as_str))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, Failure> {
        self.optional_text(name)?.ok_or_else(|| damaged(name))
    }

    pub(super) fn optional_number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.read(name, |value| value.as_n().ok()?.parse().ok())
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<T, Failure> {
        self.optional_number(name)?.ok_or_else(|| damaged(name))
    }

    /// Whether an attribute says so; one that is missing does not.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Failure> {
        Ok(self.read(name, |value| value.as_bool().ok().copied())?.unwrap_or_default())
    }

    /// A text that begins with a known prefix: the rest.
    pub(super) fn text_after(&self, name: &str, prefix: &str) -> Result<&'a str, Failure> {
        self.text(name)?.strip_prefix(prefix).ok_or_else(|| damaged(name))
    }

    pub(super) fn optional_named<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        let named: Result<T, serde::de::value::Error> = T::deserialize(text.into_deserializer());
        named.map(Some).map_err(|_| damaged(name))
    }

    pub(super) fn named<T: Deserialize<'a>>(&self, name: &str) -> Result<T, Failure> {
        self.optional_named(name)?.ok_or_else(|| damaged(name))
    }

    pub(super) fn moment(&self, name: &str) -> Result<Timestamp, Failure> {
        self.read(name, |value| value.as_s().ok()?.parse().ok())?.ok_or_else(|| damaged(name))
    }

    pub(super) fn optional_instant(&self, name: &str) -> Result<Option<Timestamp>, Failure> {
        self.read(name, |value| Timestamp::from_nanosecond(value.as_n().ok()?.parse().ok()?).ok())
    }

    pub(super) fn instant(&self, name: &str) -> Result<Timestamp, Failure> {
        self.optional_instant(name)?.ok_or_else(|| damaged(name))
    }

    pub(super) fn usage(&self, name: &str) -> Result<Usage, Failure> {
        let numbers = self.read(name, |value| {
            let mut numbers = numbers(value)?;
            if numbers.len() == 3 {
                numbers.extend([0; 3]);
            }
            numbers.try_into().ok()
        })?;
        let [api_calls, input_tokens, output_tokens, cached_tokens, cost_microdollars, degraded_calls] =
            numbers.unwrap_or_default();
        Ok(Usage { api_calls, input_tokens, output_tokens, cached_tokens, cost_microdollars, degraded_calls })
    }

    pub(super) fn footprint(&self, name: &str) -> Result<Footprint, Failure> {
        let [store_calls, working_ms, peak_memory_bytes] =
            self.read(name, |value| numbers(value)?.try_into().ok())?.unwrap_or_default();
        Ok(Footprint { store_calls, working_ms, peak_memory_bytes })
    }

    fn read<T>(&self, name: &str, read: impl FnOnce(&'a AttributeValue) -> Option<T>) -> Result<Option<T>, Failure> {
        self.0.get(name).map(|value| read(value).ok_or_else(|| damaged(name))).transpose()
    }
}

fn numbers(value: &AttributeValue) -> Option<Vec<u64>> {
    value.as_l().ok()?.iter().map(|number| number.as_n().ok()?.parse().ok()).collect()
}

pub(super) fn damaged(name: &str) -> Failure {
    Failure::validation(format!("the stored item has no readable `{name}`"))
}

#[cfg(test)]
mod tests {
    use ihelper_workflow::domain::{Kind, Status};

    use super::*;

    #[test]
    fn an_attribute_that_is_missing_or_of_another_type_is_named() {
        let item = Item::from([("status".to_owned(), text("asleep")), ("number".to_owned(), text("1"))]);
        let reader = Reader(&item);
        let failures = [
            reader.text("absent").unwrap_err(),
            reader.text_after("status", "RUN#").unwrap_err(),
            reader.named::<Status>("status").unwrap_err(),
            reader.number::<u32>("number").unwrap_err(),
            reader.moment("status").unwrap_err(),
            reader.optional_instant("status").unwrap_err(),
            reader.usage("status").unwrap_err(),
            reader.footprint("status").unwrap_err(),
            reader.flag("status").unwrap_err(),
        ];
        let names = ["absent", "status", "status", "number", "status", "status", "status", "status", "status"];
        for (failure, name) in failures.iter().zip(names) {
            assert_eq!(failure.kind, Kind::Validation);
            assert!(failure.message.contains(&format!("`{name}`")), "{failure}");
        }
        assert_eq!(reader.optional_text("absent"), Ok(None));
        assert_eq!((reader.flag("absent"), reader.usage("absent")), (Ok(false), Ok(Usage::default())));
    }

    #[test]
    fn moments_and_numbers_keep_every_digit() {
        for at in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
            let item = Item::from([("text".to_owned(), moment(at)), ("number".to_owned(), instant(at))]);
            let reader = Reader(&item);
            assert_eq!(reader.moment("text"), Ok(at));
            assert_eq!(reader.optional_instant("number"), Ok(Some(at)));
        }
        let short = Usage { api_calls: u64::MAX, output_tokens: u64::MAX - 1, ..Usage::default() };
        let whole = Usage { cached_tokens: 1, cost_microdollars: u64::MAX, degraded_calls: 2, ..short };
        for (all, numbers) in [(short, 3), (whole, 6)] {
            let stored = usage(all).unwrap();
            assert_eq!(stored.as_l().unwrap().len(), numbers, "what says nothing takes no room");
            let item = Item::from([("usage".to_owned(), stored)]);
            assert_eq!(Reader(&item).usage("usage"), Ok(all));
        }
        assert_eq!(usage(Usage::default()), None);
    }
}
