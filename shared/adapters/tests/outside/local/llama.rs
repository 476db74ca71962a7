//! llama.cpp's own server, with a model that each test makes, behind the adapter for OpenAI-compatible services.

use std::{sync::Arc, time::Duration};

use ihelper_adapters::{
    openai::OpenAiModel,
    system::{SystemClock, SystemEntropy},
};
use ihelper_testkit::{
    Ports, WorkflowTester,
    memory::{MemoryBudgets, MemoryStepCache, MemoryUsageLedger},
};
use ihelper_workflow::{
    assistant::{Accounts, FenceKey, PromptAssistant},
    domain::{
        RunId, Status, WorkflowType,
        configuration::{BudgetSettings, NodeSettings},
        input,
        run::{Origin, Trigger},
    },
    embedded,
    engine::{Deadline, Outcome},
    models::{Node, Router},
    ports::{AnswerSchema, Clock, Entropy as _, Model as _, ModelFailure, ModelFault, ModelRequest, Speaker, Turn},
};
use serde_json::{Value, json};

use super::Process;

struct Llama(Process);

impl Llama {
    fn start() -> Self {
        Self(Process::start("llama", "llama_server.py"))
    }

    fn node(&self, structured: &str) -> NodeSettings {
        let settings = json!({
            "name": "llama", "provider": "openai", "endpoint": self.0.url("/v1"), "model": "pairs", "structured": structured,
            "prices": { "input": 1_000_000, "output": 2_000_000, "cached": 0 },
        });
        serde_json::from_value(settings).unwrap()
    }

    fn model(&self, structured: &str) -> OpenAiModel {
        OpenAiModel::new(&self.node(structured), Some("secret")).unwrap()
    }

    async fn failure(&self, structured: &str, request: &ModelRequest) -> ModelFailure {
        self.model(structured).complete(request).await.unwrap_err()
    }
}

fn request() -> ModelRequest {
    let schema = json!({
        "type": "object",
        "properties": {
            "explanation": { "type": "string" },
            "quotations": { "type": "array", "items": { "type": "string" } },
            "verdict": { "type": "string", "enum": ["met", "not_met"] },
            "confidence": { "type": "number" },
        },
        "required": ["explanation", "quotations", "verdict", "confidence"],
        "additionalProperties": false,
    });
    ModelRequest {
        system: "You hold documents against criteria.".to_owned(),
        turns: vec![Turn { speaker: Speaker::User, stable: "Ein Vertrag.\n".to_owned(), text: "Für wen?".to_owned() }],
        schema: Arc::new(AnswerSchema::new("review", schema)),
        temperature: Some(0.0),
        max_output_tokens: 300,
        timeout: Duration::from_secs(60),
    }
}

#[tokio::test]
#[ignore = "needs the server that `make test` installs"]
async fn a_real_server_answers_by_the_schema_tells_its_tokens_and_caches_what_it_read() {
    let llama = Llama::start();
    let model = llama.model("schema");
    let first = model.complete(&request()).await.unwrap();
    let answer: Value = serde_json::from_str(&first.text).unwrap();
    let verdict = answer["verdict"].as_str().unwrap();
    assert!(
        answer["explanation"].is_string() && answer["confidence"].is_f64() && ["met", "not_met"].contains(&verdict)
    );
    assert!(first.tokens.input > 50 && first.tokens.output > 50 && first.tokens.cached == 0, "{:?}", first.tokens);
    let again = model.complete(&request()).await.unwrap();
    assert_eq!((&again.text, again.tokens.input), (&first.text, first.tokens.input));
    assert!(again.tokens.cached > 50, "{:?}", again.tokens);
}

#[tokio::test]
#[ignore = "needs the server that `make test` installs"]
async fn what_a_real_server_cannot_finish_or_refuses_is_told_apart() {
    let llama = Llama::start();
    // Held to no schema, this model never ends.
    for structured in ["json", "text"] {
        let failure = llama.failure(structured, &request()).await;
        assert_eq!((failure.fault, failure.tokens.output), (ModelFault::Truncated, 300), "{structured}: {failure:?}");
        assert!(failure.text.unwrap().contains("ok"));
    }
    let short = ModelRequest { max_output_tokens: 20, ..request() };
    assert_eq!(llama.failure("schema", &short).await.fault, ModelFault::Truncated);
    let mut long = request();
    long.turns[0].text = "x".repeat(100_000);
    assert_eq!(llama.failure("schema", &long).await.fault, ModelFault::Truncated);
    let stranger = OpenAiModel::new(&llama.node("schema"), Some("guess")).unwrap();
    assert_eq!(stranger.complete(&request()).await.unwrap_err().fault, ModelFault::Misconfigured);
}

#[tokio::test]
#[ignore = "needs the server that `make test` installs"]
async fn documents_and_emails_run_on_a_real_server_and_count_what_it_took() {
    let llama = Llama::start();
    let node = Node { settings: llama.node("schema"), model: Arc::new(llama.model("schema")) };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let assistant = PromptAssistant {
        name: "pairs".to_owned(),
        router: Arc::new(Router::new(vec![node], Arc::clone(&clock), None)),
        degrades_to_rules: false,
        accounts: Accounts {
            budgets: Arc::new(MemoryBudgets::new()),
            settings: BudgetSettings::default(),
            clock: Arc::clone(&clock),
        },
        usage: Arc::new(MemoryUsageLedger::new()),
        cache: Arc::new(MemoryStepCache::new()),
        clock: Arc::clone(&clock),
        fence: FenceKey::new(&SystemEntropy),
    };
    let tester = WorkflowTester::with_assistant(embedded::definitions().unwrap(), Arc::new(assistant));
    // The tester's own clock moves while a server thinks.
    let ports = Ports { clock: Arc::clone(&clock), ..tester.ports().clone() };
    let worker = tester.worker_of(&ports);
    for (workflow, data, calls) in [
        (
            WorkflowType::DocumentReview,
            json!({"id": "d", "file": {"text": "The lease ends in May."}, "review_criteria": ["An end", "A rent"]}),
            2,
        ),
        (
            WorkflowType::EmailProcessing,
            json!({"id": "e", "from": "ada@customer.example", "content": "When are you open?"}),
            1,
        ),
    ] {
        let input = input::parse(workflow, data).unwrap();
        let id = RunId::new(clock.now(), tester.entropy.random());
        let origin = Origin { trigger: Trigger::Queue, id: id.to_string(), caller: "tester".to_owned() };
        let deadline = Deadline::at(clock.now() + Duration::from_secs(300));
        let Outcome::Ended { run, .. } = worker.start(&input, id, origin, deadline).await.unwrap() else { panic!() };
        assert_eq!((run.status, run.usage.api_calls), (Status::Succeeded, calls), "{:?}", run.error);
        let usage = run.usage;
        let paid = usage.input_tokens - usage.cached_tokens + 2 * usage.output_tokens;
        assert!(usage.input_tokens > 100 && usage.output_tokens > 50, "{usage:?}");
        assert_eq!((usage.cost_microdollars, usage.degraded_calls), (paid, 0), "{usage:?}");
        assert_eq!(run.result.unwrap()["model"], "pairs");
    }
}
