//! Versions of a definition, and the pointer that says which of them new runs get.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    definition::Definition,
    failure::Failure,
    input::Violation,
    run::{RunId, WorkflowType},
};

/// A definition under its number. What it says never changes; only what became of it is noted, once.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The definition. Its `version` is the number.
    pub definition: Definition,
    /// What became of it.
    pub state: VersionState,
    /// Who made it.
    pub author: String,
    /// When.
    pub made_at: Timestamp,
    /// Why, in the author's words.
    pub reason: String,
    /// What was wrong with it, when it was rejected.
    pub problems: Vec<Violation>,
}

impl Version {
    /// The workflow it defines.
    pub const fn workflow(&self) -> WorkflowType {
        self.definition.workflow
    }

    /// Its number.
    pub const fn number(&self) -> u32 {
        self.definition.version
    }
}

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum VersionState {
    /// It is being validated, or whoever validated it died.
    Candidate,
    /// It was valid, and new runs got it once, or get it.
    Accepted,
    /// It was not valid, or another change came first; no run ever got it.
    Rejected,
}

/// Which version new runs get. Each move of the pointer has the next revision, so its history has no gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = DefinitionMove))]
pub struct Pointer {
    /// Which move this is, from 1.
    pub revision: u32,
    /// The version that new runs get, but for a canary's share.
    pub current: u32,
    /// The version on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// What moved it here.
    pub action: Action,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// What moves a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = PointerAction))]
pub enum Action {
    /// A new version became current.
    Update,
    /// An older version became current again.
    Rollback,
    /// A new version gets a share of the new runs.
    Canary,
    /// The version on trial became current.
    Promote,
    /// The version on trial gets no new runs any more.
    Abort,
}

/// A version on trial, and on which terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The version.
    pub version: u32,
    /// The terms.
    #[serde(flatten)]
    pub terms: Terms,
}

// A value that holds another's fields among its own would be described as both at once, and neither allows the other's.
#[cfg(feature = "openapi")]
mod flat {
    use super::Canary;

    /// A version on trial, and on which terms.
    #[derive(utoipa::ToSchema)]
    #[expect(dead_code, reason = "it describes `Canary`")]
    struct Flat {
        /// The version.
        version: u32,
        /// Its share of the new runs, in percent: 1 to 99.
        percent: u32,
        /// How many of its runs have ended before it is promoted: 1 to 100,000.
        minimum_runs: u32,
        /// How many percent points more of its runs may fail than of those on the current version: 0 to 100.
        margin_percent: u32,
    }

    impl utoipa::PartialSchema for Canary {
        fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
            <Flat as utoipa::PartialSchema>::schema()
        }
    }

    impl utoipa::ToSchema for Canary {}
}

/// How a version on trial is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Its share of the new runs, in percent: 1 to 99.
    pub percent: u32,
    /// How many of its runs have ended before it is promoted: 1 to 100,000.
    pub minimum_runs: u32,
    /// How many percent points more of its runs may fail than of those on the current version: 0 to 100.
    pub margin_percent: u32,
}

impl Terms {
    /// The usual terms for this share: twenty runs show a fault that one run in seven has, with a chance of 95 %.
    pub const fn of_share(percent: u32) -> Self {
        Self { percent, minimum_runs: 20, margin_percent: 5 }
    }

    /// Everything that is out of its range.
    pub fn violations(self) -> Vec<Violation> {
        [
            ("canary", self.percent, 1..=99),
            ("minimum_runs", self.minimum_runs, 1..=100_000),
            ("margin", self.margin_percent, 0..=100),
        ]
        .into_iter()
        .filter(|(_, value, range)| !range.contains(value))
        .map(|(field, _, range)| Violation {
            field: field.to_owned(),
            problem: format!("is not from {} to {}", range.start(), range.end()),
        })
        .collect()
    }
}

/// Which runs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Those on the version on trial.
    Canary,
    /// As many on the current version.
    Control,
}

/// How the runs ended that are compared in one trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tally {
    /// Runs on the version on trial that succeeded.
    pub canary_succeeded: u32,
    /// Runs on the version on trial that failed.
    pub canary_failed: u32,
    /// Runs on the current version that succeeded.
    pub control_succeeded: u32,
    /// Runs on the current version that failed.
    pub control_failed: u32,
}

impl Tally {
    /// Counts one run that ended.
    pub fn count(&mut self, arm: Arm, failed: bool) {
        let counter = match (arm, failed) {
            (Arm::Canary, false) => &mut self.canary_succeeded,
            (Arm::Canary, true) => &mut self.canary_failed,
            (Arm::Control, false) => &mut self.control_succeeded,
            (Arm::Control, true) => &mut self.control_failed,
        };
        *counter = counter.saturating_add(1);
    }

    /// The tally in words.
    pub fn describe(&self) -> String {
        format!(
            "{} of {} runs on trial failed, and {} of {} beside them",
            self.canary_failed,
            self.canary_failed + self.canary_succeeded,
            self.control_failed,
            self.control_failed + self.control_succeeded
        )
    }
}

/// What a trial comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It goes on.
    Open,
    /// The version becomes current.
    Promote,
    /// The version gets no new runs any more.
    Abort,
}

impl Canary {
    /// What the trial comes to by these runs. It ends badly as soon as so many failed that the runs that are still
    /// missing could not make up for it; it ends well only when enough have ended.
    pub fn judge(&self, tally: &Tally) -> Judgement {
        let share = |part: u32, whole: u32| if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) };
        let ended = tally.canary_succeeded.saturating_add(tally.canary_failed);
        let beside = share(tally.control_failed, tally.control_succeeded.saturating_add(tally.control_failed));
        let allowed = beside + f64::from(self.terms.margin_percent) / 100.0;
        // Of 20 runs one may fail at a margin of 5 %; a sum of two fractions must not forbid it.
        if share(tally.canary_failed, ended.max(self.terms.minimum_runs)) > allowed + 1e-9 {
            Judgement::Abort
        } else if ended >= self.terms.minimum_runs {
            Judgement::Promote
        } else {
            Judgement::Open
        }
    }
}

impl Pointer {
    /// The version that this run gets. The share is taken by the run's id, so whoever begins a run twice begins it on
    /// the same version.
    pub fn version_for(&self, run: RunId) -> u32 {
        match &self.canary {
            Some(canary) if place_of(run) < canary.terms.percent * 100 => canary.version,
            _ => self.current,
        }
    }

    /// In which arm of the trial a run counts that is pinned to this version, if in any. The runs compared with are
    /// as many as those on trial, where there are as many, so that both cost the same few writes.
    pub fn arm_of(&self, run: RunId, version: u32) -> Option<Arm> {
        let canary = self.canary.as_ref()?;
        let share = canary.terms.percent * 100;
        if version == canary.version {
            Some(Arm::Canary)
        } else {
            (version == self.current && (share..2 * share).contains(&place_of(run))).then_some(Arm::Control)
        }
    }

    /// The next move.
    pub fn next(former: Option<&Self>, current: u32, canary: Option<Canary>, action: Action, change: &Change) -> Self {
        Self {
            revision: former.map_or(0, |former| former.revision) + 1,
            current,
            canary,
            action,
            by: change.by.clone(),
            at: change.at,
            reason: change.reason.clone(),
        }
    }
}

/// Who changes something, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Where a run stands among ten thousand places.
fn place_of(run: RunId) -> u32 {
    let hash = blake3::hash(run.to_string().as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    (u64::from_le_bytes(first) % 10_000) as u32
}

impl Violation {
    /// A failure as something that is wrong at a place.
    pub fn at(field: impl Into<String>, failure: &Failure) -> Self {
        Self { field: field.into(), problem: failure.message.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(percent: u32) -> Pointer {
        let change = Change { by: "ann".to_owned(), at: Timestamp::UNIX_EPOCH, reason: String::new() };
        let canary = Canary { version: 3, terms: Terms::of_share(percent) };
        Pointer::next(None, 2, Some(canary), Action::Canary, &change)
    }

    fn runs() -> impl Iterator<Item = RunId> {
        (0..20_000).map(|number| RunId::derived(Timestamp::UNIX_EPOCH, &["run", &number.to_string()]))
    }

    #[test]
    fn a_canary_gets_its_share_and_the_runs_beside_it_are_as_many() {
        for percent in [1, 10, 50] {
            let pointer = pointer(percent);
            let on_trial = runs().filter(|run| pointer.version_for(*run) == 3).count() as f64;
            let beside = runs().filter(|run| pointer.arm_of(*run, 2) == Some(Arm::Control)).count() as f64;
            let expected = 20_000.0 * f64::from(percent) / 100.0;
            // Five standard deviations of a binomial share.
            let off = 5.0 * (expected * (1.0 - f64::from(percent) / 100.0)).sqrt();
            assert!((on_trial - expected).abs() < off, "{percent} %: {on_trial} of 20,000");
            assert!((beside - expected).abs() < off, "{percent} %: {beside} beside");
        }
    }

    #[test]
    fn a_run_gets_the_same_version_whoever_asks_and_no_run_is_in_both_arms() {
        let pointer = pointer(30);
        for run in runs().take(2000) {
            assert_eq!(pointer.version_for(run), pointer.version_for(run));
            let arm = pointer.arm_of(run, pointer.version_for(run));
            assert_eq!(arm == Some(Arm::Canary), pointer.version_for(run) == 3);
            assert_eq!(pointer.arm_of(run, 1), None, "a run of an older version is not compared");
        }
    }

    #[test]
    fn a_trial_ends_well_only_with_enough_runs_and_badly_as_soon_as_it_must() {
        let canary = Canary { version: 3, terms: Terms { percent: 10, minimum_runs: 20, margin_percent: 5 } };
        let judge = |canary_succeeded, canary_failed, control_succeeded, control_failed| {
            canary.judge(&Tally { canary_succeeded, canary_failed, control_succeeded, control_failed })
        };
        assert_eq!(judge(0, 0, 0, 0), Judgement::Open);
        assert_eq!(judge(19, 0, 100, 0), Judgement::Open);
        assert_eq!(judge(20, 0, 0, 0), Judgement::Promote);
        assert_eq!(judge(19, 1, 20, 0), Judgement::Promote);
        assert_eq!(judge(0, 1, 20, 0), Judgement::Open, "one of twenty may fail");
        assert_eq!(judge(0, 2, 20, 0), Judgement::Abort, "two of twenty are 10 %");
        assert_eq!(judge(0, 2, 18, 2), Judgement::Open, "where a tenth fails anyway");
        assert_eq!(judge(30, 10, 20, 0), Judgement::Abort);
    }

    #[test]
    fn terms_out_of_range_are_all_named() {
        let fields: Vec<String> = Terms { percent: 100, minimum_runs: 0, margin_percent: 101 }
            .violations()
            .into_iter()
            .map(|violation| violation.field)
            .collect();
        assert_eq!(fields, ["canary", "minimum_runs", "margin"]);
        assert_eq!(Terms::of_share(1).violations(), []);
    }
}
