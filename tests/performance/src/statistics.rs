//! What a list of numbers comes to.
//!
//! A percentile is one by nearest rank: the smallest of the values that at least so many percent of them do not exceed.
//! It is always a value that was measured, never one between two.

use serde::{Deserialize, Serialize};

/// What a list of numbers comes to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, as that of a sample; 0 for a single one.
    pub deviation: f64,
    /// The smallest.
    pub min: f64,
    /// Half of them are not above it.
    pub p50: f64,
    /// 95 percent of them are not above it.
    pub p95: f64,
    /// 99 percent of them are not above it.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// What these come to; nothing comes to nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let count = sorted.len();
        let mean = sorted.iter().sum::<f64>() / count as f64;
        let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (count - 1).max(1) as f64).sqrt();
        let at = |percent| sorted[rank(count, percent) - 1];
        Some(Self { count, mean, deviation, min, p50: at(50), p95: at(95), p99: at(99), max })
    }
}

/// The place of a percentile among so many sorted values, counted from 1.
///
/// # Panics
/// This panics when there is no value, or `percent` is above 100: there is no such place.
pub fn rank(count: usize, percent: usize) -> usize {
    assert!(count > 0 && percent <= 100, "there is no percentile {percent} of {count} values");
    (count * percent).div_ceil(100).max(1)
}

/// Whether a percentile of so many values says more than their largest: whether one of them lies beyond it. The 99th
/// needs 100 values for that, the 95th 20.
pub fn carries(count: usize, percent: usize) -> bool {
    count > 0 && rank(count, percent) < count
}

/// A percentile of values in any order, which it may rearrange: faster than sorting them.
///
/// # Panics
/// As [`rank`].
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    let place = rank(values.len(), percent) - 1;
    *values.select_nth_unstable_by(place, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(last: u32) -> Vec<f64> {
        // Not in their order, so that nothing rests on it.
        let mut values: Vec<f64> = (1..=last).map(f64::from).collect();
        values.reverse();
        values
    }

    #[test]
    fn percentiles_of_the_first_numbers_are_what_everybody_can_count() {
        let summary = Summary::of(&up_to(100)).unwrap();
        assert_eq!((summary.p50, summary.p95, summary.p99), (50.0, 95.0, 99.0));
        assert_eq!((summary.min, summary.max, summary.mean, summary.count), (1.0, 100.0, 50.5, 100));
        let summary = Summary::of(&up_to(1000)).unwrap();
        assert_eq!((summary.p50, summary.p95, summary.p99), (500.0, 950.0, 990.0));
    }

    #[test]
    fn percentiles_by_nearest_rank_are_those_of_the_worked_example() {
        // The example that the definition is mostly explained by: 15, 20, 35, 40, 50.
        let mut values = [35.0, 20.0, 15.0, 50.0, 40.0];
        for (percent, expected) in [(0, 15.0), (5, 15.0), (30, 20.0), (40, 20.0), (50, 35.0), (100, 50.0)] {
            assert_eq!(percentile(&mut values, percent), expected, "percentile {percent}");
        }
    }

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        // Squares of the distances from 5: 9, 1, 1, 1, 0, 0, 4, 16; they sum up to 32.
        let summary = Summary::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert!((summary.deviation - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12, "{}", summary.deviation);
    }

    #[test]
    fn one_value_is_all_of_its_percentiles_and_no_value_has_none() {
        let summary = Summary::of(&[7.0]).unwrap();
        assert_eq!((summary.min, summary.p50, summary.p99, summary.max, summary.deviation), (7.0, 7.0, 7.0, 7.0, 0.0));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn a_percentile_is_carried_when_a_value_lies_beyond_it() {
        assert!(!carries(99, 99) && carries(100, 99));
        assert!(!carries(19, 95) && carries(20, 95));
        assert!(!carries(1, 50) && carries(2, 50) && !carries(0, 50));
    }
}
