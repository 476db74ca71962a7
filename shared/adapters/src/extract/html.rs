//! HTML: what a browser would show, without what styles hide.

use html2text::{Element, Handle, RcDom, config, render::TextDecorator};
use ihelper_workflow::domain::{Failure, document::Content};

use super::{
    Limits, corrupt,
    text::{Collector, clean_line},
};

/// Lines are laid out this wide, in columns: wide enough that rows of tables and most paragraphs stay whole,
/// and not so wide that a rule across the page becomes a megabyte.
const WIDTH: usize = 2_000;

/// Stands before a heading, one for each level from 1 on. No page can send one: they are taken out of every text,
/// here and by the collector.
const HEADING_MARKS: [char; 6] = ['\u{fdd0}', '\u{fdd1}', '\u{fdd2}', '\u{fdd3}', '\u{fdd4}', '\u{fdd5}'];

/// Text set further to the left or the top than this is beside the page.
const FAR_PIXELS: f32 = -900.0;

/// What a browser does not show by itself: attributes and elements for programs, and what stands in for
/// pictures, films and scripts that it does show.
const NOT_SHOWN: &str = "[hidden], area, audio, base, canvas, datalist, head, iframe, link, meta, noembed, noframes, \
                         noscript, object, param, rp, script, style, template, title, video { display: none }";

/// Reads a page of HTML.
///
/// # Errors
/// This returns an error when it cannot be laid out, or shows no text.
pub(super) fn read(html: &str, limits: &Limits) -> Result<Content, Failure> {
    let unreadable = || corrupt("its page cannot be laid out");
    let config = config::with_decorator(Plain)
        .use_doc_css()
        .add_agent_css(NOT_SHOWN)
        .map_err(|_| unreadable())?
        .allow_width_overflow()
        .no_link_wrapping()
        .unicode_strikeout(false);
    let paper = Paper::of(html);
    let page = config.parse_html(hide_in_style_elements(html, paper).as_bytes()).map_err(|_| unreadable())?;
    hide_in_attributes(&page, paper);
    let tree = config.dom_to_render_tree(&page).map_err(|_| unreadable())?;
    let text = config.render_to_string(tree, WIDTH).map_err(|_| unreadable())?;
    let mut collector = Collector::new("html", limits);
    for line in text.lines() {
        if collector.is_full() {
            collector.mark_truncated();
            break;
        }
        if let Some(mark) = line.trim_start().chars().next()
            && let Some((level, _)) = (1..).zip(HEADING_MARKS).find(|(_, heading)| *heading == mark)
        {
            let heading = clean_line(line);
            if !heading.is_empty() {
                collector.begin_heading(level, &heading);
            }
        }
        if !is_rule(line) {
            collector.add_lines(&bars(line));
        }
    }
    collector.finish("the page shows no text")
}

/// A line drawn between rows of a table, or across the page.
fn is_rule(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty()
        && line.chars().all(|character| ('\u{2500}'..='\u{257f}').contains(&character) || character == '/')
        && line.contains('\u{2500}')
}

/// Tables are drawn with box lines; every other format here has bars between cells.
fn bars(line: &str) -> String {
    line.split('\u{2502}').map(clean_line).collect::<Vec<_>>().join(" | ")
}

/// What text stands on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paper {
    /// No background is set anywhere, so white text is not seen.
    White,
    Unknown,
}

impl Paper {
    fn of(html: &str) -> Self {
        let lower = html.to_ascii_lowercase();
        if lower.contains("background") || lower.contains("bgcolor") { Self::Unknown } else { Self::White }
    }

    fn hides(self, color: &str) -> bool {
        let color: String = color.chars().filter(|character| !character.is_whitespace()).collect();
        let is_transparent = color == "transparent"
            || color.strip_prefix("rgba(").is_some_and(|color| color.ends_with(",0)") || color.ends_with(",0.0)"));
        let is_white = ["white", "#fff", "#ffffff", "rgb(255,255,255)", "#fefefe"].contains(&color.as_str());
        is_transparent || is_white && self == Self::White
    }
}

/// The layout knows `display: none` alone. Text is hidden in other ways too, and each is said in its words.
fn hide_in_css(css: &str, paper: Paper) -> String {
    let mut result = String::with_capacity(css.len());
    for piece in css.split_inclusive([';', '{', '}']) {
        let declaration = piece.trim_end_matches([';', '{', '}']);
        let end = &piece[declaration.len()..];
        if hides(declaration, paper) && end != "{" {
            result.push_str("display:none !important");
        } else {
            result.push_str(declaration);
        }
        result.push_str(end);
    }
    result
}

fn hides(declaration: &str, paper: Paper) -> bool {
    let Some((property, value)) = declaration.split_once(':') else { return false };
    let value = value.to_ascii_lowercase();
    let value = value.split('!').next().unwrap_or_default().trim();
    let is_zero = || value.trim_end_matches(|c: char| c == '%' || c.is_ascii_alphabetic()).parse::<f32>() == Ok(0.0);
    match property.trim().to_ascii_lowercase().as_str() {
        "visibility" => matches!(value, "hidden" | "collapse"),
        "opacity" | "font-size" | "max-height" | "max-width" => is_zero(),
        "color" => paper.hides(value),
        // Set far beside the page.
        "left" | "right" | "top" | "text-indent" | "margin-left" | "margin-top" => {
            value.trim_end_matches("px").parse::<f32>().is_ok_and(|pixels| pixels <= FAR_PIXELS)
        }
        "clip" => value.replace([' ', ','], "").contains("rect(0000)"),
        "transform" => value == "scale(0)",
        _ => false,
    }
}

fn hide_in_style_elements(html: &str, paper: Paper) -> String {
    // The ASCII lower case keeps every byte's place.
    let lower = html.to_ascii_lowercase();
    let mut result = String::with_capacity(html.len());
    let mut done = 0;
    while let Some(start) = lower[done..].find("<style").map(|start| done + start) {
        let Some(open) = lower[start..].find('>').map(|open| start + open + 1) else { break };
        let close = lower[open..].find("</style").map_or(html.len(), |close| open + close);
        result.push_str(&html[done..open]);
        result.push_str(&hide_in_css(&html[open..close], paper));
        done = close;
    }
    result.push_str(&html[done..]);
    result
}

fn hide_in_attributes(page: &RcDom, paper: Paper) {
    // A stack of our own, because pages nest as deep as they like.
    let mut open: Vec<Handle> = vec![page.document.clone()];
    while let Some(node) = open.pop() {
        if let Element { attrs, .. } = &node.data {
            for attribute in attrs.borrow_mut().iter_mut() {
                match &*attribute.name.local {
                    "style" => attribute.value = hide_in_css(&attribute.value, paper).as_str().into(),
                    "color" if paper.hides(&attribute.value.to_ascii_lowercase()) => {
                        attribute.name.local = "hidden".into();
                    }
                    _ => {}
                }
            }
        }
        open.extend(node.children.borrow().iter().cloned());
    }
}

/// Text without marks, but for headings, lists and pictures' descriptions.
#[derive(Clone, Debug)]
struct Plain;

impl TextDecorator for Plain {
    type Annotation = ();

    fn decorate_link_start(&mut self, _url: &str) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_link_end(&mut self) -> String {
        String::new()
    }

    fn decorate_em_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_em_end(&self) -> String {
        String::new()
    }

    fn decorate_strong_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_strong_end(&self) -> String {
        String::new()
    }

    fn decorate_strikeout_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_strikeout_end(&self) -> String {
        String::new()
    }

    fn decorate_code_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_code_end(&self) -> String {
        String::new()
    }

    fn decorate_preformat_first(&self) {}

    fn decorate_preformat_cont(&self) {}

    fn decorate_image(&mut self, _source: &str, description: &str) -> (String, ()) {
        (description.to_owned(), ())
    }

    fn header_prefix(&self, level: usize) -> String {
        HEADING_MARKS[level.clamp(1, HEADING_MARKS.len()) - 1].to_string()
    }

    fn quote_prefix(&self) -> String {
        String::new()
    }

    fn unordered_item_prefix(&self) -> String {
        "- ".to_owned()
    }

    fn ordered_item_prefix(&self, number: i64) -> String {
        format!("{number}. ")
    }

    fn make_subblock_decorator(&self) -> Self {
        Self
    }

    fn decorate_superscript_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_superscript_end(&self) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(html: &str) -> String {
        let content = read(html, &Limits::default()).unwrap();
        content.sections.iter().map(|section| section.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn hidden_text_does_not_reach_the_text() {
        let hidden = [
            "<p style='display:none'>SECRET</p>",
            "<p style='visibility: hidden'>SECRET</p>",
            "<p style='color:red; OPACITY:0.0'>SECRET</p>",
            "<span style='font-size:0px !important'>SECRET</span>",
            "<div hidden>SECRET</div>",
            "<div style='height:0;overflow:hidden'>SECRET</div>",
            "<style>.x{display:none}</style><p class=x>SECRET</p>",
            "<STYLE>p .y, .y { color: red; Visibility : hidden }</STYLE><p class=y>SECRET</p>",
            "<style>.z{}@media print{.q{color:red}} .z{opacity:0}</style><div><p class=z>SECRET</p></div>",
            "<!-- SECRET -->",
            "<script>SECRET</script><style>/* SECRET */</style>",
            "<template>SECRET</template>",
            "<title>SECRET</title>",
            "<noscript>SECRET</noscript><iframe>SECRET</iframe><video>SECRET</video>",
            "<p style='display:none'><span style='display:inline'>SECRET</span></p>",
            "<p style='color: #FFFFFF'>SECRET</p>",
            "<p style='color:rgba(0, 0, 0, 0)'>SECRET</p>",
            "<p style='background:red;color:transparent'>SECRET</p>",
            "<font color=white>SECRET</font>",
            "<style>.w{color:white}</style><p class=w>SECRET</p>",
            "<p style='position:absolute;left:-9999px'>SECRET</p>",
            "<p style='text-indent: -9999px'>SECRET</p>",
            "<p style='position:absolute;clip:rect(0, 0, 0, 0)'>SECRET</p>",
        ];
        for html in hidden {
            let text = text_of(&format!("<html><body><p>shown</p>{html}<p>end</p></body></html>"));
            assert_eq!(text.replace('\n', " ").replace("  ", " "), "shown end", "{html}");
        }
    }

    #[test]
    fn white_text_on_a_dark_page_is_shown() {
        assert_eq!(text_of("<html><body bgcolor=black><p style='color:white'>shown</p></body></html>"), "shown");
        assert_eq!(text_of("<style>body{background:#000;color:#fff}</style><p>shown"), "shown");
    }

    #[test]
    fn headings_are_sections_and_rows_stand_between_bars() {
        let html = "<html><body><p>before</p><h1>Lease &amp; Terms</h1><p>The <b>rent</b> is <a href='x'>1200</a>.</p>\
                    <ul><li>heat<ul><li>gas</li></ul></li></ul>\
                    <h2>Prices</h2><table><tr><th>Item</th><th>Price</th></tr>\
                    <tr><td>Rent</td><td>1,200</td></tr></table><hr></body></html>";
        let content = read(html, &Limits::default()).unwrap();
        let labels: Vec<&str> = content.sections.iter().map(|section| section.label.as_str()).collect();
        assert_eq!(labels, ["beginning", "Lease & Terms", "Lease & Terms › Prices"]);
        assert_eq!(content.sections[1].text, "Lease & Terms\n\nThe rent is 1200.\n- heat\n- gas");
        assert_eq!(content.sections[2].text, "Prices\n\nItem | Price\nRent | 1,200");
    }

    #[test]
    fn a_page_that_shows_nothing_is_an_error() {
        for html in ["<html></html>", "<html><body><img src=x></body></html>", "<html><p hidden>x</p>"] {
            assert_eq!(read(html, &Limits::default()).unwrap_err().message, "the page shows no text");
        }
    }

    #[test]
    fn open_and_broken_marks_are_read_all_the_same() {
        for html in [
            "<p>x<style>",
            "<p>x<style",
            "<p>x</p><style>{{{:;}",
            "<p>x<table><tr><td colspan=99999999>",
            "<p>x<ol start=-9223372036854775808><li>",
        ] {
            assert!(text_of(html).starts_with('x'), "{html}");
        }
    }
}
