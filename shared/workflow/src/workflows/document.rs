//! `document_review`: holds a document against criteria and reports.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    domain::{
        Failure, WorkflowType,
        document::{
            Content, Criterion, Decision, DocumentInput, FileSource, Finding, ObjectRef, Quotation, Review,
            ReviewReport, Section, Verdict,
        },
        input::decode_base64,
    },
    engine::{Context, Semantics, Stop, Workflow},
    markdown::escaped,
    ports::{Answer, Assistant, Clock, Extractor, Objects, Tracking, TrackingEntry},
};

/// The workflow and what it works with.
pub struct DocumentReview {
    /// Holds a text against a criterion.
    pub assistant: Arc<dyn Assistant>,
    /// Reads text out of files.
    pub extractor: Arc<dyn Extractor>,
    /// Holds documents.
    pub objects: Arc<dyn Objects>,
    /// Remembers what was done.
    pub tracking: Arc<dyn Tracking>,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
}

// Larger files are refused: their text would not fit a review anyway, and the function's memory is bounded.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;
// Criteria reviewed at a time; a model's own limits are the model adapter's to keep.
const PARALLEL_CRITERIA: usize = 5;

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Reviewed {
    status: &'static str,
    report: ReviewReport,
    findings: Vec<Finding>,
    format: String,
    characters: usize,
    truncated: bool,
    api_calls: u64,
    model: String,
}

#[async_trait]
impl Workflow for DocumentReview {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::DocumentReview
    }

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
        let input: DocumentInput = run.input()?;
        let content = self.extract_content(run, &input).await?;
        let findings = run
            .map(input.criteria(), PARALLEL_CRITERIA, |branch, criterion| {
                self.review_criterion(branch, &content, criterion)
            })
            .await?;
        let report = generate_review_report(&input.id, &content, &findings);
        self.update_document_status(run, &input, &report).await?;
        let reviewed = Reviewed {
            status: "success",
            report,
            findings,
            characters: content.characters(),
            format: content.format,
            truncated: content.truncated,
            api_calls: run.usage().api_calls,
            model: self.assistant.model().to_owned(),
        };
        Ok(json!(reviewed))
    }
}

impl DocumentReview {
    async fn extract_content(&self, run: &mut Context, input: &DocumentInput) -> Result<Content, Stop> {
        run.step("extract_content", || async {
            match &input.file {
                FileSource::Text { text, .. } => Ok(Content {
                    format: "text".to_owned(),
                    sections: vec![Section { label: "text".to_owned(), text: text.clone() }],
                    truncated: false,
                }),
                FileSource::Inline { name, content } => {
                    let bytes = decode_base64(content)
                        .map_err(|problem| Failure::validation(format!("`data.file.content` {problem}")))?;
                    self.extractor.extract(name.as_deref(), bytes).await
                }
                FileSource::Uri(uri) => {
                    let object = ObjectRef::from_uri(uri)
                        .ok_or_else(|| Failure::validation("`data.file` is not of the form `s3://bucket/key`"))?;
                    self.extract_object(&object).await
                }
                FileSource::Object(object) => self.extract_object(object).await,
            }
        })
        .await
    }

    async fn extract_object(&self, object: &ObjectRef) -> Result<Content, Failure> {
        let bytes = self.objects.get(object, MAX_FILE_BYTES).await?;
        self.extractor.extract(Some(object.file_name()), bytes).await
    }

    async fn review_criterion(
        &self,
        mut branch: Context,
        content: &Content,
        criterion: Criterion,
    ) -> Result<Finding, Stop> {
        let definition = branch.definition();
        branch
            .ask("review_document", || async {
                let review = self.assistant.review_document(&definition, content, &criterion).await?;
                Ok(Answer { value: check_quotations(content, criterion, review.value), usage: review.usage })
            })
            .await
    }

    async fn update_document_status(
        &self,
        run: &mut Context,
        input: &DocumentInput,
        report: &ReviewReport,
    ) -> Result<(), Stop> {
        let run_id = run.id();
        run.effect("update_document_status", Semantics::AtLeastOnce, |_key| async move {
            let entry = TrackingEntry {
                workflow: WorkflowType::DocumentReview,
                data_id: input.id.clone(),
                run_id,
                status: "reviewed".to_owned(),
                details: json!({ "decision": report.decision, "score": report.score, "verdicts": report.verdicts }),
                at: self.clock.now(),
            };
            self.tracking.put(&entry).await
        })
        .await
    }
}

/// Keeps the quotations that really stand in the document, with their place, and counts the others.
fn check_quotations(content: &Content, criterion: Criterion, review: Review) -> Finding {
    let mut quotations = Vec::new();
    let mut struck_quotations = 0;
    for quoted in review.quotations {
        match find_quotation(content, &quoted) {
            Some(found) => quotations.push(found),
            None => struck_quotations += 1,
        }
    }
    Finding {
        criterion,
        verdict: review.verdict,
        confidence: review.confidence.clamp(0.0, 1.0),
        explanation: review.explanation,
        quotations,
        struck_quotations,
    }
}

fn find_quotation(content: &Content, quoted: &str) -> Option<Quotation> {
    let quoted = quoted.trim();
    if quoted.is_empty() {
        return None;
    }
    content.sections.iter().find_map(|section| {
        section.text.find(quoted).map(|byte| Quotation {
            text: quoted.to_owned(),
            section: section.label.clone(),
            offset: section.text[..byte].chars().count(),
        })
    })
}

/// The report: what the review comes to, and a page of Markdown that shows why.
fn generate_review_report(document_id: &str, content: &Content, findings: &[Finding]) -> ReviewReport {
    let decision = decide(findings);
    let score = score(findings);
    let mut verdicts = BTreeMap::new();
    for finding in findings {
        *verdicts.entry(verdict_name(finding.verdict).to_owned()).or_insert(0) += 1;
    }
    let mut markdown = format!(
        "# Review of {}\n\n**{}** · score {:.0} % · {} criteria · {} {} of {}\n",
        escaped(document_id),
        decision_words(decision),
        score * 100.0,
        findings.len(),
        content.sections.len(),
        if content.sections.len() == 1 { "section" } else { "sections" },
        content.format,
    );
    if content.truncated {
        markdown.push_str("\nThe document is longer than the limit; its end was not reviewed.\n");
    }
    for finding in findings {
        write_finding(&mut markdown, finding);
    }
    ReviewReport { decision, score, verdicts, markdown }
}

fn write_finding(markdown: &mut String, finding: &Finding) {
    // Writing to a String cannot fail.
    let _ = write!(
        markdown,
        "\n## {} {}\n\n{}{} (confidence {:.0} %). {}\n",
        escaped(&finding.criterion.id),
        escaped(&finding.criterion.text),
        verdict_words(finding.verdict),
        if finding.criterion.required { ", required" } else { "" },
        finding.confidence * 100.0,
        escaped(&finding.explanation),
    );
    for quotation in &finding.quotations {
        let _ = write!(
            markdown,
            "\n> {}\n>\n> — {}\n",
            escaped(&quotation.text.replace('\n', " ")),
            escaped(&quotation.section)
        );
    }
    if finding.struck_quotations > 0 {
        let _ = write!(
            markdown,
            "\n{} quotation(s) were struck: they do not stand in the document.\n",
            finding.struck_quotations
        );
    }
}

fn decide(findings: &[Finding]) -> Decision {
    if findings.iter().any(|finding| finding.criterion.required && finding.verdict == Verdict::NotMet) {
        Decision::Rejected
    } else if findings.iter().all(|finding| finding.verdict == Verdict::Met) {
        Decision::Accepted
    } else {
        Decision::NeedsAttention
    }
}

fn score(findings: &[Finding]) -> f64 {
    let all: f64 = findings.iter().map(|finding| finding.criterion.weight).sum();
    let met: f64 = findings
        .iter()
        .map(|finding| {
            finding.criterion.weight
                * match finding.verdict {
                    Verdict::Met => 1.0,
                    Verdict::PartlyMet => 0.5,
                    Verdict::NotMet | Verdict::Unclear => 0.0,
                }
        })
        .sum();
    if all > 0.0 { met / all } else { 0.0 }
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "met",
        Verdict::PartlyMet => "partly_met",
        Verdict::NotMet => "not_met",
        Verdict::Unclear => "unclear",
    }
}

fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "Met",
        Verdict::PartlyMet => "Partly met",
        Verdict::NotMet => "Not met",
        Verdict::Unclear => "Unclear",
    }
}

fn decision_words(decision: Decision) -> &'static str {
    match decision {
        Decision::Accepted => "Accepted",
        Decision::NeedsAttention => "Needs attention",
        Decision::Rejected => "Rejected",
    }
}
