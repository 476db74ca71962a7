//! Who calls, and what they may do.

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};
use ihelper_workflow::{
    domain::WorkflowType,
    ports::{Action, What, Who},
};

use crate::{Api, problem::Problem};

/// A caller whose token was checked at the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token's subject.
    pub subject: String,
    /// The token's groups.
    pub groups: Vec<String>,
}

impl Principal {
    /// Who calls where nobody checks tokens: on one's own machine.
    pub(crate) fn local() -> Self {
        Self { subject: "local".to_owned(), groups: vec!["operators".to_owned()] }
    }

    /// The caller as runs name them: no subject of a token can pass for a queue or an event.
    pub fn caller(&self) -> String {
        format!("user:{}", self.subject)
    }

    /// Whether the policies allow this caller to do this.
    pub(crate) fn may(&self, api: &Api, action: Action, what: What<'_>) -> bool {
        api.permissions.allows(Who::User { subject: &self.subject, groups: &self.groups }, action, what)
    }

    /// Refuses, in these words, what the policies do not allow.
    pub(crate) fn must(
        &self,
        api: &Api,
        action: Action,
        what: What<'_>,
        otherwise: &'static str,
    ) -> Result<(), Problem> {
        if self.may(api, action, what) { Ok(()) } else { Err(Problem::Forbidden(otherwise)) }
    }

    /// Refuses, before anything is said of the request, who may not do this to any workflow.
    pub(crate) fn must_somewhere(&self, api: &Api, action: Action, otherwise: &'static str) -> Result<(), Problem> {
        let somewhere = WorkflowType::ALL.iter().any(|workflow| self.may(api, action, What::Workflow(*workflow)));
        if somewhere { Ok(()) } else { Err(Problem::Forbidden(otherwise)) }
    }
}

impl FromRequestParts<Arc<Api>> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or(Problem::Unauthenticated)
    }
}
