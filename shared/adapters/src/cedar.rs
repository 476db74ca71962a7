//! Who may do what, by the policies in `infra/policies`.
//!
//! Invariants:
//! - What no policy permits is denied, and so is every question at which a policy breaks: a `forbid` that could not be
//!   evaluated must not count for nothing.
//! - Policies fit their schema, to which the build holds those that are built in, and so do the terms of each action, by
//!   which a question is judged before any policy is: a test holds them to it. Whoever reads other policies learns of every
//!   one that does not fit.
//! - No function parses a policy or a name: Cedar's parser makes its lexers when it is first used, which takes longer than
//!   all the rest of a start.
//! - A line of the log names the action, the kind of thing it is done to and the policies that decided. Who asked, it
//!   does not say.

mod compile;

use std::{collections::HashSet, fmt, sync::LazyLock};

use cedar_policy_core::{
    ast::{
        self, Context, Effect, Eid, Entity, EntityType, EntityUID, InternalName, Literal, PartialValue, Request,
        RequestSchemaAllPass, SlotEnv, Value, ValueKind,
    },
    entities::{Entities, NoEntitiesSchema, TCComputation},
    evaluator::Evaluator,
    extensions::Extensions,
    parser::{Node, cst},
};
use ihelper_workflow::{
    domain::WorkflowType,
    ports::{Action, Permissions, What, Who},
};

pub use compile::Invalid;
use compile::{Policy, compile};

// Runs name a user who started them so.
const USER_PREFIX: &str = "user:";

/// Policies, ready to decide.
pub struct CedarPermissions(Vec<Policy>);

impl CedarPermissions {
    /// The policies that are built in.
    pub fn embedded() -> Self {
        Self(built_in())
    }

    /// Policies and their schema, as text.
    ///
    /// # Errors
    /// This returns an error that lists what does not parse or does not fit the schema.
    pub fn parse(schema: &str, policies: &str) -> Result<Self, Invalid> {
        compile(schema, policies).map(Self)
    }
}

/// What the build script makes of `infra/policies`.
fn built_in() -> Vec<Policy> {
    include!(concat!(env!("OUT_DIR"), "/built_in.rs"))
}

/// The policies that are built in, made when somebody first asks.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn;

impl Permissions for BuiltIn {
    fn allows(&self, who: Who<'_>, action: Action, what: What<'_>) -> bool {
        static MADE: LazyLock<CedarPermissions> = LazyLock::new(CedarPermissions::embedded);
        MADE.allows(who, action, what)
    }
}

/// What somebody asks, in Cedar's words. There is no such question beyond an action's terms: whoever is no principal of an
/// action may not do it, whatever a policy says.
fn question(who: Who<'_>, action: Action, what: What<'_>) -> Option<(Request, Entities)> {
    let Terms { group, by, of } = terms(action);
    let (principal, resource) = (principal(who), resource(what));
    let (asks, asked_of) = (principal.uid().clone(), resource.uid().clone());
    if !by.iter().any(|kind| *asks.entity_type() == ***kind)
        || !of.iter().any(|kind| *asked_of.entity_type() == ***kind)
    {
        return None;
    }
    let action = uid(&ACTION, action.name());
    let asked = entity(action.clone(), None, HashSet::from([uid(&ACTION, group)]));
    // Nothing is in anything that is in something else, so that who is in what is told already.
    let entities = Entities::from_entities(
        [principal, resource, asked],
        None::<&NoEntitiesSchema>,
        TCComputation::AssumeAlreadyComputed,
        Extensions::none(),
    );
    let request = Request::new(
        (asks, None),
        (action, None),
        (asked_of, None),
        Context::empty(),
        None::<&RequestSchemaAllPass>,
        Extensions::none(),
    );
    Some((request.ok()?, entities.ok()?))
}

type Name = LazyLock<EntityType>;

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

impl Permissions for CedarPermissions {
    fn allows(&self, who: Who<'_>, action: Action, what: What<'_>) -> bool {
        let Some((request, entities)) = question(who, action, what) else {
            tracing::info!(permission.action = action.name(), permission.on = kind_of(what), "denied");
            tracing::debug!("a permission was asked for that nobody can have");
            return false;
        };
        let Decision { allowed, by, broken } = self.decide(request, &entities);
        if broken > 0 {
            tracing::error!(permission.action = action.name(), permission.broken_policies = broken, "a policy broke");
        }
        if allowed {
            tracing::debug!(
                permission.action = action.name(),
                permission.on = kind_of(what),
                permission.policies = by.join(" "),
                "allowed"
            );
        } else {
            tracing::info!(permission.action = action.name(), permission.on = kind_of(what), "denied");
        }
        allowed
    }
}

/// What policies come to.
struct Decision<'a> {
    allowed: bool,
    /// The policies that permit or, where one does, forbid it.
    by: Vec<&'a str>,
    /// How many could not be evaluated.
    broken: usize,
}

impl CedarPermissions {
    /// Cedar's own rule, that a `forbid` is above every `permit` and nothing is permitted otherwise, but for what breaks:
    /// Cedar leaves a policy out that cannot be evaluated.
    fn decide(&self, request: Request, entities: &Entities) -> Decision<'_> {
        let (evaluator, no_slots) = (Evaluator::new(request, entities, Extensions::none()), SlotEnv::new());
        let (mut permits, mut forbids, mut broken) = (Vec::new(), Vec::new(), 0);
        for policy in &self.0 {
            match evaluator.interpret(&policy.applies, &no_slots).map(|value| value.value) {
                Ok(ValueKind::Lit(Literal::Bool(false))) => {}
                Ok(ValueKind::Lit(Literal::Bool(true))) => match policy.effect {
                    Effect::Permit => permits.push(policy.name.as_str()),
                    Effect::Forbid => forbids.push(policy.name.as_str()),
                },
                Ok(_) | Err(_) => broken += 1,
            }
        }
        let allowed = broken == 0 && forbids.is_empty() && !permits.is_empty();
        Decision { allowed, by: if forbids.is_empty() { permits } else { forbids }, broken }
    }
}

impl fmt::Debug for CedarPermissions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("CedarPermissions").field(&self.0.len()).finish()
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

/// A name of the schema. Cedar would take it by a regular expression, and that be made first.
fn type_name(name: &str) -> EntityType {
    let part = |part: &str| {
        let part = Node::new(Some(cst::Ident::Ident(part.into())));
        part.to_valid_ident().expect("a name of the schema is one")
    };
    let (path, last) = name.rsplit_once("::").map_or((None, name), |(path, last)| (Some(path), last));
    let path = path.into_iter().flat_map(|path| path.split("::"));
    let name = ast::Name::try_from(InternalName::new(part(last), path.map(part), None));
    name.expect("no name of the schema is one of Cedar's own").into()
}

static ACTION: Name = LazyLock::new(|| type_name("Ihelper::Action"));
static ANONYMOUS: Name = LazyLock::new(|| type_name("Ihelper::Anonymous"));
static BUNDLE: Name = LazyLock::new(|| type_name("Ihelper::Bundle"));
static GROUP: Name = LazyLock::new(|| type_name("Ihelper::Group"));
static RUN: Name = LazyLock::new(|| type_name("Ihelper::Run"));
static USER: Name = LazyLock::new(|| type_name("Ihelper::User"));
static WORKFLOW: Name = LazyLock::new(|| type_name("Ihelper::Workflow"));

/// The name of the entity of this id, whatever characters are in it.
fn uid(kind: &EntityType, id: &str) -> EntityUID {
    EntityUID::from_components(kind.clone(), Eid::new(id), None)
}

fn entity(uid: EntityUID, owner: Option<EntityUID>, within: HashSet<EntityUID>) -> Entity {
    let attributes = owner.map(|owner| ("owner".into(), PartialValue::from(Value::from(owner))));
    Entity::new_with_attr_partial_value(uid, attributes, HashSet::new(), within, [])
}

fn workflow_uid(workflow: WorkflowType) -> EntityUID {
    uid(&WORKFLOW, workflow.name())
}

fn principal(who: Who<'_>) -> Entity {
    match who {
        Who::Anonymous => Entity::with_uid(uid(&ANONYMOUS, "anonymous")),
        Who::User { subject, groups } => {
            entity(uid(&USER, subject), None, groups.iter().map(|group| uid(&GROUP, group)).collect())
        }
    }
}

fn resource(what: What<'_>) -> Entity {
    match what {
        What::Bundle => Entity::with_uid(uid(&BUNDLE, "bundle")),
        What::Workflow(workflow) => Entity::with_uid(workflow_uid(workflow)),
        What::Run(run) => {
            let owner = run.origin.caller.strip_prefix(USER_PREFIX).map(|subject| uid(&USER, subject));
            entity(uid(&RUN, &run.id.to_string()), owner, HashSet::from([workflow_uid(run.workflow)]))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cedar_policy_core::entities::Dereference;

    use super::*;

    const SCHEMA: &str = include_str!("../../../infra/policies/ihelper.cedarschema");

    #[test]
    fn each_action_has_the_terms_of_the_schema_and_the_schema_no_other_action() {
        let schema = compile::schema(SCHEMA).unwrap();
        let id = |uid: &EntityUID| AsRef::<str>::as_ref(uid.eid()).to_owned();
        let groups: BTreeSet<String> = schema.action_groups().map(id).collect();
        let known: BTreeSet<String> = schema.actions().map(id).filter(|action| !groups.contains(action)).collect();
        assert_eq!(known, Action::ALL.iter().map(|action| action.name().to_owned()).collect());

        let hierarchy = schema.action_entities().unwrap();
        let names = |kinds: &[&Name]| kinds.iter().map(|kind| kind.to_string()).collect::<BTreeSet<String>>();
        for action in Action::ALL {
            let Terms { group, by, of } = terms(*action);
            let asked = uid(&ACTION, action.name());
            let Dereference::Data(entity) = hierarchy.entity(&asked) else { panic!("{asked}") };
            assert_eq!(entity.ancestors().map(id).collect::<Vec<String>>(), [group], "{asked}");
            let principals = schema.principals_for_action(&asked).unwrap().map(ToString::to_string).collect();
            let resources = schema.resources_for_action(&asked).unwrap().map(ToString::to_string).collect();
            assert_eq!((names(by), names(of)), (principals, resources), "{asked}");
        }
    }

    #[test]
    fn a_name_is_the_one_that_cedar_reads() {
        for name in ["Ihelper::Workflow", "User", "One::Two::Three"] {
            assert_eq!(type_name(name), name.parse().unwrap());
        }
        assert!(std::panic::catch_unwind(|| type_name("__cedar::User")).is_err());
    }

    #[test]
    fn what_is_built_in_is_what_the_texts_say_and_has_names_for_the_log() {
        let texts = [
            include_str!("../../../infra/policies/everybody.cedar"),
            include_str!("../../../infra/policies/operators.cedar"),
            include_str!("../../../infra/policies/users.cedar"),
        ];
        assert_eq!(built_in(), compile(SCHEMA, &texts.concat()).unwrap());
        assert!(built_in().iter().all(|policy| !policy.name.starts_with("policy")), "{:?}", built_in());
    }

    #[test]
    fn an_expression_of_any_kind_comes_through_the_build() {
        let made: Vec<Policy> = include!(concat!(env!("OUT_DIR"), "/every_expression.rs"));
        let schema = include_str!("cedar/every_expression/schema.cedarschema");
        let read = compile(schema, include_str!("cedar/every_expression/policies.cedar")).unwrap();
        assert_eq!(made.len(), 5);
        assert_eq!(made, read);
    }

    #[test]
    fn policies_of_one_name_templates_and_extension_functions_are_refused() {
        let twice =
            r#"@id("all") permit (principal, action, resource); @id("all") permit (principal, action, resource);"#;
        let problem = compile(SCHEMA, twice).unwrap_err().to_string();
        assert!(problem.contains("two policies are named `all`"), "{problem}");
        let extended = r#"permit (principal, action, resource) when { ip("10.0.0.1").isLoopback() };"#;
        let problem = compile(SCHEMA, extended).unwrap_err().to_string();
        assert!(problem.contains("calls `isLoopback`"), "{problem}");
        let template = "permit (principal == ?principal, action, resource);";
        let problem = compile(SCHEMA, template).unwrap_err().to_string();
        assert!(problem.contains("template"), "{problem}");
    }
}
