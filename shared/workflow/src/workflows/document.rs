//! `document_review`: holds a document against criteria and reports.

mod parts;
mod quotations;
mod report;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::model_of;
use crate::{
    domain::{
        Failure, WorkflowType,
        document::{Content, Criterion, DocumentInput, FileSource, Finding, ObjectRef, Review, ReviewReport, Section},
        input::decode_base64,
    },
    engine::{Context, Semantics, Stop, Workflow},
    ports::{Answer, Assistant, Clock, Extractor, Objects, Tracking, TrackingEntry},
};

use parts::{Part, merged, parts_of};
use quotations::Searched;
pub use report::Reviewed;

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
// Criteria, or criteria and parts, reviewed at a time; a model's own limits are the model adapter's to keep.
const PARALLEL_REVIEWS: usize = 5;

#[async_trait]
impl Workflow for DocumentReview {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::DocumentReview
    }

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
        let input: DocumentInput = run.input()?;
        let content = self.extract_content(run, &input).await?;
        let findings = self.review(run, &content, input.criteria()).await?;
        let report = report::generate_review_report(&input.id, &content, &findings);
        self.update_document_status(run, &input, &report).await?;
        let reviewed = Reviewed {
            status: "success".to_owned(),
            document: input.id,
            report,
            findings,
            sections: content.sections.len(),
            characters: content.characters(),
            format: content.format,
            truncated: content.truncated,
            without_text: content.without_text,
            api_calls: run.usage().api_calls,
            model: model_of(run.usage(), self.assistant.as_ref()),
            degraded: run.usage().degraded_calls > 0,
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
                    sections: vec![Section { label: "text".to_owned(), text: text.clone(), ..Section::default() }],
                    ..Content::default()
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

    /// Holds the document against each criterion: in one step each, or in one for each part of a long document.
    async fn review(
        &self,
        run: &mut Context,
        content: &Content,
        criteria: Vec<Criterion>,
    ) -> Result<Vec<Finding>, Stop> {
        let definition = run.definition();
        let parts = parts_of(content, definition.part_characters, definition.part_overlap_characters);
        let mut findings = if parts.len() < 2 {
            let starts = vec![0; content.sections.len()];
            run.map(criteria, PARALLEL_REVIEWS, |branch, criterion| {
                self.review_criterion(branch, content, &starts, criterion)
            })
            .await?
        } else {
            let found = run
                .map(0..criteria.len() * parts.len(), PARALLEL_REVIEWS, |branch, pair| {
                    let Part { content, starts } = &parts[pair % parts.len()];
                    self.review_criterion(branch, content, starts, criteria[pair / parts.len()].clone())
                })
                .await?;
            let of_criterion = found.chunks(parts.len());
            criteria
                .iter()
                .cloned()
                .zip(of_criterion)
                .map(|(criterion, found)| merged(criterion, found.to_vec()))
                .collect()
        };
        name_rows(content, &mut findings);
        Ok(findings)
    }

    async fn review_criterion(
        &self,
        mut branch: Context,
        content: &Content,
        starts: &[usize],
        criterion: Criterion,
    ) -> Result<Finding, Stop> {
        let definition = branch.definition();
        branch
            .ask("review_document", || async {
                let review = self.assistant.review_document(&definition, content, &criterion).await?;
                let finding = check_quotations(Searched::new(content, starts), criterion, review.value);
                Ok(Answer { value: finding, usage: review.usage })
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

/// Keeps the quotations that really stand in the document, with their place, and counts the others. Of those that
/// stand at one place, one stays.
fn check_quotations(mut text: Searched<'_>, criterion: Criterion, review: Review) -> Finding {
    let mut quotations = Vec::new();
    let mut struck_quotations = 0;
    for quoted in review.quotations {
        match text.find(&quoted) {
            Some(found) if quotations.contains(&found) => {}
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

/// Names the row of each quotation in a document of rows.
fn name_rows(content: &Content, findings: &mut [Finding]) {
    for quotation in findings.iter_mut().flat_map(|finding| &mut finding.quotations) {
        let section = content.sections.iter().find(|section| section.label == quotation.section);
        quotation.row = section.and_then(|section| section.row_at(quotation.offset));
    }
}
