//! The embedded default assistant: deterministic text analysis with no model and no network.
//!
//! It is honest about itself ([`Assistant::model`] is `rules`), costs nothing and works on the real text: it
//! sorts mail and fills templates, holds documents against criteria with verbatim quotations, splits tasks into a
//! checklist, and answers by quoting.
//!
//! Invariants: the same input gives the same output; nothing that came from outside becomes an address, a tool,
//! a template or an instruction; nothing panics on any text and the work is linear in its length.
//!
//! Deliberately absent: understanding and generation. Where words do not decide, the answer says so.
//!
//! - `email`, `document`, `task`, `report`, `answer`: what each method of the assistant does.
//! - `relevance`, `dates`, `figures`, `text`: how text is read; `phrases`, `lists`: by which words.
//! - `templates`: how text is written.

mod answer;
mod dates;
mod document;
mod email;
mod figures;
mod lists;
mod phrases;
mod relevance;
mod report;
mod task;
mod templates;
mod text;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use crate::{
    domain::{
        Failure,
        definition::Definition,
        document::{Content, Criterion, Review},
        email::{Draft, Email, EmailAnalysis},
        run::Usage,
        task::{Plan, StepResult, TaskInput, TaskReport},
    },
    ports::{Answer, Assistant},
};

/// The assistant that needs no model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RulesAssistant;

#[async_trait]
impl Assistant for RulesAssistant {
    fn model(&self) -> &str {
        "rules"
    }

    /// # Errors
    /// This returns an error of kind `Validation` when a response is due and the definition has no template for it.
    async fn analyze_email(&self, definition: &Definition, email: &Email) -> Result<Answer<EmailAnalysis>, Failure> {
        email::analyze(definition, email).map(answered)
    }

    /// # Errors
    /// This returns an error of kind `Validation` that names the template, and the variable where one is missing,
    /// when the template does not exist or cannot be rendered.
    async fn generate_response(
        &self,
        definition: &Definition,
        template: &str,
        context: &BTreeMap<String, Value>,
    ) -> Result<Answer<Draft>, Failure> {
        email::respond(definition, template, context).map(answered)
    }

    async fn review_document(
        &self,
        _definition: &Definition,
        content: &Content,
        criterion: &Criterion,
    ) -> Result<Answer<Review>, Failure> {
        Ok(answered(document::review(content, criterion)))
    }

    /// # Errors
    /// This returns an error of kind `Validation` when there is no tool that the rules can plan with.
    async fn analyze_task(
        &self,
        _definition: &Definition,
        task: &TaskInput,
        tools: &[(&str, &str)],
    ) -> Result<Answer<Plan>, Failure> {
        task::plan(task, tools).map(answered)
    }

    async fn generate_report(
        &self,
        _definition: &Definition,
        task: &TaskInput,
        results: &[StepResult],
    ) -> Result<Answer<TaskReport>, Failure> {
        Ok(answered(report::report(task, results)))
    }

    async fn ask(&self, _definition: &Definition, instruction: &str, text: &str) -> Result<Answer<String>, Failure> {
        Ok(answered(answer::answer(instruction, text)))
    }
}

// One call each, and no tokens: there is no model.
fn answered<T>(value: T) -> Answer<T> {
    Answer { value, usage: Usage { api_calls: 1, input_tokens: 0, output_tokens: 0 } }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::WorkflowType;

    fn definitions() -> [Definition; 3] {
        [
            include_str!("../../../../infra/definitions/email_processing.yaml"),
            include_str!("../../../../infra/definitions/document_review.yaml"),
            include_str!("../../../../infra/definitions/task_automation.yaml"),
        ]
        .map(|yaml| Definition::parse(yaml).unwrap())
    }

    #[tokio::test]
    async fn it_says_what_it_is_and_what_it_took() {
        let [emails, documents, tasks] = definitions();
        let assistant = RulesAssistant;
        assert_eq!(assistant.model(), "rules");
        let email = Email { text: "Test email content".to_owned(), ..Email::default() };
        let analysis = assistant.analyze_email(&emails, &email).await.unwrap();
        let draft =
            assistant.generate_response(&emails, &analysis.value.template, &analysis.value.context).await.unwrap();
        let criterion = serde_json::from_value(json!({"text": "A date"})).unwrap();
        let review = assistant.review_document(&documents, &Content::default(), &criterion).await.unwrap();
        let task: TaskInput = serde_json::from_value(json!({"id": "t", "description": "Call Bob"})).unwrap();
        let plan = assistant.analyze_task(&tasks, &task, &[("set_record", "")]).await.unwrap();
        let report = assistant.generate_report(&tasks, &task, &[]).await.unwrap();
        let answer = assistant.ask(&tasks, "Summarize", "One sentence.").await.unwrap();
        let usages = [analysis.usage, draft.usage, review.usage, plan.usage, report.usage, answer.usage];
        assert!(usages.iter().all(|usage| *usage == Usage { api_calls: 1, input_tokens: 0, output_tokens: 0 }));
    }

    #[test]
    fn the_definitions_are_version_one_with_golden_cases_of_valid_input() {
        for (definition, workflow) in definitions().into_iter().zip(WorkflowType::ALL) {
            assert_eq!((definition.workflow, definition.version), (workflow, 1));
            assert!(definition.golden_cases.len() >= 3);
            for case in definition.golden_cases {
                assert!(crate::domain::input::parse(workflow, case.data).is_ok(), "in {}", case.name);
                assert!(!case.expect.is_empty() && case.expect.keys().all(|pointer| pointer.starts_with('/')));
            }
        }
    }

    #[tokio::test]
    async fn the_golden_emails_are_analyzed_as_they_expect() {
        let [emails, ..] = definitions();
        for case in emails.golden_cases.iter().filter(|case| case.data.get("headers").is_none()) {
            let text = |field: &str| case.data.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let email =
                Email { from: text("from"), subject: text("subject"), text: text("content"), ..Email::default() };
            let analysis = RulesAssistant.analyze_email(&emails, &email).await.unwrap().value;
            let mut result = json!({
                "response_generated": analysis.requires_response,
                "analysis": analysis,
                "status": "success",
                "api_calls": 1 + u8::from(analysis.requires_response),
            });
            if analysis.requires_response {
                let draft = RulesAssistant.generate_response(&emails, &analysis.template, &analysis.context).await;
                result["response"] = json!(draft.unwrap().value);
            }
            for (pointer, expected) in &case.expect {
                assert_eq!(
                    result.pointer(pointer),
                    Some(expected),
                    "{pointer} in `{}`: {:?}",
                    case.name,
                    analysis.reasons
                );
            }
        }
    }

    #[tokio::test]
    async fn the_golden_documents_are_reviewed_as_they_expect() {
        let [_, documents, _] = definitions();
        for case in &documents.golden_cases {
            let input: crate::domain::document::DocumentInput = serde_json::from_value(case.data.clone()).unwrap();
            let text = case.data.pointer("/file/text").and_then(Value::as_str).unwrap_or_default().to_owned();
            let sections = vec![crate::domain::document::Section { label: "text".to_owned(), text }];
            let content = Content { format: "text".to_owned(), sections, truncated: false };
            for (index, criterion) in input.criteria().iter().enumerate() {
                let review = RulesAssistant.review_document(&documents, &content, criterion).await.unwrap().value;
                if let Some(expected) = case.expect.get(&format!("/findings/{index}/verdict")) {
                    assert_eq!(json!(review.verdict), *expected, "{}: {}", criterion.text, review.explanation);
                }
                if let Some(expected) = case.expect.get(&format!("/findings/{index}/quotations/0/text")) {
                    assert_eq!(json!(review.quotations.first()), *expected);
                }
            }
        }
    }
}

#[cfg(test)]
mod scratch_print {
    use super::*;
    #[tokio::test]
    async fn scratch_print() {
        let d = Definition::parse(include_str!("../../../../infra/definitions/email_processing.yaml")).unwrap();
        let mails = [
            ("Ada Lee", "Order #4711", "Hi,\n\nwhere is my order 4711? I ordered it on 1 March 2025.\nCan I still change the colour?\n\nThanks, Ada"),
            ("", "Broken again!", "This is unacceptable. The machine stopped working. Order 99. Urgent!"),
            ("Dan", "", "could we schedule a meeting next Tuesday?"),
            ("Dan", "Invoice INV-2025-9", "When will you pay invoice INV-2025-9?"),
            ("Dan", "Address", "please change my address to 12 Mill Lane today"),
            ("", "", "Test email content"),
            ("Jon", "Re: contract draft", "Thanks for sending this over. I've read through it and have a few comments, mostly on section 3. Let me know if you'd like to talk it through."),
            ("Kim", "Password", "Hi, I can't log in to my account since yesterday. It says my password is wrong although I just reset it. Can someone look into it? It's urgent as I have to submit a form by tomorrow."),
            ("Ute", "Lieferung", "Hallo zusammen,\n\nleider ist mein Paket noch nicht angekommen. Könnten Sie bitte nachsehen, wo es ist? Bestellnummer: 2025-888.\n\nViele Grüße\nUte"),
            ("Sam", "Partnership", "Hello, we are a startup from Lyon and would love to explore a partnership with you. Would you be interested in a short intro call?"),
            ("", "Job application", "Dear Sir or Madam, please find attached my application for the position of data analyst. I look forward to hearing from you."),
            ("GitHub", "[repo] Run failed: CI - main", "The run failed. View workflow run. You are receiving this because you are subscribed to this thread."),
            ("Shop", "Your receipt from Shop #123-456", "Thanks for your purchase! Amount paid $12.00. If you have questions, visit our support site."),
        ];
        for (name, subject, text) in mails {
            let e = Email { from: "a@b.example".into(), from_name: (!name.is_empty()).then(|| name.into()), subject: subject.into(), text: text.into(), ..Email::default() };
            let a = RulesAssistant.analyze_email(&d, &e).await.unwrap().value;
            println!("=== {:?} {:?} {:.2} req={} tpl={} intent={:?} reasons={:?} lang={:?}", a.category, a.urgency, a.confidence, a.requires_response, a.template, a.intent, a.reasons, a.language);
            if a.requires_response {
                let r = RulesAssistant.generate_response(&d, &a.template, &a.context).await.unwrap().value;
                println!("Subject: {}\n{}", r.subject, r.text);
            }
        }
        let content = Content { format: "text".into(), truncated: false, sections: vec![crate::domain::document::Section { label: "text".into(), text:
"EMPLOYMENT CONTRACT\n\nbetween Acme Corp., 1 Main Street, Springfield (the Employer) and John Doe (the Employee).\n\n1. Start and position\nThe Employee will start work on April 15, 2025 as a Software Engineer. The first six months are a probationary period during which either party may terminate with two weeks' notice.\n\n2. Working time\nThe regular working time is 40 hours per week. Overtime is compensated with time off.\n\n3. Salary\nThe Employee receives a gross annual salary of $85,000, payable in twelve equal instalments at the end of each month.\n\n4. Vacation\nThe Employee is entitled to 25 days of paid vacation per calendar year.\n\n5. Non-compete\nFor twelve months after the end of the employment the Employee shall not work for a direct competitor.\n\n6. Confidentiality\nThe Employee must keep all business secrets confidential, also after the employment ends.\n\nSignatures\n".into() }] };
        for c in ["The salary is stated", "Vacation is at least 20 days", "Vacation is at least 30 days", "The contract contains a non-compete clause", "Overtime is paid", "The probation period is no longer than 3 months", "Working hours per week are specified", "Does the contract have a confidentiality clause?", "The employee may work remotely", "A start date is given", "Both parties have signed", "The contract mentions a bonus", "No penalty for early termination", "The contract must include a termination notice period", "data protection / GDPR compliance", "Names of both parties and their addresses are given", "Contains an arbitration clause", "Salary is above $80,000", "Is there a non-compete of more than 6 months?", "must not contain a non-compete obligation"] {
            let cr = Criterion { id: "c".into(), text: c.into(), weight: 1.0, required: false };
            let r = document::review(&content, &cr);
            println!("## {c}\n   {:?} {:.2} {}\n   {:?}", r.verdict, r.confidence, r.explanation, r.quotations);
        }
        for t in ["Prepare the quarterly report: collect the sales figures from all regions, update the spreadsheet and send it to the board by 2025-04-01. Notify @maria when done.",
            "Onboarding for new hire:\n- IT: create account\n- HR: prepare contract\n- Team lead: schedule welcome meeting\n\nAfter that send welcome pack.",
            "Hi, could you update the website banner before the weekend? Also please make sure the newsletter goes out on Monday.",
            "Summarize the following notes and list all dates: The board met on 3 March 2025. It decided to close the Lyon office by June 2025. Anna will inform the staff.",
            "Review contract with ACME, check liability clause, and if it is fine, sign it."] {
            let task: TaskInput = serde_json::from_value(serde_json::json!({"id":"t","description":t})).unwrap();
            println!("## {t}");
            for (s, p) in task::split(&task).iter().zip(task::plan(&task, &[("set_record",""),("ask_assistant",""),("publish_event","")]).unwrap().steps) { println!("  - {} [{}] {:?} due={:?} who={:?} {:?}", s.text, p.tool, p.depends_on, s.due, s.assignee, s.priority);
                if p.tool=="ask_assistant" { println!("     => {}", answer::answer(&s.text, t)); } }
        }
    }
}
