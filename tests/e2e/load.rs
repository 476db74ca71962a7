//! Many calls at once, a tenth of them hostile: nothing falls over, nothing leaks, nothing grows.
//!
//! `IHELPER_LOAD` says how many calls; `make load` makes 20,000.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::bundle::{Bundle, token, unique};

/// What only Alice may ever read.
const SECRET: &str = "planted-7f3a9c";

/// How many connections call at a time.
const CONNECTIONS: usize = 64;

/// Calls unless somebody says how many: enough for each kind of them to come some times.
const FEW: usize = 400;

/// Of so many calls, one is hostile.
const HOSTILE: usize = 10;

/// A function's process may hold on to so much more than it did when it was warm: what its allocator keeps of a body of
/// five megabytes in each of its forms, if none came before.
const GROWTH_BYTES: u64 = 32 * 1024 * 1024;

/// And all of them together to so much more on the average, since few meet such a body.
const AVERAGE_GROWTH_BYTES: u64 = 4 * 1024 * 1024;

/// What no answer to a stranger holds: what another wrote, and what our inside is made of.
const NEVER_TOLD: [&str; 9] =
    [SECRET, "arn:aws", "panicked", ".rs:", "/src/", "SdkError", "ResourceNotFound", "AKIA", "x-amz-security"];

struct Callers {
    alice: String,
    mallory: String,
    alices_run: String,
    mail: Value,
}

/// One call: what it is, and with which statuses it may be answered.
struct Call {
    name: &'static str,
    request: reqwest::RequestBuilder,
    expected: &'static [u16],
    is_hostile: bool,
}

/// What came of all calls.
#[derive(Default)]
struct Outcome {
    milliseconds: Vec<u128>,
    statuses: BTreeMap<(bool, u16), usize>,
    wrong: Vec<String>,
}

/// A call of somebody with good intentions.
fn friendly(bundle: &Bundle, callers: &Callers, number: usize) -> Call {
    let get = |path: &str| bundle.request("GET", path).bearer_auth(&callers.alice);
    let process = || bundle.request("POST", "/workflow/process").bearer_auth(&callers.alice);
    let (name, request, expected): (_, _, &[u16]) = match number % 8 {
        0 => ("health", bundle.request("GET", "/health"), &[200]),
        1 => ("the contract", bundle.request("GET", "/openapi.json"), &[200]),
        2 => ("a list", get("/workflow/runs?limit=10"), &[200]),
        3 | 4 => ("a run", get(&callers.alices_run), &[200]),
        // A fortieth of the calls starts a run.
        5 if number % 40 == 5 => {
            let mail = json!({"id": unique("load"), "from": format!("{number}@customer.example"), "content": "Hello?"});
            let body = json!({"type": "email_processing", "data": mail});
            ("a new run", process().header("prefer", "respond-async").json(&body), &[202])
        }
        _ => ("an equal request", process().json(&callers.mail), &[200]),
    };
    Call { name, request, expected, is_hostile: false }
}

/// A call of somebody with others.
fn hostile(bundle: &Bundle, callers: &Callers, number: usize) -> Call {
    let get = |path: &str| bundle.request("GET", path).bearer_auth(&callers.mallory);
    let post = |path: &str| bundle.request("POST", path).bearer_auth(&callers.mallory);
    let process = |body: String| post("/workflow/process").header("content-type", "application/json").body(body);
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImdyb3VwcyI6WyJvcGVyYXRvcnMiXX0.";
    let forged = format!("{}AAAA", &callers.alice[..callers.alice.len() - 4]);
    let twice = r#"{"type": "task_automation", "type": "email_processing", "data": {}}"#;
    let (name, request, expected): (_, _, &[u16]) = match number % 20 {
        0 => ("another's run", get(&callers.alices_run), &[404]),
        1 => ("another's run, cancelled", post(&format!("{}/cancel", callers.alices_run)), &[404]),
        2 => ("another's run, repeated", post(&format!("{}/retry", callers.alices_run)), &[404]),
        3 => ("another's report", get(&format!("{}/report", callers.alices_run)), &[404]),
        4 => ("dead letters", get("/workflow/dead-letters?type=email_processing"), &[403]),
        5 => (
            "a stored object",
            process(
                json!({"type": "email_processing", "data": {"id": "x",
            "s3": {"bucket": "ihelper-mail", "key": "mail/../../x"}}})
                .to_string(),
            ),
            &[403],
        ),
        6 => ("a token that nobody signed", bundle.request("GET", &callers.alices_run).bearer_auth(unsigned), &[401]),
        7 => ("a forged token", bundle.request("GET", &callers.alices_run).bearer_auth(forged), &[401]),
        8 => ("no token", bundle.request("GET", "/workflow/runs"), &[401]),
        9 => ("JSON without end", process("[".repeat(50_000)), &[400]),
        10 => ("a field twice", process(twice.to_owned()), &[400]),
        11 => ("a body that is no JSON", process("\u{0}\u{1}{]".to_owned()), &[400]),
        // Now and then, since each is five megabytes.
        12 if number % 100 == 12 => ("too large a body", process(" ".repeat(5 * 1024 * 1024 + 1)), &[413]),
        12 => ("another media type", post("/workflow/process").body("a=b"), &[415]),
        13 => (
            "a guessed callback",
            bundle.request("GET", &format!("{}/callbacks/approve?token=0000", callers.alices_run)),
            &[404],
        ),
        14 => (
            "an answer to it",
            bundle
                .request("POST", &format!("{}/callbacks/approve", callers.alices_run))
                .json(&json!({"decision": "approve", "token": "' OR 1=1 --"})),
            &[404],
        ),
        15 => ("a script in a parameter", get("/workflow/runs?status=%3Cscript%3Ealert(1)%3C/script%3E"), &[400]),
        16 => ("a path that leads out", get("/workflow/runs/..%2f..%2f..%2fetc%2fpasswd"), &[404]),
        17 => (
            "many header fields",
            (0..120).fold(get("/workflow/runs"), |request, field| request.header(format!("x-{field}"), "1")),
            &[431],
        ),
        18 => ("a method that there is not", bundle.request("DELETE", &callers.alices_run), &[405]),
        _ => ("a path that is no text", get("/workflow/runs/%ff%fe%00"), &[400, 404]),
    };
    Call { name, request, expected, is_hostile: true }
}

async fn call(call: Call, outcome: &Mutex<Outcome>) {
    let begun = Instant::now();
    let answered = async {
        let response = call.request.send().await?;
        Ok::<_, reqwest::Error>((response.status().as_u16(), response.text().await?))
    };
    let answered = answered.await;
    let mut outcome = outcome.lock().unwrap();
    outcome.milliseconds.push(begun.elapsed().as_millis());
    match answered {
        Ok((status, text)) => {
            *outcome.statuses.entry((call.is_hostile, status)).or_default() += 1;
            if !call.expected.contains(&status) {
                outcome.wrong.push(format!("{} was answered with {status}: {text:.300}", call.name));
            }
            let told = NEVER_TOLD.iter().find(|never| call.is_hostile && text.contains(**never));
            outcome.wrong.extend(told.map(|told| format!("{} was told `{told}`: {text:.300}", call.name)));
        }
        Err(error) => outcome.wrong.push(format!("{} got no answer: {error:?}", call.name)),
    }
}

/// Makes the calls from the one number to the other.
async fn make_calls(bundle: &Bundle, callers: &Callers, numbers: std::ops::Range<usize>, outcome: &Mutex<Outcome>) {
    let calls = numbers.map(|number| {
        if number % HOSTILE == 0 {
            hostile(bundle, callers, number / HOSTILE)
        } else {
            friendly(bundle, callers, number - number / HOSTILE)
        }
    });
    stream::iter(calls).for_each_concurrent(CONNECTIONS, |made| call(made, outcome)).await;
}

fn percentile(sorted: &[u128], percent: usize) -> u128 {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_calls_a_tenth_is_hostile_and_nothing_falls_over_leaks_or_grows() {
    let calls = std::env::var("IHELPER_LOAD").map_or(FEW, |calls| calls.parse().expect("`IHELPER_LOAD` is a number"));
    let bundle = Bundle::connect();
    let alice = token("alice", "staff");
    let mail = json!({"type": "email_processing", "data": {"id": unique("load"), "from": "ann@customer.example",
        "content": format!("When are you open? My number is {SECRET}.")}});
    let first = bundle.post_as(&alice, "/workflow/process", &mail).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let alices_run = format!("/workflow/runs/{}", first.body["run_id"].as_str().unwrap());
    let callers = Callers { alice, mallory: token("mallory", "staff"), alices_run, mail };

    let outcome = Mutex::new(Outcome::default());
    let begun = Instant::now();
    // A quarter of the calls warms the functions: from there on, their memory has no reason to grow.
    make_calls(&bundle, &callers, 0..calls / 4, &outcome).await;
    let warm = bundle.memory("api-process");
    make_calls(&bundle, &callers, calls / 4..calls, &outcome).await;
    let took = begun.elapsed();
    let end = bundle.memory("api-process");

    let Outcome { mut milliseconds, statuses, wrong } = outcome.into_inner().unwrap();
    milliseconds.sort_unstable();
    report(&milliseconds, &statuses, took, &warm, &end);
    let faults: usize = statuses.iter().filter(|((_, status), _)| *status >= 500).map(|(_, count)| count).sum();
    assert_eq!(faults, 0, "{wrong:#?}");
    assert!(wrong.is_empty(), "{} of {calls} calls:\n{}", wrong.len(), wrong[..wrong.len().min(10)].join("\n"));
    for (process, bytes) in &end {
        if let Some(before) = warm.get(process) {
            assert!(*bytes < before + GROWTH_BYTES, "process {process} grew from {before} to {bytes} bytes");
        }
    }
    assert!(!warm.is_empty() && !end.is_empty(), "nobody looked at a process");
    let average = |memory: &BTreeMap<u32, u64>| memory.values().sum::<u64>() / memory.len() as u64;
    let (before, after) = (average(&warm), average(&end));
    assert!(after < before + AVERAGE_GROWTH_BYTES, "the processes grew from {before} to {after} bytes on the average");
}

fn report(
    milliseconds: &[u128],
    statuses: &BTreeMap<(bool, u16), usize>,
    took: Duration,
    warm: &BTreeMap<u32, u64>,
    end: &BTreeMap<u32, u64>,
) {
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    let described = |memory: &BTreeMap<u32, u64>| {
        let (all, largest) = (memory.values().sum(), memory.values().max().copied().unwrap_or_default());
        let (all, largest) = (mebibytes(all), mebibytes(largest));
        format!("{} processes, {all:.0} MiB in all, the largest of {largest:.1}", memory.len())
    };
    let growth = |(process, bytes): (&u32, &u64)| Some(bytes.saturating_sub(*warm.get(process)?));
    let grew = mebibytes(end.iter().filter_map(growth).max().unwrap_or_default());
    let counted = |is_hostile: bool| {
        let of_them = statuses.iter().filter(|((hostile, _), _)| *hostile == is_hostile);
        of_them.map(|((_, status), count)| format!("{status}: {count}")).collect::<Vec<_>>().join(", ")
    };
    eprintln!(
        "{} calls over {CONNECTIONS} connections in {:.1} s, {:.0} a second\n\
         answered in {} ms (half), {} ms (95 %), {} ms (99 %), {} ms (all)\n\
         friendly: {}\nhostile: {}\nwarm: {}\nat the end: {}; none grew by more than {grew:.1} MiB",
        milliseconds.len(),
        took.as_secs_f64(),
        milliseconds.len() as f64 / took.as_secs_f64(),
        percentile(milliseconds, 50),
        percentile(milliseconds, 95),
        percentile(milliseconds, 99),
        percentile(milliseconds, 100),
        counted(false),
        counted(true),
        described(warm),
        described(end),
    );
}
