//! The command as `make perf` runs it: against a bundle that a server of the test plays, and against the local AWS.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// What nobody is ever told.
const TOKEN: &str = "planted-2b9e41";

const RUN: &str = "01KDVQKM008G00BTEP6XQ3Q84M";

struct Ended {
    code: i32,
    said: String,
}

/// Runs the command in the repository, with nothing in its environment but what it needs.
fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ihelper-performance"));
    command.args(arguments).current_dir(ROOT).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    Ended { code: output.status.code().unwrap(), said }
}

/// A folder of this test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A stage for one test: a bundle, and folders for what is written.
struct Stage {
    url: String,
    folder: PathBuf,
}

impl Stage {
    fn new(name: &str, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self { url: serve(answer), folder: folder(name) }
    }

    fn perf(&self, more: &[&str]) -> Ended {
        let (out, accepted) = (self.folder.display().to_string(), self.folder.join("accepted").display().to_string());
        let own = ["--url", &self.url, "--out", &out, "--accepted", &accepted, "--workflow", "email_processing"];
        run(&[("IHELPER_TOKEN", TOKEN)], &[&own[..], more].concat())
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap()
    }

    fn samples(&self) -> Vec<Value> {
        let record: Value = serde_json::from_str(&self.file("performance.json")).unwrap();
        record["analyses"][0]["measurement"]["samples"].as_array().unwrap().clone()
    }
}

struct Request {
    line: String,
    head: String,
    body: Value,
}

struct Reply {
    status: u16,
    header: String,
    body: Value,
}

fn reply(status: u16, body: Value) -> Reply {
    Reply { status, header: String::new(), body }
}

impl Request {
    fn is_start(&self) -> bool {
        self.line.starts_with("POST /workflow/process ")
    }
}

/// A bundle whose runs all succeed.
fn good(request: &Request) -> Reply {
    if request.is_start() {
        return reply(200, json!({ "status": "success", "run_id": RUN, "result": {} }));
    }
    reply(200, record("succeeded"))
}

fn record(status: &str) -> Value {
    json!({
        "run_id": RUN, "status": status, "attempts": 1, "steps": [],
        "usage": { "api_calls": 2, "input_tokens": 100, "output_tokens": 10, "cost_microdollars": 700 },
        "footprint": { "store_calls": 9, "working_ms": 12, "peak_memory_bytes": 31_457_280 },
    })
}

/// Serves a bundle, and gives its address.
fn serve(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || one(stream.unwrap(), &*answer));
        }
    });
    format!("http://{address}")
}

fn one(mut stream: TcpStream, answer: &impl Fn(&Request) -> Reply) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut head, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut line).unwrap();
    loop {
        let mut field = String::new();
        if reader.read_line(&mut field).unwrap() <= 2 {
            break;
        }
        if let Some(value) = field.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head += &field;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let Reply { status, header, body } = answer(&Request { line, head, body });
    let body = body.to_string();
    let fixed = "content-type: application/json\r\nconnection: close";
    // Whoever has hung up wants no answer.
    let _ = write!(stream, "HTTP/1.1 {status} x\r\n{fixed}\r\n{header}content-length: {}\r\n\r\n{body}", body.len());
}

#[test]
fn every_run_is_a_sample_with_an_id_and_a_sender_of_its_own_and_what_its_record_tells() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let stage = {
        let seen = Arc::clone(&seen);
        Stage::new("samples", move |request| {
            if request.is_start() {
                assert!(request.head.contains(&format!("Bearer {TOKEN}")));
                let data = &request.body["data"];
                seen.lock().unwrap().push((data["id"].to_string(), data["from"].to_string()));
            }
            good(request)
        })
    };
    let ended = stage.perf(&["--runs", "40", "--warmup", "3"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    let samples = stage.samples();
    assert_eq!(samples.len(), 40, "runs to warm up do not count");
    for sample in &samples {
        assert_eq!((&sample["outcome"], &sample["http_status"]), (&json!("succeeded"), &json!(200)));
        assert_eq!(sample["footprint"], json!({ "store_calls": 9, "working_ms": 12, "peak_memory_bytes": 31_457_280 }));
        assert_eq!(sample["cost"]["models"], 700.0);
    }
    let seen = seen.lock().unwrap();
    let unique =
        |part: fn(&(String, String)) -> &String| seen.iter().map(part).collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!((seen.len(), unique(|(id, _)| id), unique(|(_, from)| from)), (43, 43, 43));
    for shown in
        ["40 of 40 runs succeeded", "execution time, ms", "30.0", "performance.html", "Nothing to compare with"]
    {
        assert!(ended.said.contains(shown), "`{shown}` is not in {}", ended.said);
    }
}

#[test]
fn the_token_is_told_nowhere() {
    let stage = Stage::new("token", good);
    let ended = stage.perf(&["--runs", "5", "--accept"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    let files = ["performance.json", "performance.html", "accepted/email_processing.json"].map(|name| stage.file(name));
    assert!([ended.said].iter().chain(&files).all(|text| !text.contains(TOKEN)));
    let refused = run(&[("IHELPER_TOKEN", TOKEN)], &["--url", "https://api.example.com/?x"]);
    assert!(refused.code == 3 && !refused.said.contains(TOKEN), "{}", refused.said);
}

#[test]
fn a_run_that_is_told_to_come_later_comes_later_and_that_is_counted() {
    let starts = AtomicUsize::new(0);
    let stage = Stage::new("throttled", move |request| {
        if request.is_start() && starts.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            let header = "retry-after: 0\r\n".to_owned();
            return Reply { header, ..reply(429, json!({ "message": "Too Many Requests" })) };
        }
        good(request)
    });
    let ended = stage.perf(&["--runs", "10", "--warmup", "0", "--concurrency", "1"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    let throttled: u64 = stage.samples().iter().map(|sample| sample["throttled"].as_u64().unwrap()).sum();
    assert_eq!(throttled, 10);
    assert!(
        ended.said.contains("10 of 10 runs succeeded") && ended.said.contains("10 times one was told to come later")
    );
}

#[test]
fn a_run_that_takes_longer_than_a_call_is_asked_for_until_it_has_ended_wherever_its_address_points() {
    let looks = AtomicUsize::new(0);
    let stage = Stage::new("followed", move |request| {
        if request.is_start() {
            assert!(request.head.to_lowercase().contains("prefer: respond-async"));
            let header = format!("location: https://elsewhere.example/workflow/runs/{RUN}\r\n");
            return Reply { header, ..reply(202, Value::Null) };
        }
        assert!(request.line.starts_with(&format!("GET /workflow/runs/{RUN} ")));
        let number = looks.fetch_add(1, Ordering::SeqCst);
        match number {
            0 => reply(503, Value::Null),
            1 => reply(200, record("running")),
            _ => reply(200, record("succeeded")),
        }
    });
    let ended = stage.perf(&["--runs", "1", "--warmup", "0", "--mode", "async"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert_eq!(stage.samples()[0]["http_status"], 202);
}

#[test]
fn failed_runs_are_told_by_their_kind_and_a_measurement_of_only_those_fails() {
    let starts = AtomicUsize::new(0);
    let problem = |status: u16, kind: &str, extra: Value| {
        let mut body = json!({ "type": format!("https://ihelper.example/problems/{kind}"), "title": "No" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        reply(status, body)
    };
    let stage = Stage::new("failed", move |request| {
        if !request.is_start() {
            return reply(404, Value::Null);
        }
        match starts.fetch_add(1, Ordering::SeqCst) % 4 {
            0 => problem(422, "run-failed", json!({ "run_id": RUN, "kind": "validation", "step": "read_message" })),
            1 => problem(409, "run-cancelled", json!({ "run_id": RUN })),
            2 => problem(403, "forbidden", json!({ "detail": "<script>the caller may not</script>" })),
            _ => reply(502, Value::Null),
        }
    });
    let ended = stage.perf(&["--runs", "8", "--warmup", "0", "--concurrency", "1", "--accept"]);
    assert_eq!(ended.code, 1, "{}", ended.said);
    for shown in [
        "0 of 8 runs succeeded",
        "2 × failed, HTTP 422: validation in read_message",
        "2 × cancelled, HTTP 409",
        "2 × refused, HTTP 403: No: <script>",
        "2 × refused, HTTP 502: an answer that is none of this API's",
        "email_processing is not accepted: no run of it was good",
        "The records of 4 runs could not be read, such as: its record was answered with 404",
    ] {
        assert!(ended.said.contains(shown), "`{shown}` is not in {}", ended.said);
    }
    assert!(!stage.file("performance.html").contains("<script"));
    let nobody = Stage { url: "http://127.0.0.1:9".to_owned(), folder: folder("nobody") };
    let ended = nobody.perf(&["--runs", "2"]);
    assert_eq!(ended.code, 1, "{}", ended.said);
    assert!(ended.said.contains("2 × unanswered: no connection"), "{}", ended.said);
}

#[test]
fn a_measurement_is_compared_with_the_accepted_one_and_a_slower_one_fails_when_it_is_to() {
    let stage = Stage::new("compared", good);
    let all = ["--runs", "40"];
    assert_eq!(stage.perf(&[&all[..], &["--accept"]].concat()).code, 0);
    let accepted = stage.folder.join("accepted/email_processing.json");
    // As if each run had taken a hundredth of the time.
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&accepted).unwrap()).unwrap();
    for sample in record["analyses"][0]["measurement"]["samples"].as_array_mut().unwrap() {
        sample["execution_ms"] = json!(sample["execution_ms"].as_f64().unwrap() / 100.0);
    }
    fs::write(&accepted, record.to_string()).unwrap();

    let ended = stage.perf(&all);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(ended.said.contains("execution time, ms p50 is slower"), "{}", ended.said);
    assert_eq!(stage.perf(&[&all[..], &["--fail-on-slower"]].concat()).code, 2);

    let ended = stage.perf(&[&all[..], &["--fail-on-slower", "--concurrency", "2"]].concat());
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(ended.said.contains("concurrency: 8 then, 2 now"), "{}", ended.said);
}

#[test]
fn a_bad_option_is_refused_with_its_name_before_anything_is_run() {
    let stage = Stage::new("options", |_| panic!("something was run"));
    let file = |name: &str, text: &str| {
        let path = stage.folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (list, broken) = (file("list.json", "[]"), file("broken.json", "{"));
    let invalid = file("invalid.json", r#"{"id": "1", "from": "nobody", "content": "Hello?"}"#);
    let other = file("other.json", r#"{"schema": 7}"#);
    let empty = file("empty.json", r#"{"schema": 1, "analyses": []}"#);
    let in_a_file = format!("{list}/x");
    for (arguments, problem) in [
        (&["--runs", "0"][..], "'--runs <N>': 0 is not in 1..=100000"),
        (&["--runs", "100001"], "'--runs <N>'"),
        (&["--runs", "many"], "'--runs <N>'"),
        (&["--concurrency", "0"], "'--concurrency <CONCURRENCY>': 0 is not in 1..=256"),
        (&["--concurrency", "257"], "'--concurrency <CONCURRENCY>'"),
        (&["--warmup=-1"], "'--warmup <WARMUP>'"),
        (&["--mode", "fast"], "'--mode <MODE>'"),
        (&["--patience", "0"], "'--patience <PATIENCE>'"),
        (&["--memory", "64"], "'--memory <MEMORY>'"),
        (&["--colour"], "--colour"),
        (&["--input", "nowhere.json"], "INPUT (--input): nowhere.json: "),
        (&["--input", &list], "is no object of JSON"),
        (&["--input", &broken], "is no JSON"),
        (&["--input", &invalid], "invalid.json: `data.from`: "),
        (&["--baseline", "nowhere.json"], "BASELINE (--baseline): nowhere.json: "),
        (&["--baseline", &other], "its `schema` is 7"),
        (&["--baseline", &empty], "has no measurement of email_processing"),
        (&["--out", &in_a_file], "OUT (--out): "),
    ] {
        let ended = stage.perf(arguments);
        assert_eq!(ended.code, 3, "{arguments:?}: {}", ended.said);
        assert!(ended.said.contains(problem), "{arguments:?}: {}", ended.said);
    }
    let token = [("IHELPER_TOKEN", TOKEN)];
    for (variables, arguments, problem) in [
        (&token[..], &["--workflow", "cooking"][..], "'--workflow <WORKFLOW>': unknown workflow type `cooking`"),
        (&token, &["--workflow", "all", "--input", &list], "INPUT (--input): it is the data of one workflow"),
        (&token, &["--url", "nowhere"], "URL (--url, IHELPER_API_URL): `nowhere` is no address"),
        (&token, &["--url", "http://api.example.com"], "a token goes over https only"),
        (&token, &["--url", "https://api.example.com"], "INPUT (--input): this bundle sends mail"),
        (&[], &["--url", "https://api.example.com"], "TOKEN (IHELPER_TOKEN): is missing"),
        (&[("IHELPER_TOKEN", "a\nb")], &["--url", "https://api.example.com"], "TOKEN (IHELPER_TOKEN): is no token"),
        (&[("IHELPER_API_URL", "ftp://x.example"), token[0]], &[], "`ftp://x.example` is no address of https"),
        (&[("IHELPER_OUTPUTS", &list)], &[], "list.json: "),
    ] {
        let ended = run(variables, arguments);
        assert_eq!(ended.code, 3, "{arguments:?}: {}", ended.said);
        assert!(ended.said.contains(problem), "{arguments:?}: {}", ended.said);
    }
}

mod local {
    use super::*;

    #[test]
    #[ignore = "needs the local AWS: `make test` starts it"]
    fn twenty_runs_of_each_workflow_on_the_local_aws_are_twenty_good_samples() {
        let outputs = std::env::var("IHELPER_OUTPUTS").expect("`IHELPER_OUTPUTS` names the stack that is up");
        let folder = folder("local").display().to_string();
        let arguments = ["--runs", "20", "--concurrency", "4", "--out", &folder, "--accepted", &folder];
        let ended = run(&[("IHELPER_OUTPUTS", &outputs)], &arguments);
        assert_eq!(ended.code, 0, "{}", ended.said);
        let record = fs::read_to_string(Path::new(&folder).join("performance.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        let analyses = record["analyses"].as_array().unwrap();
        assert_eq!(analyses.len(), 3);
        for analysis in analyses {
            let measurement = &analysis["measurement"];
            let samples = measurement["samples"].as_array().unwrap();
            let good = samples.iter().filter(|sample| sample["outcome"] == "succeeded");
            let read = good.filter(|sample| sample["usage"]["api_calls"].as_u64() > Some(0) && sample["attempts"] == 1);
            assert_eq!(read.count(), 20, "{}: {}", measurement["workflow"], ended.said);
        }
    }
}
