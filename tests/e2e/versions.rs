//! Versions of definitions: made current, used by runs, taken back, and pushed from the repository's files. Only here, on
//! the bundle that other tests leave alone, tasks go by another definition than the one that is built in.

use std::process::Command;

use serde_json::{Value, json};

use crate::bundle::{Bundle, OUTPUTS, unique};

const TASK: &str = "/workflow/definitions/task_automation";
const BUILT_IN: &str = include_str!("../../infra/definitions/task_automation.yaml");

/// The definition that is built in, with a plan that leaves this mark.
fn marked(mark: &str) -> String {
    let (definition, _) = BUILT_IN.split_once("golden_cases:").unwrap();
    format!(
        "{definition}
plan:
  steps:
    - {{ id: mark, tool: set_record, arguments: {{ name: mark, value: {mark} }} }}
golden_cases:
  - {{ name: it is marked, data: {{ id: golden, description: Mark it. }}, expect: {{ /steps/0/output/value: {mark} }} }}
"
    )
}

/// A run on the version that is current, however it is reached: processes hear of it within seconds.
async fn run_on_version(bundle: &Bundle, trigger: &str, version: u64) -> Value {
    bundle
        .wait(&format!("a run by {trigger} on version {version}"), async || {
            let id = unique(trigger);
            let body = json!({"type": "task_automation", "data": {"id": id, "description": "Mark it."}});
            if trigger == "api" {
                bundle.post("/workflow/process", &[], &body).await;
            } else {
                bundle.send_message("task_automation", &body.to_string()).await;
            }
            let run = bundle.run_on("task_automation", &id).await;
            assert_eq!(run["status"], "succeeded", "{run}");
            (run["definition_version"] == version).then_some(run)
        })
        .await
}

async fn put(bundle: &Bundle, if_match: &str, yaml: String) -> crate::bundle::Answer {
    bundle.change("PUT", &format!("{TASK}?reason=a%20test"), if_match, "application/yaml", yaml).await
}

fn push() -> (bool, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/local/definitions.py");
    let pushed = Command::new("python3").arg(script).env(OUTPUTS, Bundle::other_outputs()).output().unwrap();
    (pushed.status.success(), String::from_utf8_lossy(&[pushed.stdout, pushed.stderr].concat()).into_owned())
}

#[tokio::test]
async fn a_new_version_is_used_by_runs_refused_when_bad_taken_back_and_pushed_from_the_repository() {
    let bundle = Bundle::connect_to_other();
    let fresh = bundle.get(TASK).await;
    assert_eq!((fresh.status, fresh.etag.as_deref(), &fresh.body["version"]), (200, Some("\"r0\""), &json!(1)));
    let before = run_on_version(&bundle, "api", 1).await;
    assert_eq!(before["result"]["steps"][0]["id"], "step_1", "an assistant planned it");

    let made = put(&bundle, "\"r0\"", marked("second")).await;
    assert_eq!(
        (made.status, &made.body["version"], made.etag.as_deref()),
        (200, &json!(2), Some("\"r1\"")),
        "{}",
        made.body
    );
    for trigger in ["api", "queue"] {
        let run = run_on_version(&bundle, trigger, 2).await;
        assert_eq!(run["result"]["steps"][0]["output"]["value"], "second", "{run}");
    }

    let late = put(&bundle, "\"r0\"", marked("third")).await;
    assert_eq!(late.status, 412, "{}", late.body);
    let broken =
        put(&bundle, "\"r1\"", marked("third").replace("value: third } }\n", "value: '{{ task.title' } }\n")).await;
    assert_eq!((broken.status, &broken.body["errors"][0]["field"]), (422, &json!("plan.mark")), "{}", broken.body);
    let wrong = put(&bundle, "\"r1\"", marked("third").replace("/steps/0/output/value: third", "/status: never")).await;
    assert_eq!((wrong.status, &wrong.body["errors"][0]["field"]), (422, &json!("golden_cases[0].expect./status")));
    let shown = bundle.get(TASK).await;
    assert_eq!((shown.etag.as_deref(), &shown.body["version"]), (Some("\"r1\""), &json!(2)));

    let back = json!({"version": 1, "reason": "a test"}).to_string();
    let back = bundle.change("POST", &format!("{TASK}/rollback"), "\"r1\"", "application/json", back).await;
    assert_eq!((back.status, back.etag.as_deref()), (200, Some("\"r2\"")), "{}", back.body);
    for trigger in ["api", "queue"] {
        run_on_version(&bundle, trigger, 1).await;
    }
    let history = bundle.get(&format!("{TASK}/versions")).await.body;
    let of = |list: &str, field: &str| -> Vec<Value> {
        history[list].as_array().unwrap().iter().map(|each| each[field].clone()).collect()
    };
    assert_eq!(of("moves", "action"), ["rollback", "update"]);
    assert_eq!(of("versions", "state"), ["rejected", "rejected", "accepted", "accepted"]);
    assert_eq!(of("versions", "author")[2], "user:olga");
    assert_eq!(history["versions"][0]["errors"][0]["field"], "golden_cases[0].expect./status");

    let (succeeded, said) = push();
    assert!(succeeded && said.contains("= task_automation: version 1 says the same"), "{said}");
    assert_eq!(put(&bundle, "*", marked("fourth")).await.status, 200);
    let (succeeded, said) = push();
    assert!(succeeded && said.contains("✓ task_automation: version 6 is current, after version 5"), "{said}");
    assert!(said.contains("/plan") && said.contains("= email_processing: version 1"), "{said}");
    assert_eq!(run_on_version(&bundle, "api", 6).await["result"]["steps"][0]["id"], "step_1");
}
