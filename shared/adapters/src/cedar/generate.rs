// Policies as Rust that makes them, for the build script.

use cedar_policy_core::ast::{EntityType, EntityUID, Expr, ExprKind, Literal, PatternElem};

use crate::compile::Policy;

/// An expression of Rust that is these policies, where `cedar.rs` has `Effect`, `Policy`, `type_name` and `uid`.
pub(crate) fn policies(policies: &[Policy]) -> String {
    let policies = policies.iter().map(|Policy { name, effect, applies }| {
        let applies = expression(applies);
        format!("Policy {{ name: {name:?}.to_owned(), effect: Effect::{effect:?}, applies: {applies} }}")
    });
    format!("{{ use cedar_policy_core::ast; vec![{}] }}", list(policies))
}

fn expression(of: &Expr) -> String {
    match of.expr_kind() {
        ExprKind::Lit(literal) => format!("ast::Expr::val({})", value(literal)),
        ExprKind::Var(variable) => format!("ast::Expr::var(ast::Var::{variable:?})"),
        ExprKind::If { test_expr, then_expr, else_expr } => {
            format!("ast::Expr::ite({}, {}, {})", expression(test_expr), expression(then_expr), expression(else_expr))
        }
        ExprKind::And { left, right } => format!("ast::Expr::and({}, {})", expression(left), expression(right)),
        ExprKind::Or { left, right } => format!("ast::Expr::or({}, {})", expression(left), expression(right)),
        ExprKind::UnaryApp { op, arg } => format!("ast::Expr::unary_app(ast::UnaryOp::{op:?}, {})", expression(arg)),
        ExprKind::BinaryApp { op, arg1, arg2 } => {
            format!("ast::Expr::binary_app(ast::BinaryOp::{op:?}, {}, {})", expression(arg1), expression(arg2))
        }
        ExprKind::GetAttr { expr, attr } => format!("ast::Expr::get_attr({}, {attr:?}.into())", expression(expr)),
        ExprKind::HasAttr { expr, attr } => format!("ast::Expr::has_attr({}, {attr:?}.into())", expression(expr)),
        ExprKind::ExtHasAttr { expr, attrs } => {
            let others = list(attrs.tail.iter().map(|attr| format!("{attr:?}.into()")));
            let attrs = format!("({:?}.into(), vec![{others}]).into()", attrs.head);
            format!("ast::Expr::extended_has_attr({}, {attrs})", expression(expr))
        }
        ExprKind::Like { expr, pattern } => {
            let pattern = pattern.iter().map(|part| match part {
                PatternElem::Char(character) => format!("ast::PatternElem::Char({character:?})"),
                PatternElem::Wildcard => "ast::PatternElem::Wildcard".to_owned(),
            });
            format!("ast::Expr::like({}, vec![{}].into())", expression(expr), list(pattern))
        }
        ExprKind::Is { expr, entity_type } => {
            format!("ast::Expr::is_entity_type({}, {})", expression(expr), name(entity_type))
        }
        ExprKind::Set(members) => format!("ast::Expr::set(vec![{}])", list(members.iter().map(expression))),
        ExprKind::Record(fields) => {
            let fields = fields.iter().map(|(field, value)| format!("({field:?}.into(), {})", expression(value)));
            format!("ast::Expr::record_arc(std::sync::Arc::new([{}].into()))", list(fields))
        }
        absent @ (ExprKind::Slot(_) | ExprKind::Unknown(_) | ExprKind::ExtensionFunctionApp { .. }) => {
            unreachable!("`compile` refuses {absent:?}")
        }
    }
}

fn value(literal: &Literal) -> String {
    match literal {
        Literal::Bool(is_so) => is_so.to_string(),
        Literal::Long(number) => format!("{number}_i64"),
        Literal::String(text) => format!("{text:?}"),
        Literal::EntityUID(entity) => {
            let entity: &EntityUID = entity;
            format!("uid(&{}, {:?})", name(entity.entity_type()), AsRef::<str>::as_ref(entity.eid()))
        }
    }
}

fn name(kind: &EntityType) -> String {
    format!("type_name({:?})", kind.to_string())
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<String>>().join(", ")
}
