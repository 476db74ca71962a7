//! What an operator does with dead letters.
//!
//! A queue cannot be searched, only received from. So letters are received, kept hidden while they are gone through,
//! and given back. Should this process end meanwhile, they come back by themselves.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future,
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use futures::{StreamExt as _, stream};
use ihelper_workflow::{
    domain::{Failure, Kind, WorkflowType},
    ports::{DeadLetters, Letter, MOST_LETTERS, REDRIVE_OF, REDRIVE_SENT_AT},
};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{BATCH, SqsQueue, attribute};
use crate::failures::failure;

/// How long letters are looked for, since the call began.
const SEARCHED_FOR: Duration = Duration::from_secs(8);

/// Since the call began, until when letters are sent back or taken out.
const SETTLED_AFTER: Duration = Duration::from_secs(13);

/// How long a call takes at most: the API's function has 29 seconds.
const OVER_AFTER: Duration = Duration::from_secs(15);

/// How long a letter stays hidden, in seconds: longer than a call takes, so that none comes twice.
const HIDDEN_SECONDS: i32 = 20;

/// How long a receive waits, in seconds. One that does not wait asks only some of the servers that hold the queue, and
/// may find nothing where there is something.
const WAIT_SECONDS: i32 = 1;

/// How many calls are under way at a time.
const AT_ONCE: usize = 8;

/// How many attributes SQS lets a message have.
const MOST_ATTRIBUTES: usize = 10;

/// What [`Queue::dead_letter`](ihelper_workflow::ports::Queue::dead_letter) tells beside the body.
const OURS: [&str; 3] = ["kind", "reason", "run_id"];

/// Letters in hand, by id.
type Hand = BTreeMap<String, Message>;

/// What is done with a letter.
#[derive(Clone, Copy)]
enum Verdict<'a> {
    /// It goes back to this queue.
    SendBack(&'a str),
    /// It goes.
    Discard,
}

#[async_trait]
impl DeadLetters for SqsQueue {
    async fn look(&self, workflow: WorkflowType, limit: usize) -> Result<Vec<Letter>, Failure> {
        if !(1..=MOST_LETTERS).contains(&limit) {
            return Err(Failure::validation(format!("the number of letters is not 1 to {MOST_LETTERS}")));
        }
        let url = &self.urls(workflow)?.dead_letters;
        let begun = Instant::now();
        let (hand, searched) = self.search(url, begun, |hand| hand.len() >= limit).await;
        self.give_back(url, begun, hand.values()).await;
        searched?;
        let mut letters = in_order(hand.values());
        letters.truncate(limit);
        Ok(letters)
    }

    /// What was sent back but could not be taken out counts as sent back. It is still there, and sending it again is
    /// the same redrive again.
    ///
    /// # Errors
    /// This returns an error when the letters could not be gone through, or none of those found could be sent.
    async fn redrive(&self, workflow: WorkflowType, ids: &[String]) -> Result<Vec<Letter>, Failure> {
        let urls = self.urls(workflow)?;
        self.settle(&urls.dead_letters, ids, Verdict::SendBack(&urls.queue)).await
    }

    /// # Errors
    /// This returns an error when the letters could not be gone through, or none of those found could be taken out.
    async fn discard(&self, workflow: WorkflowType, ids: &[String]) -> Result<Vec<Letter>, Failure> {
        self.settle(&self.urls(workflow)?.dead_letters, ids, Verdict::Discard).await
    }
}

impl SqsQueue {
    /// Finds the letters with these ids, carries the verdict out and gives those with which that went well.
    async fn settle(&self, url: &str, ids: &[String], verdict: Verdict<'_>) -> Result<Vec<Letter>, Failure> {
        let wanted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        if wanted.len() > MOST_LETTERS {
            return Err(Failure::validation(format!("there are more than {MOST_LETTERS} letters")));
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let begun = Instant::now();
        let (hand, searched) = self.search(url, begun, |hand| wanted.iter().all(|id| hand.contains_key(*id))).await;
        let (found, mut rest): (Vec<&Message>, Vec<&Message>) =
            hand.values().partition(|letter| letter.message_id().is_some_and(|id| wanted.contains(id)));
        if let Err(failure) = searched {
            self.give_back(url, begun, hand.values()).await;
            return Err(failure);
        }
        let acts: Vec<_> = found.iter().map(|letter| self.carry_out(url, begun, letter, verdict)).collect();
        let outcomes: Vec<Result<(), Failure>> = stream::iter(acts).buffered(AT_ONCE).collect().await;
        let (mut done, mut first_failure) = (Vec::new(), None);
        for (letter, outcome) in found.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => done.push(letter),
                Err(failure) => {
                    rest.push(letter);
                    first_failure.get_or_insert(failure);
                }
            }
        }
        self.give_back(url, begun, rest).await;
        match first_failure {
            Some(failure) if done.is_empty() => Err(failure),
            _ => Ok(in_order(done)),
        }
    }

    /// Receives letters until there are enough, the queue has no more, or the time is over. What was received before
    /// something failed is in hand too.
    async fn search(
        &self,
        url: &str,
        begun: Instant,
        is_enough: impl Fn(&Hand) -> bool,
    ) -> (Hand, Result<(), Failure>) {
        let mut hand = Hand::new();
        while !is_enough(&hand) {
            let received = match timeout_at(begun + SEARCHED_FOR, self.receive(url)).await {
                Ok(Ok(received)) => received,
                Ok(Err(failure)) => return (hand, Err(failure)),
                Err(_) if hand.is_empty() => return (hand, Err(too_late("sqs receive letters"))),
                Err(_) => break,
            };
            let known = hand.len();
            for letter in received {
                if let Some(id) = letter.message_id().map(str::to_owned) {
                    hand.insert(id, letter);
                }
            }
            if hand.len() == known {
                break;
            }
        }
        (hand, Ok(()))
    }

    async fn receive(&self, url: &str) -> Result<Vec<Message>, Failure> {
        self.client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(BATCH as i32)
            .wait_time_seconds(WAIT_SECONDS)
            .visibility_timeout(HIDDEN_SECONDS)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map(|answer| answer.messages.unwrap_or_default())
            .map_err(|error| failure("sqs receive letters", &error))
    }

    /// Shows letters again to whoever looks next. What does not work out does so by itself a little later.
    async fn give_back(&self, url: &str, begun: Instant, letters: impl IntoIterator<Item = &Message>) {
        let receipts: Vec<(String, Duration)> = letters
            .into_iter()
            .filter_map(Message::receipt_handle)
            .map(|receipt| (receipt.to_owned(), Duration::ZERO))
            .collect();
        let batches: Vec<_> = receipts.chunks(BATCH).map(|batch| self.change_batch(url, batch)).collect();
        let all = stream::iter(batches).buffered(AT_ONCE).for_each(|outcomes| {
            drop(outcomes);
            future::ready(())
        });
        drop(timeout_at(begun + OVER_AFTER, all).await);
    }

    async fn carry_out(
        &self,
        url: &str,
        begun: Instant,
        letter: &Message,
        verdict: Verdict<'_>,
    ) -> Result<(), Failure> {
        let until = begun + SETTLED_AFTER;
        let take_out = timeout_at(until, self.take_out(url, letter));
        match verdict {
            Verdict::Discard => take_out.await.unwrap_or_else(|_| Err(too_late("sqs discard"))),
            Verdict::SendBack(queue) => {
                let sent = timeout_at(until, self.send_back(queue, letter)).await;
                sent.unwrap_or_else(|_| Err(too_late("sqs redrive")))?;
                drop(take_out.await);
                Ok(())
            }
        }
    }

    async fn send_back(&self, queue: &str, letter: &Message) -> Result<(), Failure> {
        self.client
            .send_message()
            .queue_url(queue)
            .message_body(letter.body().unwrap_or_default())
            .set_message_attributes(Some(marked(letter)?))
            .send()
            .await
            .map(drop)
            .map_err(|error| failure("sqs redrive", &error))
    }

    async fn take_out(&self, url: &str, letter: &Message) -> Result<(), Failure> {
        let request = self.client.delete_message().queue_url(url).set_receipt_handle(letter.receipt_handle.clone());
        request.send().await.map(drop).map_err(|error| failure("sqs discard", &error))
    }
}

fn too_late(call: &str) -> Failure {
    Failure::new(Kind::Timeout, format!("{call}: no answer in time")).with_unknown_outcome()
}

/// A letter's attributes, with its id and its time among them. A producer may have used all the attributes that there
/// can be; then some of the producer's give way.
fn marked(letter: &Message) -> Result<HashMap<String, MessageAttributeValue>, Failure> {
    let mut kept: Vec<_> = letter.message_attributes().into_iter().flatten().collect();
    let marks = [
        (REDRIVE_OF.to_owned(), attribute(letter.message_id().unwrap_or_default())?),
        (REDRIVE_SENT_AT.to_owned(), attribute(sent_at(letter).unwrap_or_default())?),
    ];
    kept.retain(|(name, _)| marks.iter().all(|(mark, _)| mark != *name));
    kept.sort_by_key(|(name, _)| (!OURS.contains(&name.as_str()), *name));
    kept.truncate(MOST_ATTRIBUTES - marks.len());
    Ok(kept.into_iter().map(|(name, value)| (name.clone(), value.clone())).chain(marks).collect())
}

/// When it was sent, in milliseconds since 1970.
fn sent_at(letter: &Message) -> Option<&str> {
    letter.attributes()?.get(&MessageSystemAttributeName::SentTimestamp).map(String::as_str)
}

fn in_order<'a>(letters: impl IntoIterator<Item = &'a Message>) -> Vec<Letter> {
    let mut letters: Vec<Letter> = letters.into_iter().map(read).collect();
    letters.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
    letters
}

fn read(letter: &Message) -> Letter {
    let text = |name: &str| letter.message_attributes()?.get(name)?.string_value().map(str::to_owned);
    let body = letter.body().unwrap_or_default();
    let sent =
        sent_at(letter).and_then(|text| text.parse().ok()).and_then(|moment| Timestamp::from_millisecond(moment).ok());
    Letter {
        id: letter.message_id().unwrap_or_default().to_owned(),
        body: body.to_owned(),
        reason: text("reason"),
        kind: text("kind"),
        // What the queue itself put there has no attributes of ours; its body may tell.
        run: text("run_id").or_else(|| run_in(body)).and_then(|run| run.parse().ok()),
        at: sent.unwrap_or_default(),
    }
}

fn run_in(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Wire {
        run_id: String,
    }
    serde_json::from_str(body).ok().map(|Wire { run_id }| run_id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn letter(body: &str, attributes: &[&str]) -> Message {
        let value = |name: &str| attribute(&format!("value of {name}")).unwrap();
        let attributes: HashMap<_, _> = attributes.iter().map(|name| ((*name).to_owned(), value(name))).collect();
        Message::builder()
            .message_id("m-1")
            .body(body)
            .attributes(MessageSystemAttributeName::SentTimestamp, "1740830400123")
            .set_message_attributes(Some(attributes))
            .build()
    }

    fn marks(letter: &Message) -> BTreeMap<String, String> {
        let marked = marked(letter).unwrap();
        marked.into_iter().map(|(name, value)| (name, value.string_value().unwrap().to_owned())).collect()
    }

    #[test]
    fn a_letter_that_is_sent_back_keeps_its_attributes_and_gets_its_id() {
        let marks = marks(&letter("{}", &["reason", "kind", "trace", "redrive_of", "redrive_sent_at"]));
        assert_eq!(
            json!(marks),
            json!({
                "reason": "value of reason", "kind": "value of kind", "trace": "value of trace",
                "redrive_of": "m-1", "redrive_sent_at": "1740830400123",
            })
        );
    }

    #[test]
    fn of_too_many_attributes_some_of_the_producers_give_way() {
        let marks = marks(&letter("{}", &["a", "b", "c", "d", "e", "f", "g", "kind", "reason", "run_id"]));
        let names: Vec<&str> = marks.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e", "kind", "reason", "redrive_of", "redrive_sent_at", "run_id"]);
    }

    #[test]
    fn what_the_queue_itself_put_there_names_its_run_in_its_body() {
        let run = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        let read_of = |body: &str| read(&letter(body, &[]));
        assert_eq!(read_of(&format!("{{\"run_id\": \"{run}\"}}")).run, Some(run.parse().unwrap()));
        assert_eq!(read_of(&format!("{{\"type\": 7, \"run_id\": \"{run}\"}}")).run, Some(run.parse().unwrap()));
        for body in ["", "{", "[]", "{\"run_id\": 7}", "{\"run_id\": \"x\"}"] {
            assert_eq!(read_of(body).run, None, "`{body}`");
        }
        let read = read_of("text");
        assert_eq!((read.reason, read.kind, read.at.to_string().as_str()), (None, None, "2025-03-01T12:00:00.123Z"));
    }
}
