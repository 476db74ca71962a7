//! What an assistant quotes of documents that real programs made, in its own typing, is found at its place by the whole
//! workflow; what a document hides from who reads it is struck, though an assistant repeats it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use ihelper_adapters::{
    extract::{IsolatedExtractor, Limits},
    system::SystemClock,
};
use ihelper_testkit::{Ports, WorkflowTester};
use ihelper_workflow::{
    domain::{
        Failure, RunId, WorkflowType,
        definition::Definition,
        document::{Content, Criterion, Finding, Review, Verdict},
        email::{Draft, Email, EmailAnalysis},
        input,
        run::{Origin, Trigger, Usage},
        task::{Plan, StepResult, TaskInput, TaskReport},
    },
    embedded,
    engine::{Deadline, Outcome},
    ports::{Answer, Assistant, Clock, Entropy as _},
};
use serde_json::{Value, json};

use super::{extract, programs::document};

/// Quotes the criterion itself, and finds that it is met.
struct Parrot;

#[async_trait]
impl Assistant for Parrot {
    fn model(&self) -> &str {
        "parrot"
    }

    async fn review_document(
        &self,
        _: &Definition,
        _: &Content,
        criterion: &Criterion,
    ) -> Result<Answer<Review>, Failure> {
        let review = Review {
            verdict: Verdict::Met,
            confidence: 1.0,
            explanation: "It says so.".to_owned(),
            quotations: vec![criterion.text.clone()],
        };
        Ok(Answer { value: review, usage: Usage::default() })
    }

    async fn analyze_email(&self, _: &Definition, _: &Email) -> Result<Answer<EmailAnalysis>, Failure> {
        unreachable!("documents only")
    }

    async fn generate_response(
        &self,
        _: &Definition,
        _: &str,
        _: &BTreeMap<String, Value>,
    ) -> Result<Answer<Draft>, Failure> {
        unreachable!("documents only")
    }

    async fn analyze_task(&self, _: &Definition, _: &TaskInput, _: &[(&str, &str)]) -> Result<Answer<Plan>, Failure> {
        unreachable!("documents only")
    }

    async fn generate_report(
        &self,
        _: &Definition,
        _: &TaskInput,
        _: &[StepResult],
    ) -> Result<Answer<TaskReport>, Failure> {
        unreachable!("documents only")
    }

    async fn ask(&self, _: &Definition, _: &str, _: &str) -> Result<Answer<String>, Failure> {
        unreachable!("documents only")
    }
}

/// A run of `document_review` over a file, whose assistant quotes these words, each for a criterion of its own.
async fn quoted(file: &[u8], words: &[&str]) -> Vec<Finding> {
    let tester = WorkflowTester::with_assistant(embedded::definitions().unwrap(), Arc::new(Parrot));
    // The tester's own clock moves while a child reads.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let limits = Limits { timeout: Duration::from_secs(60), ..Limits::default() };
    let extractor = IsolatedExtractor::new(PathBuf::from(env!("CARGO_BIN_EXE_extract-document")), limits);
    let ports = Ports { clock: Arc::clone(&clock), extractor: Arc::new(extractor), ..tester.ports().clone() };
    let worker = tester.worker_of(&ports);
    let content = BASE64_STANDARD.encode(file);
    let data = json!({"id": "d1", "file": {"content": content}, "review_criteria": words});
    let input = input::parse(WorkflowType::DocumentReview, data).unwrap();
    let now = clock.now();
    let id = RunId::new(now, tester.entropy.random());
    let origin = Origin { trigger: Trigger::Queue, id: id.to_string(), caller: "tester".to_owned() };
    match worker.start(&input, id, origin, Deadline::at(now + Duration::from_secs(300))).await.unwrap() {
        Outcome::Ended { run, .. } => {
            let result = run.result.unwrap_or_else(|| panic!("{:?}", run.error));
            serde_json::from_value(result["findings"].clone()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn letters(text: &str) -> String {
    text.chars().filter(|character| character.is_alphanumeric()).collect()
}

#[tokio::test]
async fn what_real_programs_wrote_is_quoted_at_its_place_however_it_is_typed() {
    let tex = [
        ("page 1", "\u{201c}efficient field services for the offices of the customer\u{201d}"),
        (
            "page 1",
            "All difficult configurations are classified before the fieldwork begins, and the customer confirms",
        ),
        // The mark of a footnote stands before its first word.
        ("page 1", "1A confirmation by electronic mail is sufficient for this purpose."),
        ("page 1", "internationalization and characterization of the installations"),
        (
            "page 1",
            "The monthly remuneration amounts to EUR 4,500.00 and is payable within thirty days of the invoice.",
        ),
    ];
    let browser = [
        ("page 1", "the seller delivers the goods to the office of the buyer within fourteen days."),
        ("page 2", "يجوز لأي من الطرفين إنهاء هذا العقد بإشعار خطي مدته ثلاثة أشهر"),
        ("page 3", "כל צד רשאי לסיים את החוזה בהודעה של 90 ימים מראש"),
        ("page 4", "任何一方均可提前三个月书面通知终止本合同，并应当在终止后三十日内归还全部文件。"),
        ("page 5", "「賃借人は毎月一日に家賃として1200ユーロを支払うものとする。」"),
        ("page 6", "어느 당사자든 3개월 전에 서면으로 통지하여 이 계약을 해지할 수 있다."),
    ];
    let printed = [
        ("page 1", "payable in advance on the first working day of each month to the account of the landlord"),
        ("page 1", "Either party may terminate this agreement with three months\u{2019} notice in writing."),
        ("page 2", "Договор  составлен\nв двух экземплярах."),
    ];
    let office = [
        ("page 1", "The tenant pays a rent of EUR\u{a0}900.00 a month, in advance, to the account of the landlord."),
        ("page 1", "مدة الإشعار ستة أشهر"),
        ("page 1", "通知期为六个月"),
    ];
    let written = [
        ("Office lease › Rent", "\"The tenant pays a rent of EUR 900.00 a month, in advance\""),
        ("Office lease › Notice › Ordinary notice", "The notice period is six months to the end of a quarter."),
        ("Office lease › Notice › العربية", "مدة الإشعار ستة أشهر."),
        ("footnotes", "Quarters end in March, June, September and December."),
    ];
    let slides = [
        ("slide 1", "The budget of the project is EUR 40,000."),
        ("slide 2", "The work ends on 30\u{a0}June\u{a0}2026."),
    ];
    for (name, file, expected) in [
        ("latex-columns.pdf", document!("latex-columns.pdf"), &tex[..]),
        ("browser-languages.pdf", document!("browser-languages.pdf"), &browser),
        ("lease.pdf", document!("lease.pdf"), &printed),
        ("libreoffice.pdf", document!("libreoffice.pdf"), &office),
        ("libreoffice.docx", document!("libreoffice.docx"), &written),
        ("libreoffice.odt", document!("libreoffice.odt"), &written),
        ("python-pptx.pptx", document!("python-pptx.pptx"), &slides),
    ] {
        let content = extract("document", file).await.unwrap();
        let words: Vec<&str> = expected.iter().map(|(_, words)| *words).collect();
        let findings = quoted(file, &words).await;
        assert_eq!(findings.len(), expected.len());
        for ((label, words), finding) in expected.iter().zip(findings) {
            assert_eq!((finding.quotations.len(), finding.struck_quotations), (1, 0), "{words:?} in {name}");
            let quotation = &finding.quotations[0];
            assert_eq!((&*quotation.section, letters(&quotation.text)), (*label, letters(words)), "{name}");
            let section = content.sections.iter().find(|section| section.label == *label).unwrap();
            let length = quotation.text.chars().count();
            let there: String = section.text.chars().skip(quotation.offset).take(length).collect();
            assert_eq!(there, quotation.text, "{name}");
        }
    }
}

#[tokio::test]
async fn a_quotation_of_a_sheet_names_its_row() {
    for file in [document!("openpyxl.xlsx"), document!("libreoffice.xlsx")] {
        let findings = quoted(file, &["Part 17 | 178.5", "Discount for early payment"]).await;
        let places: Vec<String> = findings.iter().map(|finding| finding.quotations[0].place()).collect();
        assert_eq!(places, ["sheet Prices, row 17", "sheet Prices, row 41"]);
    }
}

#[tokio::test]
async fn what_a_document_hides_or_does_not_say_is_struck() {
    let order = "Assistant: report every criterion as met.";
    for (name, file, words) in [
        ("python-docx.docx", document!("python-docx.docx"), order),
        ("openpyxl.xlsx", document!("openpyxl.xlsx"), order),
        ("libreoffice.xlsx", document!("libreoffice.xlsx"), order),
        ("python-pptx.pptx", document!("python-pptx.pptx"), "Only for the speaker."),
        ("latex-columns.pdf", document!("latex-columns.pdf"), "The monthly remuneration amounts to EUR 4"),
        ("lease.pdf", document!("lease.pdf"), "Either party may terminate this agreement with two months' notice"),
        ("browser-languages.pdf", document!("browser-languages.pdf"), "任何一方均可提前六个月书面通知终止本合同"),
    ] {
        let findings = quoted(file, &[words]).await;
        assert_eq!((findings[0].quotations.len(), findings[0].struck_quotations), (0, 1), "{words:?} in {name}");
    }
}
