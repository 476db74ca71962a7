//! The same contracts against a local AWS, where one runs: `AWS_ENDPOINT_URL=http://127.0.0.1:4566`, then run the
//! ignored tests. It knows what the endpoint of a test's own does not: that a request is one the service takes.

use std::{collections::BTreeMap, net::SocketAddr};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_types::{SdkConfig, region::Region};
use ihelper_adapters::{
    aws::Aws,
    dynamodb::ValueStore as _,
    eventbridge::EventBridgeBus,
    s3::{S3Objects, S3Values},
    ses::SesMailer,
    sqs::{QueueUrls, SqsQueue},
};
use ihelper_testkit::contracts::{bus, journal, mailer, objects, queue};
use ihelper_workflow::{
    domain::{Kind, RunId, WorkflowType, email::OutgoingMail},
    ports::Mailer as _,
};
use jiff::Timestamp;

use crate::{table::TestTable, wire::aws};

const WHY: &str = "AWS_ENDPOINT_URL names the endpoint of a local AWS";

fn endpoint() -> SocketAddr {
    std::env::var("AWS_ENDPOINT_URL").expect(WHY).trim_start_matches("http://").parse().expect(WHY)
}

fn local() -> Aws {
    aws(endpoint())
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

#[tokio::test]
#[ignore = "needs a local AWS"]
async fn queues() {
    let client = aws_sdk_sqs::Client::new(&owner());
    let mut urls = BTreeMap::new();
    for workflow in WorkflowType::ALL {
        let make = async |name: String| client.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap();
        let urls_of =
            QueueUrls { queue: make(workflow.to_string()).await, dead_letters: make(format!("{workflow}-dlq")).await };
        urls.insert(workflow, urls_of);
    }
    let port = SqsQueue::new(&local(), urls.clone());
    queue::every_workflow_has_a_queue(&port).await;
    queue::any_delay_is_taken(&port).await;
    queue::a_run_can_be_started(&port).await;
    queue::any_dead_letter_is_taken(&port).await;

    let url = &urls[&WorkflowType::TaskAutomation].queue;
    let received = client.receive_message().queue_url(url).max_number_of_messages(10).send().await.unwrap();
    let receipts: Vec<_> = received
        .messages()
        .iter()
        .map(|message| (message.receipt_handle().unwrap().to_owned(), std::time::Duration::from_secs(5)))
        .collect();
    assert!(!receipts.is_empty());
    port.change_visibility(url, &receipts[0].0, std::time::Duration::ZERO).await.unwrap();
    assert!(port.change_visibilities(url, &receipts).await.iter().all(Result::is_ok));
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
    let config = aws_sdk_s3::config::Builder::from(&owner()).force_path_style(true).build();
    let client = aws_sdk_s3::Client::from_conf(config);
    drop(client.create_bucket().bucket("documents").send().await);
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
        only_the_owner_renews
        the_first_result_of_a_step_stands
        a_released_intent_can_be_intended_again
        of_many_who_intend_at_once_one_does
        an_intent_is_settled_once
        a_run_closes_only_from_the_statuses_named
        closing_keeps_what_it_does_not_name
        closing_counts_failed_attempts
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
async fn events() {
    let port = EventBridgeBus::new(&local(), "default");
    bus::an_event_is_taken(&port).await;
    bus::an_event_published_twice_is_taken_twice(&port).await;
    bus::any_detail_is_taken(&port).await;
}
