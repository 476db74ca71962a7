//! What must be true of every [`StepCache`].

use ihelper_workflow::ports::StepCache;
use serde_json::json;

use super::{KIB, at, bulky, delicate_values, monotonous, run_id};

/// Makes a test of every case of the cache's contract, each on a cache that the expression makes anew.
#[macro_export]
macro_rules! step_cache_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, step_cache:
            a_value_counts_until_its_moment,
            the_last_value_counts,
            any_value_comes_back_as_it_was,
        }
    };
}

/// At its moment, and not before, a value is over.
pub async fn a_value_counts_until_its_moment(cache: &dyn StepCache) {
    assert_eq!(cache.get("key", at(0)).await.unwrap(), None);
    cache.put("key", run_id(0, 1), &json!({"a": 1}), at(60)).await.unwrap();
    assert_eq!(cache.get("key", at(59)).await.unwrap(), Some(json!({"a": 1})));
    assert_eq!(cache.get("key", at(60)).await.unwrap(), None);
    assert_eq!(cache.get("another key", at(0)).await.unwrap(), None);
}

/// A value put again replaces the first, its moment too.
pub async fn the_last_value_counts(cache: &dyn StepCache) {
    cache.put("key", run_id(0, 1), &json!(1), at(60)).await.unwrap();
    cache.put("key", run_id(0, 2), &json!(2), at(30)).await.unwrap();
    assert_eq!(cache.get("key", at(29)).await.unwrap(), Some(json!(2)));
    assert_eq!(cache.get("key", at(30)).await.unwrap(), None);
}

/// Whatever JSON an answer is, large ones too.
pub async fn any_value_comes_back_as_it_was(cache: &dyn StepCache) {
    for (number, value) in delicate_values().into_iter().chain([bulky(400 * KIB), monotonous(KIB * KIB)]).enumerate() {
        let key = format!("key {number}");
        cache.put(&key, run_id(0, 1), &value, at(60)).await.unwrap();
        assert_eq!(cache.get(&key, at(0)).await.unwrap(), Some(value));
    }
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryStepCache;

    step_cache_contract!(async { MemoryStepCache::new() });
}
