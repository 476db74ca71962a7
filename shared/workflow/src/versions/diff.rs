//! What differs between two versions, for people to read.

use serde::Serialize;
use serde_json::Value;

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Difference {
    /// Where, as a JSON pointer.
    pub at: String,
    /// What stood there; absent where nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What stands there; absent where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Of a text of several lines, each line behind ` `, `-` or `+`, with the unchanged ones around.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// Every difference between two values, in their order. Lists of named things (cases, steps, criteria) are compared
/// item by item where both name them, so that one more at the front is one difference and not many.
pub fn diff(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(String::new(), Some(before), Some(after), &mut found);
    found
}

/// The differences as text.
pub fn as_text(differences: &[Difference]) -> String {
    let mut text = String::new();
    for difference in differences {
        text.push_str(&difference.at);
        text.push('\n');
        let mut line = |mark: &str, shown: &str| text.push_str(&format!("  {mark} {shown}\n"));
        if difference.lines.is_empty() {
            if let Some(before) = &difference.before {
                line("-", &before.to_string());
            }
            if let Some(after) = &difference.after {
                line("+", &after.to_string());
            }
        }
        for shown in &difference.lines {
            let mut characters = shown.chars();
            let mark = characters.next().map(String::from).unwrap_or_default();
            line(&mark, characters.as_str());
        }
    }
    text
}

fn compare(at: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let added = after.keys().filter(|name| !before.contains_key(*name));
            for name in before.keys().chain(added) {
                let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                compare(place, before.get(name), after.get(name), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => compare_lists(&at, before, after, found),
        (Some(Value::String(before)), Some(Value::String(after))) if before.contains('\n') || after.contains('\n') => {
            found.push(Difference { at, before: None, after: None, lines: compare_lines(before, after) });
        }
        (before, after) => {
            found.push(Difference { at, before: before.cloned(), after: after.cloned(), lines: Vec::new() });
        }
    }
}

fn compare_lists(at: &str, before: &[Value], after: &[Value], found: &mut Vec<Difference>) {
    let (Some(names_before), Some(names_after)) = (names(before), names(after)) else {
        for index in 0..before.len().max(after.len()) {
            compare(format!("{at}/{index}"), before.get(index), after.get(index), found);
        }
        return;
    };
    for (index, name) in names_before.iter().enumerate() {
        let other = names_after.iter().position(|other| other == name).map(|index| &after[index]);
        compare(format!("{at}/{index}"), Some(&before[index]), other, found);
    }
    for (index, name) in names_after.iter().enumerate() {
        if !names_before.contains(name) {
            compare(format!("{at}/{index}"), None, Some(&after[index]), found);
        }
    }
    let order = |names: &[&str], others: &[&str]| -> Vec<Value> {
        names.iter().filter(|name| others.contains(name)).map(|name| Value::from(*name)).collect()
    };
    let (order_before, order_after) = (order(&names_before, &names_after), order(&names_after, &names_before));
    if order_before != order_after {
        found.push(Difference {
            at: format!("{at} (order)"),
            before: Some(order_before.into()),
            after: Some(order_after.into()),
            lines: Vec::new(),
        });
    }
}

/// The names of a list's items, where each has one of its own.
fn names(items: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> =
        items.iter().map(|item| item.get("name").or_else(|| item.get("id"))?.as_str()).collect::<Option<_>>()?;
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    (sorted.len() == items.len()).then_some(names)
}

/// How many unchanged lines are shown around a change.
const CONTEXT: usize = 2;
/// Beyond this many pairs of lines that differ, the finest difference is not worth its time.
const MOST_PAIRS: usize = 1 << 20;

fn compare_lines(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.split('\n').collect(), after.split('\n').collect());
    let same_first = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - same_first;
    let same_last = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(old, new)| old == new).count();
    let (old_middle, new_middle) = (&old[same_first..old.len() - same_last], &new[same_first..new.len() - same_last]);
    let mut lines: Vec<String> =
        old[same_first.saturating_sub(CONTEXT)..same_first].iter().map(|line| format!(" {line}")).collect();
    lines.extend(changes(old_middle, new_middle));
    lines.extend(old[old.len() - same_last..].iter().take(CONTEXT).map(|line| format!(" {line}")));
    lines
}

/// The shortest way from one list of lines to the other, by their longest common subsequence.
fn changes(old: &[&str], new: &[&str]) -> Vec<String> {
    let taken_out = |line: &&str| format!("-{line}");
    let put_in = |line: &&str| format!("+{line}");
    if old.len().saturating_mul(new.len()) > MOST_PAIRS {
        return old.iter().map(taken_out).chain(new.iter().map(put_in)).collect();
    }
    // How long the longest common subsequence of what follows is.
    let mut longest = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for (row, old_line) in old.iter().enumerate().rev() {
        for (column, new_line) in new.iter().enumerate().rev() {
            longest[row][column] = if old_line == new_line {
                longest[row + 1][column + 1] + 1
            } else {
                longest[row + 1][column].max(longest[row][column + 1])
            };
        }
    }
    let (mut row, mut column) = (0, 0);
    let mut lines = Vec::new();
    while row < old.len() && column < new.len() {
        if old[row] == new[column] {
            lines.push(format!(" {}", old[row]));
            (row, column) = (row + 1, column + 1);
        } else if longest[row + 1][column] >= longest[row][column + 1] {
            lines.push(taken_out(&old[row]));
            row += 1;
        } else {
            lines.push(put_in(&new[column]));
            column += 1;
        }
    }
    lines.extend(old[row..].iter().map(taken_out));
    lines.extend(new[column..].iter().map(put_in));
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn places(before: &Value, after: &Value) -> Vec<String> {
        diff(before, after).into_iter().map(|difference| difference.at).collect()
    }

    #[test]
    fn equal_values_have_no_difference_and_others_are_named_by_their_place() {
        let before = json!({"a": 1, "b": {"c/d": [1, 2]}, "gone": true});
        assert_eq!(diff(&before, &before), []);
        let after = json!({"a": 2, "b": {"c/d": [1, 3, 4]}, "new": null});
        assert_eq!(places(&before, &after), ["/a", "/b/c~1d/1", "/b/c~1d/2", "/gone", "/new"]);
        let text = as_text(&diff(&json!({"a": 1}), &json!({"a": "x"})));
        assert_eq!(text, "/a\n  - 1\n  + \"x\"\n");
    }

    #[test]
    fn named_items_are_compared_by_name_and_not_by_place() {
        let case = |name: &str, value: u32| json!({"name": name, "value": value});
        let before = json!({"cases": [case("a", 1), case("b", 2)]});
        let after = json!({"cases": [case("new", 0), case("a", 1), case("b", 3)]});
        assert_eq!(places(&before, &after), ["/cases/1/value", "/cases/0"]);
        let turned = json!({"cases": [case("b", 2), case("a", 1)]});
        assert_eq!(places(&before, &turned), ["/cases (order)"]);
        let twice = json!({"cases": [case("a", 1), case("a", 2)]});
        assert_eq!(places(&before, &twice), ["/cases/1/name"], "names that are not unique name nothing");
    }

    #[test]
    fn texts_are_compared_line_by_line_with_the_lines_around() {
        let before = "one\ntwo\nthree\nfour\nfive\nsix\nseven";
        let after = "one\ntwo\nthree\n4\nfive\nsix\nseven";
        let found = diff(&json!({"text": before}), &json!({"text": after}));
        assert_eq!(found[0].lines, [" two", " three", "-four", "+4", " five", " six"]);
        assert!(as_text(&found).contains("  - four\n  + 4\n"), "{}", as_text(&found));
    }

    proptest! {
        #[test]
        fn the_lines_lead_from_one_text_to_the_other(
            before in "([abc]?\n){0,12}", after in "([abc]?\n){0,12}"
        ) {
            let (old, new): (Vec<&str>, Vec<&str>) = (before.split('\n').collect(), after.split('\n').collect());
            let lines = changes(&old, &new);
            let of = |marks: [char; 2]| -> Vec<String> {
                lines.iter().filter(|line| line.starts_with(marks)).map(|line| line[1..].to_owned()).collect()
            };
            prop_assert_eq!(of([' ', '-']), old);
            prop_assert_eq!(of([' ', '+']), new);
        }
    }
}
