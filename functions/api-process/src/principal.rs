//! Who calls.

use axum::{extract::FromRequestParts, http::request::Parts};
use ihelper_runtime::settings::AuthMode;
use ihelper_workflow::domain::Run;
use lambda_http::{RequestExt as _, request::RequestContext};

use crate::{Api, problem::Problem};

/// A caller whose token API Gateway's authorizer has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token's subject.
    pub subject: String,
    /// The token's groups.
    pub groups: Vec<String>,
}

// Members see every run; others see their own.
const OPERATORS: &str = "operators";

impl Principal {
    /// Whether the caller sees everybody's runs.
    pub fn is_operator(&self) -> bool {
        self.groups.iter().any(|group| group == OPERATORS)
    }

    /// Whether the caller may see this run.
    pub fn may_see(&self, run: &Run) -> bool {
        self.is_operator() || run.origin.caller == self.subject
    }
}

impl FromRequestParts<std::sync::Arc<Api>> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &std::sync::Arc<Api>) -> Result<Self, Problem> {
        if api.auth_mode == AuthMode::Off {
            return Ok(Self { subject: "local".to_owned(), groups: vec![OPERATORS.to_owned()] });
        }
        let Some(RequestContext::ApiGatewayV2(context)) = parts.request_context_ref() else {
            return Err(Problem::Unauthenticated);
        };
        let claims = context
            .authorizer
            .as_ref()
            .and_then(|authorizer| authorizer.jwt.as_ref())
            .map(|jwt| &jwt.claims)
            .ok_or(Problem::Unauthenticated)?;
        let subject = claims.get("sub").filter(|subject| !subject.is_empty()).ok_or(Problem::Unauthenticated)?.clone();
        let groups = claims.get("cognito:groups").or_else(|| claims.get("groups"));
        Ok(Self { subject, groups: groups.map(|text| read_groups(text)).unwrap_or_default() })
    }
}

/// API Gateway passes a list of claims as one text: `[a b]`, or `a` where there is one.
fn read_groups(text: &str) -> Vec<String> {
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .split([' ', ','])
        .map(|group| group.trim_matches('"'))
        .filter(|group| !group.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_in_every_form_that_gateways_pass_them() {
        for text in ["[operators staff]", "operators,staff", "[\"operators\", \"staff\"]", "operators staff"] {
            assert_eq!(read_groups(text), ["operators", "staff"], "{text}");
        }
        assert!(read_groups("[]").is_empty());
    }
}
