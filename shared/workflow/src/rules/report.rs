//! Reports what was done for a task, in a sentence and as a page of Markdown.
//!
//! Invariant: nothing that came from outside formats the report: it is escaped, on one line and short.
//! Deliberately absent: praise and guesses. What a person still has to do is said to be so.

use std::fmt::Write as _;

use serde_json::Value;

use super::{task, text::one_line};
use crate::domain::task::{StepResult, StepStatus, TaskInput, TaskReport};
use crate::markdown::escaped;

const LONGEST_OUTPUT: usize = 200;

/// Reports what was done.
pub(super) fn report(task: &TaskInput, results: &[StepResult]) -> TaskReport {
    let open: Vec<Open> = open_steps(task, results);
    let summary = summary(results, open.len());
    let title = task.title.as_deref().map(|title| one_line(title, 200)).filter(|title| !title.is_empty());
    let title = title.unwrap_or_else(|| format!("Task {}", one_line(&task.id, 100)));
    let mut markdown = format!("# {}\n\n{summary}\n", escaped(&title));
    if !results.is_empty() {
        markdown.push_str("\n| Step | Tool | Status | Result |\n|---|---|---|---|\n");
        for result in results {
            // Writing to a String cannot fail.
            let _ = writeln!(
                markdown,
                "| {} | {} | {} | {} |",
                escaped(&one_line(name_of(result), 120)),
                escaped(&one_line(&result.tool, 64)),
                match result.status {
                    StepStatus::Done => "done",
                    StepStatus::Skipped => "skipped",
                    StepStatus::Failed => "failed",
                    StepStatus::Planned => "planned",
                },
                escaped(&outcome(result)),
            );
        }
    }
    if !open.is_empty() {
        markdown.push_str("\n## For people to do\n\n");
        for step in &open {
            let _ = writeln!(markdown, "- {}", step.line());
        }
    }
    let dues: Vec<&Open> = open.iter().filter(|step| step.due.is_some()).collect();
    if !dues.is_empty() {
        markdown.push_str("\n## Due\n\n");
        for step in dues {
            let _ =
                writeln!(markdown, "- {}: {}", escaped(step.due.as_deref().unwrap_or_default()), escaped(&step.title));
        }
    }
    TaskReport { summary, markdown }
}

/// A step whose work a person does: it was written down or asked for, not done.
struct Open {
    title: String,
    due: Option<String>,
    assignee: Option<String>,
    priority: Option<String>,
}

impl Open {
    fn line(&self) -> String {
        let mut line = escaped(&self.title);
        let details: Vec<String> = [
            self.assignee.as_deref().map(|name| format!("for {}", escaped(name))),
            self.due.as_deref().map(|due| format!("due {}", escaped(due))),
            self.priority
                .as_deref()
                .filter(|level| *level != "normal")
                .map(|level| format!("{} priority", escaped(level))),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !details.is_empty() {
            let _ = write!(line, " ({})", details.join(", "));
        }
        line
    }
}

fn open_steps(task: &TaskInput, results: &[StepResult]) -> Vec<Open> {
    // What an event carried is not in its result; the task's words say it again, where the step is from them.
    let planned = task::split(task);
    results
        .iter()
        .enumerate()
        .filter(|(_, result)| {
            result.status == StepStatus::Done && matches!(result.tool.as_str(), "set_record" | "publish_event")
        })
        .map(|(index, result)| {
            let own = planned.get(index).filter(|step| result.id == task::id_of(index) && result.title == step.title());
            let record = result.output.get("value").unwrap_or(&result.output);
            let field = |name: &str| record.get(name).and_then(Value::as_str).map(|text| one_line(text, 100));
            Open {
                title: one_line(name_of(result), 120),
                due: field("due").or_else(|| own.and_then(|step| step.due.clone())),
                assignee: field("assignee").or_else(|| own.and_then(|step| step.assignee.clone())),
                priority: field("priority").or_else(|| own.map(|step| step.priority.name().to_owned())),
            }
        })
        .collect()
}

fn name_of(result: &StepResult) -> &str {
    if result.title.trim().is_empty() { &result.id } else { &result.title }
}

fn summary(results: &[StepResult], open: usize) -> String {
    let done = results.iter().filter(|result| result.status == StepStatus::Done).count();
    let count = |status| results.iter().filter(|result| result.status == status).count();
    let (skipped, failed) = (count(StepStatus::Skipped), count(StepStatus::Failed));
    let steps = |count: usize| if count == 1 { "1 step".to_owned() } else { format!("{count} steps") };
    let mut sentence = match (results.len(), done) {
        (0, _) => return "The task had no steps.".to_owned(),
        (all, done) if all == done => format!("{} carried out", steps(all)),
        (all, done) => format!("{done} of {} carried out", steps(all)),
    };
    if failed > 0 {
        let _ = write!(sentence, ", {failed} failed");
    }
    if skipped > 0 {
        let _ = write!(sentence, ", {skipped} skipped");
    }
    match open {
        0 => {}
        1 => sentence.push_str("; 1 is written down or announced for a person to do"),
        more => {
            let _ = write!(sentence, "; {more} are written down or announced for people to do");
        }
    }
    sentence.push('.');
    sentence
}

// What came of a step, in a line.
fn outcome(result: &StepResult) -> String {
    match (result.status, result.tool.as_str()) {
        (StepStatus::Skipped, _) => "not needed: its condition was not met".to_owned(),
        (StepStatus::Planned, _) => "would be carried out".to_owned(),
        (StepStatus::Failed, _) => {
            one_line(result.error.as_ref().map_or("failed", |error| error.message.as_str()), LONGEST_OUTPUT)
        }
        (StepStatus::Done, "set_record") => "on the checklist".to_owned(),
        (StepStatus::Done, "publish_event") => "announced".to_owned(),
        (StepStatus::Done, "wait") => "waited".to_owned(),
        (StepStatus::Done, "request_approval") => match result.output["decision"].as_str() {
            Some("approve") => "approved".to_owned(),
            Some("reject") => "rejected".to_owned(),
            Some("expired") => "nobody decided in time".to_owned(),
            _ => shown(&result.output),
        },
        (StepStatus::Done, _) => match &result.output {
            Value::Object(fields) if fields.len() == 1 && fields.contains_key("answer") => shown(&fields["answer"]),
            other => shown(other),
        },
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => one_line(text, LONGEST_OUTPUT),
        Value::Object(fields) => {
            let parts: Vec<String> = fields
                .iter()
                .take(8)
                .map(|(name, value)| format!("{}: {}", one_line(name, 40), one_line(&plain(value), 80)))
                .collect();
            one_line(&parts.join(", "), LONGEST_OUTPUT)
        }
        other => one_line(&plain(other), LONGEST_OUTPUT),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn task(description: &str) -> TaskInput {
        serde_json::from_value(json!({"id": "t1", "title": "Launch *now*", "description": description})).unwrap()
    }

    fn result(index: usize, title: &str, tool: &str, output: Value) -> StepResult {
        StepResult {
            id: task::id_of(index),
            title: title.to_owned(),
            tool: tool.to_owned(),
            status: StepStatus::Done,
            output,
            error: None,
        }
    }

    #[test]
    fn text_from_outside_cannot_format_the_report() {
        let nasty = "a | b\n# c <script> [x](http://y) `z` **d**";
        let report = report(&task(nasty), &[result(0, nasty, "ask_assistant", json!({"answer": nasty}))]);
        let row = report.markdown.lines().find(|line| line.starts_with("| a")).unwrap();
        assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
        assert!(
            !report.markdown.contains("<script>")
                && !report.markdown.contains("[x](")
                && !report.markdown.contains("\n# c")
        );
        assert!(report.markdown.starts_with("# Launch \\*now\\*\n"));
    }

    #[test]
    fn what_people_still_have_to_do_is_said_with_its_due_date() {
        let task = task("1. Call the bank by 2025-03-14\n2. Notify the team");
        let results = [
            result(
                0,
                "Call the bank by 2025-03-14",
                "set_record",
                json!({
                    "record": "step_1",
                    "value": {"due": "2025-03-14", "assignee": "Anna", "priority": "high"},
                }),
            ),
            result(1, "Notify the team", "publish_event", json!({"published": "task_step_requested"})),
            StepResult { status: StepStatus::Skipped, ..result(2, "Celebrate", "wait", Value::Null) },
        ];
        let report = report(&task, &results);
        assert_eq!(
            report.summary,
            "2 of 3 steps carried out, 1 skipped; 2 are written down or announced for people to do."
        );
        assert!(report.markdown.contains("- Call the bank by 2025-03-14 (for Anna, due 2025-03-14, high priority)"));
        assert!(report.markdown.contains("## Due\n\n- 2025-03-14: Call the bank"));
        assert!(report.markdown.contains("| Celebrate | wait | skipped |"));
    }

    #[test]
    fn a_task_without_steps_is_reported_as_such() {
        assert_eq!(report(&task("x"), &[]).summary, "The task had no steps.");
    }

    proptest! {
        #[test]
        fn every_row_is_one_row(title in "(\\PC|[\\n|]){0,40}", output in "(\\PC|[\\n|\\\\]){0,80}") {
            let report = report(&task("x"), &[result(0, &title, "ask_assistant", json!({"answer": output}))]);
            prop_assert_eq!(report.markdown.lines().filter(|line| line.starts_with("| ")).count(), 2);
        }
    }
}
