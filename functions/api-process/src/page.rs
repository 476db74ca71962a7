//! The pages of a callback, for people who come by a link.
//!
//! What is put into them is data: the template engine escapes it, and the browser is told to run nothing and to load
//! nothing.

use std::sync::LazyLock;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use ihelper_workflow::engine::{Asked, Decision, Reply};
use jiff::Timestamp;
use minijinja::{Environment, UndefinedBehavior, value::Serde};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Problem,
    callbacks::{self, decided},
};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

// A page is for reading. What is more than this is in the answer in JSON.
const MOST_ROWS: usize = 500;
const LONGEST_TEXT: usize = 10_000;
const DEEPEST_ROW: usize = 8;

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    pages.set_undefined_behavior(UndefinedBehavior::Strict);
    // By its name it is HTML, and what is put into it is escaped.
    pages.add_template("callback.html", include_str!("callback.html")).expect("the page is a template");
    pages
});

/// What a page says.
#[derive(Debug, Default, Serialize)]
struct Page {
    title: String,
    message: Option<String>,
    /// What was decided.
    decided: Option<String>,
    until: Option<Moment>,
    rows: Vec<Row>,
    /// Whether there are more details than rows.
    is_cut: bool,
    /// What whoever approves can write anew.
    fields: Vec<Field>,
    /// Whether it can be answered.
    is_open: bool,
}

/// A text that can be written anew.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Field {
    name: String,
    text: String,
    is_long: bool,
}

/// A line of the details: a value with its name, further in the deeper it lies.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    depth: usize,
    name: String,
    text: String,
}

/// A time, for machines and for people.
#[derive(Debug, Serialize)]
struct Moment {
    machine: String,
    person: String,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self {
            machine: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            person: at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        }
    }
}

/// The question, with a form while it can be answered.
pub(crate) fn question(asked: &Asked, is_open: bool) -> Response {
    let question = asked.asks.get("question").and_then(Value::as_str);
    let mut details = Details::default();
    match (&asked.asks, question) {
        (Value::Object(asks), Some(_)) => {
            let is_shown_elsewhere =
                |name: &str| matches!(name, "question" | "details") || (is_open && name == callbacks::EDITABLE);
            let others = asks.iter().filter(|(name, _)| !is_shown_elsewhere(name));
            details.add_values(0, asks.get("details").into_iter());
            others.for_each(|(name, value)| details.add(0, name, value));
        }
        (asks, _) => details.add_values(0, std::iter::once(asks)),
    }
    let decided = decided(asked).map(sentence);
    let over = (!is_open && decided.is_none())
        .then(|| "This can no longer be answered: the time is over, or the run has ended.".to_owned());
    let page = Page {
        title: question.map_or("Your answer is needed".to_owned(), shortened),
        message: over,
        decided,
        until: Some(asked.until.into()),
        rows: details.rows,
        is_cut: details.is_cut,
        fields: if is_open { fields(&asked.asks) } else { Vec::new() },
        is_open,
    };
    render(StatusCode::OK, page)
}

fn fields(asks: &Value) -> Vec<Field> {
    let texts = callbacks::editable(asks).map(|(name, text)| Field {
        name: name.to_owned(),
        text: text.to_owned(),
        is_long: text.contains('\n') || text.len() > 200,
    });
    texts.collect()
}

/// Thanks for an answer.
pub(crate) fn taken(reply: &Reply) -> Response {
    let page = Page {
        title: "Thank you".to_owned(),
        message: Some("Your answer was taken. You can close this page.".to_owned()),
        decided: Some(sentence(reply)),
        ..Page::default()
    };
    render(StatusCode::OK, page)
}

/// What went wrong.
pub(crate) fn problem(problem: &Problem) -> Response {
    let page = Page {
        title: problem.title().to_owned(),
        message: match problem {
            Problem::NotFound(_) => Some("This link leads nowhere. Perhaps a part of it is missing.".to_owned()),
            problem => problem.detail().map(|detail| format!("{}.", capitalized(&detail))),
        },
        decided: match problem {
            Problem::AnsweredOtherwise(reply) => Some(sentence(reply)),
            _ => None,
        },
        ..Page::default()
    };
    render(problem.status(), page)
}

fn render(status: StatusCode, page: Page) -> Response {
    let rendered = PAGES.get_template("callback.html").and_then(|template| template.render(Serde(page)));
    match rendered {
        Ok(html) => {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
                (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            ];
            (status, headers, html).into_response()
        }
        Err(error) => {
            tracing::error!(error.kind = ?error.kind(), "a page could not be rendered");
            Problem::Internal.into_response()
        }
    }
}

/// Who decided what, and when.
fn sentence(reply: &Reply) -> String {
    let what = match reply.decision {
        Decision::Approve => "Approved",
        Decision::Reject => "Rejected",
        Decision::Data | Decision::Expired => "Answered",
    };
    let by = if reply.by.is_empty() { String::new() } else { format!(" by {}", reply.by) };
    format!("{what}{by} on {}.", Moment::from(reply.at).person)
}

/// Values, line by line.
#[derive(Debug, Default)]
struct Details {
    rows: Vec<Row>,
    is_cut: bool,
}

impl Details {
    /// The fields and items of values; a value that has none is a line without a name.
    fn add_values<'a>(&mut self, depth: usize, values: impl Iterator<Item = &'a Value>) {
        for value in values {
            match value {
                Value::Object(fields) => fields.iter().for_each(|(name, field)| self.add(depth, name, field)),
                Value::Array(items) => {
                    (1..).zip(items).for_each(|(number, item)| self.add(depth, &format!("{number}."), item));
                }
                Value::Null => {}
                value => self.add(depth, "", value),
            }
        }
    }

    fn add(&mut self, depth: usize, name: &str, value: &Value) {
        if self.rows.len() >= MOST_ROWS {
            self.is_cut = true;
            return;
        }
        let is_nested = matches!(value, Value::Object(_) | Value::Array(_)) && depth < DEEPEST_ROW;
        let text = match value {
            Value::String(text) => self.cut(text),
            Value::Null => "none".to_owned(),
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            value if is_nested && !is_empty(value) => String::new(),
            value => self.cut(&value.to_string()),
        };
        self.rows.push(Row { depth, name: shortened(name), text });
        if is_nested {
            self.add_values(depth + 1, std::iter::once(value));
        }
    }

    fn cut(&mut self, text: &str) -> String {
        let cut = &text[..text.floor_char_boundary(LONGEST_TEXT)];
        self.is_cut |= cut.len() < text.len();
        cut.to_owned()
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn shortened(text: &str) -> String {
    text.chars().take(1000).collect()
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(value: &Value) -> Vec<(usize, String, String)> {
        let mut details = Details::default();
        details.add_values(0, std::iter::once(value));
        details.rows.into_iter().map(|row| (row.depth, row.name, row.text)).collect()
    }

    fn row(depth: usize, name: &str, text: &str) -> (usize, String, String) {
        (depth, name.to_owned(), text.to_owned())
    }

    #[test]
    fn details_are_shown_line_by_line() {
        let value = json!({"amount": 12.5, "items": ["pen", {"paid": true}], "none": null, "rest": []});
        let expected = [
            row(0, "amount", "12.5"),
            row(0, "items", ""),
            row(1, "1.", "pen"),
            row(1, "2.", ""),
            row(2, "paid", "yes"),
            row(0, "none", "none"),
            row(0, "rest", "[]"),
        ];
        assert_eq!(rows(&value), expected);
        assert_eq!(rows(&json!("a text")), [row(0, "", "a text")]);
        assert_eq!(rows(&json!(null)), []);
    }

    #[test]
    fn a_page_stays_readable_however_much_is_asked() {
        let mut deep = json!("end");
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let value = json!([vec!["x".repeat(1000); 10_000], "é".repeat(100_000), deep]);
        let mut details = Details::default();
        details.add_values(0, std::iter::once(&value));
        assert!(details.is_cut && details.rows.len() == MOST_ROWS);
        assert!(rows(&deep).len() <= DEEPEST_ROW + 1);
    }
}
