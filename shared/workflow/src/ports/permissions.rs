use crate::domain::{Run, WorkflowType};

/// Who may do what.
///
/// What is not allowed is denied, also when nobody can tell.
pub trait Permissions: Send + Sync {
    /// Whether somebody may do this to that.
    fn allows(&self, who: Who<'_>, action: Action, what: What<'_>) -> bool;
}

/// Who asks for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// Nobody whose token was checked.
    Anonymous,
    /// A user, by a token.
    User {
        /// The token's subject.
        subject: &'a str,
        /// The token's groups.
        groups: &'a [String],
    },
}

/// What something is done to.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// The bundle as a whole.
    Bundle,
    /// A workflow: its runs as a whole, its dead letters, its definition.
    Workflow(WorkflowType),
    /// One run.
    Run(&'a Run),
}

/// Declares the actions with their names, so that there is one list of them.
macro_rules! actions {
    ($($(#[$documentation:meta])* $action:ident,)*) => {
        /// What can be done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $($(#[$documentation])* $action,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$action,)*];

            /// The name that policies call it by.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$action => stringify!($action),)*
                }
            }
        }
    };
}

actions! {
    /// To read what the API is; the bundle.
    ReadApiDescription,
    /// To see what a run asks of who has its callback's token; the bundle.
    ShowCallback,
    /// To answer it; the bundle.
    AnswerCallback,
    /// To leave data that is too large for a request; the bundle.
    Upload,
    /// To start a run; its workflow.
    StartRun,
    /// To start one on objects that are stored here; its workflow.
    UseStoredObjects,
    /// To list one's own runs; their workflow.
    ListRuns,
    /// To list everybody's; their workflow.
    ListEveryonesRuns,
    /// To see a run; that run. Who may not does not learn that it exists.
    ViewRun,
    /// To read what a review came to; that run.
    ReadReport,
    /// To stop a run; that run.
    CancelRun,
    /// To repeat a run; that run.
    RetryRun,
    /// To repeat a run whose input is no longer valid, so that nobody can say what it refers to; that run.
    RetryUnreadableRun,
    /// To say what came of an effect; that run, and its workflow.
    SettleRun,
    /// To see what could not be worked on; its workflow.
    ListDeadLetters,
    /// To send it back; its workflow.
    RedriveDeadLetters,
    /// To take it out for good; its workflow.
    DiscardDeadLetters,
    /// To see what models took; its workflow.
    ReadUsage,
    /// To read the definition that counts; its workflow.
    ViewDefinition,
    /// To read the versions there have been; their workflow.
    ListDefinitionVersions,
    /// To compare two of them; their workflow.
    DiffDefinition,
    /// To write another version; its workflow.
    PutDefinition,
    /// To go back to an earlier one; its workflow.
    RollBackDefinition,
    /// To try one on a share of the runs; its workflow.
    CanaryDefinition,
}
