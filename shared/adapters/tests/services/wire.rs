//! An HTTP endpoint that a test answers for, faults included.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures::{FutureExt as _, future::BoxFuture};
use ihelper_adapters::aws::{Aws, Credentials, Timeouts};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The first line and the headers, with the empty line that ends them.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// `GET /path`.
    pub(crate) fn target(&self) -> String {
        self.head.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the endpoint does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Answers with this status, these headers and this body.
    Reply(u16, Vec<(String, String)>, Vec<u8>),
    /// Answers with these bytes as they are, then hangs up.
    Bytes(Vec<u8>),
    /// Takes the request and hangs up.
    HangUp,
    /// Takes the request and says nothing.
    Silence,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/x-amz-json-1.0".to_owned())];
        Self::Reply(status, headers, body.to_string().into_bytes())
    }

    /// An error in the way of the JSON protocols.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        let body = serde_json::json!({ "__type": code, "message": "not for ann@example.com" });
        let headers = vec![("x-amzn-errortype".to_owned(), code.to_owned())];
        Self::Reply(status, headers, body.to_string().into_bytes())
    }
}

/// The endpoint. It ends with the test's runtime.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Wire {
    /// Answers each request by a function, which also gets the request's number, from 0.
    pub(crate) async fn start(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::serve(move |number, request| std::future::ready(answer(number, &request))).await
    }

    /// Hands each request on to another endpoint, then does with its answer what the function says.
    pub(crate) async fn before(
        upstream: SocketAddr,
        answer: impl Fn(usize, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::serve(move |number, request| {
            let answer = Arc::clone(&answer);
            async move { answer(number, hand_on(upstream, &request).await) }
        })
        .await
    }

    /// Hands requests on until the one of this number: whoever sends that is dead, before it is carried out or right
    /// after.
    pub(crate) async fn of_who_dies(upstream: SocketAddr, dies_at: usize, does_it_first: bool) -> Self {
        Self::serve(move |number, request| async move {
            if number < dies_at {
                return hand_on(upstream, &request).await;
            }
            if number == dies_at && does_it_first {
                hand_on(upstream, &request).await;
            }
            Answer::HangUp
        })
        .await
    }

    async fn serve<Answering>(answer: impl Fn(usize, Request) -> Answering + Send + Sync + 'static) -> Self
    where
        Answering: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<dyn Fn(usize, Request) -> BoxFuture<'static, Answer> + Send + Sync> =
            Arc::new(move |number, request| answer(number, request).boxed());
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&seen), Arc::clone(&answer)));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn aws(&self) -> Aws {
        aws(self.address)
    }
}

async fn hand_on(upstream: SocketAddr, request: &Request) -> Answer {
    let mut stream = TcpStream::connect(upstream).await.unwrap();
    stream.write_all(request.head.as_bytes()).await.unwrap();
    stream.write_all(&request.body).await.unwrap();
    let (head, body) = read_message(&mut stream).await.unwrap();
    Answer::Bytes([head.into_bytes(), body].concat())
}

/// The services at this address.
pub(crate) fn aws(address: SocketAddr) -> Aws {
    // The attempts that these tests let run into their timeout should not hold them up.
    aws_with(address, Timeouts { attempt: std::time::Duration::from_millis(700), ..Timeouts::default() })
}

pub(crate) fn aws_with(address: SocketAddr, timeouts: Timeouts) -> Aws {
    let credentials =
        Credentials { access_key_id: "test".to_owned(), secret_access_key: "test".to_owned(), session_token: None };
    Aws::new("us-east-1", credentials, Some(format!("http://{address}")), timeouts)
}

/// One request, one answer, and the connection ends.
async fn converse(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<Request>>>,
    answer: Arc<dyn Fn(usize, Request) -> BoxFuture<'static, Answer> + Send + Sync>,
) {
    let Some((head, body)) = read_message(&mut stream).await else { return };
    let request = Request { head, body };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    let bytes = match answer(number, request).await {
        Answer::Bytes(bytes) => bytes,
        Answer::Reply(status, headers, body) => {
            let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} OK\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
            [head.into_bytes(), body].concat()
        }
        Answer::HangUp => return,
        Answer::Silence => {
            // Until the other side gives up.
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest).await);
            return;
        }
    };
    drop(stream.write_all(&bytes).await);
    drop(stream.shutdown().await);
}

/// The head and the body of an HTTP/1.1 message whose length is announced; `None` when it ends before.
async fn read_message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).ok()?;
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, body))
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}
