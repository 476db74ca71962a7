//! The same contracts against a local AWS, where one runs: `AWS_ENDPOINT_URL=http://127.0.0.1:4566`, then run the
//! ignored tests. It knows what the endpoint of a test's own does not: that a request is one the service takes.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_types::{SdkConfig, region::Region};
use ihelper_adapters::{
    aws::{Aws, Timeouts},
    dynamodb::ValueStore as _,
    eventbridge::EventBridgeBus,
    s3::{S3Objects, S3Uploads, S3Values},
    scheduler::{Scheduler, Schedules},
    ses::SesMailer,
    sqs::{QueueUrls, SqsQueue},
    system::SystemClock,
};
use ihelper_testkit::{
    contracts::{
        answers, bus, definitions, journal, letters, mailer, objects, queue, rates, requests, uploads, uploads::Outside,
    },
    memory::VirtualClock,
};
use ihelper_workflow::{
    domain::{Failure, Kind, RunId, WorkflowType, email::OutgoingMail},
    ports::{Clock, DeadLetter, DeadLetters as _, Handout, Mailer as _, Offer, Queue as _, Uploads},
};
use jiff::Timestamp;

use crate::{table::TestTable, wire::aws_with};

const WHY: &str = "AWS_ENDPOINT_URL names the endpoint of a local AWS";

fn endpoint() -> SocketAddr {
    std::env::var("AWS_ENDPOINT_URL").expect(WHY).trim_start_matches("http://").parse().expect(WHY)
}

fn local() -> Aws {
    aws_with(endpoint(), Timeouts::default())
}

/// Clients that make what the adapters only use.
fn owner() -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "test")))
        .endpoint_url(format!("http://{}", endpoint()))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}

/// Queues of this name, made anew.
async fn queues_of(name: &str) -> (BTreeMap<WorkflowType, QueueUrls>, aws_sdk_sqs::Client) {
    let client = aws_sdk_sqs::Client::new(&owner());
    let mut urls = BTreeMap::new();
    for workflow in WorkflowType::ALL {
        let make = async |name: String| client.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap();
        let queue = make(format!("{name}-{workflow}")).await;
        let dead_letters = make(format!("{name}-{workflow}-dlq")).await;
        urls.insert(workflow, QueueUrls { queue, dead_letters });
    }
    (urls, client)
}

/// The objects of a bucket that is made if it is missing.
async fn bucket(name: &str) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(&owner()).force_path_style(true).build();
    let client = aws_sdk_s3::Client::from_conf(config);
    drop(client.create_bucket().bucket(name).send().await);
    client
}

/// A scheduler on a clock, for queues of this name, in a group of this name.
async fn scheduler(name: &str, clock: impl Clock + 'static) -> Scheduler {
    let client = aws_sdk_scheduler::Client::new(&owner());
    drop(client.create_schedule_group().name(name).send().await);
    let arn = |workflow| (workflow, format!("arn:aws:sqs:us-east-1:000000000000:{name}-{workflow}"));
    let schedules = Schedules {
        group: name.to_owned(),
        role_arn: "arn:aws:iam::000000000000:role/scheduler".to_owned(),
        queue_arns: WorkflowType::ALL.map(arn).into(),
    };
    Scheduler::new(&local(), Arc::new(clock), schedules)
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn queues() {
    bucket("starts").await;
    let (urls, client) = queues_of("contract").await;
    let port = SqsQueue::new(&local(), urls.clone())
        .with_scheduler(scheduler("contract", SystemClock).await)
        .with_starts_in(&local(), "starts");
    queue::every_workflow_has_a_queue(&port).await;
    queue::any_delay_is_taken(&port).await;
    queue::a_delay_that_must_be_a_mistake_is_refused(&port).await;
    queue::a_run_can_be_started(&port).await;
    queue::data_beyond_the_limit_is_refused(&port).await;
    queue::data_that_no_message_holds_is_laid_aside(&port).await;
    queue::only_starts_can_be_fetched(&port).await;
    queue::any_dead_letter_is_taken(&port).await;

    let url = &urls[&WorkflowType::TaskAutomation].queue;
    let received = client.receive_message().queue_url(url).max_number_of_messages(10).send().await.unwrap();
    let receipts: Vec<_> = received
        .messages()
        .iter()
        .map(|message| (message.receipt_handle().unwrap().to_owned(), Duration::from_secs(5)))
        .collect();
    assert!(!receipts.is_empty());
    port.change_visibility(url, &receipts[0].0, Duration::ZERO).await.unwrap();
    assert!(port.change_visibilities(url, &receipts).await.iter().all(Result::is_ok));
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn dead_letters() {
    macro_rules! hold {
        ($($case:ident)+) => {
            // At once: each waits a second whenever it comes to a queue's end.
            tokio::join!($(async {
                let (urls, _) = queues_of(stringify!($case)).await;
                letters::$case(&SqsQueue::new(&local(), urls)).await;
            }),+);
        };
    }
    hold! {
        a_letter_is_found_as_it_was_put
        looking_takes_nothing_away
        as_many_letters_are_shown_as_were_asked_for
        letters_that_were_sent_back_are_gone
        letters_that_were_discarded_are_gone
        unknown_letters_are_not_found
        a_workflow_has_letters_of_its_own
        numbers_out_of_range_are_refused
    }
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn a_letter_that_is_sent_back_is_received_with_its_attributes() {
    let (urls, client) = queues_of("sent-back").await;
    let urls_of = &urls[&WorkflowType::EmailProcessing];
    let port = SqsQueue::new(&local(), urls.clone());
    let run = RunId::new(Timestamp::UNIX_EPOCH, 1);
    let letter = DeadLetter { body: "{".to_owned(), reason: "why".to_owned(), kind: Kind::Validation, run: Some(run) };
    port.dead_letter(WorkflowType::EmailProcessing, &letter).await.unwrap();
    let found = port.look(WorkflowType::EmailProcessing, 1).await.unwrap().remove(0);
    let sent = port.redrive(WorkflowType::EmailProcessing, std::slice::from_ref(&found.id)).await.unwrap();
    assert_eq!(sent, std::slice::from_ref(&found));
    let received = client
        .receive_message()
        .queue_url(&urls_of.queue)
        .message_attribute_names("All")
        .wait_time_seconds(5)
        .send()
        .await
        .unwrap();
    let message = &received.messages()[0];
    assert_eq!(message.body(), Some("{"));
    let attributes: BTreeMap<&str, &str> = message
        .message_attributes()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.string_value().unwrap()))
        .collect();
    let (sent_at, run) = (found.at.as_millisecond().to_string(), run.to_string());
    let expected = [
        ("kind", "validation"),
        ("reason", "why"),
        ("redrive_of", &found.id),
        ("redrive_sent_at", &sent_at),
        ("run_id", &run),
    ];
    assert_eq!(attributes, expected.into());
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn a_schedule_fires_once_and_is_gone() {
    let (urls, client) = queues_of("scheduled").await;
    // A clock that is an hour late, so that a delay which no queue can hold back is over in a moment.
    let hour = Duration::from_hours(1);
    let late = VirtualClock::new(Timestamp::now() - hour);
    let port = SqsQueue::new(&local(), urls.clone()).with_scheduler(scheduler("scheduled", late).await);
    let run = RunId::new(Timestamp::UNIX_EPOCH, 1);
    for _ in 0..2 {
        port.resume(WorkflowType::TaskAutomation, run, hour + Duration::from_secs(1)).await.unwrap();
    }
    let schedules = aws_sdk_scheduler::Client::new(&owner());
    let list = async || schedules.list_schedules().group_name("scheduled").send().await.unwrap().schedules;
    assert_eq!(list().await.len(), 1);

    let url = &urls[&WorkflowType::TaskAutomation].queue;
    // The local AWS looks every ten seconds which are due.
    let received = client.receive_message().queue_url(url).wait_time_seconds(20).send().await.unwrap();
    let bodies: Vec<_> = received.messages().iter().map(|message| message.body().unwrap()).collect();
    assert_eq!(bodies, [format!("{{\"run_id\":\"{run}\"}}")]);
    // It sends first and deletes then.
    let gone = async {
        while !list().await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
}

/// Uploads to the local AWS, and a browser that knows nothing but addresses.
struct Browser {
    uploads: S3Uploads,
    http: reqwest::Client,
}

impl Browser {
    async fn new(name: &str, clock: impl Clock + 'static) -> Self {
        bucket(name).await;
        let uploads = S3Uploads::new(&local(), Arc::new(clock), name);
        // This is loopback, whatever the environment says of proxies.
        // The client wants one to be there, though nothing here is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { uploads, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }
}

#[async_trait]
impl Uploads for Browser {
    async fn offer(&self, caller: &str, id: &str, bytes: u64) -> Result<Offer, Failure> {
        self.uploads.offer(caller, id, bytes).await
    }

    async fn take(&self, caller: &str, id: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        self.uploads.take(caller, id, limit).await
    }

    async fn lay_down(&self, caller: &str, id: &str, bytes: Vec<u8>) -> Result<Handout, Failure> {
        self.uploads.lay_down(caller, id, bytes).await
    }
}

#[async_trait]
impl Outside for Browser {
    async fn put(&self, offer: &Offer, body: Vec<u8>) -> bool {
        let mut request = self.http.put(&offer.url);
        // The length is that of the body; HTTP knows no other.
        for (name, value) in offer.headers.iter().filter(|(name, _)| *name != "content-length") {
            request = request.header(name, value);
        }
        request.body(body).send().await.unwrap().status().is_success()
    }

    async fn get(&self, handout: &Handout) -> Option<Vec<u8>> {
        let answer = self.http.get(&handout.url).send().await.unwrap();
        let is_json = answer.headers().get("content-type").is_some_and(|value| value == "application/json");
        if answer.status().is_success() && is_json { Some(answer.bytes().await.unwrap().to_vec()) } else { None }
    }
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn uploads_and_answers() {
    macro_rules! hold {
        ($($case:ident)+) => {
            $({
                let name = stringify!($case).replace('_', "-");
                uploads::$case(&Browser::new(&name, SystemClock).await).await;
            })+
        };
    }
    hold! {
        what_was_put_is_taken_by_its_caller
        what_was_put_last_is_taken
        another_length_is_not_put
        more_than_the_limit_is_not_taken
        an_answer_is_there_to_be_had
        a_strange_id_is_refused
    }
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn an_address_is_good_for_what_it_was_signed_for_and_no_longer() {
    let browser = Browser::new("signed", SystemClock).await;
    let offer = browser.offer("ann", "u-1", 2).await.unwrap();
    let elsewhere = Offer { url: offer.url.replace("/u-1?", "/u-2?"), ..offer.clone() };
    assert_ne!(elsewhere, offer);
    assert!(!browser.put(&elsewhere, b"{}".to_vec()).await);
    let mut otherwise = offer.clone();
    otherwise.headers.insert("content-type".to_owned(), "text/html".to_owned());
    assert!(!browser.put(&otherwise, b"{}".to_vec()).await);
    assert_eq!(browser.get(&Handout { url: offer.url.clone(), expires_at: offer.expires_at }).await, None);
    assert!(browser.put(&offer, b"{}".to_vec()).await);

    let late = Browser::new("signed", VirtualClock::new(Timestamp::now() - Duration::from_mins(16))).await;
    assert!(!late.put(&late.offer("ann", "u-1", 2).await.unwrap(), b"{}".to_vec()).await);
    assert_eq!(late.get(&late.lay_down("ann", "a-1", b"{}".to_vec()).await.unwrap()).await, None);
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn mail() {
    let client = aws_sdk_sesv2::Client::new(&owner());
    client.create_email_identity().email_identity("office@example.org").send().await.unwrap();
    drop(client.create_configuration_set().configuration_set_name("news").send().await);
    let port = SesMailer::new(&local(), "Office <office@example.org>", Some("news")).unwrap();
    mailer::a_mail_gets_an_id(&port).await;
    mailer::every_mail_gets_an_id_of_its_own(&port).await;
    mailer::any_text_can_be_sent(&port).await;

    let stranger = SesMailer::new(&local(), "stranger@example.net", None).unwrap();
    let mail = OutgoingMail {
        to: "ann@example.com".to_owned(),
        subject: "Hello".to_owned(),
        text: "Hello".to_owned(),
        in_reply_to: None,
        references: Vec::new(),
        is_reply: false,
    };
    let run = RunId::new(Timestamp::UNIX_EPOCH, 1);
    let failure = stranger.send(run, "send_response", &mail).await.unwrap_err();
    assert_eq!((failure.kind, failure.maybe_applied), (Kind::Refused, false), "{failure}");
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn objects_and_payloads() {
    let client = bucket("documents").await;
    for fixture in objects::FIXTURE {
        let mut request =
            client.put_object().bucket(fixture.bucket).key(fixture.key).body(fixture.bytes.to_vec().into());
        for (name, value) in fixture.metadata {
            request = request.metadata(*name, *value);
        }
        request.send().await.unwrap();
    }
    let port = S3Objects::new(&local(), ["documents"]);
    objects::an_object_is_read_as_it_is(&port).await;
    objects::an_object_as_large_as_the_limit_is_read(&port).await;
    objects::an_object_larger_than_the_limit_is_refused(&port).await;
    objects::an_object_that_does_not_exist_is_not_found(&port).await;
    objects::a_bucket_that_is_not_ours_is_out_of_reach(&port).await;
    objects::what_is_known_of_an_object_is_told(&port).await;

    let values = S3Values::new(&local(), "documents");
    for bytes in [b"small".to_vec(), vec![7; 5 << 20]] {
        values.put("payloads/run/hash", bytes.clone()).await.unwrap();
        assert!(values.get("payloads/run/hash", 6 << 20).await.unwrap() == bytes);
    }
    // Never mistaken for the absence of the run that refers to it.
    assert_eq!(values.get("payloads/run/absent", 10).await.unwrap_err().kind, Kind::Unknown);
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn runs() {
    macro_rules! hold {
        ($($case:ident)+) => {
            $(journal::$case(&TestTable::at(endpoint()).await.journal()).await;)+
        };
    }
    hold! {
        a_new_run_is_found_as_it_was_given
        a_run_is_created_once
        of_many_who_create_at_once_one_does
        a_lease_ends_at_its_moment
        of_many_who_open_at_once_one_does
        a_run_that_waits_is_opened_when_due_and_not_before
        a_run_that_waits_for_no_moment_is_never_opened
        only_the_owner_renews
        a_renewal_tells_where_a_run_stands_that_is_no_longer_running
        segments_come_back_in_order_and_complete
        segments_are_read_from_any_number_on
        a_segments_number_is_taken_once
        the_same_segment_appended_again_stands
        of_many_who_append_at_once_one_does
        many_who_append_make_a_journal_without_gaps
        a_journal_of_many_large_segments_survives
        last_entries_are_found_and_override_nothing
        a_run_closes_only_from_the_statuses_named
        closing_keeps_what_it_does_not_name
        closing_counts_failed_attempts
        a_letter_is_owed_until_it_was_sent
        lists_can_be_filtered
        filters_hold_together
        pages_are_complete_without_repeats
        a_status_that_changes_moves_between_lists
        hostile_texts_survive
        delicate_values_survive
        large_values_survive
    }
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn answers_to_senders() {
    let port = async || TestTable::at(endpoint()).await.answers();
    answers::one_answer_goes_to_an_address_in_a_window(&port().await).await;
    answers::the_same_run_may_claim_again(&port().await).await;
    answers::the_window_ends_at_its_moment(&port().await).await;
    answers::a_claim_that_was_refused_opens_no_window(&port().await).await;
    answers::letter_case_makes_no_other_address(&port().await).await;
    answers::sub_addresses_are_one_sender(&port().await).await;
    answers::a_claim_that_is_given_back_leaves_the_window_open(&port().await).await;
    answers::only_the_claimer_gives_a_claim_back(&port().await).await;
    answers::of_many_who_claim_at_once_one_is_granted(&port().await).await;
    answers::a_window_of_no_length_keeps_nobody(&port().await).await;
    answers::a_window_without_end_is_kept(&port().await).await;
    answers::hostile_addresses_are_kept_apart(&port().await).await;
    answers::a_suppressed_address_is_never_granted_again(&port().await).await;
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn versions_of_definitions() {
    let port = async || TestTable::at(endpoint()).await.definitions();
    definitions::nothing_is_there_at_first(&port().await).await;
    definitions::a_version_comes_back_as_it_was_put(&port().await).await;
    definitions::a_number_is_taken_once(&port().await).await;
    definitions::of_many_who_add_at_once_one_does(&port().await).await;
    definitions::versions_are_listed_newest_first_and_page_by_page(&port().await).await;
    definitions::a_candidate_is_rejected_once_and_an_accepted_version_never(&port().await).await;
    definitions::the_pointer_moves_by_one_revision_only(&port().await).await;
    definitions::a_move_accepts_its_version_in_the_same_write(&port().await).await;
    definitions::of_many_who_move_at_once_one_does(&port().await).await;
    definitions::many_who_move_leave_a_history_without_gaps(&port().await).await;
    definitions::workflows_are_kept_apart(&port().await).await;
    definitions::runs_are_counted_by_arm_and_trial(&port().await).await;
    definitions::counts_made_at_once_are_all_counted(&port().await).await;
    definitions::hostile_texts_and_delicate_values_survive(&port().await).await;
    definitions::the_largest_definition_is_kept_and_a_larger_one_refused(&port().await).await;
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn counted_requests() {
    let port = async || TestTable::at(endpoint()).await.request_counts();
    rates::a_quota_is_used_up_and_no_more(&port().await).await;
    rates::the_next_window_begins_anew(&port().await).await;
    rates::of_many_at_once_as_many_as_the_quota_are_within(&port().await).await;
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn remembered_requests() {
    let port = async || TestTable::at(endpoint()).await.requests();
    requests::a_request_is_new_once(&port().await).await;
    requests::a_request_is_over_at_its_moment(&port().await).await;
    requests::a_request_gives_way_for_the_run_that_is_named(&port().await).await;
    requests::whatever_is_there_gives_way_when_asked_to(&port().await).await;
    requests::of_many_who_remember_at_once_one_does(&port().await).await;
    requests::hostile_texts_are_kept_apart(&port().await).await;
}

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn events() {
    let port = EventBridgeBus::new(&local(), "default");
    bus::an_event_is_taken(&port).await;
    bus::an_event_published_twice_is_taken_twice(&port).await;
    bus::any_detail_is_taken(&port).await;
}
