//! Templates rendered to plain text, and expressions over the same values.
//!
//! Invariants: a variable that does not exist is an error and never an empty place in a mail; rendering ends,
//! whatever the template (fuel); values are data, so template syntax inside them is never interpreted; nothing is
//! escaped, because the output is plain text.
//!
//! Deliberately absent: includes, imports, blocks and loaders. A template is one text, and the engine is built without
//! them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, value::Serde};

use crate::domain::Failure;

// A response takes a few hundred instructions; a loop over everything in its context some ten thousand.
const FUEL: u64 = 100_000;
// Nesting in a template costs stack while it is compiled; a response needs two or three levels.
const RECURSION: usize = 32;
// A template renders to no more than this many bytes: fuel bounds instructions, not the length of a value that
// each of them writes.
const LONGEST_OUTPUT: usize = 1 << 20;

// As many compiled templates are kept, whose texts have no more than this many bytes together: a definition has some ten
// of a page or two. Compiled, a byte of text takes two to forty-five.
const MOST_KEPT: usize = 64;
const MOST_BYTES_KEPT: usize = 128 << 10;
// What a template is called in its environment, which has no other.
const ONLY: &str = "template";

/// What templates and expressions speak of, by name.
pub(crate) type Values = BTreeMap<String, serde_json::Value>;

/// Renders a template that a definition has, called `name` in errors, over these values. It is kept compiled for the next
/// run.
///
/// # Errors
/// This returns an error of kind `Validation` that names the template, and the variable where one is missing, when
/// the template has a mistake, uses what does not exist or takes too long.
pub(crate) fn render(name: &str, source: &str, values: &Values) -> Result<String, Failure> {
    static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let known = kept().compiled.get(source).map(Arc::clone);
    let compiled = if let Some(known) = known {
        known
    } else {
        let compiled = Arc::new(compiled(name, source)?);
        kept().keep(source, &compiled);
        compiled
    };
    rendered(name, &compiled, values)
}

/// The compiled templates of the process's last runs: most runs fill the same ones.
#[derive(Default)]
struct Kept {
    compiled: HashMap<String, Arc<Environment<'static>>>,
    bytes: usize,
}

impl Kept {
    /// Keeps one more, for which all others go where there is no room beside them, but none that is too long by itself.
    fn keep(&mut self, source: &str, compiled: &Arc<Environment<'static>>) {
        if source.len() > MOST_BYTES_KEPT || self.compiled.contains_key(source) {
            return;
        }
        if self.compiled.len() == MOST_KEPT || self.bytes + source.len() > MOST_BYTES_KEPT {
            *self = Self::default();
        }
        self.bytes += source.len();
        self.compiled.insert(source.to_owned(), Arc::clone(compiled));
    }
}

/// An environment with this template alone, by the name [`ONLY`].
fn compiled(name: &str, source: &str) -> Result<Environment<'static>, Failure> {
    let mut environment = environment();
    environment.add_template_owned(ONLY, source.to_owned()).map_err(|error| failure(name, &error, &[]))?;
    Ok(environment)
}

fn rendered(name: &str, compiled: &Environment<'static>, values: &Values) -> Result<String, Failure> {
    let template = compiled.get_template(ONLY).map_err(|error| failure(name, &error, &[]))?;
    let mut output = Bounded { bytes: Vec::new() };
    template.render_captured_to(context(values), &mut output).map_err(|error| {
        let mut missing: Vec<String> = template
            .undeclared_variables(false)
            .into_iter()
            .filter(|variable| !values.contains_key(variable))
            .collect();
        missing.sort();
        failure(name, &error, &missing)
    })?;
    String::from_utf8(output.bytes).map_err(|_| Failure::validation(format!("template `{name}`: output is not text")))
}

/// Fills a text of one run, such as an argument of its plan. One that is a single expression, `{{ … }}`, keeps that
/// expression's type: a list stays a list.
///
/// # Errors
/// As [`render`].
pub(crate) fn fill(name: &str, source: &str, values: &Values) -> Result<serde_json::Value, Failure> {
    let Some(expression) = sole_expression(source) else {
        // What somebody wrote in a task is not kept beyond it.
        return rendered(name, &compiled(name, source)?, values).map(serde_json::Value::String);
    };
    let found = evaluate(name, expression, values)?;
    if found.is_undefined() {
        return Err(Failure::validation(format!("template `{name}`: uses what does not exist")));
    }
    serde_json::to_value(found).map_err(|_| Failure::validation(format!("template `{name}`: is not a value of JSON")))
}

/// Whether an expression is true.
///
/// # Errors
/// As [`render`].
pub(crate) fn holds(name: &str, expression: &str, values: &Values) -> Result<bool, Failure> {
    evaluate(name, expression, values).map(|value| value.is_true())
}

/// The variables that a template speaks of, with the fields that it names of them: `task.id`, `results`.
///
/// # Errors
/// This returns an error of kind `Validation` that names the template and the line of its mistake.
pub(crate) fn variables(name: &str, source: &str) -> Result<BTreeSet<String>, Failure> {
    let environment = environment();
    let template = environment.template_from_named_str(name, source).map_err(|error| failure(name, &error, &[]))?;
    Ok(foreign(template.undeclared_variables(true)))
}

/// The variables that an expression speaks of, as [`variables`].
///
/// # Errors
/// This returns an error of kind `Validation` that names the expression.
pub(crate) fn variables_of_expression(name: &str, source: &str) -> Result<BTreeSet<String>, Failure> {
    let environment = environment();
    let expression = environment.compile_expression(source).map_err(|error| failure(name, &error, &[]))?;
    Ok(foreign(expression.undeclared_variables(true)))
}

/// Whether a text is a template that does anything.
pub(crate) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|opening| text.contains(opening))
}

// What every template can use is nobody's variable.
fn foreign(variables: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    variables.into_iter().filter(|name| !["range", "dict", "namespace", "debug"].contains(&name.as_str())).collect()
}

fn evaluate(name: &str, expression: &str, values: &Values) -> Result<Value, Failure> {
    environment()
        .compile_expression(expression)
        .and_then(|expression| expression.eval(context(values)))
        .map_err(|error| failure(name, &error, &[]))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    environment
}

fn context(values: &Values) -> Value {
    values.iter().map(|(key, value)| (key.clone(), to_value(value))).collect::<BTreeMap<String, Value>>().into()
}

fn sole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%")).then(|| inner.trim())
}

/// The text as a template that renders to exactly this text, whatever syntax it holds.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        // Everything that a template does begins with a brace and one of these.
        if character == '{' && characters.peek().is_some_and(|next| matches!(next, '{' | '%' | '#')) {
            out.push_str("{{ '{' }}");
        } else {
            out.push(character);
        }
    }
    // One line break at the very end would be dropped.
    if out.ends_with('\n') {
        out.pop();
        out.push_str("{{ '\\n' }}");
    }
    out
}

struct Bounded {
    bytes: Vec<u8>,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > LONGEST_OUTPUT {
            return Err(std::io::Error::other("the output is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn to_value(value: &serde_json::Value) -> Value {
    Value::from(Serde(value))
}

// The engine's own message may quote values, which a person wrote: only its kind and place are passed on.
fn failure(name: &str, error: &minijinja::Error, missing: &[String]) -> Failure {
    let place = error.line().map_or(String::new(), |line| format!(" in line {line}"));
    let message = match error.kind() {
        ErrorKind::UndefinedError if missing.is_empty() => {
            format!("template `{name}`{place}: uses a field that its value does not have")
        }
        ErrorKind::UndefinedError => format!("template `{name}`{place}: no variable `{}`", missing.join("`, `")),
        ErrorKind::OutOfFuel => format!("template `{name}`: takes too long to render"),
        // The source of a template is the operator's own, so its mistakes may be quoted.
        ErrorKind::SyntaxError => {
            format!("template `{name}`{place}: syntax error: {}", error.detail().unwrap_or("not a template"))
        }
        kind => format!("template `{name}`{place}: {}", format!("{kind}").to_lowercase()),
    };
    Failure::validation(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::Kind;

    fn values(value: serde_json::Value) -> BTreeMap<String, serde_json::Value> {
        serde_json::from_value(value).unwrap()
    }

    fn problem(source: &str) -> String {
        let error = render("greeting", source, &values(json!({"who": "you", "deep": {"a": 1}}))).unwrap_err();
        assert_eq!(error.kind, Kind::Validation);
        error.message
    }

    #[test]
    fn a_template_that_never_ends_is_stopped() {
        let loops = format!("{}x{}", "{% for a in range(9999) %}".repeat(3), "{% endfor %}".repeat(3));
        assert!(problem(&loops).contains("`greeting`"), "{}", problem(&loops));
        let grows = format!("{{% set x = 'aaaaaaaaaa' %}}{}{{{{ x }}}}", "{% set x = x ~ x %}".repeat(18))
            + &"{{ x }}".repeat(20);
        assert!(problem(&grows).contains("`greeting`"));
    }

    #[test]
    fn a_missing_variable_is_named_with_the_template() {
        assert_eq!(problem("Hello\n{{ whom }}"), "template `greeting` in line 2: no variable `whom`");
        assert_eq!(problem("{{ deep.b }}"), "template `greeting` in line 1: uses a field that its value does not have");
        assert!(problem("{{ who").contains("syntax error"));
        assert!(problem("{{ who | nothing }}").contains("`greeting`"));
        assert!(problem("{% include 'other' %}").contains("`greeting`"));
    }

    #[test]
    fn values_are_data_and_are_not_escaped() {
        let values = values(json!({"text": "{{ 7 * 7 }} <b> & {% raw %}", "list": [1, 2.5, true, null, {"a": "b"}]}));
        let shown =
            render("x", "{{ text }} {{ list[0] }} {{ list[4].a }}{% if text is defined %}!{% endif %}", &values);
        assert_eq!(shown.unwrap(), "{{ 7 * 7 }} <b> & {% raw %} 1 b!");
    }

    #[test]
    fn a_template_is_filled_anew_each_time_and_its_mistake_is_told_under_each_of_its_names() {
        for who in ["first", "second"] {
            assert_eq!(
                render("x", "to the {{ who }}", &values(json!({ "who": who }))).unwrap(),
                format!("to the {who}")
            );
        }
        for name in ["one", "other"] {
            let error = render(name, "{{ absent }}", &Values::new()).unwrap_err();
            assert_eq!(error.message, format!("template `{name}` in line 1: no variable `absent`"));
        }
    }

    #[test]
    fn compiled_templates_are_kept_within_bounds_and_the_newest_is_among_them() {
        let keep = |kept: &mut Kept, source: &str| {
            kept.keep(source, &Arc::new(compiled("x", source).unwrap()));
            let bytes: usize = kept.compiled.keys().map(String::len).sum();
            assert_eq!(kept.bytes, bytes);
            assert!(kept.compiled.len() <= MOST_KEPT && bytes <= MOST_BYTES_KEPT, "{} {bytes}", kept.compiled.len());
            kept.compiled.contains_key(source)
        };
        let mut kept = Kept::default();
        for number in 0..2 * MOST_KEPT {
            assert!(keep(&mut kept, &number.to_string()) && keep(&mut kept, &number.to_string()));
            assert_eq!(kept.compiled.len(), number % MOST_KEPT + 1);
        }
        let half = MOST_BYTES_KEPT / 2;
        assert!(keep(&mut kept, &"a".repeat(half)) && keep(&mut kept, &"b".repeat(half)));
        assert_eq!(kept.compiled.len(), 2);
        assert!(!keep(&mut kept, &"c".repeat(MOST_BYTES_KEPT + 1)));
        assert_eq!(kept.compiled.len(), 2);
    }

    #[test]
    fn a_template_reaches_no_template_not_even_itself() {
        for statement in ["include 'NAME'", "import 'NAME' as a", "from 'NAME' import a", "extends 'NAME'", "block a"] {
            for name in [ONLY, "greeting", "\\0"] {
                let source =
                    format!("{{% if who is undefined %}}{{% {} %}}{{% endif %}}", statement.replace("NAME", name));
                let word = statement.split(' ').next().unwrap();
                let says = format!("template `greeting` in line 1: syntax error: unknown statement {word}");
                assert_eq!(problem(&source), says);
                assert_eq!(variables("greeting", &source).unwrap_err().message, says);
            }
        }
    }

    #[test]
    fn the_variables_of_a_template_are_those_that_it_does_not_make_itself() {
        let used = variables("x", "{% for a in task.list %}{{ a.b }}{{ results.c.d }}{% endfor %}").unwrap();
        assert_eq!(used, ["results.c.d", "task.list"].map(str::to_owned).into());
    }

    #[test]
    fn deep_nesting_in_a_template_is_an_error_and_not_a_crash() {
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
        problem(&deep);
    }

    proptest! {
        #[test]
        fn a_literal_renders_to_itself(text in "([{}%#'\"\\\\n -]|raw|endraw|x|\\PC){0,60}") {
            prop_assert_eq!(render("literal", &literal(&text), &BTreeMap::new()).unwrap(), text);
        }

        #[test]
        fn no_template_makes_it_panic(source in "(\\{\\{|\\}\\}|\\{%|%\\}| for x in |if |a|\\(|\\)|\\||\\PC){0,40}") {
            let _ = render("any", &source, &BTreeMap::new());
        }
    }

    #[test]
    fn a_literal_ending_in_a_line_break_keeps_it() {
        for text in ["a\n", "{{ x }}\n", "\n", "{", "{{", "{{{", "a{%- b -%}", "{# c #}"] {
            assert_eq!(render("literal", &literal(text), &BTreeMap::new()).unwrap(), text);
        }
    }
}
