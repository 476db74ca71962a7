//! Who may do what, by the policies in `infra/policies`.
//!
//! Invariants:
//! - What no policy permits is denied, and so is every question at which a policy breaks: a `forbid` that could not be
//!   evaluated must not count for nothing.
//! - Policies fit their schema: a test holds those that are built in to it, since that takes milliseconds which each start
//!   would pay for, and whoever reads others learns of every one that does not.
//! - A line of the log names the action, the kind of thing it is done to and the policies that decided. Who asked, it
//!   does not say.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::LazyLock,
    thread,
};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use ihelper_workflow::{
    domain::WorkflowType,
    ports::{Action, Permissions, What, Who},
};

const SCHEMA: &str = include_str!("../../../infra/policies/ihelper.cedarschema");
const POLICIES: [&str; 3] = [
    include_str!("../../../infra/policies/everybody.cedar"),
    include_str!("../../../infra/policies/users.cedar"),
    include_str!("../../../infra/policies/operators.cedar"),
];

// Runs name a user who started them so.
const USER_PREFIX: &str = "user:";

/// Policies, ready to decide.
pub struct CedarPermissions {
    schema: Schema,
    policies: PolicySet,
    authorizer: Authorizer,
}

/// The policies that are built in, read by a thread of their own while the function starts: that takes longer than all the
/// rest of a start.
pub struct EmbeddedPermissions {
    read: LazyLock<Option<CedarPermissions>, Box<dyn FnOnce() -> Option<CedarPermissions> + Send>>,
}

impl EmbeddedPermissions {
    /// Begins to read. The first decision waits for the end of it; if nothing can be read, everything is denied.
    pub fn begin() -> Self {
        let reading = thread::spawn(|| {
            // So that the first question finds its names read, too.
            LazyLock::force(&ACTION);
            CedarPermissions::embedded()
        });
        let read = move || match reading.join() {
            Ok(Ok(permissions)) => Some(permissions),
            Ok(Err(invalid)) => {
                tracing::error!(error.message = %invalid, "nothing is permitted");
                None
            }
            Err(_) => {
                tracing::error!("the policies could not be read, so nothing is permitted");
                None
            }
        };
        Self { read: LazyLock::new(Box::new(read)) }
    }
}

impl Permissions for EmbeddedPermissions {
    fn allows(&self, who: Who<'_>, action: Action, what: What<'_>) -> bool {
        self.read.as_ref().is_some_and(|permissions| permissions.allows(who, action, what))
    }
}

impl fmt::Debug for EmbeddedPermissions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EmbeddedPermissions").finish_non_exhaustive()
    }
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
        Self::read(SCHEMA, &POLICIES.concat()).map(|(permissions, _)| permissions)
    }

    /// Policies and their schema, as text.
    ///
    /// # Errors
    /// This returns an error that lists what does not parse or does not fit the schema.
    pub fn parse(schema: &str, policies: &str) -> Result<Self, Invalid> {
        let (permissions, mut problems) = Self::read(schema, policies)?;
        let validator = Validator::new(permissions.schema.clone());
        let found = validator.validate(&permissions.policies, ValidationMode::Strict);
        problems.extend(found.validation_errors().map(ToString::to_string));
        problems.extend(found.validation_warnings().map(ToString::to_string));
        if problems.is_empty() { Ok(permissions) } else { Err(Invalid(problems)) }
    }

    /// Policies and their schema, and what is odd about the schema.
    fn read(schema: &str, policies: &str) -> Result<(Self, Vec<String>), Invalid> {
        let one = |what: &str, error: &dyn fmt::Display| Invalid(vec![format!("{what}: {error}")]);
        let (schema, warnings) = Schema::from_cedarschema_str(schema).map_err(|error| one("schema", &error))?;
        let warnings = warnings.map(|warning| format!("schema: {warning}")).collect();
        let policies = policies.parse().map_err(|error| one("policies", &error))?;
        Ok((Self { schema, policies, authorizer: Authorizer::new() }, warnings))
    }

    /// What somebody asks, in Cedar's words. This fails for what the schema does not know.
    fn question(
        &self,
        who: Who<'_>,
        action: Action,
        what: What<'_>,
    ) -> Result<(Request, Entities), Box<dyn std::error::Error>> {
        let principal = principal(who)?;
        let resource = resource(what)?;
        let (asks, asked_of) = (principal.uid(), resource.uid());
        let entities = Entities::from_entities([principal, resource], Some(&self.schema))?;
        let action = uid(&ACTION, action.name());
        let request = Request::new(asks, action, asked_of, Context::empty(), Some(&self.schema))?;
        Ok((request, entities))
    }
}

impl Permissions for CedarPermissions {
    fn allows(&self, who: Who<'_>, action: Action, what: What<'_>) -> bool {
        let (request, entities) = match self.question(who, action, what) {
            Ok(question) => question,
            // Whoever is no principal of an action may not do it; the schema says so before any policy does.
            Err(error) => {
                tracing::info!(permission.action = action.name(), permission.on = kind_of(what), "denied");
                tracing::debug!(error.kind = error_kind(&*error), "a permission was asked for beyond the schema");
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

fn error_kind(error: &(dyn std::error::Error + 'static)) -> &'static str {
    if error.is::<cedar_policy::RequestValidationError>() { "request" } else { "entities" }
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

static ACTION: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Ihelper::Action"));
static ANONYMOUS: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Ihelper::Anonymous"));
static BUNDLE: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Ihelper::Bundle"));
static GROUP: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Ihelper::Group"));
static RUN: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Ihelper::Run"));
static USER: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Ihelper::User"));
static WORKFLOW: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Ihelper::Workflow"));

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
    fn policies_that_are_read_meanwhile_decide_as_they_do_otherwise() {
        let (begun, read) = (EmbeddedPermissions::begin(), CedarPermissions::embedded().unwrap());
        let decisions = |permissions: &dyn Permissions| {
            let asked = |action: &Action| permissions.allows(Who::Anonymous, *action, What::Bundle);
            Action::ALL.iter().map(asked).collect::<Vec<bool>>()
        };
        assert_eq!(decisions(&begun), decisions(&read));
        assert!(decisions(&begun).contains(&true) && decisions(&begun).contains(&false));
    }

    #[test]
    fn the_schema_has_the_actions_that_are_asked_about_and_no_other() {
        let permissions = CedarPermissions::embedded().unwrap();
        let groups: Vec<&EntityUid> = permissions.schema.action_groups().collect();
        let actions = permissions.schema.actions().filter(|action| !groups.contains(action));
        let known: BTreeSet<String> = actions.map(|action| action.id().unescaped().to_owned()).collect();
        let asked: BTreeSet<String> = Action::ALL.iter().map(|action| action.name().to_owned()).collect();
        assert_eq!(known, asked);
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
