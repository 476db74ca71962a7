//! What can be told of a definition without running it.

use std::collections::{BTreeMap, BTreeSet};

use garde::Validate as _;
use serde_json::{Value, json};

use crate::{
    domain::{
        WorkflowType,
        configuration::{AssistantKind, AssistantSettings, Provider},
        definition::{Definition, Prompt, Template},
        document::CriterionInput,
        input::{self, Violation},
    },
    mail, templates,
};

/// The longest a sender may go without a second answer: a year.
const LONGEST_WINDOW: u32 = 366 * 86_400;

/// Everything that is wrong with a definition, by its place.
pub(super) fn check(definition: &Definition, assistant: &AssistantSettings) -> Vec<Violation> {
    let mut found = definition.violations();
    if definition.workflow == WorkflowType::EmailProcessing && definition.templates.is_empty() {
        found.push(violation("templates", "has no template, so no mail could be answered"));
    }
    if definition.answer_window > LONGEST_WINDOW {
        found.push(violation("answer_window", format!("is not from 0 to {LONGEST_WINDOW}")));
    }
    for (name, template) in &definition.templates {
        found.extend(template_violations(definition, name, template));
    }
    for (name, prompt) in &definition.prompts {
        found.extend(prompt_violations(definition, name, prompt, assistant));
    }
    for (index, criterion) in definition.review_criteria.iter().enumerate() {
        found.extend(criterion_violations(index, criterion));
    }
    for (name, address) in &definition.recipients {
        if !mail::address::is_valid(address) {
            found.push(violation(format!("recipients.{name}"), "is not an address"));
        }
    }
    found.extend(case_violations(definition));
    found
}

/// What the question of each of the assistant's methods may speak of beside the definition's variables.
const QUESTIONS: [(WorkflowType, &str, &[&str]); 6] = [
    (WorkflowType::EmailProcessing, "analyze_email", &["email", "templates"]),
    (WorkflowType::EmailProcessing, "generate_response", &["context", "draft", "template"]),
    (WorkflowType::DocumentReview, "review_document", &["document", "criterion", "is_truncated"]),
    (WorkflowType::TaskAutomation, "analyze_task", &["task", "tools", "recipients"]),
    (WorkflowType::TaskAutomation, "generate_report", &["task", "results"]),
    (WorkflowType::TaskAutomation, "ask_assistant", &["instruction", "text"]),
];

/// A value as the assistant gives it to a prompt: one that has much, or one that has little. What came from outside stands
/// between fences, so it is never empty.
fn told(name: &str, is_full: bool) -> Value {
    match (name, is_full) {
        ("templates" | "recipients" | "tools", false) => json!([]),
        ("templates" | "recipients", true) => json!(["one", "another"]),
        ("tools", true) => json!([{ "name": "wait", "purpose": "waits" }]),
        ("is_truncated", is_full) => json!(is_full),
        (_, false) => json!("-"),
        (_, true) => json!("A text.\nOf two lines."),
    }
}

/// A prompt has to be one that is ever asked, of nodes that there are, and to render on whatever is told.
fn prompt_violations(
    definition: &Definition,
    name: &str,
    prompt: &Prompt,
    assistant: &AssistantSettings,
) -> Vec<Violation> {
    let mut asked = QUESTIONS.iter().filter(|(workflow, _, _)| *workflow == definition.workflow);
    let Some((_, _, speaks_of)) = asked.clone().find(|(_, asked, _)| *asked == name) else {
        let known = asked.by_ref().map(|(_, name, _)| *name).collect::<Vec<_>>().join("`, `");
        let problem = format!("is never asked in `{}`; there are `{known}`", definition.workflow);
        return vec![violation(format!("prompts.{name}"), problem)];
    };
    let mut found = Vec::new();
    if let Some(group) = prompt.nodes.as_deref().filter(|_| assistant.kind == AssistantKind::Model)
        && !assistant.nodes.iter().any(|node| node.provider != Provider::Rules && node.is_in(group))
    {
        found.push(violation(format!("prompts.{name}.nodes"), "is no group of the configuration's `assistant.nodes`"));
    }
    for (part, source) in [("system", &prompt.system), ("stable", &prompt.stable), ("user", &prompt.user)] {
        let field = format!("prompts.{name}.{part}");
        let problem = [true, false].into_iter().find_map(|is_full| {
            let mut context = definition.variables.clone();
            if part != "system" {
                context.extend(speaks_of.iter().map(|name| ((*name).to_owned(), told(name, is_full))));
            }
            match templates::render(&field, source, &context) {
                Ok(text) if part == "user" && text.trim().is_empty() => Some("renders to an empty text".to_owned()),
                Ok(_) => None,
                Err(failure) => Some(failure.message),
            }
        });
        found.extend(problem.map(|problem| Violation { field, problem }));
    }
    found
}

fn violation(field: impl Into<String>, problem: impl Into<String>) -> Violation {
    Violation { field: field.into(), problem: problem.into() }
}

/// A template has to render whether a mail tells much or nothing: what is missing is empty, and never undefined.
fn template_violations(definition: &Definition, name: &str, template: &Template) -> Vec<Violation> {
    let mut found = Vec::new();
    for (part, source) in [("subject", &template.subject), ("text", &template.text)] {
        let field = format!("templates.{name}.{part}");
        let problem = [full_context(), empty_context()].into_iter().find_map(|mut context| {
            context.extend(definition.variables.clone());
            match templates::render(&field, source, &context) {
                Ok(text) if part == "text" && text.trim().is_empty() => Some("renders to an empty text".to_owned()),
                Ok(_) => None,
                Err(failure) => Some(failure.message),
            }
        });
        found.extend(problem.map(|problem| Violation { field, problem }));
    }
    found
}

/// What templates may speak of beside the definition's variables, as a mail that tells much gives it.
fn full_context() -> BTreeMap<String, Value> {
    context(&json!({
        "subject": "Order 4711",
        "sender_name": "Ada",
        "intent": "Please send the invoice again.",
        "urgency": "high",
        "category": "request",
        "language": "en",
        "attachments": ["invoice.pdf"],
        "reference_numbers": ["4711"],
        "dates": ["2025-03-14"],
        "questions": ["When are you open?"],
    }))
}

/// The same of a mail that tells nothing.
fn empty_context() -> BTreeMap<String, Value> {
    context(&json!({
        "subject": "", "sender_name": "", "intent": "", "urgency": "normal", "category": "other", "language": "",
        "attachments": [], "reference_numbers": [], "dates": [], "questions": [],
    }))
}

fn context(values: &Value) -> BTreeMap<String, Value> {
    values.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn criterion_violations(index: usize, criterion: &CriterionInput) -> Vec<Violation> {
    let Err(report) = criterion.validate() else { return Vec::new() };
    let place = format!("review_criteria[{index}]");
    report
        .iter()
        .map(|(path, error)| {
            let path = path.to_string();
            let inside = if path.is_empty() || path.starts_with('[') { path } else { format!(".{path}") };
            violation(format!("{place}{inside}"), error.to_string())
        })
        .collect()
}

fn case_violations(definition: &Definition) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for (index, case) in definition.golden_cases.iter().enumerate() {
        let place = format!("golden_cases[{index}]");
        if case.name.is_empty() || !names.insert(case.name.as_str()) {
            found.push(violation(format!("{place}.name"), "is empty, or the name of another case"));
        }
        match input::parse(definition.workflow, case.data.clone()) {
            Ok(input) if input.refers_to_an_object() => {
                found.push(violation(format!("{place}.data"), "has to bring what it is about, not where that lies"));
            }
            Ok(_) => {}
            Err(invalid) => found.extend(
                invalid.0.into_iter().map(|inner| violation(format!("{place}.{}", inner.field), inner.problem)),
            ),
        }
        let pointers = case.expect.keys().filter(|pointer| !pointer.is_empty() && !pointer.starts_with('/'));
        found.extend(
            pointers
                .map(|_| violation(format!("{place}.expect"), "has a key that is not a JSON pointer, as `/status`")),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::email::Email, embedded, rules::RulesAssistant};

    fn definition(change: impl FnOnce(&mut Definition)) -> Definition {
        let mut definition = embedded::definitions().unwrap().remove(0);
        change(&mut definition);
        definition
    }

    fn fields(change: impl FnOnce(&mut Definition)) -> Vec<String> {
        check(&definition(change), &AssistantSettings::default()).into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn the_embedded_definitions_are_valid() {
        for definition in embedded::definitions().unwrap() {
            assert_eq!(check(&definition, &AssistantSettings::default()), [], "{}", definition.workflow);
        }
    }

    #[tokio::test]
    async fn templates_are_tried_on_what_the_assistant_gives_them() {
        use crate::ports::Assistant as _;
        let email = Email { text: "When are you open?".to_owned(), ..Email::default() };
        let analysis = RulesAssistant.analyze_email(&definition(|_| {}), &email).await.unwrap().value;
        let names: Vec<&String> = analysis.context.keys().collect();
        assert_eq!(full_context().keys().collect::<Vec<_>>(), names);
        assert_eq!(empty_context().keys().collect::<Vec<_>>(), names);
    }

    #[test]
    fn a_template_with_a_mistake_or_an_unknown_variable_is_named() {
        let found = check(
            &definition(|definition| {
                let complaint = definition.templates.get_mut("complaint").unwrap();
                complaint.subject = "{{ subject".to_owned();
                complaint.text = "Hello {{ nobody }}".to_owned();
                definition.templates.get_mut("invoice").unwrap().text = "{{ questions[0] }}".to_owned();
                definition.templates.get_mut("scheduling").unwrap().text = "{{ sender_name }}".to_owned();
            }),
            &AssistantSettings::default(),
        );
        let fields: Vec<&str> = found.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "templates.complaint.subject",
                "templates.complaint.text",
                "templates.invoice.text",
                "templates.scheduling.text"
            ]
        );
        assert!(found[1].problem.contains("`nobody`"), "{}", found[1].problem);
        assert_eq!(found[3].problem, "renders to an empty text");
    }

    #[test]
    fn a_prompt_speaks_of_what_the_assistant_tells_it_and_of_nothing_else() {
        let prompt = |change: fn(&mut Prompt)| {
            let found = check(
                &definition(|definition| change(definition.prompts.get_mut("analyze_email").unwrap())),
                &AssistantSettings::default(),
            );
            found.into_iter().map(|violation| (violation.field, violation.problem)).collect::<Vec<_>>()
        };
        for (change, field, problem) in [
            ((|prompt| prompt.user = "{{ mail }}".to_owned()) as fn(&mut Prompt), "user", "no variable `mail`"),
            (|prompt| prompt.system = "{{ email }}".to_owned(), "system", "no variable `email`"),
            (|prompt| prompt.stable = "{{ templates[0] }}".to_owned(), "stable", "uses a field"),
            (|prompt| prompt.user = "{{ templates | join(' ') }}".to_owned(), "user", "renders to an empty text"),
            (|prompt| prompt.user = "{{ email".to_owned(), "user", "syntax error"),
            (|prompt| prompt.max_output_tokens = 0, "max_output_tokens", "is not from 1 to 100,000"),
        ] {
            let found = prompt(change);
            assert!(
                found.iter().any(|(at, why)| *at == format!("prompts.analyze_email.{field}") && why.contains(problem)),
                "{found:?}"
            );
            assert!(found.iter().all(|(at, _)| at.starts_with("prompts.analyze_email.")), "{found:?}");
        }
    }

    #[test]
    fn a_prompt_that_nobody_asks_or_that_nobody_answers_is_named() {
        let definition = definition(|definition| {
            let prompt = definition.prompts["analyze_email"].clone();
            definition.prompts.insert("review_document".to_owned(), prompt.clone());
            definition
                .prompts
                .insert("generate_response".to_owned(), Prompt { nodes: Some("cheap".to_owned()), ..prompt.clone() });
            definition.prompts.insert("analyze_email".to_owned(), Prompt { nodes: Some("good".to_owned()), ..prompt });
        });
        let settings = |kind| -> AssistantSettings {
            let yaml = format!("kind: {kind}\nnodes: [{{name: a, provider: bedrock, model: m, groups: [good]}}]");
            serde_saphyr::from_str(&yaml).unwrap()
        };
        let fields = |kind| -> Vec<String> {
            let found = check(&definition, &settings(kind));
            found.into_iter().map(|violation| violation.field).filter(|field| !field.ends_with(".user")).collect()
        };
        assert_eq!(fields("model"), ["prompts.generate_response.nodes", "prompts.review_document"]);
        assert_eq!(fields("rules"), ["prompts.review_document"], "without models nobody is asked");
    }

    #[test]
    fn everything_wrong_is_listed_at_once() {
        let found = fields(|definition| {
            definition.answer_window = u32::MAX;
            definition.recipients.insert("boss".to_owned(), "nobody".to_owned());
            definition.review_criteria.push(CriterionInput::Text(String::new()));
            definition.golden_cases[1].name = definition.golden_cases[0].name.clone();
            definition.golden_cases[2].data = json!({"id": ""});
            definition.golden_cases[3].expect.insert("status".to_owned(), json!("success"));
            definition.golden_cases[4].data = json!({"id": "x", "s3": {"bucket": "b", "key": "k"}});
        });
        for field in [
            "answer_window",
            "recipients.boss",
            "review_criteria[0]",
            "golden_cases[1].name",
            "golden_cases[3].expect",
            "golden_cases[4].data",
        ] {
            assert!(found.iter().any(|found| found.starts_with(field)), "{field} is not in {found:?}");
        }
        assert!(found.iter().any(|field| field.starts_with("golden_cases[2].data")), "{found:?}");
    }

    #[test]
    fn a_definition_without_any_template_answers_no_mail() {
        assert_eq!(fields(|definition| definition.templates.clear()), ["templates"]);
    }
}
