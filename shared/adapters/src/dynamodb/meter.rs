use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity};

use super::item::Item;

/// Units come in halves; thousandths of them keep any fraction that a service may tell.
const THOUSANDTHS: f64 = 1000.0;

/// A write unit is 1 KiB of an item, rounded up.
const BYTES_PER_WRITE_UNIT: usize = 1024;

/// Counts what requests to a table cost, by what the service tells of each; see
/// [`Table::metered`](super::Table::metered).
///
/// The units of indexes are in it. Of a write that was refused the service tells nothing: it is counted by the item
/// that stood in its way, as the service bills it. A request that failed otherwise, and one that the SDK repeated,
/// count once, when they are answered.
#[derive(Debug, Default)]
pub struct Meter {
    write: AtomicU64,
    read: AtomicU64,
    requests: AtomicU64,
}

/// What a [`Meter`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metered {
    /// Write request units.
    pub write_units: f64,
    /// Read request units; a read that need not be consistent takes halves.
    pub read_units: f64,
    /// Requests that were answered, refusals included.
    pub requests: u64,
}

impl Meter {
    /// A meter that has counted nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was counted so far.
    pub fn total(&self) -> Metered {
        Metered {
            write_units: self.write.load(Ordering::Relaxed) as f64 / THOUSANDTHS,
            read_units: self.read.load(Ordering::Relaxed) as f64 / THOUSANDTHS,
            requests: self.requests.load(Ordering::Relaxed),
        }
    }

    pub(super) fn wrote(&self, consumed: Option<&ConsumedCapacity>) {
        self.count(&self.write, units(consumed));
    }

    pub(super) fn read(&self, consumed: &[ConsumedCapacity]) {
        self.count(&self.read, consumed.iter().map(|consumed| units(Some(consumed))).sum());
    }

    /// A write whose condition did not hold, because of this item or of none.
    pub(super) fn refused(&self, standing: Option<&Item>) {
        let bytes = standing.map_or(0, item_size);
        self.count(&self.write, bytes.div_ceil(BYTES_PER_WRITE_UNIT).max(1) as f64);
    }

    fn count(&self, sum: &AtomicU64, units: f64) {
        sum.fetch_add((units * THOUSANDTHS).round() as u64, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

fn units(consumed: Option<&ConsumedCapacity>) -> f64 {
    consumed.and_then(ConsumedCapacity::capacity_units).unwrap_or_default()
}

/// The size of an item in bytes, by which the service bills: its attributes' names and values.
fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number_size(number),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::L(items) => 3 + items.iter().map(|item| 1 + value_size(item)).sum::<usize>(),
        AttributeValue::M(fields) => {
            3 + fields.iter().map(|(name, value)| 1 + name.len() + value_size(value)).sum::<usize>()
        }
        // Truth values and nulls; the table holds no sets.
        _ => 1,
    }
}

/// One byte for two significant digits, one for the exponent, one for a minus.
fn number_size(number: &str) -> usize {
    let digits = number.trim_start_matches('-').trim_matches('0').len();
    digits.div_ceil(2) + 1 + usize::from(number.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_smithy_types::Blob;

    use super::{
        super::item::{number, text},
        *,
    };

    #[test]
    fn an_item_is_as_large_as_its_names_and_values() {
        let nested = AttributeValue::M(HashMap::from([("bytes".to_owned(), number(-120))]));
        let item = Item::from([
            ("pk".to_owned(), text("é")),
            ("n".to_owned(), number(1_750_000_000)),
            ("b".to_owned(), AttributeValue::B(Blob::new([0; 7]))),
            ("flag".to_owned(), AttributeValue::Bool(true)),
            ("list".to_owned(), AttributeValue::L(vec![number(0), text("ab")])),
            ("map".to_owned(), nested),
        ]);
        assert_eq!(item_size(&item), (2 + 2) + (1 + 3) + (1 + 7) + (4 + 1) + (4 + 3 + 2 + 3) + (3 + 3 + 6 + 3));
    }

    #[test]
    fn a_refused_write_counts_by_what_stood_in_its_way() {
        let meter = Meter::new();
        meter.refused(None);
        assert_eq!(meter.total(), Metered { write_units: 1.0, read_units: 0.0, requests: 1 });
        meter.refused(Some(&Item::from([("text".to_owned(), text("x".repeat(1021)))])));
        assert_eq!(meter.total(), Metered { write_units: 3.0, read_units: 0.0, requests: 2 });
    }

    #[test]
    fn units_are_summed_as_they_are_told() {
        let meter = Meter::new();
        let told = |units: f64| ConsumedCapacity::builder().capacity_units(units).build();
        meter.wrote(Some(&told(3.0)));
        meter.read(&[told(0.5), told(2.0)]);
        meter.read(&[]);
        assert_eq!(meter.total(), Metered { write_units: 3.0, read_units: 2.5, requests: 3 });
    }
}
