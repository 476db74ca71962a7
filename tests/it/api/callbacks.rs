//! Questions of runs, and people who answer them by a link.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use ihelper_testkit::{WorkflowTester, memory::Message};
use ihelper_workflow::{
    domain::{Kind, Run, RunId, Status, WorkflowType, email::When, run::Segment},
    ports::Clock as _,
};
use serde_json::{Value, json};

use super::{Front, Served, path_of, planned, task, with_token};

const TASK: WorkflowType = WorkflowType::TaskAutomation;
const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const UNKNOWN_RUN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// A run that asks, and what whoever is asked was sent.
struct Question {
    front: Front,
    run: RunId,
    /// Where it is answered.
    path: String,
    token: String,
    /// Both, as the link of the mail.
    link: String,
}

impl Question {
    async fn new() -> Self {
        Self::with(&json!({})).await
    }

    /// A question with these arguments besides.
    async fn with(arguments: &Value) -> Self {
        Self::of(arguments, &task()).await
    }

    async fn of(arguments: &Value, task: &Value) -> Self {
        let mut all = json!({"question": "May we order it?", "details": {"amount": 12.5, "items": ["pen", "ink"]},
            "recipient": "boss", "within_seconds": 3600});
        all.as_object_mut().unwrap().extend(arguments.as_object().unwrap().clone());
        let front = Front::on(planned(&json!([
            {"id": "approve", "tool": "request_approval", "arguments": all},
            {"id": "order", "tool": "publish_event", "depends_on": ["approve"], "when": "results.approve.approved",
                "arguments": {"type": "ordered", "detail": {"why": "{{ results.approve.decision }}"}}},
        ])));
        let served = front.post(task).await;
        assert_eq!((served.status.as_u16(), &served.body["status"]), (202, &json!("waiting")), "{}", served.text);
        front.tester.queue.drain(TASK);
        let asked = &front.tester.bus.published()[0].event.detail;
        let link = asked["url"].as_str().unwrap().to_owned();
        let token = asked["token"].as_str().unwrap().to_owned();
        let run = served.run_id();
        let path = path_of(run, "/callbacks/approve");
        assert_eq!(link, format!("{path}?token={token}"));
        Self { front, run, path, token, link }
    }

    async fn get(&self, accept: &str) -> Served {
        get(&self.front, &self.link, accept).await
    }

    /// Answers in JSON.
    async fn answer(&self, answer: &Value) -> Served {
        post(&self.front, &self.link, JSON, answer.to_string()).await
    }

    /// Answers by the form on the page.
    async fn submit(&self, form: &str) -> Served {
        post(&self.front, &self.link, FORM, form.to_owned()).await
    }

    /// Everything that an answer would change.
    async fn state(&self) -> (Run, Vec<Segment>, Vec<Message>) {
        let tester = &self.front.tester;
        (tester.run(self.run).await.unwrap(), tester.journal.segments(self.run), tester.queue.messages(TASK))
    }

    /// Lets the run end and gives what the question came to.
    async fn outcome(&self) -> Value {
        let run = self.front.deliver(TASK).await;
        assert_eq!((run.id, run.status), (self.run, Status::Succeeded), "{:?}", run.error);
        run.result.unwrap()["steps"][0]["output"].clone()
    }

    fn orders(&self) -> usize {
        self.front.tester.bus.published().iter().filter(|published| published.event.detail_type == "ordered").count()
    }
}

// Nobody of those who ask and answer here has a token of the API.
async fn get(front: &Front, link: &str, accept: &str) -> Served {
    front.send(Request::get(link).header("accept", accept).body(Body::empty()).unwrap()).await
}

async fn post(front: &Front, link: &str, media_type: &str, body: String) -> Served {
    front.send(Request::post(link).header("content-type", media_type).body(Body::from(body)).unwrap()).await
}

fn assert_page(served: &Served, status: u16, parts: &[&str]) {
    assert_eq!(served.status.as_u16(), status, "{}", served.text);
    assert_eq!(served.header("content-type"), "text/html; charset=utf-8");
    for part in parts {
        assert!(served.text.contains(part), "`{part}` is missing in {}", served.text);
    }
}

#[tokio::test]
async fn the_link_shows_what_is_asked_as_json_and_as_a_page_and_decides_nothing() {
    let question = Question::new().await;
    let until = question.front.tester.bus.published()[0].event.detail["deadline"].clone();
    let before = question.state().await;
    for accept in [JSON, "*/*", "image/png"] {
        let served = question.get(accept).await;
        assert_eq!(served.status, StatusCode::OK);
        let asks = json!({"question": "May we order it?", "details": {"amount": 12.5, "items": ["pen", "ink"]}});
        assert_eq!(
            served.body,
            json!({"run_id": question.run, "name": "approve", "asks": asks, "until": until, "open": true})
        );
    }
    let page = question.get(HTML).await;
    assert_page(&page, 200, &["<h1>May we order it?</h1>", "amount", "12.5", "pen", "ink", "<form method=\"post\">"]);
    assert!(page.text.contains("value=\"approve\"") && page.text.contains("value=\"reject\""));

    let head = Request::head(&question.link).body(Body::empty()).unwrap();
    assert_eq!(question.front.send(head).await.status, StatusCode::OK);
    assert_eq!(question.state().await, before, "whoever follows the link changes nothing");
}

#[tokio::test]
async fn who_is_asked_gets_the_link_and_who_looks_at_the_run_does_not() {
    let question = Question::new().await;
    let sent = question.front.tester.mailer.sent();
    assert_eq!(sent[0].mail.to, "boss@example.com");
    assert!(sent[0].mail.text.contains(&question.link), "{}", sent[0].mail.text);
    for (user, groups) in [("alice", "staff"), ("olga", "operators")] {
        let shown = question.front.get(user, groups, &path_of(question.run, "")).await;
        assert_eq!(shown.body["callbacks"][0]["name"], "approve");
        assert!(!shown.text.contains(&question.token), "who started a run does not decide for its approver");
    }
}

#[tokio::test]
async fn an_answer_decides_and_the_run_goes_on_with_what_came_with_it() {
    let question = Question::new().await;
    let at = question.front.tester.clock.now();
    let data = json!({"limit": 20, "notes": ["soon", null]});
    let served = question.answer(&json!({"decision": "approve", "data": data, "by": " Ann "})).await;
    assert_eq!(served.status, StatusCode::OK, "{}", served.text);
    let decided = json!({"decision": "approve", "by": "Ann", "at": at});
    assert_eq!(served.body, json!({"status": "taken", "run_id": question.run, "name": "approve", "decided": decided}));
    let outcome = question.outcome().await;
    assert_eq!(outcome, json!({"approved": true, "decision": "approve", "data": data, "by": "Ann"}));
    assert_eq!(question.orders(), 1);

    let shown = question.get(JSON).await.body;
    assert_eq!((&shown["open"], &shown["decided"]), (&json!(false), &decided));
    let page = question.get(HTML).await;
    assert_page(&page, 200, &["Approved by Ann on 2026-01-01 00:00 UTC."]);
    assert!(!page.text.contains("<form"), "what is decided is not asked any more");
}

#[tokio::test]
async fn a_rejection_and_mere_data_do_not_approve() {
    for (answer, decision) in
        [(json!({"decision": "reject"}), "reject"), (json!({"decision": "data", "data": {"counter_offer": 7}}), "data")]
    {
        let question = Question::new().await;
        assert_eq!(question.answer(&answer).await.status, StatusCode::OK);
        let outcome = question.outcome().await;
        let data = answer.get("data").cloned().unwrap_or_default();
        assert_eq!(outcome, json!({"approved": false, "decision": decision, "data": data, "by": ""}));
        assert_eq!(question.orders(), 0);
    }
}

#[tokio::test]
async fn the_first_answer_stands_the_same_is_taken_again_and_another_is_refused() {
    let question = Question::new().await;
    let first = question.answer(&json!({"decision": "approve", "data": {"a": 1}, "by": "Ann"})).await;
    let decided = question.state().await;
    let same = [
        json!({"decision": "approve", "data": {"a": 1}, "by": "Ann"}),
        json!({"decision": "approve", "data": {"a": 1}, "by": "Bob"}),
    ];
    let others = [
        json!({"decision": "reject"}),
        json!({"decision": "approve"}),
        json!({"decision": "approve", "data": {"a": 2}}),
        json!({"decision": "data", "data": {"a": 1}}),
    ];
    // While the run is on its way, and after it has ended.
    for round in ["queued", "ended"] {
        question.front.tester.clock.advance(Duration::from_secs(60));
        for answer in &same {
            let served = question.answer(answer).await;
            assert_eq!((served.status, &served.text), (first.status, &first.text), "{round}: {answer}");
        }
        for answer in &others {
            let served = question.answer(answer).await;
            assert_eq!((served.status.as_u16(), served.problem()), (409, "answered-otherwise"), "{round}: {answer}");
            assert_eq!(served.body["decided"], first.body["decided"]);
        }
        if round == "queued" {
            assert_eq!(question.state().await.1, decided.1, "the journal has one answer");
            question.outcome().await;
            question.front.tester.queue.drain(TASK);
        }
    }
    assert_eq!(question.orders(), 1);
    assert!(question.front.tester.queue.messages(TASK).is_empty(), "who has ended is not woken up");
    let page = question.submit("decision=reject").await;
    assert_page(&page, 409, &["<h1>Another answer stands</h1>", "Approved by Ann on"]);
}

#[tokio::test]
async fn of_two_who_answer_at_once_one_decides() {
    let question = Question::new().await;
    let (approve, reject) = (json!({"decision": "approve"}), json!({"decision": "reject"}));
    let (first, second) = tokio::join!(question.answer(&approve), question.answer(&reject));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let approved = first.status == StatusCode::OK;
    assert_eq!(question.outcome().await["approved"], approved);
    assert_eq!(question.orders(), usize::from(approved));
}

#[tokio::test]
async fn without_its_token_nobody_learns_whether_there_is_a_callback() {
    let question = Question::new().await;
    let ended = Question::new().await;
    ended.answer(&json!({"decision": "approve"})).await;
    ended.outcome().await;
    let front = Front::on(planned(&json!([{"id": "pause", "tool": "wait", "arguments": {"seconds": 3600}}])));
    let asleep = front.post(&task()).await.run_id();
    let wrong = "0".repeat(32);
    let Question { run, path, token, .. } = &question;
    let mut guesses: Vec<(&Front, String)> = [
        format!("{path}?token={wrong}"),
        format!("{path}?token="),
        format!("{path}?token={}", &token[..31]),
        format!("{path}?token={token}0"),
        format!("{path}?token={}", token.to_uppercase() + "A"),
        format!("{path}?Token={token}"),
        path.clone(),
        // The token of one callback is that of no other.
        path_of(*run, &format!("/callbacks/order?token={token}")),
        path_of(*run, &format!("/callbacks/approve.mail?token={token}")),
        path_of(*run, &format!("/callbacks/nothing?token={token}")),
        format!("/workflow/runs/{UNKNOWN_RUN}/callbacks/approve?token={token}"),
        format!("/workflow/runs/not-an-id/callbacks/approve?token={token}"),
    ]
    .map(|link| (&question.front, link))
    .into();
    guesses.push((&ended.front, format!("{}?token={wrong}", ended.path)));
    guesses.push((&front, path_of(asleep, "/callbacks/pause?token=")));
    guesses.push((&front, path_of(asleep, &format!("/callbacks/pause?token={wrong}"))));

    let before = question.state().await;
    let forms = [(JSON, json!({"decision": "approve"}).to_string()), (FORM, "decision=approve".to_owned())];
    for accept in [JSON, HTML] {
        let nothing = get(&question.front, &format!("/workflow/runs/{UNKNOWN_RUN}/callbacks/x?token=y"), accept).await;
        assert_eq!(nothing.status, StatusCode::NOT_FOUND);
        for (front, link) in &guesses {
            let served = get(front, link, accept).await;
            assert_eq!(
                (served.status, &served.headers, &served.text),
                (nothing.status, &nothing.headers, &nothing.text),
                "{link}"
            );
        }
    }
    for (media_type, body) in forms {
        let link = format!("/workflow/runs/{UNKNOWN_RUN}/callbacks/x?token=y");
        let nothing = post(&question.front, &link, media_type, body.clone()).await;
        assert_eq!(nothing.status, StatusCode::NOT_FOUND);
        for (front, link) in &guesses {
            let served = post(front, link, media_type, body.clone()).await;
            assert_eq!(
                (served.status, &served.headers, &served.text),
                (nothing.status, &nothing.headers, &nothing.text),
                "{link}"
            );
        }
    }
    assert_eq!(question.state().await, before);

    // Nor does who may see the run decide without it.
    for (user, groups) in [("alice", "staff"), ("olga", "operators")] {
        let request = Request::post(path).header("content-type", JSON);
        let request = request.body(Body::from("{\"decision\":\"approve\"}")).unwrap();
        assert_eq!(question.front.send(with_token(request, user, groups)).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_token_may_come_with_the_answer() {
    let question = Question::new().await;
    let answer = json!({"token": "0".repeat(32), "decision": "approve"});
    assert_eq!(question.answer(&answer).await.status, StatusCode::NOT_FOUND, "the one in the answer counts");
    let answer = json!({"token": question.token, "decision": "approve"}).to_string();
    assert_eq!(post(&question.front, &question.path, JSON, answer).await.status, StatusCode::OK);
    assert_eq!(question.outcome().await["approved"], true);

    let question = Question::new().await;
    let form = format!("token={}&decision=approve", question.token);
    assert_page(&post(&question.front, &question.path, FORM, form).await, 200, &["Thank you"]);
    assert_eq!(question.outcome().await["approved"], true);
}

#[tokio::test]
async fn what_cannot_be_a_callbacks_address_is_not_found() {
    let front = Front::new();
    for path in ["%ff/callbacks/approve", "01ARZ3NDEKTSV4RRFFQ69G5FAV/callbacks/%ff"] {
        let link = format!("/workflow/runs/{path}?token=x");
        for served in
            [get(&front, &link, JSON).await, post(&front, &link, JSON, "{\"decision\":\"approve\"}".to_owned()).await]
        {
            assert_eq!((served.status.as_u16(), served.problem()), (404, "not-found"), "{path}: {}", served.text);
        }
    }
}

#[tokio::test]
async fn until_its_deadline_and_no_longer_a_question_can_be_answered() {
    let question = Question::new().await;
    let until = question.front.tester.run(question.run).await.unwrap().due_at.unwrap();
    question.front.move_to(until - Duration::from_secs(1));
    assert_eq!(question.get(JSON).await.body["open"], true);
    assert_eq!(question.answer(&json!({"decision": "approve"})).await.status, StatusCode::OK);

    let question = Question::new().await;
    question.front.move_to(until);
    // Before the run has noticed, and after.
    for round in ["waiting", "succeeded"] {
        assert_eq!(question.front.show(question.run).await["status"], round);
        let shown = question.get(JSON).await;
        assert_eq!((&shown.body["open"], shown.body.get("decided")), (&json!(false), None));
        let page = question.get(HTML).await;
        assert_page(&page, 200, &["This can no longer be answered"]);
        assert!(!page.text.contains("<form"));
        for answer in [json!({"decision": "approve"}), json!({"decision": "reject"})] {
            let served = question.answer(&answer).await;
            assert_eq!((served.status.as_u16(), served.problem()), (410, "too-late"), "{round}");
        }
        assert_page(&question.submit("decision=approve").await, 410, &["It can no longer be answered"]);
        question.front.tester.go_on(question.run).await.unwrap();
    }
    assert_eq!(question.orders(), 0);
}

#[tokio::test]
async fn unanswered_it_comes_out_as_the_plan_says() {
    for (otherwise, approved) in
        [(json!({}), false), (json!({"otherwise": "reject"}), false), (json!({"otherwise": "approve"}), true)]
    {
        let question = Question::with(&otherwise).await;
        question.front.tester.clock.advance(Duration::from_secs(3600));
        let run = question.front.tester.go_on(question.run).await.unwrap();
        assert_eq!(run.status, Status::Succeeded);
        let outcome = &run.result.unwrap()["steps"][0]["output"];
        assert_eq!(*outcome, json!({"approved": approved, "decision": "expired"}), "{otherwise}");
        assert_eq!(question.orders(), usize::from(approved));
    }
    let question = Question::with(&json!({"otherwise": "fail"})).await;
    question.front.tester.clock.advance(Duration::from_secs(3600));
    let run = question.front.tester.go_on(question.run).await.unwrap();
    let error = run.error.unwrap();
    assert_eq!((run.status, error.kind, error.step.as_deref()), (Status::Failed, Kind::Expired, Some("approve")));
}

#[tokio::test]
async fn a_question_of_a_run_that_was_cancelled_is_closed() {
    let question = Question::new().await;
    let cancel = path_of(question.run, "/cancel");
    assert_eq!(question.front.post_nothing("alice", "staff", &cancel).await.status, StatusCode::OK);
    let before = question.state().await;
    assert_eq!(question.get(JSON).await.body["open"], false);
    assert_page(&question.get(HTML).await, 200, &["This can no longer be answered"]);
    let served = question.answer(&json!({"decision": "approve"})).await;
    assert_eq!((served.status.as_u16(), served.problem()), (410, "too-late"));
    assert_eq!(question.state().await, before);
    assert_eq!(question.orders(), 0);
}

#[tokio::test]
async fn the_form_of_the_page_is_an_answer_and_its_comment_the_data() {
    let question = Question::new().await;
    let page = question.submit("comment=+not+over+%E2%82%AC20%0D%0Aplease+&by=Ann+%26+Bob&decision=approve").await;
    assert_page(&page, 200, &["<h1>Thank you</h1>", "Approved by Ann &amp; Bob on 2026-01-01 00:00 UTC."]);
    let data = json!({"comment": "not over €20\r\nplease"});
    assert_eq!(
        question.outcome().await,
        json!({"approved": true, "decision": "approve", "data": data, "by": "Ann & Bob"})
    );

    let question = Question::new().await;
    assert_page(&question.submit("comment=&by=&decision=reject").await, 200, &["Rejected on 2026-01-01"]);
    let again = question.submit("comment=&by=&decision=reject").await;
    assert_page(&again, 200, &["<h1>Thank you</h1>"]);
    assert_eq!(question.outcome().await["data"], Value::Null);
}

#[tokio::test]
async fn a_form_is_answered_in_json_where_that_is_preferred() {
    let question = Question::new().await;
    let request = Request::post(&question.link).header("content-type", FORM).header("accept", JSON);
    let served = question.front.send(request.body(Body::from("decision=approve")).unwrap()).await;
    assert_eq!((served.status, &served.body["status"]), (StatusCode::OK, &json!("taken")));
}

#[tokio::test]
async fn an_answer_that_cannot_be_understood_is_refused_with_the_place_and_decides_nothing() {
    let question = Question::new().await;
    let before = question.state().await;
    let mut deep = json!(1);
    for _ in 0..33 {
        deep = json!([deep]);
    }
    for (answer, field) in [
        (json!({}), "decision"),
        (json!({"decision": "expired"}), "decision"),
        (json!({"decision": "Approve"}), "decision"),
        (json!({"decision": "data"}), "data"),
        (json!({"decision": "data", "data": null}), "data"),
        (json!({"decision": "approve", "data": "x".repeat(64 * 1024)}), "data"),
        (json!({"decision": "approve", "data": deep}), "data"),
        (json!({"decision": "approve", "by": "x".repeat(201)}), "by"),
        (json!({"decision": "approve", "by": "Ann\nApproved by Bob"}), "by"),
        (json!({"decision": "approve", "by": 7}), "by"),
        (json!({"decision": "approve", "comment": "x"}), "comment"),
    ] {
        let served = question.answer(&answer).await;
        assert_eq!((served.status.as_u16(), served.problem()), (422, "invalid"), "{field}: {:.300}", served.text);
        assert_eq!(served.body["errors"][0]["field"], field, "{}", served.text);
    }
    for form in ["", "decision=maybe", "decision=approve&data=x", "decision=approve&by=a%0ab"] {
        assert_page(&question.submit(form).await, 422, &["<h1>The data is not valid</h1>"]);
    }
    assert_eq!(question.answer(&json!(["approve"])).await.problem(), "malformed");
    for (media_type, body) in [("text/plain", "decision=approve"), ("multipart/form-data", ""), ("", "{}")] {
        let served = post(&question.front, &question.link, media_type, body.to_owned()).await;
        assert_eq!((served.status.as_u16(), served.problem()), (415, "unsupported-media-type"), "{media_type}");
    }
    assert_eq!(question.state().await, before);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_by_whoever_sends_it() {
    let question = Question::new().await;
    let body = "x".repeat(512 * 1024 + 1);
    let served = post(&question.front, &question.link, JSON, body.clone()).await;
    assert_eq!((served.status.as_u16(), served.problem()), (413, "too-large"));
    assert!(served.body["detail"].as_str().unwrap().contains("524288"), "{}", served.text);
    assert_page(&post(&question.front, &question.link, FORM, body.clone()).await, 413, &["The body is too large"]);
    let stranger = post(&question.front, &format!("{}?token=x", question.path), JSON, body).await;
    assert_eq!((stranger.status, stranger.text), (served.status, served.text));
    assert_eq!(question.get(JSON).await.body["open"], true);
}

/// Everything that could be markup, or end what it stands in.
const HOSTILE: &str =
    "</h1><script>alert(1)</script><img src=x onerror=alert(1)>\"'` onload=x {{ 7*7 }} {% raw %} &amp;";

#[tokio::test]
async fn a_page_shows_what_others_wrote_as_text_and_never_as_markup() {
    let task_of =
        |text: &str| json!({"type": "task_automation", "data": {"id": "t", "description": "x", "title": text}});
    let arguments = |name: &str| json!({"question": "{{ task.title }}", "details": {name: "{{ task.title }}", "list": ["{{ task.title }}"]}});
    let page_of = async |text: &str, name: &str| {
        let question = Question::of(&arguments(name), &task_of(text)).await;
        let asked = question.get(HTML).await;
        let form: String = form_urlencoded(&[("decision", "approve"), ("by", text), ("comment", text)]);
        let taken = question.submit(&form).await;
        assert_page(&taken, 200, &[]);
        let decided = question.get(HTML).await;
        let other = question.submit("decision=reject").await;
        let unknown = question.submit(&form_urlencoded(&[("decision", text), (text, text)])).await;
        assert_page(&unknown, 422, &[]);
        [asked, taken, decided, other, unknown].map(|served| served.text)
    };
    let (harmless, hostile) = (page_of("harmless", "name").await, page_of(HOSTILE, "<b onclick=alert(1)>").await);
    for (harmless, hostile) in harmless.iter().zip(&hostile) {
        for mark in ["<", ">", "\""] {
            assert_eq!(hostile.matches(mark).count(), harmless.matches(mark).count(), "`{mark}` in {hostile}");
        }
        assert!(!hostile.contains("<script") && !hostile.contains("<img"), "{hostile}");
    }
    let asked = &hostile[0];
    assert_eq!(
        asked.matches("&lt;script&gt;alert(1)&lt;").count(),
        4,
        "the title twice, a detail and an item: {asked}"
    );
    assert!(asked.contains("&lt;b onclick=alert(1)&gt;"), "{asked}");
    assert!(asked.contains("{{ 7*7 }} {% raw %} &amp;amp;"), "nothing that stands in data is interpreted: {asked}");
    assert!(hostile[1].contains("Approved by &lt;&#x2f;h1&gt;&lt;script&gt;"), "{}", hostile[1]);
}

fn form_urlencoded(pairs: &[(&str, &str)]) -> String {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    pairs.join("&")
}

#[tokio::test]
async fn every_answer_is_kept_out_of_caches_frames_and_referrers_and_a_page_runs_and_loads_nothing() {
    let question = Question::new().await;
    let nowhere = format!("{}?token=x", question.path);
    let answers = [
        question.get(JSON).await,
        question.get(HTML).await,
        get(&question.front, &nowhere, JSON).await,
        get(&question.front, &nowhere, HTML).await,
        question.submit("decision=maybe").await,
        post(&question.front, &question.link, FORM, "x".repeat(512 * 1024 + 1)).await,
        post(&question.front, &question.link, "text/plain", String::new()).await,
        question.answer(&json!({"decision": "approve"})).await,
        question.submit("decision=approve").await,
        question.submit("decision=reject").await,
    ];
    let mut pages = 0;
    for served in &answers {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("vary", "accept"),
        ] {
            assert_eq!(served.header(name), value, "{name}: {}", served.text);
        }
        assert!(!served.text.contains(&question.token), "the token stands in the address alone");
        if served.header("content-type").starts_with("text/html") {
            pages += 1;
            let policy: Vec<&str> = served.header("content-security-policy").split(';').map(str::trim).collect();
            let expected = [
                "default-src 'none'",
                "style-src 'unsafe-inline'",
                "form-action 'self'",
                "base-uri 'none'",
                "frame-ancestors 'none'",
            ];
            assert_eq!(policy, expected);
            assert!(!served.text.contains("<script") && !served.text.contains("http"), "{}", served.text);
        }
    }
    assert_eq!(pages, 6);
}

#[tokio::test]
async fn what_no_answer_holds_is_handed_out_and_a_page_says_that_there_is_more() {
    use ihelper_testkit::contracts::uploads::Outside as _;

    let blob = "\"".repeat(api_process::MAX_ANSWER_BYTES / 4);
    let task = json!({"type": "task_automation", "data": {"id": "t", "description": "x", "blob": blob}});
    let question = Question::of(&json!({"details": "{{ task.blob }}"}), &task).await;
    let shown = question.get(JSON).await;
    assert_eq!((shown.status, &shown.body["open"], shown.body.get("asks")), (StatusCode::OK, &json!(true), None));
    let handout = ihelper_workflow::ports::Handout {
        url: shown.body["asks_url"].as_str().unwrap().to_owned(),
        expires_at: shown.body["asks_expires_at"].as_str().unwrap().parse().unwrap(),
    };
    let asks = question.front.tester.uploads.get(&handout).await.unwrap();
    let asks: Value = serde_json::from_slice(&asks).unwrap();
    assert_eq!(asks, json!({"question": "May we order it?", "details": blob}));

    let page = question.get(HTML).await;
    assert_page(&page, 200, &["<h1>May we order it?</h1>", "There is more than this page shows", "<form"]);
    assert!(page.text.len() < 100_000);
}

/// The API with a response that waits for somebody, and the link to it.
async fn reviewed_response() -> (Front, RunId, String) {
    let mut definitions = ihelper_workflow::embedded::definitions().unwrap();
    for definition in &mut definitions {
        definition.review.when = When::Always;
    }
    let front = Front::on(WorkflowTester::with_definitions(definitions));
    let email = json!({"type": "email_processing", "data": {"id": "q", "from": "ann@example.com", "subject": "Hours",
        "content": "When are you <open> on Saturday?"}});
    let served = front.post(&email).await;
    assert_eq!((served.status.as_u16(), &served.body["status"]), (202, &json!("waiting")), "{}", served.text);
    front.tester.queue.drain(WorkflowType::EmailProcessing);
    let link = front.tester.bus.published()[0].event.detail["url"].as_str().unwrap().to_owned();
    let run = served.run_id();
    (front, run, link)
}

#[tokio::test]
async fn a_response_can_be_edited_on_its_page_before_it_is_sent() {
    let (front, run, link) = reviewed_response().await;
    let page = get(&front, &link, HTML).await;
    let parts = ["<h1>Send this response?</h1>", "name=\"edit.subject\" value=\"Re: Hours\"", "name=\"edit.text\""];
    assert_page(&page, 200, &parts);
    assert!(page.text.contains("&lt;open&gt;") && !page.text.contains("<open>"), "{}", page.text);

    let form = "decision=approve&by=Bo&edit.subject=Re%3A+Hours&edit.text=From+ten+to+four.%0D%0A%0D%0ABo";
    assert_page(&post(&front, &link, FORM, form.to_owned()).await, 200, &["Thank you"]);
    let run = front.tester.go_on(run).await.unwrap();
    assert_eq!(run.status, Status::Succeeded);
    let sent = front.tester.mailer.sent();
    assert_eq!((sent.len(), sent[0].mail.text.as_str()), (1, "From ten to four.\n\nBo\n"));
    assert_eq!(sent[0].mail.to, "ann@example.com");
}

#[tokio::test]
async fn an_edit_that_says_nothing_is_refused_by_its_field_and_the_question_stays_open() {
    let (front, run, link) = reviewed_response().await;
    for data in [json!({"text": ""}), json!({"text": 7})] {
        let answer = json!({"decision": "approve", "data": data});
        let served = post(&front, &link, JSON, answer.to_string()).await;
        assert_eq!(served.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", served.text);
        assert!(served.text.contains("data.text"), "{}", served.text);
    }
    assert_eq!(front.tester.run(run).await.unwrap().status, Status::Waiting);
    assert!(front.tester.mailer.sent().is_empty());
}
