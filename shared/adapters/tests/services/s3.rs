//! Objects: what is asked for, and how much of an answer is read.

use std::sync::Arc;

use ihelper_adapters::{
    dynamodb::ValueStore as _,
    s3::{S3Objects, S3Uploads, S3Values},
};
use ihelper_testkit::{contracts::objects::FIXTURE, memory::VirtualClock, objects_contract};
use ihelper_workflow::{
    domain::{Kind, document::ObjectRef},
    ports::{Objects as _, Uploads as _},
};

use crate::wire::{Answer, Request, Wire};

objects_contract!(async { S3Objects::new(&holding_fixture().await.aws(), ["documents"]) });

/// An endpoint that holds what the contract needs, and nothing else.
async fn holding_fixture() -> Wire {
    Wire::start(|_, request| {
        let found = FIXTURE.iter().find(|fixture| path_of(request) == format!("/{}/{}", fixture.bucket, fixture.key));
        match found {
            None => missing(request),
            Some(fixture) => {
                let headers = fixture
                    .metadata
                    .iter()
                    .map(|(name, value)| (format!("x-amz-meta-{name}"), (*value).to_owned()))
                    .collect();
                reply(request, headers, fixture.bytes)
            }
        }
    })
    .await
}

fn missing(request: &Request) -> Answer {
    if request.head.starts_with("HEAD") {
        return Answer::Reply(404, Vec::new(), Vec::new());
    }
    let body = b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>";
    Answer::Reply(404, Vec::new(), body.to_vec())
}

/// An answer to HEAD announces the length of a body that it does not have.
fn reply(request: &Request, headers: Vec<(String, String)>, body: &[u8]) -> Answer {
    if !request.head.starts_with("HEAD") {
        return Answer::Reply(200, headers, body.to_vec());
    }
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    Answer::Bytes(
        format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n").into_bytes(),
    )
}

/// The path without its query, percent-decoded.
fn path_of(request: &Request) -> String {
    let target = request.target();
    let path = target.split(' ').nth(1).unwrap().split('?').next().unwrap();
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let digits = if byte == b'%' { rest.next().zip(rest.next()) } else { None };
        match digits {
            Some((high, low)) => {
                let text = [high, low].map(char::from).iter().collect::<String>();
                bytes.push(u8::from_str_radix(&text, 16).unwrap());
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn object(key: &str) -> ObjectRef {
    ObjectRef { bucket: "documents".to_owned(), key: key.to_owned() }
}

#[tokio::test]
async fn an_object_that_announces_too_much_is_not_read() {
    // What it announces never comes; whoever waited for it would wait long.
    let wire =
        Wire::start(|_, _| Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nx".to_vec())).await;
    let failure = S3Objects::new(&wire.aws(), ["documents"]).get(&object("big"), 1000).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Validation);
}

#[tokio::test]
async fn an_object_that_announces_nothing_is_read_up_to_the_limit() {
    let chunk = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600));
    let body = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(3));
    let wire = Wire::start(move |_, _| Answer::Bytes(body.clone().into_bytes())).await;
    let objects = S3Objects::new(&wire.aws(), ["documents"]);
    assert_eq!(objects.get(&object("big"), 1799).await.unwrap_err().kind, Kind::Validation);
    assert_eq!(objects.get(&object("big"), 1800).await.unwrap().len(), 1800);
}

#[tokio::test]
async fn an_object_that_breaks_off_is_a_connection_failure() {
    let wire =
        Wire::start(|_, _| Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this".to_vec())).await;
    let failure = S3Objects::new(&wire.aws(), ["documents"]).get(&object("cut"), 1000).await.unwrap_err();
    assert_eq!((failure.kind, failure.kind.retryable()), (Kind::Connection, true));
}

#[tokio::test]
async fn what_may_not_be_read_is_told_from_what_is_not_there() {
    for (status, code, kind) in [
        (403, "AccessDenied", Kind::Authorization),
        (404, "NoSuchKey", Kind::NotFound),
        (404, "NoSuchBucket", Kind::Unknown),
        (503, "SlowDown", Kind::Throttled),
    ] {
        let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
        let wire = Wire::start(move |_, _| Answer::Reply(status, Vec::new(), body.clone().into_bytes())).await;
        let failure = S3Objects::new(&wire.aws(), ["documents"]).get(&object("x"), 10).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{code}");
    }
}

#[tokio::test]
async fn payloads_are_written_and_read_in_their_bucket() {
    let wire = Wire::start(|_, request| match request.target().split(' ').next() {
        Some("PUT") => Answer::Reply(200, Vec::new(), Vec::new()),
        _ => Answer::Reply(200, Vec::new(), b"payload".to_vec()),
    })
    .await;
    let values = S3Values::new(&wire.aws(), "payload-bucket");
    values.put("payloads/r/h", b"payload".to_vec()).await.unwrap();
    assert_eq!(values.get("payloads/r/h", 7).await.unwrap(), b"payload");
    assert_eq!(values.get("payloads/r/h", 6).await.unwrap_err().kind, Kind::Validation);
    let requests = wire.requests();
    assert!(requests.iter().all(|request| path_of(request) == "/payload-bucket/payloads/r/h"));
    assert_eq!(requests[0].body, b"payload");
}

#[tokio::test]
async fn an_upload_is_signed_with_its_length_and_its_type_and_nothing_of_its_content() {
    let wire = Wire::start(|_, _| Answer::HangUp).await;
    let clock = VirtualClock::new("2025-03-01T12:00:00.75Z".parse().unwrap());
    let uploads = S3Uploads::new(&wire.aws(), Arc::new(clock), "payload-bucket");
    let offer = uploads.offer("ann", "u-1", 32 << 20).await.unwrap();
    let headers: Vec<(&str, &str)> =
        offer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("content-length", "33554432"), ("content-type", "application/json")]);
    assert_eq!(offer.expires_at.to_string(), "2025-03-01T12:15:00Z");
    let (path, query) = offer.url.split_once('?').unwrap();
    assert!(path.starts_with(&format!("http://{}/payload-bucket/uploads/", wire.address)), "{path}");
    assert!(path.ends_with("/u-1") && !path.contains("ann"), "{path}");
    let has = |part: &str| query.split('&').any(|found| found == part);
    assert!(has("X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost"), "{query}");
    assert!(has("X-Amz-Date=20250301T120000Z") && has("X-Amz-Expires=900"), "{query}");
    assert!(!query.to_ascii_lowercase().contains("checksum"), "{query}");
    assert!(wire.requests().is_empty(), "signing asks nobody");
}

#[tokio::test]
async fn an_answer_is_there_before_its_address_is_given() {
    let wire = Wire::start(|_, _| Answer::Reply(200, Vec::new(), Vec::new())).await;
    let uploads = S3Uploads::new(&wire.aws(), Arc::new(VirtualClock::default()), "payload-bucket");
    let handout = uploads.lay_down("ann", "a-1", b"{}".to_vec()).await.unwrap();
    assert_eq!(handout.expires_at.to_string(), "2025-03-01T12:15:00Z");
    let put = &wire.requests()[0];
    assert_eq!(
        (put.body.as_slice(), put.header("content-type").unwrap().as_str()),
        (b"{}".as_slice(), "application/json")
    );
    assert!(handout.url.contains(&path_of(put)) && path_of(put).starts_with("/payload-bucket/answers/"));

    let wire =
        Wire::start(|_, _| Answer::Reply(503, Vec::new(), b"<Error><Code>SlowDown</Code></Error>".to_vec())).await;
    let uploads = S3Uploads::new(&wire.aws(), Arc::new(VirtualClock::default()), "payload-bucket");
    assert_eq!(uploads.lay_down("ann", "a-1", b"{}".to_vec()).await.unwrap_err().kind, Kind::Throttled);
}

#[tokio::test]
async fn an_upload_that_is_not_there_is_told_from_one_that_cannot_be_read() {
    for (status, code, kind) in [(404, "NoSuchKey", Kind::NotFound), (403, "AccessDenied", Kind::Authorization)] {
        let body = format!("<Error><Code>{code}</Code></Error>");
        let wire = Wire::start(move |_, _| Answer::Reply(status, Vec::new(), body.clone().into_bytes())).await;
        let uploads = S3Uploads::new(&wire.aws(), Arc::new(VirtualClock::default()), "payload-bucket");
        assert_eq!(uploads.take("ann", "u-1", 10).await.unwrap_err().kind, kind);
    }
}
