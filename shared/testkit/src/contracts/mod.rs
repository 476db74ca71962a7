//! What must be true of each port, whoever implements it.
//!
//! Each module holds the cases of one port: functions over the port's trait object that panic when a promise is
//! broken. A macro of the same name turns them into tests, each on a port of its own:
//!
//! ```ignore
//! ihelper_testkit::journal_contract!(async { MemoryJournal::new() });
//! ```
//!
//! The cases hold for a fresh port. They read no clock: every moment is given, so they say the same of memory and
//! of a database.

pub mod answers;
pub mod budgets;
pub mod bus;
pub mod definitions;
pub mod journal;
pub mod letters;
pub mod mailer;
pub mod objects;
pub mod queue;
pub mod rates;
pub mod requests;
pub mod step_cache;
pub mod tracking;
pub mod uploads;
pub mod usage;

/// Makes a test of each named case. The contract macros of the ports call it; nobody else needs to.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($port:expr, $module:ident: $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                let port = $port.await;
                $crate::contracts::$module::$case(&port).await;
            }
        )+
    };
}

use ihelper_workflow::domain::{RunId, WorkflowType};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A moment to begin with; `at(n)` is n seconds later.
fn at(seconds: i64) -> Timestamp {
    Timestamp::constant(1_750_000_000, 0) + SignedDuration::from_secs(seconds)
}

fn run_id(seconds: i64, random: u128) -> RunId {
    RunId::new(at(seconds), random)
}

/// Texts that break careless code: separators of keys, nothing at all, other alphabets, control characters, and
/// 4 KB.
fn hostile_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "#",
        "a#b",
        "RUN#x#LOG#000001",
        "\u{0}",
        "line\r\nline\ttab\u{1b}[31m",
        "\u{202e}drawkcab",
        "e\u{301} ≠ é, 漢字, 🦀",
        "\u{10ffff}",
        "\"quoted\" \\ back ${x} {{x}} %00",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("long ".repeat(820));
    texts.push("ü".repeat(2048));
    texts
}

/// Values that must come back as they were: of all shapes, with the largest and the finest numbers.
fn delicate_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(""),
        json!([]),
        json!({}),
        json!({"": {"": [null, [], {}]}}),
        json!([9_007_199_254_740_993_u64, u64::MAX, i64::MIN, -9_007_199_254_740_993_i64]),
        json!([0.1, -0.0, 1e-308, 5e-324, 1.797_693_134_862_315_7e308, 0.300_000_000_000_000_04, 1e300]),
        json!({"text": hostile_texts()}),
        json!({"#key": 1, "key with \u{0} and ü": 2, "$ref": 3, "N": "4", "S": {"B": "x"}}),
        nested(100),
    ]
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!("core"), |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({"in": inner}) })
}

/// A value of about this size whose text does not compress well.
fn bulky(bytes: usize) -> Value {
    // A small generator is enough: the letters only must not repeat themselves.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let text: String = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + (state % 95) as u8)
    })
    .take(bytes)
    .collect();
    json!({ "text": text })
}

/// A value of about this size whose text compresses to next to nothing.
fn monotonous(bytes: usize) -> Value {
    json!({ "text": "all work and no play ".repeat(bytes / 21 + 1) })
}

const KIB: usize = 1024;

/// The sizes around which values change how they are kept.
const SIZES: [usize; 6] = [KIB - 16, KIB, 100 * KIB, 300 * KIB, KIB * KIB, 5 * KIB * KIB];

const EMAIL: WorkflowType = WorkflowType::EmailProcessing;
const DOCUMENT: WorkflowType = WorkflowType::DocumentReview;
const TASK: WorkflowType = WorkflowType::TaskAutomation;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The cases a module states, by its text, against those its macro turns into tests.
    fn check(source: &str) {
        let stated: BTreeSet<&str> = source
            .lines()
            .filter_map(|line| line.strip_prefix("pub async fn "))
            .filter_map(|rest| rest.split('(').next())
            .collect();
        let listed: BTreeSet<&str> = source
            .lines()
            .skip_while(|line| !line.contains("contract_tests!"))
            .skip(1)
            .take_while(|line| line.trim() != "}")
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|word| {
                !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            })
            .collect();
        assert_eq!(stated, listed);
        assert!(!stated.is_empty());
    }

    #[test]
    fn every_case_that_is_stated_is_run() {
        check(include_str!("answers.rs"));
        check(include_str!("budgets.rs"));
        check(include_str!("bus.rs"));
        check(include_str!("definitions.rs"));
        check(include_str!("journal.rs"));
        check(include_str!("letters.rs"));
        check(include_str!("mailer.rs"));
        check(include_str!("objects.rs"));
        check(include_str!("queue.rs"));
        check(include_str!("requests.rs"));
        check(include_str!("step_cache.rs"));
        check(include_str!("tracking.rs"));
        check(include_str!("uploads.rs"));
        check(include_str!("usage.rs"));
    }
}
