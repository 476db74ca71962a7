//! Markdown: its own text, cut into sections by its headings.

use ihelper_workflow::domain::{Failure, document::Content};

use super::{Limits, text::Collector};

/// Reads Markdown. The marks stay: they are what a person sees in the file.
///
/// # Errors
/// This returns an error when it has no text.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Content, Failure> {
    let mut collector = Collector::new("markdown", limits);
    let mut fence: Option<&str> = None;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if collector.is_full() {
            collector.mark_truncated();
            break;
        }
        let start = line.trim_start();
        match fence {
            Some(mark) if start.starts_with(mark) => fence = None,
            Some(_) => {}
            None => {
                fence = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
                if fence.is_none()
                    && let Some((level, heading)) = heading_of(line, lines.peek().copied())
                {
                    collector.begin_heading(level, heading);
                }
            }
        }
        collector.add_lines(line);
    }
    collector.finish("the document has no text")
}

/// The heading that a line is, with its level: `## Terms`, or a line over one of `===` or `---`.
fn heading_of<'t>(line: &'t str, next: Option<&str>) -> Option<(u8, &'t str)> {
    let start = line.trim_start();
    // Four spaces make a line of code.
    if line.len() - start.len() > 3 || start.is_empty() {
        return None;
    }
    let behind_marks = start.trim_start_matches('#');
    let marks = start.len() - behind_marks.len();
    if (1..=6).contains(&marks) && behind_marks.starts_with([' ', '\t']) {
        let heading = behind_marks.trim().trim_end_matches('#').trim_end();
        return (!heading.is_empty()).then_some((marks as u8, heading));
    }
    let next = next?.trim_end();
    let is_underline =
        ["=", "-"].into_iter().any(|mark| next.len() >= 3 && next.trim_matches(|c| mark.contains(c)).is_empty());
    let is_text = start.chars().next().is_some_and(|first| first.is_alphanumeric() || "*_\"'`(".contains(first));
    let level = if next.starts_with('=') { 1 } else { 2 };
    (is_underline && is_text).then(|| (level, start.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_begin_sections_and_code_does_not() {
        let text = "intro\n\n# One\ntext\n```\n# not a heading\n```\nTwo\n---\nmore\n\n\
                    - a\n---\n#hash\n    # code\n## Three ##\nend";
        let content = read(text, &Limits::default()).unwrap();
        let labels: Vec<&str> = content.sections.iter().map(|section| section.label.as_str()).collect();
        assert_eq!(labels, ["beginning", "One", "One › Two", "One › Three"]);
        assert_eq!(content.sections[1].text, "# One\ntext\n```\n# not a heading\n```");
        assert!(content.sections[2].text.contains("#hash"));
    }

    #[test]
    fn an_open_fence_and_lone_marks_lose_no_text() {
        for text in ["```\n# x", "#", "---", "======", "# ", "#\n---"] {
            let content = read(text, &Limits::default()).unwrap();
            assert_eq!(content.sections.len(), 1, "{text:?}");
        }
    }
}
