//! `GET /openapi.json`: the API's contract, made from the types and the routes themselves.
//!
//! **Invariants**
//! - What is served is `docs/openapi.json`: a test holds it to what is made here.
//! - A route is served only beside its operation: a test holds the two to each other, so nothing is served that is not here.
//! - Every problem's example is the answer that the code gives.
//! - Nobody needs a token to read it: it tells nothing about a run or a person.

use std::{collections::BTreeMap, sync::Arc};

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ihelper_runtime::tokens::Refusal;
use ihelper_workflow::{
    domain::{Failure, Kind, RunId},
    engine::{Decision, Reply},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use utoipa::{
    OpenApi, ToSchema as _,
    openapi::{extensions::ExtensionsBuilder, path::Operation},
};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::{Api, Problem, body::JSON, problem};

/// A route with its operation.
pub(crate) type Routes = UtoipaMethodRouter<Arc<Api>>;

const PROBLEM_JSON: &str = "application/problem+json";
const HTML: &str = "text/html";

// Where an operation's problems stand until the document is made; it is not in the document itself.
const PROBLEMS: &str = "x-problems";

const ABOUT: &str = "\
Starts runs of workflows, shows what became of them, and lets people reach them.

**Errors** are problem details (RFC 9457) with a stable `type`, `urn:ihelper:problem:<name>`. A 5xx says no more than its \
type; the run itself tells those who may see it. What never reaches the API's own code (a call without a valid token, too \
many calls at once) is answered by API Gateway, as `{\"message\": …}`.

**Again.** Every call can be made twice. `POST /workflow/process` takes an `Idempotency-Key`; the other calls come to the \
same thing by themselves.

**Limits.** A body has at most 5 MiB (what is larger goes through `POST /workflow/uploads`), and its JSON nests at most 64 \
levels and has no field twice. A request has at most 100 header fields of 16 KiB together (API Gateway: 10,240 bytes with \
the address), an address of 8 KiB and 20 parameters, each once.

**Browsers.** Pages of other sites may call the API when the deployment names their origins.";

#[derive(OpenApi)]
#[openapi(
    info(title = "ihelper", license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    tags(
        (name = "runs", description = "Start runs and look at them."),
        (name = "control", description = "Stop runs, repeat them, settle what nobody knows."),
        (name = "callbacks", description = "What a run asks of somebody. The token in the link is the permission."),
        (name = "dead letters", description = "What could not be worked on, for operators."),
        (name = "definitions", description = "What workflows go by, version after version. Operators change it."),
        (name = "service", description = "The API itself."),
    ),
    components(schemas(problem::Body<'static>)),
)]
struct Description;

/// The document before it has operations.
pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// A route of which these problems can come, beside those that can come of any.
pub(crate) fn told(mut routes: Routes, problems: &[Problem]) -> Routes {
    let told: Vec<Value> = problems.iter().map(|problem| json!({ "json": example(problem) })).collect();
    for operation in operations(&mut routes) {
        note(operation, told.clone());
    }
    routes
}

/// A route whose problems are pages for whoever asks for a page.
pub(crate) fn told_on_pages(routes: Routes, problems: &[Problem]) -> Routes {
    let mut routes = told(routes, problems);
    for operation in operations(&mut routes) {
        note(operation, vec![json!({ "pages": true })]);
    }
    routes
}

fn operations(routes: &mut Routes) -> impl Iterator<Item = &mut Operation> {
    let items = routes.1.paths.values_mut();
    items.flat_map(|item| [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten())
}

fn note(operation: &mut Operation, more: Vec<Value>) {
    let noted = operation.extensions.as_ref().and_then(|extensions| extensions.get(PROBLEMS)).and_then(Value::as_array);
    let all: Vec<Value> = noted.cloned().unwrap_or_default().into_iter().chain(more).collect();
    operation.extensions = Some(ExtensionsBuilder::new().add(PROBLEMS, json!(all)).build());
}

/// The ways in which a run can fail under the eyes of who started it.
pub(crate) fn failed_runs() -> Vec<Problem> {
    let failure = |kind: Kind, message: &str, step: &str| {
        let failure = Failure::new(kind, message).in_step(step);
        if kind == Kind::OverBudget { failure.retry_after(std::time::Duration::from_secs(3600)) } else { failure }
    };
    let failures = [
        failure(Kind::NotFound, "there is no such object", "extract_content"),
        failure(Kind::Refused, "the content filter declined", "analyze_email"),
        failure(Kind::Authorization, "the function's role may not do this", "extract_content"),
        failure(Kind::Expired, "nobody answered in time", "approve"),
        failure(Kind::OverBudget, "the day's budget is spent", "analyze_email"),
        failure(Kind::Unknown, "", "analyze_email"),
        failure(Kind::Throttled, "", "analyze_email"),
        failure(Kind::Timeout, "", "analyze_email"),
    ];
    failures.map(|failure| Problem::RunFailed(example_run(), failure)).into()
}

/// The answer that another one comes too late for.
pub(crate) fn answered_otherwise() -> Problem {
    let reply = Reply { decision: Decision::Reject, data: Value::Null, by: "Ann".to_owned(), at: example_time() };
    Problem::AnsweredOtherwise(Box::new(reply))
}

/// The run of all examples.
pub(crate) fn example_run() -> RunId {
    RunId::new(example_time(), 0x1234_5678_9abc_def0_1234)
}

/// When it happened.
pub(crate) fn example_time() -> Timestamp {
    Timestamp::from_second(1_767_225_600).unwrap_or_default()
}

/// What a problem comes to as an answer.
fn example(problem: &Problem) -> Value {
    let headers = problem.headers();
    let headers = headers.iter().filter(|(name, _)| *name != header::CONTENT_TYPE);
    let headers: Map<String, Value> = headers
        .map(|(name, value)| (title_case(name.as_str()), Value::from(value.to_str().unwrap_or_default())))
        .collect();
    json!({ "status": problem.status().as_u16(), "title": problem.title(), "headers": headers, "body": problem.body() })
}

/// What can come of any call, with a token or without one.
fn of_any_call(needs_token: bool) -> Vec<Problem> {
    let mut problems = vec![
        Problem::AddressTooLong,
        Problem::HeadersTooLarge,
        Problem::Internal,
        Problem::Unavailable,
        Problem::Forbidden("the caller may not do this"),
    ];
    if needs_token {
        problems.extend([Problem::Unauthenticated, Problem::TokenRefused(Refusal::Expired), Problem::RateLimited(12)]);
    }
    problems
}

/// The contract as a document of OpenAPI 3.1.
pub(crate) fn document(openapi: &utoipa::openapi::OpenApi) -> Value {
    let mut document = json!(openapi);
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["info"]["description"] = json!(ABOUT);
    document["servers"] = json!([{ "url": "/", "description": "Wherever the API is deployed." }]);
    document["components"]["securitySchemes"] = json!({
        "bearer": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "A token of the issuer and for the audience that the deployment names. Members of the group \
                `operators` see everybody's runs; others see their own.",
        },
        "callback_token": {
            "type": "apiKey", "in": "query", "name": "token",
            "description": "The token of one callback, from the link in the mail. It can stand in the body instead.",
        },
    });
    document["components"]["headers"] = headers();
    document["components"]["schemas"]["GatewayMessage"] = json!({
        "type": "object", "required": ["message"],
        "description": "What API Gateway answers by itself, before the API's own code.",
        "properties": { "message": { "type": ["string", "null"] } },
    });
    refine(&mut document["components"]["schemas"]);
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for operation in paths.flat_map(|item| item.as_object_mut().into_iter().flat_map(Map::values_mut)) {
        describe(operation);
        finish(operation);
        link(operation);
    }
    without_links(&mut document);
    document
}

/// Makes a handler's comment into a summary, its first sentence, and a description, the rest.
fn describe(operation: &mut Value) {
    let said = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
    let whole = format!("{} {}", said("summary"), said("description"));
    // What stands before is the method and the path, which the document has.
    let whole = if whole.starts_with('`') { whole.split_once(": ").map_or("", |(_, rest)| rest) } else { &whole };
    let (summary, rest) = whole.trim().split_once(". ").unwrap_or((whole.trim().trim_end_matches('.'), ""));
    let mut letters = summary.chars();
    let summary = letters.next().map(|first| first.to_uppercase().to_string() + letters.as_str()).unwrap_or_default();
    operation["summary"] = json!(summary);
    if let (false, Some(operation)) = (rest.is_empty(), operation.as_object_mut()) {
        operation.insert("description".to_owned(), json!(rest.trim()));
    }
}

/// Takes the links of the code's own documentation out of descriptions: here they lead nowhere.
fn without_links(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(description)) = fields.get_mut("description") {
                *description = description.replace("[`", "`").replace("`]", "`");
            }
            fields.values_mut().for_each(without_links);
        }
        Value::Array(items) => items.iter_mut().for_each(without_links),
        _ => {}
    }
}

/// Says where an answer leads: the run that it names can be looked at, stopped and repeated.
fn link(operation: &mut Value) {
    let run = match operation["operationId"].as_str() {
        Some("process" | "retry") => "$response.body#/run_id",
        _ => return,
    };
    let leads_to = |id: &str| (id.to_owned(), json!({ "operationId": id, "parameters": { "id": run } }));
    let links: Map<String, Value> = ["show_run", "show_report", "cancel", "retry"].map(leads_to).into_iter().collect();
    for (status, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
        if status.starts_with('2') {
            answer["links"] = json!(links);
        }
    }
}

/// Says what the types cannot: what a variant of one text looks like, and that exactly one of three fields is there.
fn refine(schemas: &mut Value) {
    schemas["FileSource"]["oneOf"][0]["pattern"] = json!("^s3://[^/]+/.+$");
    schemas["CriterionInput"]["oneOf"][0]["minLength"] = json!(1);
    schemas["CriterionInput"]["oneOf"][0]["maxLength"] = json!(2000);
    schemas["AnswerForm"]["patternProperties"] = json!({ "^edit\\.": { "type": "string" } });
    schemas["AnswerForm"]["additionalProperties"] = json!(false);
    // What is too large for an answer is laid down elsewhere.
    let reviewed = &mut schemas["Reviewed"];
    for field in ["findings", "report"] {
        if let Some(required) = reviewed["required"].as_array_mut() {
            required.retain(|name| name != field);
        }
        reviewed["properties"][format!("{field}_url")] = json!({ "type": "string" });
        reviewed["properties"][format!("{field}_expires_at")] = json!({ "type": "string", "format": "date-time" });
    }
    let there = |name: &str, kind: &str| json!({ "required": [name], "properties": { name: { "type": kind } } });
    let mut content = there("content", "string");
    content["required"] = json!(["content", "from"]);
    content["properties"]["from"] = json!({ "type": "string" });
    schemas["EmailInput"]["oneOf"] = json!([content, there("raw", "string"), there("s3", "object")]);
}

/// Header fields of answers that several operations have.
fn headers() -> Value {
    let text = |description: &str, example: &str| json!({ "description": description, "schema": { "type": "string" }, "example": example });
    let seconds = |description: &str, example: u64| json!({ "description": description, "schema": { "type": "integer", "minimum": 0 }, "example": example });
    json!({
        "Cache-Status": text("Whether a former run answers (RFC 9211).", "ihelper; hit; ttl=3542"),
        "Idempotency-Replayed": text("`true` when this is the answer to a former request.", "true"),
        "RateLimit": text("What is left of the caller's calls, and for how long.", "\"calls\";r=0;t=12"),
        "RateLimit-Policy": text("How many calls a caller has, and in what time.", "\"calls\";q=600;w=60"),
        "Location": text("Where the run can be looked at.", &crate::answer::location_of(example_run())),
        "Retry-After": seconds("Seconds to wait before the next try.", 5),
        "WWW-Authenticate": text("How to authenticate (RFC 6750).", "Bearer"),
        "Allow": text("The methods that the path has.", "GET,HEAD"),
    })
}

/// Puts the noted problems among an operation's answers, by status.
fn finish(operation: &mut Value) {
    let noted = operation.as_object_mut().and_then(|operation| operation.remove(PROBLEMS));
    let noted: Vec<Value> = noted.and_then(|noted| noted.as_array().cloned()).unwrap_or_default();
    let on_pages = noted.iter().any(|noted| noted["pages"] == true);
    let needs_token = operation["security"][0].get("bearer").is_some();
    let common = of_any_call(needs_token);
    let mut by_status: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    let told = noted.into_iter().filter_map(|mut noted| noted.get_mut("json").map(Value::take));
    for problem in told.chain(common.iter().map(example)) {
        by_status.entry(problem["status"].as_u64().unwrap_or_default()).or_default().push(problem);
    }
    let of_gateway = OF_GATEWAY.into_iter().filter(|status| needs_token || !matches!(status, 401 | 403));
    for status in of_gateway {
        by_status.entry(status).or_default();
    }
    for (status, problems) in by_status {
        operation["responses"][status.to_string()] = answer_of(status, &problems, on_pages);
    }
    if operation["operationId"] == "process" {
        // Also what went wrong may have gone wrong before.
        let answers = operation["responses"].as_object_mut();
        for answer in answers.into_iter().flat_map(Map::values_mut) {
            for name in ["Cache-Status", "Idempotency-Replayed"] {
                answer["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
            }
        }
    }
    // A body may be left out, but it is not `null`.
    let contents = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut);
    for content in contents.into_iter().flat_map(Map::values_mut) {
        if content.pointer("/schema/oneOf/1/type").is_some_and(|other| other == "null") {
            content["schema"] = content["schema"]["oneOf"][0].take();
        }
    }
}

const TOO_MANY_CALLS: u64 = 429;

// What API Gateway answers by itself for a route of ours: no form of HTTP, no token, too many calls, an answer that it
// could not make anything of, no function to be had, no answer in 30 s.
const OF_GATEWAY: [u64; 7] = [400, 401, 403, 429, 500, 503, 504];

fn answer_of(status: u64, problems: &[Value], on_pages: bool) -> Value {
    let mut content = Map::new();
    let mut fields = Map::new();
    let mut titles: Vec<&str> = Vec::new();
    let mut types: Vec<&str> = Vec::new();
    let mut examples = Map::new();
    for problem in problems {
        let title = problem["title"].as_str().unwrap_or_default();
        let kind = problem["body"]["type"].as_str().unwrap_or_default();
        if !titles.contains(&title) {
            titles.push(title);
        }
        if !types.contains(&kind) {
            types.push(kind);
        }
        let name = kind.rsplit(':').next().unwrap_or_default();
        let name = (1..).map(|number: u32| if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
        if let Some(free) = name.into_iter().find(|name| !examples.contains_key(name)) {
            examples.insert(free, json!({ "value": problem["body"] }));
        }
        for name in problem["headers"].as_object().into_iter().flat_map(Map::keys) {
            fields.insert(name.clone(), json!({ "$ref": format!("#/components/headers/{name}") }));
        }
    }
    if !problems.is_empty() {
        let schema = json!({ "allOf": [
            { "$ref": format!("#/components/schemas/{}", problem::Body::name()) },
            { "properties": { "type": { "enum": types }, "status": { "const": status } } },
        ] });
        content.insert(PROBLEM_JSON.to_owned(), json!({ "schema": schema, "examples": examples }));
        if on_pages {
            content.insert(HTML.to_owned(), json!({ "schema": { "type": "string" } }));
        }
    }
    if OF_GATEWAY.contains(&status) {
        titles.push("API Gateway's own answer");
        let schema = json!({ "$ref": "#/components/schemas/GatewayMessage" });
        let code = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let message = code.and_then(|code| code.canonical_reason());
        content.insert(JSON.to_owned(), json!({ "schema": schema, "example": { "message": message } }));
    }
    if status == TOO_MANY_CALLS {
        for name in ["Retry-After", "RateLimit", "RateLimit-Policy"] {
            fields.insert(name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
        }
    }
    let mut answer = json!({ "description": format!("{}.", titles.join("; ")), "content": content });
    if !fields.is_empty() {
        answer["headers"] = Value::Object(fields);
    }
    answer
}

fn title_case(name: &str) -> String {
    match name {
        "ratelimit" => return "RateLimit".to_owned(),
        "ratelimit-policy" => return "RateLimit-Policy".to_owned(),
        "www-authenticate" => return "WWW-Authenticate".to_owned(),
        _ => {}
    }
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    });
    words.collect::<Vec<_>>().join("-")
}

/// The document that is committed, without its white space. Making it anew would carry half a megabyte of code and take
/// longer than all the rest of a start.
const COMMITTED: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// The document, for whoever asks.
pub(crate) async fn show() -> Response {
    let headers: HeaderMap = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(JSON)),
        // It changes with a deployment, and may be an hour behind it.
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    ]);
    (StatusCode::OK, headers, COMMITTED).into_response()
}
