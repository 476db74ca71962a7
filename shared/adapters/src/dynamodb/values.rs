//! Values in items: as text while small, compressed when larger, and elsewhere when too large for an item.

use std::{collections::HashMap, io::Read as _, sync::Arc};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use ihelper_workflow::domain::{Failure, RunId};
use serde_json::Value;

use super::item::{Reader, bytes, number, text};

/// From here on a value is compressed, if that makes it smaller: every change of an item is billed by its whole size
/// in KiB. Shorter ones stay text, for people to read in the console.
const COMPRESSED_FROM: usize = 256;

/// The longest text of a value that is written or read: a bound for what a damaged or malicious item can make of
/// memory.
const VALUE_LIMIT: usize = 64 * 1024 * 1024;

/// How deep values may nest. The reader stops at 128, so what is deeper could be written and never read again.
const DEPTH_LIMIT: usize = 127;

/// Zstandard's own default: 300 MB/s, and JSON shrinks to a third or less.
const COMPRESSION_LEVEL: i32 = 3;

/// Where values lie that are too large for an item.
///
/// Keys name the content, so a value written twice is the same object, and one that lost a race is left to the
/// bucket's own expiry.
#[async_trait]
pub trait ValueStore: Send + Sync {
    /// Writes bytes under a key; the same bytes may be there already.
    ///
    /// # Errors
    /// This returns an error when the bytes are not certainly there.
    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Failure>;

    /// Reads the bytes of a key, at most `limit` of them.
    ///
    /// # Errors
    /// This returns an error of kind `NotFound` when nothing is there, `Validation` when there is more.
    async fn get(&self, key: &str, limit: u64) -> Result<Vec<u8>, Failure>;
}

/// How many bytes a value may take inside its item, which has 400 KB for all of its attributes.
#[derive(Clone, Copy)]
pub(super) struct Room(usize);

impl Room {
    /// A run's input and result share an item, and every change of the run is billed by the item's whole size: from
    /// here on, putting a value to S3 and fetching it costs less than the three or four changes of a short run.
    pub(super) const RUN: Self = Self(16 * 1024);
    /// What else a run has, each: its last error, its lineage, its last entries.
    pub(super) const DETAIL: Self = Self(32 * 1024);
    /// A segment's entries, and the details of a tracking entry, are the only large value of their item.
    pub(super) const ALONE: Self = Self(350 * 1024);
}

/// Packs and unpacks values.
pub(super) struct Values {
    store: Arc<dyn ValueStore>,
}

impl Values {
    pub(super) fn new(store: Arc<dyn ValueStore>) -> Self {
        Self { store }
    }

    /// The attribute of a value; what does not fit the room is stored elsewhere first.
    pub(super) async fn pack(&self, run: RunId, value: &Value, room: Room) -> Result<AttributeValue, Failure> {
        self.pack_json(run, json_of(value)?, room).await
    }

    /// The same for a value that is text already; see [`json_of`].
    pub(super) async fn pack_json(&self, run: RunId, json: String, room: Room) -> Result<AttributeValue, Failure> {
        if json.len() < COMPRESSED_FROM {
            return Ok(text(json));
        }
        let compressed = zstd::bulk::compress(json.as_bytes(), COMPRESSION_LEVEL)
            .map_err(|_| Failure::validation("a value could not be compressed"))?;
        if compressed.len() >= json.len() && json.len() <= room.0 {
            return Ok(text(json));
        }
        if compressed.len() <= room.0 {
            return Ok(bytes(compressed));
        }
        let hash = blake3::hash(&compressed);
        let key = format!("payloads/{run}/{hash}");
        let length = compressed.len();
        self.store.put(&key, compressed).await?;
        Ok(AttributeValue::M(HashMap::from([("payload".to_owned(), text(key)), ("bytes".to_owned(), number(length))])))
    }

    /// The value of an attribute.
    pub(super) async fn unpack(&self, attribute: &AttributeValue) -> Result<Value, Failure> {
        match attribute {
            AttributeValue::S(json) => parse(json.as_bytes()),
            AttributeValue::B(compressed) => parse(&decompress(compressed.as_ref())?),
            AttributeValue::M(reference) => {
                let key = Reader(reference).text("payload")?;
                let compressed = self.store.get(key, VALUE_LIMIT as u64).await?;
                let hash = key.rsplit('/').next().unwrap_or(key);
                if blake3::hash(&compressed).to_hex().as_str() != hash {
                    return Err(Failure::validation("a stored payload is not what was written"));
                }
                parse(&decompress(&compressed)?)
            }
            _ => Err(Failure::validation("a stored value is of an unknown form")),
        }
    }
}

/// A value as text.
///
/// # Errors
/// This returns an error of kind `Validation` when the value nests too deep to be read again, or is too long.
pub(super) fn json_of(value: &Value) -> Result<String, Failure> {
    if !fits_depth(value, DEPTH_LIMIT) {
        return Err(Failure::validation(format!("a value nests deeper than {DEPTH_LIMIT} levels")));
    }
    let json = value.to_string();
    if json.len() > VALUE_LIMIT {
        let bytes = json.len();
        return Err(Failure::validation(format!("a value has {bytes} bytes, more than {VALUE_LIMIT}")));
    }
    Ok(json)
}

fn parse(json: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(json).map_err(|_| Failure::validation("a stored value is not JSON"))
}

fn decompress(compressed: &[u8]) -> Result<Vec<u8>, Failure> {
    let damaged = |_| Failure::validation("a stored value cannot be decompressed");
    let mut json = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(compressed).map_err(damaged)?;
    // One byte more than allowed tells that there is more.
    decoder.take(VALUE_LIMIT as u64 + 1).read_to_end(&mut json).map_err(damaged)?;
    if json.len() > VALUE_LIMIT {
        return Err(Failure::validation(format!("a stored value has more than {VALUE_LIMIT} bytes")));
    }
    Ok(json)
}

/// Whether a value nests at most so many arrays and objects in each other.
fn fits_depth(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| fits_depth(item, levels - 1)),
        Value::Object(fields) => levels > 0 && fields.values().all(|field| fits_depth(field, levels - 1)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws_smithy_types::Blob;
    use ihelper_workflow::domain::Kind;
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<HashMap<String, Vec<u8>>>);

    #[async_trait]
    impl ValueStore for Kept {
        async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Failure> {
            self.0.lock().unwrap().insert(key.to_owned(), bytes);
            Ok(())
        }

        async fn get(&self, key: &str, _: u64) -> Result<Vec<u8>, Failure> {
            self.0.lock().unwrap().get(key).cloned().ok_or_else(|| Failure::new(Kind::NotFound, "there is no payload"))
        }
    }

    fn values() -> (Values, Arc<Kept>) {
        let kept = Arc::new(Kept::default());
        (Values::new(Arc::clone(&kept) as Arc<dyn ValueStore>), kept)
    }

    fn run() -> RunId {
        RunId::new(Timestamp::UNIX_EPOCH, 7)
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(0), |inner, _| json!([inner]))
    }

    /// Text that does not compress: every character another one.
    fn bulky(bytes: usize) -> Value {
        let mut reader = blake3::Hasher::new().finalize_xof();
        let mut noise = vec![0; bytes];
        reader.fill(&mut noise);
        Value::String(noise.iter().map(|byte| char::from(b' ' + byte % 90)).collect())
    }

    #[tokio::test]
    async fn a_value_too_deep_to_be_read_again_is_not_written() {
        let (values, _) = values();
        let deepest = nested(DEPTH_LIMIT);
        let packed = values.pack(run(), &deepest, Room::RUN).await.unwrap();
        assert_eq!(values.unpack(&packed).await.unwrap(), deepest);
        let failure = values.pack(run(), &nested(DEPTH_LIMIT + 1), Room::RUN).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Validation);
    }

    #[tokio::test]
    async fn a_small_item_that_unpacks_to_more_than_the_limit_is_refused() {
        let (values, _) = values();
        // 65 MiB of blanks in some kilobytes.
        let bomb = zstd::bulk::compress(&vec![b' '; VALUE_LIMIT + 1024 * 1024], 1).unwrap();
        assert!(bomb.len() < 100_000);
        let failure = values.unpack(&AttributeValue::B(Blob::new(bomb))).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Validation);
        assert!(failure.message.contains("more than"), "{failure}");
    }

    #[tokio::test]
    async fn a_damaged_value_is_a_failure() {
        let (values, kept) = values();
        let whole = zstd::bulk::compress(br#"{"a":1}"#, 1).unwrap();
        let damaged = [
            text("{\"a\":"),
            text(""),
            text("1 2"),
            AttributeValue::B(Blob::new(&whole[..whole.len() - 3])),
            AttributeValue::B(Blob::new(b"not compressed".as_slice())),
            AttributeValue::B(Blob::new(zstd::bulk::compress(b"\xff\xfe", 1).unwrap())),
            AttributeValue::Bool(true),
            AttributeValue::M(HashMap::new()),
        ];
        for attribute in damaged {
            assert_eq!(values.unpack(&attribute).await.unwrap_err().kind, Kind::Validation, "{attribute:?}");
        }

        let reference = values.pack(run(), &bulky(600 * 1024), Room::ALONE).await.unwrap();
        for bytes in kept.0.lock().unwrap().values_mut() {
            bytes[9] ^= 1;
        }
        assert_eq!(values.unpack(&reference).await.unwrap_err().kind, Kind::Validation);
        kept.0.lock().unwrap().clear();
        assert_eq!(values.unpack(&reference).await.unwrap_err().kind, Kind::NotFound);
    }

    #[tokio::test]
    async fn a_value_takes_the_smallest_form_that_holds_it() {
        let (values, kept) = values();
        let form = async |value: &Value, room| {
            let packed = values.pack(run(), value, room).await.unwrap();
            assert!(values.unpack(&packed).await.unwrap() == *value);
            match packed {
                AttributeValue::S(_) => "text",
                AttributeValue::B(_) => "compressed",
                _ => "elsewhere",
            }
        };
        assert_eq!(form(&json!("x".repeat(COMPRESSED_FROM - 3)), Room::ALONE).await, "text");
        assert_eq!(form(&json!("x".repeat(COMPRESSED_FROM - 2)), Room::ALONE).await, "compressed");
        // Hardly a letter twice, and too short to win back what compression itself needs.
        let varied: String = (0..86)
            .flat_map(|n| [char::from(b'#' + n % 57), char::from_u32(161 + u32::from(n) * 37 % 1800).unwrap()])
            .collect();
        assert_eq!(form(&json!(varied), Room::ALONE).await, "text");
        assert_eq!(form(&bulky(1 << 10), Room::ALONE).await, "compressed");
        assert_eq!(form(&json!("x".repeat(5 << 20)), Room::RUN).await, "compressed");
        assert_eq!(form(&bulky(12 << 10), Room::RUN).await, "compressed");
        assert_eq!(form(&bulky(300 << 10), Room::ALONE).await, "compressed");
        assert!(kept.0.lock().unwrap().is_empty());
        assert_eq!(form(&bulky(300 << 10), Room::RUN).await, "elsewhere");
        assert_eq!(form(&bulky(300 << 10), Room::RUN).await, "elsewhere");
        let keys: Vec<String> = kept.0.lock().unwrap().keys().cloned().collect();
        assert_eq!(keys.len(), 1, "the same value is the same object");
        assert!(keys[0].starts_with(&format!("payloads/{}/", run())));
    }
}
