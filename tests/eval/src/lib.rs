//! Evaluations: the golden cases of definitions, played on models.
//!
//! - `candidates`: who is evaluated: each node of the configuration by itself, and the rules.
//! - `playing`: all cases on all candidates, some at once, with progress.
//! - `report`: what came of it, as tables, as JSON and as a verdict.
//!
//! A case is played as it is before a version becomes current: as a whole run whose effects are only noted. Nothing is
//! kept anywhere; models are asked, and paid.

mod candidates;
mod playing;
mod report;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use ihelper_workflow::domain::{WorkflowType, configuration::Configuration, definition::Definition};

pub use self::{
    candidates::{Candidate, candidates},
    playing::{Result as Outcome, play},
    report::Report,
};

/// What to play, and on whom.
#[derive(Clone, Debug, Parser)]
#[command(name = "eval", about = "Plays golden cases on every node that is configured, each by itself")]
pub struct Options {
    /// The configuration whose nodes are evaluated
    #[arg(long, value_name = "FILE", default_value = "infra/workflow_config.yaml")]
    pub config: PathBuf,
    /// The definitions whose golden cases are played
    #[arg(long, value_name = "FOLDER", default_value = "infra/definitions")]
    pub definitions: PathBuf,
    /// Only this workflow's cases; may be repeated
    #[arg(long = "workflow", value_name = "TYPE")]
    pub workflows: Vec<WorkflowType>,
    /// Only this node, or `rules`; may be repeated
    #[arg(long = "node", value_name = "NAME")]
    pub nodes: Vec<String>,
    /// How often each case is played, since a model may answer otherwise the next time
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// How many cases are played at once
    #[arg(long, value_name = "CASES", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub parallel: u32,
    /// The share of plays that has to pass on each node, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub at_least: u32,
    /// Where the results go as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Plays what the options ask for.
///
/// # Errors
/// This returns an error that names the file or the option when a file cannot be read, the configuration or a definition
/// is not valid, a key is missing, or nothing is left to be played.
pub async fn evaluate(options: &Options) -> Result<Report, Box<dyn Error + Send + Sync>> {
    let configuration = Configuration::parse(&read(&options.config)?)
        .map_err(|invalid| format!("{}: {invalid}", options.config.display()))?;
    let definitions = definitions(options)?;
    let candidates = candidates(&configuration, &definitions, &options.nodes, |name| std::env::var(name).ok())?;
    let results = play(&candidates, &definitions, options.repeat, options.parallel).await;
    let report = Report::new(&candidates, results, options.at_least);
    if let Some(path) = &options.json {
        fs::write(path, report.to_json()).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The definitions of the folder that are to be played, by their files' names.
fn definitions(options: &Options) -> Result<Vec<Definition>, String> {
    let folder = &options.definitions;
    let unreadable = |error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    let mut definitions = Vec::new();
    for file in files {
        let definition =
            Definition::parse(&read(&file)?).map_err(|failure| format!("{}: {failure}", file.display()))?;
        if options.workflows.is_empty() || options.workflows.contains(&definition.workflow) {
            definitions.push(definition);
        }
    }
    if definitions.iter().all(|definition| definition.golden_cases.is_empty()) {
        return Err(format!("{}: there is no golden case to play", folder.display()));
    }
    Ok(definitions)
}
