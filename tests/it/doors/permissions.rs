//! Who may do what: every role, action and resource, by the policies and over HTTP, held to `permissions.txt`.
//!
//! After a change that is meant, `UPDATE_PERMISSIONS=1` writes what is true now.

use std::{fmt::Write as _, fs, sync::Arc};

use api_process::{Door, ROUTES};
use axum::body::Body;
use http::{Request, StatusCode};
use ihelper_adapters::cedar::CedarPermissions;
use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{
    domain::{Run, WorkflowType},
    ports::{Action, Journal as _, Permissions as _, What, Who},
};
use serde_json::{Value, json};

use crate::api::{Front, email, process_in, with_token};

const SCHEMA: &str = include_str!("../../../infra/policies/ihelper.cedarschema");

/// Somebody with their groups; no name is nobody.
struct Role {
    shown: &'static str,
    subject: Option<&'static str>,
    groups: &'static [&'static str],
}

const ROLES: [Role; 6] = [
    Role { shown: "nobody", subject: None, groups: &[] },
    // Whose the run is.
    Role { shown: "owner", subject: Some("alice"), groups: &[] },
    Role { shown: "user", subject: Some("bob"), groups: &[] },
    Role { shown: "staff", subject: Some("carol"), groups: &["staff"] },
    // Nearly one; and one who is called so.
    Role { shown: "ex-op.", subject: Some("operators"), groups: &["ex operators", "Operators", "operators "] },
    Role { shown: "operator", subject: Some("olga"), groups: &["staff", "operators"] },
];

/// A run with this caller, of a workflow.
async fn run_of(caller: &str) -> Run {
    let tester = WorkflowTester::new();
    let run = tester.execute("task_automation", json!({"id": "t", "description": "Tidy up."})).await.unwrap();
    let (mut run, _) = tester.journal.find(run.id).await.unwrap().unwrap();
    run.origin.caller = caller.to_owned();
    run
}

async fn by_policy() -> String {
    let permissions = CedarPermissions::embedded();
    let runs = [
        ("the owner's run", run_of("user:alice").await),
        ("another's run", run_of("user:dave").await),
        ("a queue's run", run_of("queue").await),
        // No subject makes a run of others one's own.
        ("a run's run", run_of("run:operators").await),
    ];
    let whats = [("the bundle".to_owned(), What::Bundle)]
        .into_iter()
        .chain(WorkflowType::ALL.map(|workflow| (workflow.name().to_owned(), What::Workflow(workflow))))
        .chain(runs.iter().map(|(shown, run)| ((*shown).to_owned(), What::Run(run))));
    let whats: Vec<(String, What<'_>)> = whats.collect();
    let mut table = heading("action", "on");
    for action in Action::ALL {
        for (shown, what) in &whats {
            let cells = ROLES.map(|role| {
                let groups: Vec<String> = role.groups.iter().map(|group| (*group).to_owned()).collect();
                let who = role.subject.map_or(Who::Anonymous, |subject| Who::User { subject, groups: &groups });
                if permissions.allows(who, *action, *what) { "yes" } else { "-" }
            });
            // What nobody may do to it is none of its actions.
            if cells.contains(&"yes") {
                row(&mut table, action.name(), shown, &cells);
            }
        }
    }
    table
}

fn heading(first: &str, second: &str) -> String {
    let mut table = String::new();
    row(&mut table, first, second, &ROLES.map(|role| role.shown));
    table
}

fn row(table: &mut String, first: &str, second: &str, cells: &[&str; ROLES.len()]) {
    let mut line = format!("{first:<24}{second:<42}");
    for cell in cells {
        write!(line, "{cell:<10}").unwrap();
    }
    table.push_str(line.trim_end());
    table.push('\n');
}

/// Sends the route's request for this role to an API on which a run of the owner's has ended.
async fn answer(method: &str, path: &str, body: Option<&Value>, role: &Role) -> StatusCode {
    let front = Front::new();
    let document = json!({"type": "document_review", "data": {"id": "d", "file": {"text": "The price is EUR 5."},
        "review_criteria": ["names a price"]}});
    let made = front.send(process_in("alice", "", document.to_string())).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let path = path.replace("{id}", &made.run_id().to_string()).replace("{name}", "step_1");
    let path = path.replace("{type}", "email_processing");
    let mut request = Request::builder().method(method).uri(path);
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(body.map_or(Body::empty(), |body| Body::from(body.to_string()))).unwrap();
    let served = front.send(match role.subject {
        Some(subject) => with_token(request, subject, &role.groups.join(",")),
        None => request,
    });
    served.await.status
}

/// What is sent to a route, so that whoever may gets an answer that others do not.
fn requests_of(method: &str, path: &str) -> Vec<(String, Option<Value>)> {
    let chosen = json!({"type": "email_processing", "ids": ["x"]});
    let stored = json!({"type": "document_review", "data": {"id": "d", "file": "s3://documents/documents/d.pdf",
        "review_criteria": ["names a price"]}});
    let one = |query: &str, body: Option<Value>| vec![(format!("{path}{query}"), body)];
    match (method, path) {
        ("POST", "/workflow/process") => vec![(path.to_owned(), Some(email())), (path.to_owned(), Some(stored))],
        ("GET", "/workflow/dead-letters") => one("?type=email_processing", None),
        ("POST", "/workflow/dead-letters/redrive" | "/workflow/dead-letters/discard") => one("", Some(chosen)),
        ("POST", "/workflow/uploads") => one("", Some(json!({"bytes": 10}))),
        ("PUT", "/workflow/definitions/{type}") => one("", Some(json!({}))),
        ("POST", "/workflow/definitions/{type}/rollback") => one("", Some(json!({"version": 1}))),
        ("POST", "/workflow/definitions/{type}/canary") => one("", Some(json!({"action": "abort"}))),
        ("GET", "/workflow/definitions/{type}/diff") => one("?from=1&to=1", None),
        ("POST", "/workflow/runs/{id}/settle") => one("", Some(json!({"step": "x", "outcome": "happened"}))),
        ("POST", "/workflow/runs/{id}/callbacks/{name}") => one("?token=x", Some(json!({"decision": "approve"}))),
        (
            "GET",
            "/health"
            | "/openapi.json"
            | "/workflow/definitions/{type}"
            | "/workflow/definitions/{type}/versions"
            | "/workflow/runs"
            | "/workflow/usage"
            | "/workflow/runs/{id}"
            | "/workflow/runs/{id}/report"
            | "/workflow/runs/{id}/callbacks/{name}",
        )
        | ("POST", "/workflow/runs/{id}/cancel" | "/workflow/runs/{id}/retry") => one("", None),
        _ => panic!("say here what is sent to `{method} {path}`, so that its row is known"),
    }
}

async fn by_http() -> String {
    let mut table = heading("method", "path");
    for (method, path, ..) in ROUTES {
        for (number, (address, body)) in requests_of(method, path).into_iter().enumerate() {
            let mut statuses = Vec::new();
            for role in &ROLES {
                statuses.push(answer(method, &address, body.as_ref(), role).await.as_u16().to_string());
            }
            let shown = if number == 0 { (*path).to_owned() } else { format!("{path} of a stored object") };
            let cells: [&str; ROLES.len()] = std::array::from_fn(|index| statuses[index].as_str());
            row(&mut table, method, &shown, &cells);
        }
    }
    table
}

#[tokio::test]
async fn every_role_may_do_to_everything_what_is_written_down_and_no_more() {
    let found = format!(
        "Who may do what, by the policies. What is not listed nobody may.\n\n{}\n\
         What the API answers to a request about a run of the owner's that has ended. 404 says of a run that it does \
         not exist;\n409 and 422 come after the permission.\n\n{}",
        by_policy().await,
        by_http().await
    );
    let path = format!("{}/doors/permissions.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_PERMISSIONS").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<String> = found
        .lines()
        .filter(|line| !committed.lines().any(|known| known == *line))
        .map(|line| format!("+ {line}"))
        .chain(committed.lines().filter(|line| !found.lines().any(|now| now == *line)).map(|line| format!("- {line}")))
        .collect();
    assert!(changed.is_empty() && found == committed, "permissions.txt says otherwise:\n{}", changed.join("\n"));
}

#[test]
fn a_door_without_a_token_is_one_that_nobody_in_particular_may_open() {
    let permissions = CedarPermissions::embedded();
    for (method, path, door) in ROUTES {
        let (action, is_open) = match door {
            Door::Open(action) => (*action, true),
            Door::Token(action) => (*action, false),
            Door::Missing => continue,
        };
        assert_eq!(permissions.allows(Who::Anonymous, action, What::Bundle), is_open, "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_said_of_anothers_run_is_what_is_said_of_one_that_does_not_exist() {
    let front = Front::new();
    let run = front.post(&email()).await.run_id();
    let nowhere = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let settle = json!({"step": "send_response", "outcome": "not_happened"});
    for group in ["staff", "ex operators", ""] {
        for what in ["", "/report"] {
            let [theirs, none] = [run.to_string(), nowhere.to_owned()].map(|id| format!("/workflow/runs/{id}{what}"));
            let (theirs, none) = (front.get("bob", group, &theirs).await, front.get("bob", group, &none).await);
            assert_eq!((theirs.status, &theirs.text), (StatusCode::NOT_FOUND, &none.text), "{what}");
        }
        for (what, body, expected) in [
            ("cancel", &json!({}), StatusCode::NOT_FOUND),
            ("retry", &json!({"repeat_effects": true}), StatusCode::NOT_FOUND),
            ("settle", &settle, StatusCode::FORBIDDEN),
        ] {
            let [theirs, none] = [run.to_string(), nowhere.to_owned()].map(|id| format!("/workflow/runs/{id}/{what}"));
            let theirs = front.post_to("bob", group, &theirs, body).await;
            let none = front.post_to("bob", group, &none, body).await;
            assert_eq!((theirs.status, &theirs.text), (expected, &none.text), "{what}");
        }
        let listed = front.get("bob", group, "/workflow/runs").await.body;
        assert_eq!(listed["runs"], json!([]), "{listed}");
    }
    let (run, _) = front.tester.journal.find(run).await.unwrap().unwrap();
    assert_eq!(run.status, ihelper_workflow::domain::Status::Succeeded, "nobody changed it");
}

#[tokio::test]
async fn a_policy_may_keep_a_workflow_to_a_group() {
    let policies = r#"
        permit (principal in Ihelper::Group::"lawyers", action == Ihelper::Action::"StartRun",
          resource == Ihelper::Workflow::"email_processing");
        permit (principal in Ihelper::Group::"lawyers", action == Ihelper::Action::"ListEveryonesRuns",
          resource == Ihelper::Workflow::"email_processing");
    "#;
    let front = Front::changed(Arc::new(WorkflowTester::new()), |api| {
        api.permissions = Arc::new(CedarPermissions::parse(SCHEMA, policies).unwrap());
    });
    let start = async |groups| front.send(process_in("alice", groups, email().to_string())).await.status;
    assert_eq!((start("lawyers").await, start("staff").await), (StatusCode::OK, StatusCode::FORBIDDEN));
    let list = async |query| front.get("bob", "lawyers", &format!("/workflow/runs{query}")).await;
    assert_eq!(list("?type=email_processing").await.body["runs"].as_array().unwrap().len(), 1);
    for query in ["", "?type=document_review"] {
        assert_eq!(list(query).await.status, StatusCode::FORBIDDEN, "{query}");
    }
}

#[tokio::test]
async fn the_policies_of_the_guidelines_do_what_they_are_shown_for() {
    let guidelines = include_str!("../../../docs/security-guidelines.md");
    let shown: String = guidelines.split("```cedar").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let permissions = CedarPermissions::parse(SCHEMA, &shown).unwrap();
    let may = |groups: &[&str], action, what: What<'_>| {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        permissions.allows(Who::User { subject: "bob", groups: &groups }, action, what)
    };
    let review = What::Workflow(WorkflowType::DocumentReview);
    assert!(may(&["lawyers"], Action::StartRun, review) && !may(&["staff"], Action::StartRun, review));
    assert!(may(&["staff"], Action::StartRun, What::Workflow(WorkflowType::EmailProcessing)));
    assert!(may(&["staff"], Action::Upload, What::Bundle));
    let run = run_of("user:alice").await;
    assert!(may(&["auditors"], Action::ViewRun, What::Run(&run)) && !may(&["staff"], Action::ViewRun, What::Run(&run)));
    assert!(!may(&["auditors"], Action::RetryRun, What::Run(&run)));
}

#[tokio::test]
async fn a_policy_that_breaks_lets_nobody_in() {
    let policies = r#"
        permit (principal, action, resource);
        forbid (principal, action == Ihelper::Action::"ViewRun", resource) when { 9223372036854775807 + 1 == 0 };
    "#;
    let permissions = CedarPermissions::parse(SCHEMA, policies).unwrap();
    let run = run_of("user:alice").await;
    let alice = Who::User { subject: "alice", groups: &[] };
    assert!(!permissions.allows(alice, Action::ViewRun, What::Run(&run)));
    assert!(permissions.allows(alice, Action::CancelRun, What::Run(&run)), "the others stand");
}

#[test]
fn policies_that_do_not_fit_are_refused_with_their_place() {
    for (policies, expected) in [
        ("permit (principal, action, resource)", "policies"),
        (r#"permit (principal, action == Ihelper::Action::"Fly", resource);"#, "Fly"),
        (r#"permit (principal in Ihelper::Team::"x", action, resource);"#, "Team"),
        (r"permit (principal, action, resource) when { resource.owner == principal };", "owner"),
    ] {
        let problem = CedarPermissions::parse(SCHEMA, policies).unwrap_err().to_string();
        assert!(problem.contains(expected), "{problem}");
    }
    assert!(CedarPermissions::parse("entity", "").unwrap_err().to_string().contains("schema"));
}
