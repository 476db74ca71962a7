//! Runs that people cancel, repeat and settle.

use axum::body::Body;
use http::{Request, StatusCode};
use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{
    domain::{Failure, Kind, RunId, Status, WorkflowType, document::ObjectRef},
    ports::Clock as _,
};
use serde_json::{Value, json};

use super::{Front, Served, email, path_of, planned, process, process_in, task, with_header, with_token};

const EMAIL: WorkflowType = WorkflowType::EmailProcessing;
const TASK: WorkflowType = WorkflowType::TaskAutomation;

/// A question to the assistant, an event with the answer, and a mail to the boss.
fn ask_tell_mail() -> WorkflowTester {
    planned(&json!([
        {"id": "ask", "tool": "ask_assistant",
            "arguments": {"instruction": "Summarize.", "text": "{{ task.description }}"}},
        {"id": "tell", "tool": "publish_event", "depends_on": ["ask"],
            "arguments": {"type": "told", "detail": {"task": "{{ task.id }}"}}},
        {"id": "mail", "tool": "send_email", "depends_on": ["tell"],
            "arguments": {"recipient": "boss", "subject": "Task {{ task.id }}", "text": "Done."}},
    ]))
}

/// A run whose mail was refused.
async fn failed(front: &Front) -> RunId {
    front.tester.mailer.fail_next(Failure::new(Kind::Refused, "the message was rejected"));
    let served = front.post(&task()).await;
    assert_eq!((served.status.as_u16(), served.problem()), (422, "run-failed"), "{}", served.text);
    assert_eq!(served.body["step"], "mail");
    front.tester.queue.drain(TASK);
    served.run_id()
}

/// A run that nobody works on yet.
async fn queued(front: &Front, body: &Value) -> RunId {
    let served = front.send(with_header(process("alice", body.to_string()), "prefer", "respond-async")).await;
    assert_eq!((served.status.as_u16(), &served.body["status"]), (202, &json!("queued")), "{}", served.text);
    served.run_id()
}

/// A run of which nobody knows whether its mail went out. It did.
async fn in_doubt(front: &Front) -> RunId {
    front.tester.mailer.lose_next_answer(Failure::new(Kind::Timeout, "no answer"));
    let served = front.post(&email()).await;
    assert_eq!((served.status.as_u16(), &served.body["status"]), (202, &json!("attention")));
    front.tester.queue.drain(EMAIL);
    served.run_id()
}

impl Front {
    async fn cancel(&self, run: RunId) -> Served {
        self.post_nothing("alice", "staff", &path_of(run, "/cancel")).await
    }

    async fn retry(&self, run: RunId, how: &Value) -> Served {
        self.post_to("alice", "staff", &path_of(run, "/retry"), how).await
    }

    async fn settle(&self, run: RunId, settlement: &Value) -> Served {
        self.post_to("olga", "operators", &path_of(run, "/settle"), settlement).await
    }

    fn events(&self) -> Vec<String> {
        self.tester.bus.published().into_iter().map(|published| published.key).collect()
    }
}

fn state_of<'a>(run: &'a Value, step: &str) -> &'a Value {
    let steps = run["steps"].as_array().unwrap();
    &steps.iter().find(|shown| shown["name"] == step).unwrap()["state"]
}

#[tokio::test]
async fn a_queued_run_that_is_cancelled_is_never_worked_on() {
    let front = Front::new();
    let run = queued(&front, &email()).await;
    let served = front.cancel(run).await;
    assert_eq!((served.status, served.run_id()), (StatusCode::OK, run));
    assert_eq!(served.body, json!({"status": "cancelled", "run_id": run}));

    assert_eq!(front.deliver(EMAIL).await.status, Status::Cancelled);
    assert!(front.tester.assistant.calls().is_empty() && front.tester.mailer.sent().is_empty());
    let shown = front.show(run).await;
    assert_eq!((&shown["status"], &shown["error"]["kind"]), (&json!("cancelled"), &json!("cancelled")));
    assert_eq!(shown["finished_at"], json!(front.tester.clock.now()));
}

#[tokio::test]
async fn a_waiting_run_that_is_cancelled_does_not_wake_up_and_asks_nobody_any_more() {
    let front = Front::on(planned(&json!([
        {"id": "approve", "tool": "request_approval", "arguments": {"question": "Sure?"}},
        {"id": "pause", "tool": "wait", "arguments": {"seconds": 60}},
        {"id": "mail", "tool": "send_email", "depends_on": ["pause"],
            "arguments": {"recipient": "boss", "subject": "Now", "text": "Now."}},
    ])));
    let run = front.post(&task()).await.run_id();
    assert_eq!(front.show(run).await["callbacks"].as_array().unwrap().len(), 1);
    assert_eq!(front.cancel(run).await.status, StatusCode::OK);

    front.tester.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(front.deliver(TASK).await.status, Status::Cancelled);
    assert!(front.tester.mailer.sent().is_empty());
    let shown = front.show(run).await;
    assert_eq!((&shown["callbacks"], &shown["due_at"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn a_run_in_need_of_attention_can_be_cancelled_and_stays_so() {
    let front = Front::new();
    let run = in_doubt(&front).await;
    assert_eq!(front.cancel(run).await.status, StatusCode::OK);
    let served = front.settle(run, &json!({"step": "send_response", "outcome": "happened"})).await;
    assert_eq!((served.status.as_u16(), served.problem()), (409, "nothing-open"));
    assert_eq!(front.show(run).await["status"], "cancelled");
    assert!(front.tester.queue.messages(EMAIL).is_empty());
}

#[tokio::test]
async fn cancelling_twice_is_cancelling_once() {
    let front = Front::new();
    let run = queued(&front, &email()).await;
    let first = front.cancel(run).await;
    let (segments, record) = (front.tester.journal.segments(run), front.tester.run(run).await.unwrap());
    front.tester.clock.advance(std::time::Duration::from_secs(1));
    let second = front.cancel(run).await;
    assert_eq!((second.status, second.text), (first.status, first.text));
    assert_eq!((front.tester.journal.segments(run), front.tester.run(run).await.unwrap()), (segments, record));
}

#[tokio::test]
async fn a_run_that_has_ended_is_not_cancelled() {
    let front = Front::on(ask_tell_mail());
    let failed = failed(&front).await;
    front.tester.clock.advance(std::time::Duration::from_secs(1));
    let succeeded = front.post(&task()).await.run_id();
    assert_ne!(failed, succeeded);
    for (run, status) in [(failed, "failed"), (succeeded, "succeeded")] {
        let served = front.cancel(run).await;
        assert_eq!((served.status.as_u16(), served.problem()), (409, "run-ended"));
        assert_eq!((served.run_id(), &served.body["run_status"]), (run, &json!(status)));
        assert_eq!(front.show(run).await["status"], status);
    }
}

#[tokio::test]
async fn a_stranger_meets_no_run_where_its_owner_and_operators_do() {
    let front = Front::new();
    let run = in_doubt(&front).await;
    let unknown = RunId::new(front.tester.clock.now(), 7);
    for what in ["/cancel", "/retry"] {
        let served = front.post_nothing("mallory", "staff", &path_of(run, what)).await;
        let nothing = front.post_nothing("mallory", "staff", &path_of(unknown, what)).await;
        assert_eq!((served.status.as_u16(), served.problem()), (404, "not-found"));
        assert_eq!(served.text, nothing.text, "a run of others looks like none");
    }
    assert_eq!(front.show(run).await["status"], "attention");
    let served = front.post_nothing("olga", "operators", &path_of(run, "/cancel")).await;
    assert_eq!(served.status, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_a_runs_id_is_not_found() {
    let front = Front::new();
    let ids =
        ["not-an-id", "7", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAV0", "%20", "%ff", "%F0%9F%92%B8"];
    for id in ids.map(str::to_owned).into_iter().chain(["x".repeat(5_000)]) {
        let mut answers = vec![front.get("olga", "operators", &format!("/workflow/runs/{id}")).await];
        for what in ["cancel", "retry"] {
            answers.push(front.post_nothing("olga", "operators", &format!("/workflow/runs/{id}/{what}")).await);
        }
        let settlement = json!({"step": "send_response", "outcome": "happened"});
        answers.push(front.post_to("olga", "operators", &format!("/workflow/runs/{id}/settle"), &settlement).await);
        for served in answers {
            assert_eq!((served.status.as_u16(), served.problem()), (404, "not-found"), "`{id}`: {}", served.text);
            assert_eq!(served.header("content-type"), "application/problem+json");
        }
    }
}

#[tokio::test]
async fn a_failed_run_goes_on_where_it_failed_and_does_nothing_again() {
    let front = Front::on(ask_tell_mail());
    let run = failed(&front).await;
    let served = front.post_nothing("alice", "staff", &path_of(run, "/retry")).await;
    assert_eq!(served.status, StatusCode::ACCEPTED);
    let again = served.run_id();
    let location = path_of(again, "");
    assert_eq!(served.body, json!({"status": "queued", "run_id": again, "location": location, "retry_of": run}));
    assert_eq!(served.header("location"), location);

    assert_eq!(front.deliver(TASK).await.status, Status::Succeeded);
    assert_eq!(front.tester.assistant.calls(), ["ask", "generate_report"]);
    assert_eq!(front.tester.mailer.sent().len(), 1);
    let events = front.events();
    assert_eq!(events.len(), 1);
    assert!(events[0].starts_with(&run.to_string()));

    let shown = front.get("alice", "staff", &location).await.body;
    assert_eq!(shown["status"], "succeeded");
    assert_eq!(shown["lineage"], json!({"retry_of": run, "from_step": null}));
    assert_eq!((&shown["origin"]["trigger"], &shown["origin"]["caller"]), (&json!("run"), &json!("user:alice")));
    assert_eq!(front.show(run).await["status"], "failed", "the run that failed stays as it was");
    assert_eq!(front.show(run).await["lineage"], Value::Null);
}

#[tokio::test]
async fn a_run_can_be_repeated_from_the_step_in_which_it_failed() {
    let front = Front::on(ask_tell_mail());
    let run = failed(&front).await;
    let served = front.retry(run, &json!({"from_step": "mail"})).await;
    assert_eq!(served.status, StatusCode::ACCEPTED, "{}", served.text);
    let again = front.deliver(TASK).await;
    assert_eq!((again.id, again.status), (served.run_id(), Status::Succeeded));
    assert_eq!(front.tester.assistant.calls(), ["ask", "generate_report"]);
    assert_eq!((front.events().len(), front.tester.mailer.sent().len()), (1, 1));
    assert_eq!(front.show(again.id).await["lineage"], json!({"retry_of": run, "from_step": "mail"}));
}

#[tokio::test]
async fn a_run_can_be_repeated_from_a_step_that_never_had_a_result() {
    let front = Front::new();
    let object = ObjectRef { bucket: "documents".to_owned(), key: "documents/late.txt".to_owned() };
    let body = json!({"type": "document_review", "data": {"id": "d", "file": "s3://documents/documents/late.txt",
        "review_criteria": ["The agreement says how it can be terminated."]}});
    let served = front.send(process_in("olga", "operators", body.to_string())).await;
    assert_eq!(served.body["step"], "extract_content", "{}", served.text);
    let run = served.run_id();

    let retry = async |groups: &str| {
        front.post_to("olga", groups, &path_of(run, "/retry"), &json!({"from_step": "extract_content"})).await
    };
    let served = retry("staff").await;
    assert_eq!((served.status.as_u16(), served.problem()), (403, "forbidden"), "who is no operator any more");
    front.tester.objects.put(&object, "Either party may terminate this agreement.", &[]);
    assert_eq!(retry("operators").await.status, StatusCode::ACCEPTED);
    assert_eq!(front.deliver(WorkflowType::DocumentReview).await.status, Status::Succeeded);
}

#[tokio::test]
async fn effects_that_happened_happen_again_only_if_that_is_allowed() {
    let front = Front::on(ask_tell_mail());
    let run = failed(&front).await;
    for from_step in ["ask", "tell"] {
        let served = front.retry(run, &json!({"from_step": from_step, "repeat_effects": false})).await;
        assert_eq!((served.status.as_u16(), served.problem()), (409, "would-repeat-effects"), "{}", served.text);
        assert_eq!((served.run_id(), &served.body["effects"]), (run, &json!(["tell"])));
        assert!(served.body["detail"].as_str().unwrap().contains("`repeat_effects`"));
    }
    assert_eq!(front.tester.journal.runs().len(), 1);
    assert!(front.tester.queue.messages(TASK).is_empty());

    let served = front.retry(run, &json!({"from_step": "ask", "repeat_effects": true})).await;
    assert_eq!(served.status, StatusCode::ACCEPTED, "{}", served.text);
    assert_eq!(front.deliver(TASK).await.status, Status::Succeeded);
    assert_eq!(front.tester.assistant.calls(), ["ask", "ask", "generate_report"]);
    let events = front.events();
    assert_eq!(events.len(), 2);
    assert!(events[1].starts_with(&served.run_id().to_string()), "an event that is repeated on purpose is a new one");
}

#[tokio::test]
async fn a_run_that_succeeded_is_repeated_without_an_effect_and_its_mail_only_if_that_is_allowed() {
    let front = Front::new();
    let run = front.post(&email()).await.run_id();
    front.tester.queue.drain(EMAIL);
    assert_eq!(front.retry(run, &json!({})).await.status, StatusCode::ACCEPTED);
    assert_eq!(front.deliver(EMAIL).await.status, Status::Succeeded);
    assert_eq!(front.tester.mailer.sent().len(), 1);

    let served = front.retry(run, &json!({"from_step": "send_response"})).await;
    assert_eq!(served.problem(), "would-repeat-effects");
    assert_eq!(served.body["effects"], json!(["send_response", "update_email_tracking"]));
    let served = front.retry(run, &json!({"from_step": "send_response", "repeat_effects": true})).await;
    assert_eq!(served.status, StatusCode::ACCEPTED);
    assert_eq!(front.deliver(EMAIL).await.status, Status::Succeeded);
    assert_eq!(front.tester.mailer.sent().len(), 2);
    assert_eq!(front.tester.assistant.calls(), ["analyze_email", "generate_response"]);
}

#[tokio::test]
async fn with_other_data_a_run_begins_anew() {
    let front = Front::on(ask_tell_mail());
    let run = failed(&front).await;
    let data = json!({"id": "t2", "description": "Sweep the floor of the archive."});
    let served = front.retry(run, &json!({"data": data})).await;
    assert_eq!((served.problem(), &served.body["effects"]), ("would-repeat-effects", &json!(["tell"])));

    let served = front.retry(run, &json!({"data": data, "repeat_effects": true})).await;
    assert_eq!(served.status, StatusCode::ACCEPTED, "{}", served.text);
    let again = front.deliver(TASK).await;
    assert_eq!((again.id, again.status, &again.input), (served.run_id(), Status::Succeeded, &data));
    assert_eq!(front.tester.assistant.calls(), ["ask", "ask", "generate_report"]);
    assert_eq!(front.tester.mailer.sent()[0].mail.subject, "Task t2");
    let shown = front.show(again.id).await;
    assert_eq!((&shown["data_id"], &shown["lineage"]["retry_of"]), (&json!("t2"), &json!(run)));
}

#[tokio::test]
async fn with_other_data_and_a_step_what_came_before_that_step_stands() {
    let front = Front::on(ask_tell_mail());
    let run = failed(&front).await;
    let data = json!({"id": "t2", "description": "Sweep the floor of the archive."});
    let served = front.retry(run, &json!({"data": data, "from_step": "mail"})).await;
    assert_eq!(served.status, StatusCode::ACCEPTED, "{}", served.text);
    assert_eq!(front.deliver(TASK).await.status, Status::Succeeded);
    assert_eq!(front.tester.assistant.calls(), ["ask", "generate_report"]);
    assert_eq!(front.events().len(), 1);
    assert_eq!(front.tester.mailer.sent()[0].mail.subject, "Task t2");
}

#[tokio::test]
async fn a_step_that_the_run_does_not_have_is_refused_with_those_it_has() {
    let front = Front::on(ask_tell_mail());
    let run = failed(&front).await;
    for step in ["male", "", "generate_report"] {
        let served = front.retry(run, &json!({"from_step": step})).await;
        assert_eq!((served.status.as_u16(), served.problem()), (422, "invalid"));
        let error = &served.body["errors"][0];
        assert_eq!(error["field"], "from_step");
        assert_eq!(error["problem"], "the run has no such step; it has `ask`, `mail`, `tell`");
    }
    let unbegun = queued(&front, &email()).await;
    assert_eq!(front.cancel(unbegun).await.status, StatusCode::OK);
    let served = front.retry(unbegun, &json!({"from_step": "analyze_email"})).await;
    assert_eq!(served.body["errors"][0]["problem"], "the run has no steps");
}

#[tokio::test]
async fn a_run_that_has_not_ended_is_not_repeated() {
    let front = Front::new();
    let doubtful = in_doubt(&front).await;
    let waiting = queued(&front, &task()).await;
    let messages = front.tester.queue.messages(TASK);
    for (run, status) in [(doubtful, "attention"), (waiting, "queued")] {
        let served = front.retry(run, &json!({"repeat_effects": true})).await;
        assert_eq!((served.status.as_u16(), served.problem()), (409, "run-not-ended"));
        assert_eq!((served.run_id(), &served.body["run_status"]), (run, &json!(status)));
    }
    assert_eq!(front.tester.journal.runs().len(), 2);
    assert_eq!(front.tester.queue.messages(TASK), messages);
}

#[tokio::test]
async fn a_retry_that_cannot_be_understood_is_refused_with_the_place() {
    let front = Front::on(ask_tell_mail());
    let run = failed(&front).await;
    for (how, field, problem) in [
        (json!({"fromstep": "mail"}), "fromstep", "there are `from_step`, `data`, `repeat_effects`"),
        (json!({"from_step": 7}), "from_step", "is not"),
        (json!({"repeat_effects": "yes"}), "repeat_effects", "is not"),
        // The data of an email.
        (json!({"data": email()["data"]}), "data", "missing field `description`"),
        (json!({"data": {"id": "", "description": "x"}}), "data.id", ""),
    ] {
        let served = front.retry(run, &how).await;
        assert_eq!((served.status.as_u16(), served.problem()), (422, "invalid"), "{how}: {}", served.text);
        let error = &served.body["errors"][0];
        assert_eq!(error["field"], field, "{how}");
        assert!(error["problem"].as_str().unwrap().contains(problem), "{how}: {}", served.text);
    }
    let path = path_of(run, "/retry");
    let of_type = |media_type: &str, text: &'static str| {
        let request = Request::post(&path).header("content-type", media_type).body(Body::from(text)).unwrap();
        front.send(with_token(request, "alice", "staff"))
    };
    assert_eq!(of_type("text/plain", "{}").await.problem(), "unsupported-media-type");
    assert_eq!(of_type("application/json", "{\"from_step\":").await.problem(), "malformed");
    assert_eq!(of_type("application/json", "[]").await.problem(), "malformed");
    assert_eq!(front.tester.journal.runs().len(), 1, "nothing was begun");
}

#[tokio::test]
async fn only_operators_repeat_a_run_on_an_object_that_lies_in_a_bucket() {
    let front = Front::new();
    let body = json!({"type": "document_review", "data": {"id": "d", "file": {"text": "Nothing."},
        "review_criteria": ["The agreement says how it can be terminated."]}});
    let run = front.post(&body).await.run_id();
    let mut data = body["data"].clone();
    data["file"] = json!("s3://documents/documents/secret.txt");
    let how = json!({"data": data, "repeat_effects": true});
    let served = front.retry(run, &how).await;
    assert_eq!((served.status.as_u16(), served.problem()), (403, "forbidden"));
    assert_eq!(front.post_to("olga", "operators", &path_of(run, "/retry"), &how).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn the_same_retry_asked_for_twice_is_one_run_and_another_one_is_another() {
    let front = Front::on(ask_tell_mail());
    let run = failed(&front).await;
    let how = json!({});
    let (first, second) = tokio::join!(front.retry(run, &how), front.retry(run, &how));
    assert_eq!((first.status, first.run_id()), (second.status, second.run_id()));
    assert_eq!(front.deliver(TASK).await.status, Status::Succeeded);
    front.tester.queue.drain(TASK);

    let third = front.retry(run, &json!({})).await;
    assert_eq!((third.status, third.run_id()), (StatusCode::ACCEPTED, first.run_id()));
    assert_eq!(third.body["status"], "succeeded");
    assert!(front.tester.queue.messages(TASK).is_empty());
    assert_eq!(front.tester.journal.runs().len(), 2);
    assert_eq!(front.tester.mailer.sent().len(), 1);

    let other = front.retry(run, &json!({"from_step": "mail"})).await;
    assert_ne!(other.run_id(), first.run_id());
}

#[tokio::test]
async fn a_retry_of_a_retry_names_the_run_that_it_repeats() {
    let front = Front::on(ask_tell_mail());
    let first = failed(&front).await;
    front.tester.mailer.fail_next(Failure::new(Kind::Refused, "the message was rejected"));
    front.retry(first, &json!({})).await;
    let second = front.deliver(TASK).await;
    assert_eq!(second.status, Status::Failed);
    let third = front.retry(second.id, &json!({})).await.run_id();
    assert_eq!(front.deliver(TASK).await.status, Status::Succeeded);
    assert_eq!(front.show(second.id).await["lineage"]["retry_of"], json!(first));
    assert_eq!(front.show(third).await["lineage"]["retry_of"], json!(second.id));
    assert_eq!(front.tester.assistant.calls(), ["ask", "generate_report"]);
    assert_eq!((front.events().len(), front.tester.mailer.sent().len()), (1, 1));
}

#[tokio::test]
async fn a_retry_of_a_run_in_doubt_does_not_send_its_mail_again() {
    let front = Front::new();
    let run = in_doubt(&front).await;
    assert_eq!(front.cancel(run).await.status, StatusCode::OK);
    let again = front.retry(run, &json!({})).await.run_id();
    assert_eq!(front.deliver(EMAIL).await.status, Status::Attention);
    assert_eq!(front.tester.mailer.sent().len(), 1);
    assert_eq!(front.settle(again, &json!({"step": "send_response", "outcome": "happened"})).await.status, 200);
    assert_eq!(front.deliver(EMAIL).await.status, Status::Succeeded);
    assert_eq!(front.tester.mailer.sent().len(), 1);
}

#[tokio::test]
async fn only_operators_say_what_came_of_an_effect() {
    let front = Front::new();
    let run = in_doubt(&front).await;
    let settlement = json!({"step": "send_response", "outcome": "not_happened"});
    for (user, group) in [("alice", "staff"), ("mallory", "ex operators")] {
        let served = front.post_to(user, group, &path_of(run, "/settle"), &settlement).await;
        assert_eq!((served.status.as_u16(), served.problem()), (403, "forbidden"));
    }
    let shown = front.show(run).await;
    assert_eq!((&shown["status"], state_of(&shown, "send_response")), (&json!("attention"), &json!("intended")));
}

#[tokio::test]
async fn an_effect_that_happened_counts_as_done_and_its_run_goes_on() {
    for value in [None, Some(json!({"message_id": "ses-1"}))] {
        let front = Front::new();
        let run = in_doubt(&front).await;
        let mut settlement = json!({"step": "send_response", "outcome": "happened"});
        if let Some(value) = value {
            settlement["value"] = value;
        }
        let served = front.settle(run, &settlement).await;
        assert_eq!(served.status, StatusCode::OK, "{}", served.text);
        assert_eq!(served.body, json!({"status": "settled", "run_id": run, "step": "send_response"}));
        assert_eq!(state_of(&front.show(run).await, "send_response"), "done");
        assert_eq!(front.deliver(EMAIL).await.status, Status::Succeeded);
        assert_eq!(front.tester.mailer.sent().len(), 1);
    }
}

#[tokio::test]
async fn an_effect_that_did_not_happen_is_done_again() {
    let front = Front::new();
    let run = in_doubt(&front).await;
    let shown = front.show(run).await;
    let step = shown["steps"].as_array().unwrap().iter().find(|step| step["name"] == "send_response").unwrap();
    let served = front.settle(run, &json!({"step": step["position"], "outcome": "not_happened"})).await;
    assert_eq!(served.status, StatusCode::OK, "a position names an effect too: {}", served.text);
    assert_eq!(state_of(&front.show(run).await, "send_response"), "released");
    assert_eq!(front.deliver(EMAIL).await.status, Status::Succeeded);
    assert_eq!(front.tester.mailer.sent().len(), 2, "the operator was wrong, and the mail goes out once more");
    assert_eq!(front.tester.assistant.calls(), ["analyze_email", "generate_response"]);
}

#[tokio::test]
async fn a_value_that_the_run_cannot_read_ends_it() {
    let front = Front::new();
    let run = in_doubt(&front).await;
    let settlement = json!({"step": "send_response", "outcome": "happened", "value": {"message_id": 7}});
    assert_eq!(front.settle(run, &settlement).await.status, StatusCode::OK);
    let ended = front.deliver(EMAIL).await;
    assert_eq!((ended.status, ended.error.unwrap().kind), (Status::Failed, Kind::JournalMismatch));
    assert_eq!(front.tester.mailer.sent().len(), 1);
}

#[tokio::test]
async fn where_nothing_is_open_nothing_can_be_settled() {
    let front = Front::new();
    let run = in_doubt(&front).await;
    // No such step, a step, an effect that was not begun.
    for step in ["no_such_step", "", "analyze_email", "00000", "update_email_tracking"] {
        let served = front.settle(run, &json!({"step": step, "outcome": "happened"})).await;
        assert_eq!((served.status.as_u16(), served.problem()), (409, "nothing-open"), "`{step}`: {}", served.text);
        assert_eq!(served.run_id(), run);
    }
    assert_eq!(front.show(run).await["status"], "attention");
    assert!(front.tester.queue.messages(EMAIL).is_empty());

    let settlement = json!({"step": "send_response", "outcome": "happened"});
    assert_eq!(front.settle(run, &settlement).await.status, StatusCode::OK);
    let opposite = json!({"step": "send_response", "outcome": "not_happened"});
    assert_eq!(front.settle(run, &opposite).await.problem(), "nothing-open", "what was settled stays settled");
    assert_eq!(state_of(&front.show(run).await, "send_response"), "done");
    assert_eq!(front.deliver(EMAIL).await.status, Status::Succeeded);
    assert_eq!(front.settle(run, &settlement).await.problem(), "nothing-open");

    let unknown = RunId::new(front.tester.clock.now(), 7);
    assert_eq!(front.settle(unknown, &settlement).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_settlement_that_cannot_be_understood_is_refused_with_the_place() {
    let front = Front::new();
    let run = in_doubt(&front).await;
    let mut deep = json!(1);
    for _ in 0..33 {
        deep = json!([deep]);
    }
    for (settlement, field) in [
        (json!({"outcome": "happened"}), "step"),
        (json!({"step": "send_response"}), "outcome"),
        (json!({"step": "send_response", "outcome": "maybe"}), "outcome"),
        (json!({"step": "send_response", "outcome": "not_happened", "value": {}}), "value"),
        (json!({"step": "send_response", "outcome": "happened", "value": "x".repeat(64 * 1024)}), "value"),
        (json!({"step": "send_response", "outcome": "happened", "value": deep}), "value"),
        (json!({"step": "send_response", "outcome": "happened", "because": "I say so"}), "because"),
    ] {
        let served = front.settle(run, &settlement).await;
        assert_eq!((served.status.as_u16(), served.problem()), (422, "invalid"), "{field}: {}", served.text);
        assert_eq!(served.body["errors"][0]["field"], field, "{}", served.text);
    }
    let served = front.post_nothing("olga", "operators", &path_of(run, "/settle")).await;
    assert_eq!(served.problem(), "unsupported-media-type");
    assert_eq!(state_of(&front.show(run).await, "send_response"), "intended");
}
