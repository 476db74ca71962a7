// Policies as people write them, held to their schema. The build script has this file too.

use std::{collections::BTreeMap, fmt};

use cedar_policy_core::{
    ast::{Effect, Expr, ExprKind},
    extensions::Extensions,
    parser,
    validator::{ValidationMode, Validator, ValidatorSchema},
};

/// A policy, as much of it as is needed to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// What its annotation `id` says, for the log.
    pub(crate) name: String,
    pub(crate) effect: Effect,
    /// When it applies: its scope and its conditions in one.
    pub(crate) applies: Expr,
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

/// A schema as text.
///
/// # Errors
/// This returns an error that lists what is wrong with it.
pub(crate) fn schema(text: &str) -> Result<ValidatorSchema, Invalid> {
    let (schema, warnings) = ValidatorSchema::from_cedarschema_str(text, Extensions::all_available())
        .map_err(|error| Invalid(vec![format!("schema: {error}")]))?;
    let warnings: Vec<String> = warnings.map(|warning| format!("schema: {warning}")).collect();
    if warnings.is_empty() { Ok(schema) } else { Err(Invalid(warnings)) }
}

/// Policies as text, in the order of their names.
///
/// Extension functions (`ip`, `decimal`, `datetime`) are refused: a question brings nothing that they could be asked about,
/// and to have them ready takes a parser.
///
/// # Errors
/// This returns an error that lists what does not parse, what does not fit the schema, and which names are there twice.
pub(crate) fn compile(schema_text: &str, policies_text: &str) -> Result<Vec<Policy>, Invalid> {
    let schema = schema(schema_text)?;
    let parsed = parser::parse_policyset(policies_text).map_err(|error| Invalid(vec![format!("policies: {error}")]))?;
    let found = Validator::new(schema).validate(&parsed, ValidationMode::Strict);
    let mut problems: Vec<String> = found.validation_errors().map(ToString::to_string).collect();
    problems.extend(found.validation_warnings().map(ToString::to_string));
    problems.extend(parsed.templates().map(|policy| format!("`{}` is a template that nothing fills in", policy.id())));
    let mut policies = BTreeMap::new();
    for policy in parsed.policies() {
        let id = policy.annotations().find(|(key, _)| AsRef::<str>::as_ref(*key) == "id");
        let name = id.map_or_else(|| policy.id().to_string(), |(_, annotation)| annotation.val.to_string());
        let applies = policy.condition();
        for part in applies.subexpressions() {
            if let ExprKind::ExtensionFunctionApp { fn_name, .. } = part.expr_kind() {
                problems.push(format!("`{name}` calls `{fn_name}`, and there are no extension functions"));
            }
        }
        let policy = Policy { name: name.clone(), effect: policy.effect(), applies };
        if policies.insert(name.clone(), policy).is_some() {
            problems.push(format!("two policies are named `{name}`"));
        }
    }
    problems.sort();
    if problems.is_empty() { Ok(policies.into_values().collect()) } else { Err(Invalid(problems)) }
}
