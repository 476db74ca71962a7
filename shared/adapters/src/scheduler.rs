//! Messages that are sent later than a queue can hold them back: one-time schedules of EventBridge Scheduler.
//!
//! Each is named by its run and its moment, so that asking twice makes one, and deletes itself when it is done. It
//! fires within the minute after its moment, now and then twice.
//!
//! Deliberately absent: taking a schedule back. A message for a run that no longer waits is passed over.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use aws_sdk_scheduler::{
    Client,
    types::{ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, Target},
};
use ihelper_workflow::{
    domain::{Failure, RunId, WorkflowType},
    ports::Clock,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;

use crate::{
    aws::{Aws, Lazy},
    failures::failure,
};

const CALL: &str = "scheduler create schedule";

/// How long Scheduler tries to reach the queue: a day is its most. Should it not, an operator finds the run waiting
/// beyond its moment.
const RETRIED_FOR_SECONDS: i32 = 24 * 60 * 60;

/// How often it tries: its most.
const RETRIES: i32 = 185;

/// Where schedules are kept, and where they send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedules {
    /// The schedule group's name.
    pub group: String,
    /// The ARN of the role in which Scheduler sends.
    pub role_arn: String,
    /// The ARN of each workflow's queue.
    pub queue_arns: BTreeMap<WorkflowType, String>,
}

/// Sends messages later. A clone is cheap.
#[derive(Clone)]
pub struct Scheduler {
    client: Arc<Lazy<Client>>,
    clock: Arc<dyn Clock>,
    schedules: Arc<Schedules>,
}

impl Scheduler {
    /// A scheduler that counts delays from this clock's now.
    pub fn new(aws: &Aws, clock: Arc<dyn Clock>, schedules: Schedules) -> Self {
        Self { client: Arc::new(aws.scheduler()), clock, schedules: Arc::new(schedules) }
    }

    /// Has `{"run_id"}` sent to the workflow's queue after a delay, rounded up to whole seconds.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when the workflow has no queue here, and another when the schedule is
    /// not certainly there.
    pub async fn resume(&self, workflow: WorkflowType, run: RunId, delay: Duration) -> Result<(), Failure> {
        let queue = self.schedules.queue_arns.get(&workflow);
        let queue = queue.ok_or_else(|| Failure::validation(format!("no queue is configured for {workflow}")))?;
        let moment = moment(self.clock.now(), delay)?;
        let unbuildable = |_| Failure::validation(format!("{CALL}: the request could not be built"));
        let retry =
            RetryPolicy::builder().maximum_event_age_in_seconds(RETRIED_FOR_SECONDS).maximum_retry_attempts(RETRIES);
        let target = Target::builder()
            .arn(queue)
            .role_arn(&self.schedules.role_arn)
            .input(json!({ "run_id": run }).to_string())
            .retry_policy(retry.build())
            .build()
            .map_err(unbuildable)?;
        let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().map_err(unbuildable)?;
        let answer = self
            .client
            .create_schedule()
            .group_name(&self.schedules.group)
            .name(format!("{run}-{}", moment.as_second()))
            .schedule_expression(expression(moment))
            .schedule_expression_timezone("UTC")
            .flexible_time_window(window)
            .target(target)
            .action_after_completion(ActionAfterCompletion::Delete)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            // The same was asked before.
            Err(error) if error.as_service_error().is_some_and(|error| error.is_conflict_exception()) => Ok(()),
            Err(error) => Err(failure(CALL, &error)),
        }
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scheduler").field("schedules", &self.schedules).finish_non_exhaustive()
    }
}

/// The first whole second that is not before the end of the delay.
fn moment(now: Timestamp, delay: Duration) -> Result<Timestamp, Failure> {
    let end = SignedDuration::try_from(delay).ok().and_then(|delay| now.checked_add(delay).ok());
    let up = |end: Timestamp| Timestamp::from_second(end.as_second() + i64::from(end.subsec_nanosecond() > 0)).ok();
    end.and_then(up).ok_or_else(|| Failure::validation(format!("{CALL}: the moment is beyond the end of time")))
}

fn expression(moment: Timestamp) -> String {
    format!("at({})", moment.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_never_early() {
        let now: Timestamp = "2025-03-01T12:00:00.25Z".parse().unwrap();
        let at = |delay| moment(now, delay).unwrap().to_string();
        assert_eq!(at(Duration::from_millis(750)), "2025-03-01T12:00:01Z");
        assert_eq!(at(Duration::from_millis(751)), "2025-03-01T12:00:02Z");
        assert_eq!(at(Duration::from_hours(24)), "2025-03-02T12:00:01Z");
        assert!(moment(now, Duration::MAX).is_err());
        assert!(moment(Timestamp::MAX, Duration::ZERO).is_err());
    }

    #[test]
    fn a_moment_is_written_in_utc() {
        assert_eq!(expression("2026-01-02T03:04:05+02:00".parse().unwrap()), "at(2026-01-02T01:04:05)");
    }
}
