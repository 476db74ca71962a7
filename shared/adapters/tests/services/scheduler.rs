//! Schedules: what is asked for, and what is made of the answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ihelper_adapters::{
    scheduler::{Scheduler, Schedules},
    sqs::SqsQueue,
};
use ihelper_testkit::memory::VirtualClock;
use ihelper_workflow::{
    domain::{Kind, RunId, WorkflowType},
    ports::Queue as _,
};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    sqs,
    wire::{Answer, Wire},
};

const EMAIL: WorkflowType = WorkflowType::EmailProcessing;
const DAY: Duration = Duration::from_hours(24);

fn run() -> RunId {
    RunId::new(Timestamp::UNIX_EPOCH, 7)
}

/// Queues whose scheduler's clock stands at a quarter second past noon of 1 March 2025.
fn queue(wire: &Wire) -> SqsQueue {
    let arn = |workflow| format!("arn:aws:sqs:us-east-1:000000000000:{workflow}");
    let schedules = Schedules {
        group: "ihelper".to_owned(),
        role_arn: "arn:aws:iam::000000000000:role/scheduler".to_owned(),
        queue_arns: BTreeMap::from([(EMAIL, arn(EMAIL))]),
    };
    let clock = VirtualClock::new("2025-03-01T12:00:00.25Z".parse().unwrap());
    sqs::queue(wire).with_scheduler(Scheduler::new(&wire.aws(), Arc::new(clock), schedules))
}

async fn refusing(status: u16, code: &'static str) -> Wire {
    Wire::start(move |_, _| Answer::error(status, code)).await
}

#[tokio::test]
async fn a_message_that_no_queue_can_hold_back_is_scheduled() {
    let wire = Wire::start(|_, _| Answer::json(200, &json!({"ScheduleArn": "arn"}))).await;
    queue(&wire).resume(EMAIL, run(), DAY).await.unwrap();
    let request = &wire.requests()[0];
    assert_eq!(request.target(), format!("POST /schedules/{}-1740916801", run()));
    let mut body = request.json();
    // The SDK's own, by which it knows a request that it repeats.
    assert!(body.as_object_mut().unwrap().remove("ClientToken").is_some());
    assert_eq!(
        body,
        json!({
            "GroupName": "ihelper",
            "ScheduleExpression": "at(2025-03-02T12:00:01)",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": "arn:aws:sqs:us-east-1:000000000000:email_processing",
                "RoleArn": "arn:aws:iam::000000000000:role/scheduler",
                "Input": json!({"run_id": run()}).to_string(),
                "RetryPolicy": {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185},
            },
        })
    );
}

#[tokio::test]
async fn what_the_queue_can_hold_back_costs_no_schedule() {
    let wire = Wire::start(|_, _| Answer::json(200, &json!({"MessageId": "m-1"}))).await;
    for delay in [Duration::ZERO, Duration::from_mins(15)] {
        queue(&wire).resume(EMAIL, run(), delay).await.unwrap();
    }
    assert!(wire.requests().iter().all(|request| request.header("x-amz-target").unwrap() == "AmazonSQS.SendMessage"));
}

#[tokio::test]
async fn a_schedule_that_is_there_already_is_as_good_as_a_new_one() {
    let wire = refusing(409, "ConflictException").await;
    queue(&wire).resume(EMAIL, run(), DAY).await.unwrap();
    assert_eq!(wire.requests().len(), 1);
}

#[tokio::test]
async fn a_schedule_that_was_refused_is_told() {
    for (status, code, kind) in [
        (400, "ValidationException", Kind::Validation),
        (403, "AccessDeniedException", Kind::Authorization),
        (404, "ResourceNotFoundException", Kind::Unknown),
        (402, "ServiceQuotaExceededException", Kind::Unknown),
        (429, "ThrottlingException", Kind::Throttled),
    ] {
        let wire = refusing(status, code).await;
        let failure = queue(&wire).resume(EMAIL, run(), DAY).await.unwrap_err();
        assert_eq!((failure.kind, failure.maybe_applied), (kind, false), "{code}");
    }
}

#[tokio::test]
async fn a_workflow_without_a_queue_is_a_terminal_failure() {
    let wire = refusing(500, "").await;
    let failure = queue(&wire).resume(WorkflowType::TaskAutomation, run(), DAY).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Validation);
    assert!(wire.requests().is_empty());
}
