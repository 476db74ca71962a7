use std::{path::PathBuf, str::FromStr};

use clap::{Parser, ValueEnum};
use ihelper_workflow::domain::WorkflowType;
use serde::{Deserialize, Serialize};

/// What to measure.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "performance",
    args_override_self = true,
    about = "Runs a workflow many times over HTTP, and tells what that took and what became slower",
    after_help = "The token comes from the environment, as IHELPER_TOKEN. Without --url and IHELPER_API_URL, the bundle \
                  is the one that IHELPER_OUTPUTS tells of, as `stack.py run` has it."
)]
pub struct Options {
    /// The workflow, or `all`
    #[arg(long, value_name = "WORKFLOW", default_value = "all")]
    pub workflow: Workflows,
    /// How many runs are measured
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs: u32,
    /// How many runs there are at a time
    #[arg(long, value_name = "CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub concurrency: u32,
    /// How many runs come before those that are measured; as many as there are at a time, unless given
    #[arg(long, value_name = "WARMUP", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub warmup: Option<u32>,
    /// Whether the caller waits for the result in one call, or has the run queued and asks for it
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Mode::Sync)]
    pub mode: Mode,
    /// The data of a run, as JSON; its `id`, and an email's `from`, are made different for each run
    #[arg(long, value_name = "INPUT")]
    pub input: Option<PathBuf>,
    /// Where the bundle is; `IHELPER_API_URL` says it too
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The measurement to compare with, instead of the last that was accepted
    #[arg(long, value_name = "BASELINE")]
    pub baseline: Option<PathBuf>,
    /// Where accepted measurements are kept
    #[arg(long, value_name = "FOLDER", default_value = ".local/perf")]
    pub accepted: PathBuf,
    /// Accept this measurement: later ones are compared with it
    #[arg(long)]
    pub accept: bool,
    /// The folder for the page and the JSON
    #[arg(long, value_name = "OUT", default_value = "target/perf")]
    pub out: PathBuf,
    /// The change that is worth a word, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub relevant: u32,
    /// End with 2 when a time became slower
    #[arg(long)]
    pub fail_on_slower: bool,
    /// How long one run may take, in seconds
    #[arg(long, value_name = "PATIENCE", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub patience: u32,
    /// The memory of the function that works, in MiB, for its price; that of the template, unless given
    #[arg(long, value_name = "MEMORY", value_parser = clap::value_parser!(u32).range(128..=10_240))]
    pub memory: Option<u32>,
}

/// Which workflows are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workflows {
    /// Each, one after the other.
    All,
    /// This one.
    One(WorkflowType),
}

impl Workflows {
    /// Those that are measured, in the order of the documentation.
    pub fn list(self) -> Vec<WorkflowType> {
        match self {
            Self::All => WorkflowType::ALL.to_vec(),
            Self::One(workflow) => vec![workflow],
        }
    }
}

impl FromStr for Workflows {
    type Err = String;

    /// # Errors
    /// This returns an error when no workflow has this name; it lists those that exist.
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "all" => Ok(Self::All),
            name => name.parse().map(Self::One).map_err(|unknown| format!("{unknown}, or `all`")),
        }
    }
}

/// How a run is started and waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One call that waits for the result; where that comes to be too long for a call, the run's address is asked.
    Sync,
    /// The run goes through its queue, and its address is asked until it has ended: times are exact to the pause between
    /// two questions.
    Async,
}

impl Mode {
    /// The name in options and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
        }
    }
}

impl Options {
    /// How many runs come before those that are measured.
    pub fn warmup(&self) -> u32 {
        self.warmup.unwrap_or(self.concurrency)
    }

    /// Refuses what cannot be meant together.
    ///
    /// # Errors
    /// This returns an error that names the options.
    pub fn check(&self) -> Result<(), String> {
        match (&self.workflow, &self.input) {
            (Workflows::All, Some(_)) => {
                Err("INPUT (--input): it is the data of one workflow, and WORKFLOW (--workflow) \
                                              is `all`"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }
}
