//! Dead letters, and the operators who look after them.

use axum::body::Body;
use http::{Request, StatusCode};
use ihelper_testkit::memory::Message;
use ihelper_workflow::{
    domain::{Kind, RunId, WorkflowType},
    ports::{Clock as _, DeadLetter, MOST_LETTERS, Queue as _, REDRIVE_OF, REDRIVE_SENT_AT},
};
use serde_json::{Value, json};

use super::{Front, Served, with_token};

const EMAIL: WorkflowType = WorkflowType::EmailProcessing;
const PATH: &str = "/workflow/dead-letters";
const RUN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

impl Front {
    /// Lays down a letter and gives its id.
    async fn letter(&self, body: &str) -> String {
        let run: RunId = RUN.parse().unwrap();
        let letter = DeadLetter {
            body: body.to_owned(),
            reason: "no route to the mail service".to_owned(),
            kind: Kind::Connection,
            run: Some(run),
        };
        self.tester.queue.dead_letter(EMAIL, &letter).await.unwrap();
        let letters = self.letters().await;
        letters.last().unwrap()["id"].as_str().unwrap().to_owned()
    }

    async fn letters(&self) -> Vec<Value> {
        let served = self.get("olga", "operators", &format!("{PATH}?type=email_processing&limit=100")).await;
        assert_eq!(served.status, StatusCode::OK, "{}", served.text);
        served.body["letters"].as_array().unwrap().clone()
    }

    async fn chosen(&self, what: &str, body: &Value) -> Served {
        self.post_to("olga", "operators", &format!("{PATH}/{what}"), body).await
    }

    fn came_back(&self) -> Vec<Message> {
        self.tester.queue.messages(EMAIL)
    }
}

fn resume() -> String {
    json!({"run_id": RUN}).to_string()
}

#[tokio::test]
async fn only_operators_look_after_dead_letters() {
    let front = Front::new();
    let id = front.letter(&resume()).await;
    let choice = json!({"type": "email_processing", "ids": [id]});
    for group in ["staff", "ex operators", ""] {
        let mut answers = vec![front.get("alice", group, &format!("{PATH}?type=email_processing")).await];
        for what in ["redrive", "discard"] {
            answers.push(front.post_to("alice", group, &format!("{PATH}/{what}"), &choice).await);
            // Nor does anybody learn what would be wrong with their request.
            answers.push(front.post_to("alice", group, &format!("{PATH}/{what}"), &json!({})).await);
        }
        for served in answers {
            assert_eq!((served.status.as_u16(), served.problem()), (403, "forbidden"), "{}", served.text);
            assert!(!served.text.contains("no route"));
        }
    }
    assert_eq!(front.letters().await.len(), 1);
    assert!(front.came_back().is_empty());

    let request = Request::get(format!("{PATH}?type=email_processing")).body(Body::empty()).unwrap();
    assert_eq!(front.send(request).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn letters_are_shown_with_their_reasons_oldest_first_and_stay_where_they_are() {
    let front = Front::new();
    let first = front.letter(&resume()).await;
    let at = front.tester.clock.now();
    front.tester.clock.advance(std::time::Duration::from_secs(60));
    let second = front.letter("{\"type\":").await;
    for _ in 0..2 {
        let letters = front.letters().await;
        assert_eq!(letters.iter().map(|letter| &letter["id"]).collect::<Vec<_>>(), [&first, &second]);
        let expected = json!({"id": first, "reason": "no route to the mail service", "kind": "connection",
            "run_id": RUN, "at": at, "body": resume(), "body_bytes": resume().len()});
        assert_eq!(letters[0], expected);
    }
    let served = front.get("olga", "operators", &format!("{PATH}?type=email_processing&limit=1")).await;
    assert_eq!(served.body["letters"].as_array().unwrap().len(), 1);
    assert_eq!(served.body["letters"][0]["id"], first);
    let served = front.get("olga", "operators", &format!("{PATH}?type=document_review")).await;
    assert_eq!(served.body, json!({"letters": []}), "each workflow has its own");
}

#[tokio::test]
async fn a_long_letter_is_shown_in_part_and_whole_characters() {
    let front = Front::new();
    // Two bytes each but for the first, so that the limit falls into the middle of one.
    let body = format!("x{}", "é".repeat(5000));
    front.letter(&body).await;
    let letter = &front.letters().await[0];
    assert_eq!(letter["body_bytes"], 10_001);
    let shown = letter["body"].as_str().unwrap();
    assert!(body.starts_with(shown) && (2000..=2048).contains(&shown.len()), "{} bytes", shown.len());
}

#[tokio::test]
async fn a_look_that_cannot_be_understood_is_refused_with_the_parameters_name() {
    let front = Front::new();
    for (query, parameter) in [
        ("", "`type`"),
        ("?type=mail", "`type`"),
        ("?type=", "`type`"),
        ("?type=email_processing&limit=0", "`limit`"),
        ("?type=email_processing&limit=101", "`limit`"),
        ("?type=email_processing&limit=-1", "`limit`"),
        ("?type=email_processing&color=red", "`color`"),
    ] {
        let served = front.get("olga", "operators", &format!("{PATH}{query}")).await;
        assert_eq!((served.status.as_u16(), served.problem()), (400, "malformed"), "{query}: {}", served.text);
        assert!(served.body["detail"].as_str().unwrap().contains(parameter), "{query}: {}", served.text);
    }
}

#[tokio::test]
async fn a_letter_that_is_sent_back_comes_as_the_message_it_was_and_says_which_letter_it_was() {
    let front = Front::new();
    let (first, second) = (front.letter(&resume()).await, front.letter("{\"type\":").await);
    let sent_at = front.tester.clock.now().as_millisecond().to_string();
    front.tester.clock.advance(std::time::Duration::from_secs(60));
    let served = front.chosen("redrive", &json!({"type": "email_processing", "ids": [first, "letter-99"]})).await;
    assert_eq!(served.status, StatusCode::OK, "{}", served.text);
    assert_eq!(served.body, json!({"redriven": [first], "not_found": ["letter-99"]}));

    let messages = front.came_back();
    assert_eq!(messages.len(), 1);
    let message = front.tester.queue.take(EMAIL).expect("it is due at once");
    assert_eq!(message.body.to_json(), resume());
    assert_eq!((&message.attributes[REDRIVE_OF], &message.attributes[REDRIVE_SENT_AT]), (&first, &sent_at));
    let left: Vec<Value> = front.letters().await.iter().map(|letter| letter["id"].clone()).collect();
    assert_eq!(left, [json!(second)], "the other letter stays");

    let served = front.chosen("redrive", &json!({"type": "email_processing", "ids": [first]})).await;
    assert_eq!(served.body, json!({"redriven": [], "not_found": [first]}));
    assert!(front.came_back().is_empty());
}

#[tokio::test]
async fn a_letter_that_is_discarded_is_gone() {
    let front = Front::new();
    let (first, second) = (front.letter(&resume()).await, front.letter("{\"type\":").await);
    let served = front.chosen("discard", &json!({"type": "email_processing", "ids": ["letter-99", second]})).await;
    assert_eq!(served.body, json!({"discarded": [second], "not_found": ["letter-99"]}));
    let left: Vec<Value> = front.letters().await.iter().map(|letter| letter["id"].clone()).collect();
    assert_eq!(left, [json!(first)]);
    assert!(front.came_back().is_empty());
}

#[tokio::test]
async fn a_letter_named_twice_is_sent_back_once_and_one_of_another_workflow_is_not_found() {
    let front = Front::new();
    let id = front.letter(&resume()).await;
    let served = front.chosen("redrive", &json!({"type": "task_automation", "ids": [id]})).await;
    assert_eq!(served.body, json!({"redriven": [], "not_found": [id]}));
    let served = front.chosen("redrive", &json!({"type": "email_processing", "ids": [id, id]})).await;
    assert_eq!(served.body, json!({"redriven": [id], "not_found": []}));
    assert_eq!(front.came_back().len(), 1);
    assert!(front.tester.queue.messages(WorkflowType::TaskAutomation).is_empty());
}

#[tokio::test]
async fn as_many_letters_as_can_be_chosen_go_at_once() {
    let front = Front::new();
    let mut ids = Vec::new();
    for _ in 0..MOST_LETTERS {
        ids.push(front.letter(&resume()).await);
    }
    let served = front.chosen("redrive", &json!({"type": "email_processing", "ids": ids})).await;
    assert_eq!(served.body, json!({"redriven": ids, "not_found": []}));
    assert_eq!(front.came_back().len(), MOST_LETTERS);
}

#[tokio::test]
async fn a_choice_that_cannot_be_understood_is_refused_with_the_place_and_moves_nothing() {
    let front = Front::new();
    let id = front.letter(&resume()).await;
    let with_id = |others: Vec<String>| [vec![id.clone()], others].concat();
    let too_many = with_id(vec!["letter-2".to_owned(); MOST_LETTERS]);
    let too_long = with_id(vec!["x".repeat(101)]);
    let empty = with_id(vec![String::new()]);
    for (choice, field) in [
        (json!({"ids": [id]}), "type"),
        (json!({"type": "mail", "ids": [id]}), "type"),
        (json!({"type": "email_processing"}), "ids"),
        (json!({"type": "email_processing", "ids": []}), "ids"),
        (json!({"type": "email_processing", "ids": id}), "ids"),
        (json!({"type": "email_processing", "ids": [id, 7]}), "ids[1]"),
        (json!({"type": "email_processing", "ids": too_many}), "ids"),
        (json!({"type": "email_processing", "ids": too_long}), "ids[1]"),
        (json!({"type": "email_processing", "ids": empty}), "ids[1]"),
        (json!({"type": "email_processing", "ids": [id], "all": true}), "all"),
    ] {
        for what in ["redrive", "discard"] {
            let served = front.chosen(what, &choice).await;
            assert_eq!((served.status.as_u16(), served.problem()), (422, "invalid"), "{choice}: {}", served.text);
            assert_eq!(served.body["errors"][0]["field"], field, "{choice}: {}", served.text);
        }
    }
    for what in ["redrive", "discard"] {
        let request = Request::post(format!("{PATH}/{what}")).header("content-type", "text/plain");
        let request = with_token(request.body(Body::from("{}")).unwrap(), "olga", "operators");
        assert_eq!(front.send(request).await.problem(), "unsupported-media-type");
    }
    assert_eq!(front.letters().await.len(), 1);
    assert!(front.came_back().is_empty());
}
