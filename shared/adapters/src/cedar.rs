//! Who may do what, by the policies in `infra/policies`.
//!
//! Invariants:
//! - What no policy permits is denied, and so is every question at which a policy breaks: a `forbid` that could not be
//!   evaluated must not count for nothing.
//! - Policies fit their schema, and so do the terms of each action, by which a question is judged before any policy is:
//!   tests hold what is built in to it, since reading a schema takes longer than all the rest of a function's start.
//!   Whoever reads other policies learns of every one that does not fit.
//! - A line of the log names the action, the kind of thing it is done to and the policies that decided. Who asked, it
//!   does not say.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{LazyLock, OnceLock},
};

use async_trait::async_trait;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use ihelper_workflow::{
    domain::WorkflowType,
    ports::{Action, Permissions, What, Who},
};

const POLICIES: [&str; 3] = [
    include_str!("../../../infra/policies/everybody.cedar"),
    include_str!("../../../infra/policies/users.cedar"),
    include_str!("../../../infra/policies/operators.cedar"),
];

// Runs name a user who started them so.
const USER_PREFIX: &str = "user:";

/// Policies, ready to decide.
pub struct CedarPermissions {
    policies: PolicySet,
    authorizer: Authorizer,
}

/// Everything wrong with policies or their schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(Vec<String>);

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the policies are not valid: {}", self.0.join("; "))
    }
}

impl std::error::Error for Invalid {}

impl CedarPermissions {
    /// The policies that are built in. A test holds them to their schema.
    ///
    /// # Errors
    /// This returns an error that tells what does not parse.
    pub fn embedded() -> Result<Self, Invalid> {
        Self::read(&POLICIES.concat())
    }

    /// Policies and their schema, as text.
    ///
    /// # Errors
    /// This returns an error that lists what does not parse or does not fit the schema.
    pub fn parse(schema: &str, policies: &str) -> Result<Self, Invalid> {
        let (schema, warnings) = Schema::from_cedarschema_str(schema).map_err(|error| one("schema", &error))?;
        let mut problems: Vec<String> = warnings.map(|warning| format!("schema: {warning}")).collect();
        let permissions = Self::read(policies)?;
        let found = Validator::new(schema).validate(&permissions.policies, ValidationMode::Strict);
        problems.extend(found.validation_errors().map(ToString::to_string));
        problems.extend(found.validation_warnings().map(ToString::to_string));
        if problems.is_empty() { Ok(permissions) } else { Err(Invalid(problems)) }
    }

    fn read(policies: &str) -> Result<Self, Invalid> {
        let policies = policies.parse().map_err(|error| one("policies", &error))?;
        Ok(Self { policies, authorizer: Authorizer::new() })
    }
}

/// The policies that are built in, read when somebody is about to ask, on another thread: that takes as long as a start, and
/// who asks has to be found out meanwhile.
///
/// A test holds them to be readable. Should they not be, everything is denied.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn;

static BUILT_IN: OnceLock<Result<CedarPermissions, Invalid>> = OnceLock::new();

fn built_in() -> &'static Result<CedarPermissions, Invalid> {
    BUILT_IN.get_or_init(CedarPermissions::embedded)
}

#[async_trait]
impl Permissions for BuiltIn {
    async fn ready(&self) {
        if BUILT_IN.get().is_none() {
            // Should it break off, the first question tells.
            let _ = tokio::task::spawn_blocking(built_in).await;
        }
    }

    fn allows(&self, who: Who<'_>, action: Action, what: What<'_>) -> bool {
        match built_in() {
            Ok(permissions) => permissions.allows(who, action, what),
            Err(invalid) => {
                tracing::error!(error.message = %invalid, "denied, since there are no policies");
                false
            }
        }
    }
}

fn one(what: &str, error: &dyn fmt::Display) -> Invalid {
    Invalid(vec![format!("{what}: {error}")])
}

/// What somebody asks, in Cedar's words. This fails for what is beyond an action's terms: whoever is no principal of an
/// action may not do it, whatever a policy says.
fn question(who: Who<'_>, action: Action, what: What<'_>) -> Result<(Request, Entities), Box<dyn std::error::Error>> {
    let Terms { group, by, of } = terms(action);
    let (principal, resource) = (principal(who)?, resource(what)?);
    let (asks, asked_of) = (principal.uid(), resource.uid());
    if !by.iter().any(|kind| *asks.type_name() == ***kind) || !of.iter().any(|kind| *asked_of.type_name() == ***kind) {
        return Err("beyond the action's terms".into());
    }
    let asked = Entity::new(uid(&ACTION, action.name()), HashMap::new(), HashSet::from([uid(&ACTION, group)]))?;
    let action = asked.uid();
    let entities = Entities::from_entities([principal, resource, asked], None)?;
    Ok((Request::new(asks, action, asked_of, Context::empty(), None)?, entities))
}

type Name = LazyLock<EntityTypeName>;

/// What the schema says of an action.
struct Terms {
    /// The group that it is in.
    group: &'static str,
    /// Whose action it is.
    by: &'static [&'static Name],
    /// What it is done to.
    of: &'static [&'static Name],
}

const ANYBODY: &[&Name] = &[&ANONYMOUS, &USER];
const USERS: &[&Name] = &[&USER];
const THE_BUNDLE: &[&Name] = &[&BUNDLE];
const A_WORKFLOW: &[&Name] = &[&WORKFLOW];
const A_RUN: &[&Name] = &[&RUN];
const A_RUN_OR_WORKFLOW: &[&Name] = &[&RUN, &WORKFLOW];

fn terms(action: Action) -> Terms {
    use Action as A;
    let (group, by, of) = match action {
        A::ReadApiDescription | A::ShowCallback | A::AnswerCallback => ("Open", ANYBODY, THE_BUNDLE),
        A::Upload => ("Use", USERS, THE_BUNDLE),
        A::StartRun | A::ListRuns => ("Use", USERS, A_WORKFLOW),
        A::ViewRun | A::ReadReport | A::CancelRun | A::RetryRun => ("HandleRun", USERS, A_RUN),
        A::RetryUnreadableRun => ("Operate", USERS, A_RUN),
        A::SettleRun => ("Operate", USERS, A_RUN_OR_WORKFLOW),
        A::UseStoredObjects
        | A::ListEveryonesRuns
        | A::ListDeadLetters
        | A::RedriveDeadLetters
        | A::DiscardDeadLetters
        | A::ReadUsage
        | A::ViewDefinition
        | A::ListDefinitionVersions
        | A::DiffDefinition
        | A::PutDefinition
        | A::RollBackDefinition
        | A::CanaryDefinition => ("Operate", USERS, A_WORKFLOW),
    };
    Terms { group, by, of }
}

#[async_trait]
impl Permissions for CedarPermissions {
    fn allows(&self, who: Who<'_>, action: Action, what: What<'_>) -> bool {
        let (request, entities) = match question(who, action, what) {
            Ok(question) => question,
            Err(error) => {
                tracing::info!(permission.action = action.name(), permission.on = kind_of(what), "denied");
                tracing::debug!(error.message = %error, "a permission was asked for that nobody can have");
                return false;
            }
        };
        let response = self.authorizer.is_authorized(&request, &self.policies, &entities);
        let broken = response.diagnostics().errors().count();
        let allowed = response.decision() == Decision::Allow && broken == 0;
        if broken > 0 {
            tracing::error!(permission.action = action.name(), permission.broken_policies = broken, "a policy broke");
        }
        if allowed {
            let decided: Vec<&str> =
                response.diagnostics().reason().filter_map(|policy| self.policies.annotation(policy, "id")).collect();
            tracing::debug!(
                permission.action = action.name(),
                permission.on = kind_of(what),
                permission.policies = decided.join(" "),
                "allowed"
            );
        } else {
            tracing::info!(permission.action = action.name(), permission.on = kind_of(what), "denied");
        }
        allowed
    }
}

impl fmt::Debug for CedarPermissions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CedarPermissions")
            .field("policies", &self.policies.policies().count())
            .finish_non_exhaustive()
    }
}

/// What a log may say of it.
fn kind_of(what: What<'_>) -> &'static str {
    match what {
        What::Bundle => "bundle",
        What::Workflow(workflow) => workflow.name(),
        What::Run(_) => "run",
    }
}

fn type_name(name: &str) -> EntityTypeName {
    name.parse().expect("a name of the schema is one")
}

static ACTION: Name = LazyLock::new(|| type_name("Ihelper::Action"));
static ANONYMOUS: Name = LazyLock::new(|| type_name("Ihelper::Anonymous"));
static BUNDLE: Name = LazyLock::new(|| type_name("Ihelper::Bundle"));
static GROUP: Name = LazyLock::new(|| type_name("Ihelper::Group"));
static RUN: Name = LazyLock::new(|| type_name("Ihelper::Run"));
static USER: Name = LazyLock::new(|| type_name("Ihelper::User"));
static WORKFLOW: Name = LazyLock::new(|| type_name("Ihelper::Workflow"));

/// The entity of this id, whatever characters are in it.
fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn workflow_uid(workflow: WorkflowType) -> EntityUid {
    uid(&WORKFLOW, workflow.name())
}

fn principal(who: Who<'_>) -> Result<Entity, Box<dyn std::error::Error>> {
    Ok(match who {
        Who::Anonymous => Entity::new(uid(&ANONYMOUS, "anonymous"), HashMap::new(), HashSet::new())?,
        Who::User { subject, groups } => {
            let groups = groups.iter().map(|group| uid(&GROUP, group)).collect();
            Entity::new(uid(&USER, subject), HashMap::new(), groups)?
        }
    })
}

fn resource(what: What<'_>) -> Result<Entity, Box<dyn std::error::Error>> {
    Ok(match what {
        What::Bundle => Entity::new(uid(&BUNDLE, "bundle"), HashMap::new(), HashSet::new())?,
        What::Workflow(workflow) => Entity::new(workflow_uid(workflow), HashMap::new(), HashSet::new())?,
        What::Run(run) => {
            let owner = run.origin.caller.strip_prefix(USER_PREFIX);
            let owner =
                owner.map(|subject| ("owner".to_owned(), RestrictedExpression::new_entity_uid(uid(&USER, subject))));
            let workflow = HashSet::from([workflow_uid(run.workflow)]);
            Entity::new(uid(&RUN, &run.id.to_string()), owner.into_iter().collect(), workflow)?
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    const SCHEMA: &str = include_str!("../../../infra/policies/ihelper.cedarschema");

    #[test]
    fn every_file_of_policies_is_built_in_and_fits_the_schema() {
        CedarPermissions::parse(SCHEMA, &POLICIES.concat()).unwrap_or_else(|error| panic!("{error}"));
        let folder = format!("{}/../../infra/policies", env!("CARGO_MANIFEST_DIR"));
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let policies: Vec<String> = files
            .filter(|path| path.extension().is_some_and(|extension| extension == "cedar"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        assert_eq!(policies.len(), POLICIES.len());
        assert!(policies.iter().all(|text| POLICIES.contains(&text.as_str())));
    }

    #[test]
    fn each_action_has_the_terms_of_the_schema_and_the_schema_no_other_action() {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).unwrap();
        let groups: BTreeSet<String> = schema.action_groups().map(|group| group.id().unescaped().to_owned()).collect();
        let actions = schema.actions().map(|action| action.id().unescaped().to_owned());
        let known: BTreeSet<String> = actions.filter(|action| !groups.contains(action)).collect();
        assert_eq!(known, Action::ALL.iter().map(|action| action.name().to_owned()).collect());

        let hierarchy = schema.action_entities().unwrap();
        let names = |kinds: &[&Name]| kinds.iter().map(|kind| kind.to_string()).collect::<BTreeSet<String>>();
        for action in Action::ALL {
            let Terms { group, by, of } = terms(*action);
            let asked = uid(&ACTION, action.name());
            let above: Vec<&str> = hierarchy.ancestors(&asked).unwrap().map(|above| above.id().unescaped()).collect();
            assert_eq!(above, [group], "{asked}");
            let principals = schema.principals_for_action(&asked).unwrap().map(ToString::to_string).collect();
            let resources = schema.resources_for_action(&asked).unwrap().map(ToString::to_string).collect();
            assert_eq!((names(by), names(of)), (principals, resources), "{asked}");
        }
    }

    #[test]
    fn every_policy_has_a_name_for_the_log() {
        let permissions = CedarPermissions::embedded().unwrap();
        let names: BTreeSet<Option<&str>> =
            permissions.policies.policies().map(|policy| policy.annotation("id")).collect();
        assert!(!names.contains(&None));
        assert_eq!(names.len(), permissions.policies.policies().count());
    }
}
