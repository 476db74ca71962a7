//! The performance analyzer: many runs of a workflow over HTTP, what they took, and what became slower.
//!
//! - [`options`](Options): what is measured, and how.
//! - `bundle`: the API that is measured, with a token for it.
//! - `inputs`: what runs work on, each on something of its own.
//! - `measuring`: the runs, and after them their records.
//! - [`record`]: what is kept of them, the form of `performance.json`.
//! - [`metric`], [`statistics`], [`cost`]: what they come to.
//! - [`comparison`]: what became slower than it was, beyond the noise.
//! - `table`, `page`, `plots`: the same for people, in a terminal and in a browser.
//!
//! A run that failed is counted and shown, and its times do not mix with those of good ones.
//!
//! Deliberately absent: a rate at which runs begin whatever comes of the former ones. So many are under way at once, and
//! where a bundle is overloaded, that is seen in its runs per second as well as in its times.

mod bundle;
pub mod comparison;
pub mod cost;
mod inputs;
mod machine;
mod measuring;
pub mod metric;
mod options;
mod page;
mod plots;
mod progress;
pub mod record;
#[cfg(test)]
mod sampling;
pub mod statistics;
mod table;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
};

use ihelper_workflow::domain::WorkflowType;

pub use self::{
    bundle::Bundle,
    comparison::{Change, Comparison, Verdict},
    cost::Cost,
    inputs::Input,
    measuring::measure,
    metric::{Figure, Metric},
    options::{Mode, Options, Workflows},
    page::page,
    record::{Analysis, FailureGroup, Footprint, Machine, Measurement, Outcome, Record, Sample, Settings, Versions},
    table::table,
};

/// What was measured, and where it lies.
pub struct Report {
    /// What was measured.
    pub record: Record,
    /// The page.
    pub page: PathBuf,
    /// The JSON.
    pub json: PathBuf,
    /// The files of those that were accepted.
    pub accepted: Vec<PathBuf>,
    /// What somebody should know beside it.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether a workflow had no good run at all.
    pub fn has_only_failures(&self) -> bool {
        self.record.analyses.iter().any(|analysis| analysis.measurement.good().next().is_none())
    }

    /// Whether a time of a workflow became slower.
    pub fn is_slower(&self) -> bool {
        self.record.analyses.iter().any(|analysis| analysis.comparison.is_slower())
    }
}

/// Measures what the options ask for, and writes it down.
///
/// # Errors
/// This returns an error that names the option or the file when something cannot be read or written, or the options do
/// not go together.
pub async fn analyse(options: &Options) -> Result<Report, String> {
    options.check()?;
    let workflows = options.workflow.list();
    let mut inputs = Vec::new();
    for &workflow in &workflows {
        inputs.push(match &options.input {
            Some(path) => Input::read(workflow, path)?,
            None => Input::sample(workflow),
        });
    }
    let baselines = workflows.iter().map(|workflow| baseline(options, *workflow));
    let baselines = baselines.collect::<Result<Vec<_>, _>>()?;
    let bundle = Bundle::find(options.url.as_deref()).await?;
    check_mail(&bundle, options)?;
    make_folder("OUT (--out)", &options.out)?;

    let mut analyses = Vec::new();
    for ((workflow, input), baseline) in workflows.into_iter().zip(&inputs).zip(&baselines) {
        let measurement = measure(&bundle, workflow, input, options).await;
        let comparison = Comparison::between(baseline.as_ref(), &measurement, options.relevant);
        let figures = Figure::all(&measurement);
        analyses.push(Analysis { measurement, figures, comparison });
    }
    let record = Record::new(analyses);
    let (json, html) = (options.out.join("performance.json"), options.out.join("performance.html"));
    write(&json, &record.to_json())?;
    write(&html, &page(&record, &baselines))?;
    let (accepted, notes) = if options.accept { accept(options, &record)? } else { Default::default() };
    Ok(Report { record, page: html, json, accepted, notes })
}

/// Nobody who is not there gets mail from a bundle that sends it: the sender of the sample does not exist.
fn check_mail(bundle: &Bundle, options: &Options) -> Result<(), String> {
    let answers = options.workflow.list().contains(&WorkflowType::EmailProcessing);
    if answers && options.input.is_none() && !bundle.is_local() {
        return Err(
            "INPUT (--input): this bundle sends mail, and each run answers its sender. Name an email whose domain \
                    takes answers at any address, or measure another workflow (WORKFLOW)"
                .to_owned(),
        );
    }
    Ok(())
}

/// The measurement to compare with: that of the option, which has to be there, or the last that was accepted, if any was.
fn baseline(options: &Options, workflow: WorkflowType) -> Result<Option<Measurement>, String> {
    let (path, is_asked_for) = match &options.baseline {
        Some(path) => (path.clone(), true),
        None => (accepted_file(&options.accepted, workflow), false),
    };
    if !is_asked_for && !path.exists() {
        return Ok(None);
    }
    let record = Record::read(&path).map_err(|problem| format!("BASELINE (--baseline): {problem}"))?;
    let of_workflow = |analysis: &Analysis| analysis.measurement.workflow == workflow;
    match record.analyses.into_iter().find(of_workflow) {
        Some(analysis) => Ok(Some(analysis.measurement)),
        None => Err(format!("BASELINE (--baseline): {} has no measurement of {workflow}", path.display())),
    }
}

fn accepted_file(folder: &Path, workflow: WorkflowType) -> PathBuf {
    folder.join(format!("{workflow}.json"))
}

/// Keeps each workflow's measurement for later ones, unless no run of it was good.
fn accept(options: &Options, record: &Record) -> Result<(Vec<PathBuf>, Vec<String>), String> {
    make_folder("--accepted", &options.accepted)?;
    let (mut accepted, mut notes) = (Vec::new(), Vec::new());
    for analysis in &record.analyses {
        let workflow = analysis.measurement.workflow;
        if analysis.measurement.good().next().is_none() {
            notes.push(format!("{workflow} is not accepted: no run of it was good"));
            continue;
        }
        let path = accepted_file(&options.accepted, workflow);
        write(&path, &Record::new(vec![analysis.clone()]).to_json())?;
        accepted.push(path);
    }
    Ok((accepted, notes))
}

fn make_folder(option: &str, folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{option}: {}: {error}", folder.display()))
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let staged = path.with_extension("tmp");
    fs::write(&staged, text)
        .and_then(|()| fs::rename(&staged, path))
        .map_err(|error| format!("{}: {error}", path.display()))
}
