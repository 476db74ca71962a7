//! template.yaml and its nested templates say nothing that infra/workflow_config.yaml does not.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use api_process::{Door, ROUTES};
use ihelper_runtime::{
    extract::Limits,
    settings::{Observation, Settings},
};
use ihelper_workflow::{domain::WorkflowType, embedded};
use serde_json::Value;

fn template(path: &str) -> Value {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn logical_prefix(workflow: WorkflowType) -> &'static str {
    match workflow {
        WorkflowType::EmailProcessing => "Email",
        WorkflowType::DocumentReview => "Document",
        WorkflowType::TaskAutomation => "Task",
    }
}

fn number(value: &Value, pointer: &str) -> u64 {
    let found = value.pointer(pointer).unwrap_or_else(|| panic!("the template has nothing at {pointer}"));
    found
        .as_u64()
        .or_else(|| found.as_str().and_then(|text| text.parse().ok()))
        .unwrap_or_else(|| panic!("{pointer} is {found}, not a number"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("the template has no text at {pointer}"))
}

#[test]
fn queues_are_named_and_timed_by_the_configuration() {
    let configuration = embedded::configuration().unwrap();
    let queues = template("infra/templates/queues.yaml");
    for workflow in WorkflowType::ALL {
        let settings = configuration.of(workflow);
        let (queue, dead_letters) = (
            format!("/Resources/{}Queue/Properties", logical_prefix(workflow)),
            format!("/Resources/{}DeadLetterQueue/Properties", logical_prefix(workflow)),
        );
        assert_eq!(text(&queues, &format!("{queue}/QueueName")), format!("${{StackName}}-{}", settings.queue));
        assert_eq!(
            text(&queues, &format!("{dead_letters}/QueueName")),
            format!("${{StackName}}-{}-dlq", settings.queue)
        );
        let visibility = number(&queues, &format!("{queue}/VisibilityTimeout"));
        assert!(visibility >= 6 * u64::from(settings.timeout), "{workflow}: visibility {visibility} s is too short");
        let receives = number(&queues, &format!("{queue}/RedrivePolicy/maxReceiveCount"));
        let least = 2 * u64::from(settings.retry.max_attempts) + 4;
        assert!(receives >= least, "{workflow}: maxReceiveCount {receives} would cut retries short");
        assert!(receives <= 1000 && visibility <= 43_200, "{workflow}: beyond what SQS allows");
    }
}

#[test]
fn consumers_are_timed_and_bounded_by_the_configuration() {
    let configuration = embedded::configuration().unwrap();
    let root = template("template.yaml");
    for workflow in WorkflowType::ALL {
        let settings = configuration.of(workflow);
        let function = format!("/Resources/{}ConsumerFunction/Properties", logical_prefix(workflow));
        let source = format!("{function}/Events/Queue/Properties");
        assert_eq!(number(&root, &format!("{function}/Timeout")), u64::from(settings.timeout), "{workflow}");
        let own = number(&root, &format!("{function}/Environment/Variables/MESSAGE_CONCURRENCY"));
        let instances = number(&root, &format!("{source}/ScalingConfig/MaximumConcurrency"));
        assert_eq!(instances * own, u64::from(settings.concurrent_limit), "{workflow}: {instances} × {own}");
        // Where concurrency is reserved, neither more than the queue asks for nor less.
        assert_eq!(number(&root, &format!("{function}/ReservedConcurrentExecutions/1")), instances, "{workflow}");
        let batch = number(&root, &format!("{source}/BatchSize"));
        assert!(
            batch <= own,
            "{workflow}: messages beyond {own} of a batch of {batch} would wait inside the invocation"
        );
        assert_eq!(text(&root, &format!("{source}/FunctionResponseTypes/0")), "ReportBatchItemFailures", "{workflow}");
    }
}

#[test]
fn the_function_that_reads_documents_has_room_for_them_and_for_their_readers() {
    let root = template("template.yaml");
    let limits = Limits::default();
    let property = |name| number(&root, &format!("/Resources/DocumentConsumerFunction/Properties/{name}"));
    let documents = property("Environment/Variables/MESSAGE_CONCURRENCY");
    let memory_bytes = property("MemorySize") << 20;
    let children = documents.min(limits.max_children as u64);
    // A file that comes in the data itself is held as that, as JSON, as base64 and as what it is.
    let most_bytes = documents * 4 * limits.max_bytes as u64 + children * limits.max_memory_bytes;
    assert!(most_bytes <= memory_bytes, "{most_bytes} of {memory_bytes} bytes");
}

#[test]
fn every_alarm_names_a_section_of_the_runbook() {
    let runbook = include_str!("../../docs/runbook.md");
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    let sections: BTreeSet<String> = headings.map(|heading| heading.to_lowercase().replace(' ', "-")).collect();
    let alarms = template("infra/templates/alarms.yaml");
    let alarms: Vec<&Value> = alarms["Resources"].as_object().unwrap().values().collect();
    assert!(!alarms.is_empty());
    for alarm in alarms {
        let description = text(alarm, "/Properties/AlarmDescription");
        let section = description.rsplit_once("docs/runbook.md#").map(|(_, section)| section);
        assert!(section.is_some_and(|section| sections.contains(section)), "{description}");
    }
}

#[test]
fn the_dashboard_shows_every_alarm_every_queue_and_every_function() {
    let dashboard = template("infra/templates/dashboard.yaml");
    let body = text(&dashboard, "/Resources/Dashboard/Properties/DashboardBody");
    let parsed: Value = serde_json::from_str(body).unwrap();
    assert!(parsed["widgets"].as_array().unwrap().len() > 5);
    let names = |path: &str, kind: &str, property: &str| -> Vec<String> {
        let template = template(path);
        let resources = template["Resources"].as_object().unwrap().values();
        let named = resources.filter(|resource| resource["Type"] == kind);
        named
            .map(|resource| text(resource, &format!("/Properties/{property}")).replace("AWS::StackName", "StackName"))
            .collect()
    };
    let shown = [
        ("infra/templates/alarms.yaml", "AWS::CloudWatch::Alarm", "AlarmName"),
        ("infra/templates/queues.yaml", "AWS::SQS::Queue", "QueueName"),
        ("template.yaml", "AWS::Serverless::Function", "FunctionName"),
    ];
    for (path, kind, property) in shown {
        let names = names(path, kind, property);
        assert!(!names.is_empty(), "{kind}");
        for name in names {
            assert!(body.contains(&format!("{name}\"")), "{name} is not on the dashboard");
        }
    }
}

#[test]
fn whatever_keeps_something_can_be_encrypted_with_the_bundles_own_key() {
    let key_of = [
        ("AWS::DynamoDB::Table", "/SSESpecification/KMSMasterKeyId"),
        (
            "AWS::S3::Bucket",
            "/BucketEncryption/ServerSideEncryptionConfiguration/0/ServerSideEncryptionByDefault/KMSMasterKeyID",
        ),
        ("AWS::SQS::Queue", "/KmsMasterKeyId"),
        ("AWS::Logs::LogGroup", "/KmsKeyId"),
        ("AWS::Events::EventBus", "/KmsKeyIdentifier"),
    ];
    let mut kept = 0;
    for path in ["template.yaml", "infra/templates/data.yaml", "infra/templates/queues.yaml"] {
        for (name, resource) in template(path)["Resources"].as_object().unwrap() {
            let Some((_, place)) = key_of.iter().find(|(kind, _)| resource["Type"] == *kind) else { continue };
            let key = resource["Properties"].pointer(place).unwrap_or_else(|| panic!("{name} has no key"));
            assert_eq!(key[0], "HasKey", "{name}");
            kept += 1;
        }
    }
    // The table, three buckets, seven queues, six log groups and the bus.
    assert_eq!(kept, 18);
}

#[test]
fn every_setting_that_functions_need_is_in_the_template() {
    let root = template("template.yaml");
    let globals = root.pointer("/Globals/Function/Environment/Variables").and_then(Value::as_object).unwrap();
    // What Lambda itself sets for every function.
    let of_lambda = ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let missing = Settings::read(|name| {
        (of_lambda.contains(&name) || globals.contains_key(name)).then(|| match name {
            "LEASE_SECONDS" => "60".to_owned(),
            "AUTH_MODE" => "authorizer".to_owned(),
            "JWT_ISSUER" => "https://issuer.example".to_owned(),
            "RATE_LIMIT_REQUESTS" | "RATE_LIMIT_SECONDS" => "60".to_owned(),
            "PUBLIC_URL" => text(&root, "/Parameters/PublicUrl/Default").to_owned(),
            _ => "set".to_owned(),
        })
    });
    assert!(missing.is_ok(), "{}", missing.unwrap_err());
}

#[test]
fn every_variable_of_the_template_is_read() {
    let root = template("template.yaml");
    let globals = root.pointer("/Globals/Function/Environment/Variables").and_then(Value::as_object).unwrap();
    let read = RefCell::new(BTreeSet::new());
    drop(Settings::read(|name| {
        read.borrow_mut().insert(name.to_owned());
        None
    }));
    drop(Observation::read(|name| {
        read.borrow_mut().insert(name.to_owned());
        None
    }));
    // The key of a model is read where the configuration names it.
    read.borrow_mut().insert("MODEL_KEY".to_owned());
    let unread: Vec<&String> = globals.keys().filter(|name| !read.borrow().contains(*name)).collect();
    assert!(unread.is_empty(), "{unread:?}");
}

/// Method and path, with whether a token is asked for.
fn routes() -> BTreeMap<(String, String), bool> {
    let root = template("template.yaml");
    let events = root.pointer("/Resources/ApiProcessFunction/Properties/Events").and_then(Value::as_object).unwrap();
    events
        .values()
        // The one without a path takes whatever else is called.
        .filter(|event| event.pointer("/Properties/Path").is_some())
        .map(|event| {
            let is_open = event.pointer("/Properties/Auth/Authorizer").is_some_and(|authorizer| authorizer == "NONE");
            let route = (text(event, "/Properties/Method").to_owned(), text(event, "/Properties/Path").to_owned());
            (route, !is_open)
        })
        .collect()
}

#[test]
fn only_what_has_an_authority_of_its_own_is_open_to_everybody() {
    let open: Vec<(String, String)> =
        routes().into_iter().filter(|(_, needs_token)| !needs_token).map(|(route, _)| route).collect();
    let expected = [
        ("GET", "/health"),
        ("GET", "/openapi.json"),
        ("GET", "/workflow/runs/{id}/callbacks/{name}"),
        ("POST", "/workflow/runs/{id}/callbacks/{name}"),
    ];
    assert_eq!(open, expected.map(|(method, path)| (method.to_owned(), path.to_owned())));
    assert_eq!(text(&template("template.yaml"), "/Resources/HttpApi/Properties/Auth/DefaultAuthorizer"), "Jwt");
}

#[test]
fn the_api_is_told_whose_pages_may_call_it_and_by_default_nobodys_may() {
    let root = template("template.yaml");
    let variables = "/Resources/ApiProcessFunction/Properties/Environment/Variables";
    assert_eq!(text(&root, &format!("{variables}/CORS_ORIGINS")), "CorsOrigins");
    assert_eq!(text(&root, "/Parameters/CorsOrigins/Default"), "");
}

/// The lines of a table of the workspace's manifest.
fn manifest(table: &str) -> Vec<String> {
    let path = format!("{}/../../Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(path).unwrap();
    let lines = manifest.lines().skip_while(|line| *line != table).skip(1).take_while(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

#[test]
fn a_panic_over_one_message_leaves_the_others_of_its_batch_alone_in_what_cargo_lambda_builds() {
    // It ends the process in a release where the profile does not say otherwise.
    assert!(manifest("[profile.release]").iter().any(|line| line == "panic = \"unwind\""));
}

#[test]
fn the_api_is_watched_at_the_paths_of_the_template() {
    let router = manifest("[workspace.metadata.lambda.watch.router]");
    let watched: BTreeSet<&str> =
        router.iter().map(|line| line.strip_suffix(" = \"api-process\"").unwrap().trim_matches('"')).collect();
    let routes = routes();
    let deployed: BTreeSet<&str> = routes.keys().map(|(_, path)| path.as_str()).collect();
    assert_eq!(watched, deployed);
}

#[test]
fn the_api_has_the_routes_of_the_template_and_no_other_and_asks_for_a_token_where_that_does() {
    // The contract has each route that is served, and is itself served beside them.
    let contract = api_process::contract();
    let mut served: BTreeMap<(String, String), bool> = BTreeMap::new();
    for (path, item) in contract["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let needs_token = operation["security"][0].get("bearer").is_some();
            served.insert((method.to_uppercase(), path.clone()), needs_token);
        }
    }
    served.insert(("GET".to_owned(), api_process::CONTRACT_PATH.to_owned()), false);
    assert_eq!(served, routes());
}

#[test]
fn every_route_is_something_to_the_policies_and_asks_for_a_token_where_the_authorizer_does() {
    let known: BTreeMap<(String, String), bool> = ROUTES
        .iter()
        .map(|(method, path, door)| (((*method).to_owned(), (*path).to_owned()), matches!(door, Door::Token(_))))
        .collect();
    assert_eq!(known.len(), ROUTES.len(), "a route is there twice");
    assert_eq!(known, routes());
}

#[test]
fn every_function_of_the_workspace_is_deployed_and_no_other() {
    let root = template("template.yaml");
    let mut deployed: Vec<String> = root["Resources"]
        .as_object()
        .unwrap()
        .values()
        .filter(|resource| resource["Type"] == "AWS::Serverless::Function")
        .map(|resource| text(resource, "/Metadata/BuildProperties/Binary").to_owned())
        .collect();
    deployed.sort();
    let mut folders: Vec<String> = std::fs::read_dir(format!("{}/../../functions", env!("CARGO_MANIFEST_DIR")))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(deployed, folders);
}
