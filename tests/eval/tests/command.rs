//! The command as `make eval` runs it: on the rules, and on nodes that a server of the test answers for.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

struct Ended {
    code: i32,
    said: String,
}

/// Runs the command in the repository, with nothing in its environment but a key.
fn eval(arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_ihelper-eval"))
        .args(arguments)
        .current_dir(ROOT)
        .env_clear()
        .env("MODEL_KEY", "key-of-the-service")
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    Ended { code: output.status.code().unwrap(), said }
}

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(folder.join("definitions")).unwrap();
    folder
}

/// A configuration with these nodes, and one email's case that a question is told from other mail.
fn stage(name: &str, nodes: &str) -> (String, String) {
    let folder = folder(name);
    let embedded = fs::read_to_string(format!("{ROOT}/infra/workflow_config.yaml")).unwrap();
    let config = folder.join("config.yaml");
    let assistant = format!("assistant:\n  kind: model\n  nodes:\n{nodes}");
    fs::write(&config, embedded.replace("assistant:\n  kind: rules\n", &assistant)).unwrap();
    let definition = fs::read_to_string(format!("{ROOT}/infra/definitions/email_processing.yaml")).unwrap();
    let (definition, _) = definition.split_once("golden_cases:").unwrap();
    let cases = "golden_cases:
  - name: a question is one
    data: { id: q, from: ada@customer.example, content: When are you open? }
    expect: { /analysis/category: question, /api_calls: 2 }
";
    fs::write(folder.join("definitions/email_processing.yaml"), format!("{definition}{cases}")).unwrap();
    (config.display().to_string(), folder.join("definitions").display().to_string())
}

/// A service whose model `wise` knows what a question is, and whose model `dull` takes everything for something else.
/// Where it is.
fn service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    format!("http://{address}/v1")
}

fn answer(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request: Value = serde_json::from_slice(&body).unwrap();
    let said = match request["response_format"]["json_schema"]["name"].as_str().unwrap() {
        "analyze_email" => json!({
            "category": if request["model"] == "wise" { "question" } else { "other" },
            "intent": "wants to know when", "urgency": "normal", "requires_response": true,
            "template": "acknowledge_question", "questions": ["When are you open?"], "dates": [],
            "reference_numbers": [], "language": "eng", "confidence": 0.9, "reasons": ["asks"],
        }),
        "generate_response" => json!({"subject": "Re: Hours", "text": "Hello, we have your question."}),
        other => panic!("{other}"),
    };
    let body = json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": said.to_string()}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    })
    .to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
}

fn node(name: &str, model: &str, endpoint: &str) -> String {
    format!(
        "    - {{ name: {name}, provider: openai, endpoint: \"{endpoint}\", model: {model}, key_variable: MODEL_KEY, \
         prices: {{ input: 1000000, output: 5000000 }} }}\n"
    )
}

#[test]
fn the_rules_pass_every_case_of_the_repository_without_a_network() {
    let json = folder("rules").join("results.json").display().to_string();
    let ended = eval(&["--json", &json]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    for shown in ["the guide's own test email is answered", "document_review", "task_automation", "rules"] {
        assert!(ended.said.contains(shown), "`{shown}` is not in {}", ended.said);
    }
    let results: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(results["holds"], true);
    let results = results["results"].as_array().unwrap();
    assert!(results.len() > 10 && results.iter().all(|result| result["passed"] == result["plays"]));
}

#[test]
fn each_node_is_evaluated_by_itself_and_one_that_fails_a_case_fails_the_whole() {
    let service = service();
    let nodes =
        node("first", "wise", &service) + &node("second", "dull", &service) + "    - { name: last, provider: rules }\n";
    let (config, definitions) = stage("nodes", &nodes);
    let json = folder("nodes").join("results.json").display().to_string();
    let on = |more: &[&str]| {
        eval(&[&["--config", &config, "--definitions", &definitions, "--json", &json][..], more].concat())
    };

    let ended = on(&["--repeat", "3"]);
    assert_eq!(ended.code, 1, "{}", ended.said);
    assert!(ended.said.contains("✗ second, email_processing: a question is one"), "{}", ended.said);
    assert!(ended.said.contains("/analysis/category: expected \"question\", found \"other\""), "{}", ended.said);
    let results: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let passes: Vec<(&str, u64, u64)> = results["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            let cost = result["usage"]["cost_microdollars"].as_u64().unwrap_or_default();
            (result["node"].as_str().unwrap(), result["passed"].as_u64().unwrap(), cost)
        })
        .collect();
    // Three times two calls, each 1,000 tokens in at a millionth of a dollar and 100 out at five.
    assert_eq!(passes, [("first", 3, 9000), ("second", 0, 9000), ("rules", 3, 0)]);

    assert_eq!(on(&["--node", "first", "--node", "rules"]).code, 0);
    assert_eq!(on(&["--node", "second", "--at-least", "0"]).code, 0);
    assert_eq!(on(&["--node", "second", "--at-least", "1"]).code, 1);
}

#[test]
fn what_cannot_be_played_ends_otherwise_than_what_fails_and_is_named() {
    let (config, definitions) =
        stage("wrong", &node("near", "wise", "http://127.0.0.1:9/v1").replace("MODEL_KEY", "OTHER"));
    let broken = folder("broken").join("definitions");
    fs::write(broken.join("x.yaml"), "workflow: email_processing\nversion: 1\ncolour: red\n").unwrap();
    let broken = broken.display().to_string();
    for (arguments, problem) in [
        (&["--config", &config, "--definitions", &definitions][..], "the node `near` needs `OTHER` in the environment"),
        (&["--node", "far"], "there is no node `far`; there are `rules`"),
        (&["--config", "nowhere.yaml"], "nowhere.yaml: "),
        (&["--definitions", &broken], "`colour`: "),
        (&["--workflow", "task_automation", "--definitions", &definitions], "there is no golden case to play"),
        (&["--repeat", "0"], "0 is not in 1..=1000"),
        (&["--workflow", "cooking"], "cooking"),
    ] {
        let ended = eval(arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.said);
        assert!(ended.said.contains(problem), "{arguments:?}: {}", ended.said);
    }
}
