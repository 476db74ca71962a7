//! What a review comes to, in JSON, in Markdown and as a page.
//!
//! Invariants: what a document, a criterion or an assistant says is text in a report and formats nothing; the page
//! has no script, loads nothing and says each verdict in words beside its colour.
//!
//! The page is not kept: it is made of the result whenever somebody wants it.

use std::{collections::BTreeMap, fmt::Write as _, sync::LazyLock};

use minijinja::{Environment, UndefinedBehavior, value::Serde};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        Failure, Kind,
        document::{Content, Decision, Finding, ReviewReport, Verdict},
    },
    markdown::escaped,
};

/// How many pages without text a report names one by one.
const PAGES_NAMED: usize = 20;

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reviewed {
    /// `success`.
    pub status: String,
    /// The document's own id.
    #[serde(default)]
    pub document: String,
    /// What the review comes to.
    pub report: ReviewReport,
    /// What was found on each criterion.
    pub findings: Vec<Finding>,
    /// The kind of document.
    pub format: String,
    /// How many pages, sheets or sections were read.
    #[serde(default)]
    pub sections: usize,
    /// How many characters were read.
    pub characters: usize,
    /// Whether the document is longer than what was read.
    pub truncated: bool,
    /// The pages that show something and have no text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_text: Vec<String>,
    /// How often the assistant was asked.
    pub api_calls: u64,
    /// Who was asked.
    pub model: String,
    /// Whether `rules` answered something in a model's place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
}

impl Reviewed {
    /// The report as a page of HTML that needs nothing else: no script, no picture, no other file.
    ///
    /// # Errors
    /// This returns an error when the page cannot be rendered, which is a mistake in its template.
    pub fn html(&self) -> Result<String, Failure> {
        static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
            let mut pages = Environment::new();
            pages.set_undefined_behavior(UndefinedBehavior::Strict);
            // By its name it is HTML, and what is put into it is escaped.
            pages.add_template("report.html", include_str!("report.html")).expect("the page is a template");
            pages
        });
        PAGES
            .get_template("report.html")
            .and_then(|template| template.render(Serde(self.page())))
            .map_err(|error| Failure::new(Kind::Unknown, format!("the report cannot be rendered: {:?}", error.kind())))
    }

    fn page(&self) -> Page<'_> {
        let notes = [
            self.truncated.then(|| TRUNCATED.to_owned()),
            (!self.without_text.is_empty()).then(|| without_text(&self.without_text)),
        ];
        Page {
            document: &self.document,
            decision: decision_words(self.report.decision),
            decision_class: class_of(&self.report.decision),
            score: percent(self.report.score),
            facts: format!(
                "{} · {} · reviewed by {}",
                counted(self.findings.len(), "criterion", "criteria"),
                read(&self.format, self.sections),
                self.model
            ),
            counts: VERDICTS
                .iter()
                .filter_map(|verdict| {
                    let count = self.report.verdicts.get(verdict_name(*verdict))?;
                    Some(Count { class: verdict_name(*verdict), words: verdict_words(*verdict), count: *count })
                })
                .collect(),
            notes: notes.into_iter().flatten().collect(),
            findings: self.findings.iter().map(Row::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct Page<'r> {
    document: &'r str,
    decision: &'static str,
    decision_class: String,
    score: String,
    facts: String,
    counts: Vec<Count>,
    notes: Vec<String>,
    findings: Vec<Row<'r>>,
}

#[derive(Serialize)]
struct Count {
    class: &'static str,
    words: &'static str,
    count: usize,
}

#[derive(Serialize)]
struct Row<'r> {
    id: &'r str,
    text: &'r str,
    is_required: bool,
    class: &'static str,
    verdict: &'static str,
    confidence: String,
    explanation: &'r str,
    quotations: Vec<Quoted<'r>>,
    struck: Option<String>,
}

#[derive(Serialize)]
struct Quoted<'r> {
    text: &'r str,
    place: String,
}

impl<'r> Row<'r> {
    fn of(finding: &'r Finding) -> Self {
        Self {
            id: &finding.criterion.id,
            text: &finding.criterion.text,
            is_required: finding.criterion.required,
            class: verdict_name(finding.verdict),
            verdict: verdict_words(finding.verdict),
            confidence: percent(finding.confidence),
            explanation: &finding.explanation,
            quotations: finding
                .quotations
                .iter()
                .map(|quotation| Quoted { text: &quotation.text, place: quotation.place() })
                .collect(),
            struck: struck(finding.struck_quotations),
        }
    }
}

/// The report: what the review comes to, and a page of Markdown that shows why.
pub(super) fn generate_review_report(document_id: &str, content: &Content, findings: &[Finding]) -> ReviewReport {
    let decision = decide(findings);
    let score = score(findings);
    let mut verdicts = BTreeMap::new();
    for finding in findings {
        *verdicts.entry(verdict_name(finding.verdict).to_owned()).or_insert(0) += 1;
    }
    let mut markdown = format!(
        "# Review of {}\n\n**{}** · score {} · {} criteria · {}\n",
        escaped(document_id),
        decision_words(decision),
        percent(score),
        findings.len(),
        read(&content.format, content.sections.len()),
    );
    // Writing to a String cannot fail.
    if content.truncated {
        let _ = write!(markdown, "\n{TRUNCATED}\n");
    }
    if !content.without_text.is_empty() {
        let _ = write!(markdown, "\n{}\n", escaped(&without_text(&content.without_text)));
    }
    for finding in findings {
        write_finding(&mut markdown, finding);
    }
    ReviewReport { decision, score, verdicts, markdown }
}

fn write_finding(markdown: &mut String, finding: &Finding) {
    let _ = write!(
        markdown,
        "\n## {} {}\n\n{}{} (confidence {}). {}\n",
        escaped(&finding.criterion.id),
        escaped(&finding.criterion.text),
        verdict_words(finding.verdict),
        if finding.criterion.required { ", required" } else { "" },
        percent(finding.confidence),
        escaped(&finding.explanation),
    );
    for quotation in &finding.quotations {
        let _ = write!(
            markdown,
            "\n> {}\n>\n> — {}\n",
            escaped(&quotation.text.replace('\n', " ")),
            escaped(&quotation.place())
        );
    }
    if let Some(struck) = struck(finding.struck_quotations) {
        let _ = write!(markdown, "\n{struck}\n");
    }
}

const TRUNCATED: &str = "The document is longer than the limit; its end was not reviewed.";

fn without_text(labels: &[String]) -> String {
    let named = labels.iter().take(PAGES_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = labels.len().saturating_sub(PAGES_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let verb = if labels.len() == 1 { "has" } else { "have" };
    format!("Not reviewed, since probably scanned: {named}{more} {verb} no text.")
}

fn struck(count: usize) -> Option<String> {
    (count > 0).then(|| format!("{count} quotation(s) were struck: they do not stand in the document."))
}

fn read(format: &str, sections: usize) -> String {
    format!("{} of {format}", counted(sections, "section", "sections"))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
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

const VERDICTS: [Verdict; 4] = [Verdict::Met, Verdict::PartlyMet, Verdict::NotMet, Verdict::Unclear];

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

fn class_of(decision: &Decision) -> String {
    match decision {
        Decision::Accepted => "met",
        Decision::NeedsAttention => "partly_met",
        Decision::Rejected => "not_met",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use crate::domain::document::{Criterion, Quotation};

    use super::*;

    const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=y>\" ' {{ 7 * 7 }} [a](b) # *c*";

    fn reviewed(text: &str) -> Reviewed {
        let finding = Finding {
            criterion: Criterion { id: text.to_owned(), text: text.to_owned(), weight: 1.0, required: true },
            verdict: Verdict::NotMet,
            confidence: 0.75,
            explanation: text.to_owned(),
            quotations: vec![Quotation { text: text.to_owned(), section: text.to_owned(), offset: 0, row: Some(12) }],
            struck_quotations: 2,
        };
        let content = Content {
            format: "pdf".to_owned(),
            truncated: true,
            without_text: vec![text.to_owned()],
            ..Content::default()
        };
        let findings = vec![finding];
        Reviewed {
            status: "success".to_owned(),
            document: text.to_owned(),
            report: generate_review_report(text, &content, &findings),
            findings,
            format: content.format,
            sections: 3,
            characters: 10,
            truncated: true,
            without_text: content.without_text,
            api_calls: 1,
            model: text.to_owned(),
            degraded: false,
        }
    }

    #[test]
    fn the_page_says_everything_and_runs_nothing() {
        let page = reviewed(HOSTILE).html().unwrap();
        for active in ["<script", "<img", "<iframe", "<link", "http", "url("] {
            assert!(!page.contains(active), "{active} in {page}");
        }
        assert_eq!(page.matches("&lt;script&gt;").count(), 9, "{page}");
        for words in ["Rejected", "Not met", "required", "75 %", "2 quotation(s) were struck", "row 12", "longer than"]
        {
            assert!(page.contains(words), "{words} in {page}");
        }
    }

    #[test]
    fn markdown_escapes_what_others_say() {
        let markdown = reviewed(HOSTILE).report.markdown;
        assert!(!markdown.contains("<script") && !markdown.contains("[a](b)"), "{markdown}");
        assert!(
            markdown.contains(", row 12\n") && markdown.contains("Not reviewed, since probably scanned"),
            "{markdown}"
        );
    }

    #[test]
    fn a_result_of_before_is_shown_too() {
        let mut result = serde_json::to_value(reviewed("x")).unwrap();
        for field in ["document", "sections", "without_text"] {
            result.as_object_mut().unwrap().remove(field);
        }
        assert!(serde_json::from_value::<Reviewed>(result).unwrap().html().is_ok());
    }

    #[test]
    fn many_pages_without_text_are_counted() {
        let labels: Vec<String> = (1..=30).map(|page| format!("page {page}")).collect();
        let words = without_text(&labels);
        assert!(words.contains("page 20 and 10 more have no text") && !words.contains("page 21"), "{words}");
        assert!(without_text(&labels[..1]).ends_with("page 1 has no text."));
    }
}
