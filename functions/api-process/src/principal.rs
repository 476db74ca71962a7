//! Who calls.

use axum::{extract::FromRequestParts, http::request::Parts};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, header};
use ihelper_runtime::settings::AuthMode;
use ihelper_workflow::domain::Run;
use lambda_http::{RequestExt as _, request::RequestContext};
use serde::Deserialize;

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

    /// The caller as runs name them: no subject of a token can pass for a queue or an event.
    pub fn caller(&self) -> String {
        format!("user:{}", self.subject)
    }

    /// Whether the caller may see this run.
    pub fn may_see(&self, run: &Run) -> bool {
        self.is_operator() || run.origin.caller == self.caller()
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
        let groups = parts.headers.get(header::AUTHORIZATION).map(groups_of).unwrap_or_default();
        Ok(Self { subject, groups })
    }
}

/// The groups in the token that the authorizer has verified.
///
/// API Gateway passes a list of claims on as one text, `[a b]`, in which `["ex operators"]` cannot be told from
/// `["ex", "operators"]`. So the list is read from the token itself.
fn groups_of(authorization: &HeaderValue) -> Vec<String> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(rename = "cognito:groups")]
        cognito: Option<Vec<String>>,
        groups: Option<Vec<String>>,
    }
    let payload = authorization.to_str().ok().and_then(|text| text.split('.').nth(1));
    let decoded = payload.and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    let claims = decoded.and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
    claims.and_then(|claims| claims.cognito.or(claims.groups)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(claims: &str) -> Vec<String> {
        let token = format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        groups_of(&HeaderValue::from_str(&token).unwrap())
    }

    #[test]
    fn a_group_is_a_whole_name() {
        assert_eq!(groups(r#"{"cognito:groups": ["operators", "staff"]}"#), ["operators", "staff"]);
        assert_eq!(groups(r#"{"groups": ["ex operators"]}"#), ["ex operators"]);
    }

    #[test]
    fn what_is_no_list_of_groups_gives_none() {
        for claims in ["{}", "[]", "no json", r#"{"groups": "operators"}"#, r#"{"groups": [1]}"#] {
            assert!(groups(claims).is_empty(), "{claims}");
        }
        assert!(groups_of(&HeaderValue::from_static("Bearer")).is_empty());
    }
}
