//! HTML as the text that a person sees.
//!
//! One pass over the tags, in time and memory that grow with the size of the page and nothing else: a general
//! browser engine takes minutes for half a megabyte of nested tags, and mail comes from anyone.
//!
//! Invariants: what a person does not see is left out, for a model would read it: `display:none`, `hidden`,
//! no height, no size, the same colour as its ground, outside of the page; said by the element or by a rule
//! for its class, id or name. A `blockquote` becomes lines that begin with `>`, and what mail programs mark
//! as a signature stands below `-- `, so that HTML and plain text are taken apart by the same rules.
//!
//! Deliberately absent: layout, links' targets, rules that depend on the reader's device, selectors with
//! more than one element.

use std::collections::{HashMap, HashSet};

use mail_parser::decoders::{charsets::map::charset_decoder, html::add_html_token};

use super::plain::cut_bytes;

/// How much of the style sheets is read, in bytes.
const STYLE_BYTES: usize = 256 * 1024;

/// How far an element that closes another by its beginning looks for it, in open elements.
const IMPLIED_END_REACH: usize = 64;

/// How many `>` a line begins with at most: deeper quotations are no less quoted.
const QUOTE_MARKS: usize = 8;

/// The text of a page, about `limit` characters of it at most.
pub(super) fn to_text(html: &str, limit: usize) -> String {
    let mut page = Page {
        hidden_by_rule: hiding_rules(html),
        open: Vec::new(),
        open_by_name: HashMap::new(),
        quotes: 0,
        writer: Writer::default(),
    };
    for token in (Tokens { rest: html }) {
        if page.writer.characters >= limit {
            break;
        }
        match token {
            Token::Text(text) => page.text(text),
            Token::Style(_) => {}
            Token::Start(tag) => page.start(&tag),
            Token::End(name) => page.end(&name),
        }
    }
    page.writer.text
}

enum Token<'html> {
    Text(&'html str),
    /// A style sheet.
    Style(&'html str),
    Start(Tag<'html>),
    End(String),
}

struct Tag<'html> {
    /// In lower case.
    name: String,
    attributes: &'html str,
}

/// Takes a page apart. Scripts, styles and what else is never shown come out as nothing.
struct Tokens<'html> {
    rest: &'html str,
}

impl<'html> Iterator for Tokens<'html> {
    type Item = Token<'html>;

    fn next(&mut self) -> Option<Token<'html>> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let Some(inside) = self.rest.strip_prefix('<') else {
                let end = self.rest.find('<').unwrap_or(self.rest.len());
                return Some(Token::Text(self.advance(end)));
            };
            if let Some(comment) = inside.strip_prefix("!--") {
                // `<!-->` is a whole comment.
                let end = if comment.starts_with('>') { Some(1) } else { comment.find("-->").map(|at| at + 3) };
                self.rest = end.map_or("", |end| &comment[end..]);
                continue;
            }
            if inside.starts_with(['!', '?']) {
                self.rest = inside.find('>').map_or("", |end| &inside[end + 1..]);
                continue;
            }
            if let Some(closing) = inside.strip_prefix('/').filter(|closing| starts_with_letter(closing)) {
                let (name, _) = split_name(closing);
                let end = closing.find('>').map_or(closing.len(), |end| end + 1);
                self.rest = &closing[end..];
                return Some(Token::End(name));
            }
            if !starts_with_letter(inside) {
                return Some(Token::Text(self.advance(1)));
            }
            let (name, after) = split_name(inside);
            let end = tag_end(after);
            let attributes = &after[..end];
            self.rest = after.get(end + 1..).unwrap_or_default();
            if is_never_shown(&name) && !attributes.ends_with('/') {
                // The content of these is not HTML; only their own end tag ends them.
                let content = content_until_end(self.rest, &name);
                self.rest = &self.rest[content.len()..];
                if name == "style" {
                    return Some(Token::Style(content));
                }
                continue;
            }
            return Some(Token::Start(Tag { name, attributes }));
        }
    }
}

impl<'html> Tokens<'html> {
    fn advance(&mut self, bytes: usize) -> &'html str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }
}

fn is_never_shown(name: &str) -> bool {
    matches!(
        name,
        "script"
            | "style"
            | "title"
            | "textarea"
            | "iframe"
            | "noembed"
            | "noframes"
            | "xmp"
            | "template"
            | "select"
            | "svg"
            | "math"
            | "object"
            | "audio"
            | "video"
            | "canvas"
    )
}

// Up to the end tag, or everything when there is none.
fn content_until_end<'html>(html: &'html str, name: &str) -> &'html str {
    let mut from = 0;
    while let Some(at) = html[from..].find("</") {
        let start = from + at;
        let beginning = html.as_bytes().get(start + 2..start + 2 + name.len());
        if beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(name.as_bytes())) {
            return &html[..start];
        }
        from = start + 2;
    }
    html
}

fn starts_with_letter(text: &str) -> bool {
    text.starts_with(|character: char| character.is_ascii_alphabetic())
}

fn split_name(text: &str) -> (String, &str) {
    let end =
        text.find(|character: char| character.is_ascii_whitespace() || "/>".contains(character)).unwrap_or(text.len());
    // No element has a longer name; one that has is none that is known.
    (cut_bytes(&text[..end], 32).to_ascii_lowercase(), &text[end..])
}

// Where the `>` of a tag stands, or the end; those in quoted values do not count.
fn tag_end(attributes: &str) -> usize {
    let mut quote = None;
    let mut after_equals = false;
    for (at, byte) in attributes.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'>') => return at,
            (None, b'"' | b'\'') if after_equals => quote = Some(byte),
            _ => {}
        }
        after_equals = byte == b'=' || (after_equals && byte.is_ascii_whitespace());
    }
    attributes.len()
}

/// A tag's attributes that matter here, entities decoded.
#[derive(Default)]
struct Attributes {
    style: String,
    class: String,
    id: String,
    alt: String,
    is_hidden: bool,
    is_signature: bool,
}

impl Attributes {
    fn parse(text: &str) -> Self {
        let mut attributes = Self::default();
        let mut rest = text;
        loop {
            rest =
                rest.trim_start_matches(|character: char| character.is_ascii_whitespace() || "/=".contains(character));
            if rest.is_empty() {
                return attributes;
            }
            let end = rest
                .find(|character: char| character.is_ascii_whitespace() || "/=".contains(character))
                .unwrap_or(rest.len());
            let name = rest[..end].to_ascii_lowercase();
            rest = rest[end..].trim_ascii_start();
            let mut value = "";
            if let Some(after) = rest.strip_prefix('=') {
                (value, rest) = split_value(after.trim_ascii_start());
            }
            attributes.set(&name, value);
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        // The first of two equal attributes counts.
        let field = match name {
            "style" => &mut self.style,
            "class" => &mut self.class,
            "id" => &mut self.id,
            "alt" => &mut self.alt,
            "hidden" => {
                self.is_hidden = true;
                return;
            }
            "data-smartmail" => {
                self.is_signature |= value == "gmail_signature";
                return;
            }
            _ => return,
        };
        if field.is_empty() {
            decode_entities(cut_bytes(value, 4096), field);
        }
    }
}

fn split_value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return inner.split_once(quote).unwrap_or((inner, ""));
        }
    }
    let end = text.find(|character: char| character.is_ascii_whitespace()).unwrap_or(text.len());
    text.split_at(end)
}

/// An element that is open.
struct Open {
    name: String,
    is_hidden: bool,
    /// Its font is too small to read. Unlike hiding, what stands inside may undo it: newsletters set no size
    /// around cells and a size within.
    is_tiny: bool,
    is_quote: bool,
    /// The number of the next item, for a list that counts.
    next_item: Option<u32>,
}

struct Page {
    hidden_by_rule: HashSet<String>,
    open: Vec<Open>,
    // How many elements of a name are open, so that an end tag of none costs nothing.
    open_by_name: HashMap<String, usize>,
    quotes: usize,
    writer: Writer,
}

impl Page {
    fn text(&mut self, text: &str) {
        if self.is_shown() {
            let mut decoded = String::new();
            decode_entities(text, &mut decoded);
            let is_preformatted = self.is_open("pre");
            self.writer.push(&decoded, is_preformatted, self.quotes);
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        let name = tag.name.as_str();
        self.end_implied(name);
        let attributes = Attributes::parse(tag.attributes);
        let look = Look::of(&attributes.style);
        let outer = self.open.last();
        let is_hidden = outer.is_some_and(|outer| outer.is_hidden)
            || attributes.is_hidden
            || look.is_hidden
            || (!look.is_displayed && self.is_hidden_by_rule(name, &attributes));
        let is_tiny = look.is_tiny.unwrap_or_else(|| outer.is_some_and(|outer| outer.is_tiny));
        if !is_hidden {
            self.begin(name, &attributes, is_tiny);
        }
        if is_void(name) {
            return;
        }
        let is_quote = name == "blockquote";
        self.quotes += usize::from(is_quote);
        *self.open_by_name.entry(name.to_owned()).or_default() += 1;
        let next_item = (name == "ol").then_some(1);
        self.open.push(Open { name: name.to_owned(), is_hidden, is_tiny, is_quote, next_item });
    }

    fn end(&mut self, name: &str) {
        if !self.is_open(name) {
            match name {
                "p" => self.writer.break_lines(2),
                "br" => self.writer.force_break(),
                _ => {}
            }
            return;
        }
        while let Some(closed) = self.open.last() {
            let is_it = closed.name == name;
            self.close_last();
            if is_it {
                break;
            }
        }
    }

    fn close_last(&mut self) {
        let Some(closed) = self.open.pop() else { return };
        if let Some(count) = self.open_by_name.get_mut(&closed.name) {
            *count -= 1;
        }
        self.quotes -= usize::from(closed.is_quote);
        if !closed.is_hidden {
            self.writer.break_lines(breaks_around(&closed.name));
        }
    }

    fn begin(&mut self, name: &str, attributes: &Attributes, is_tiny: bool) {
        self.writer.break_lines(breaks_around(name));
        match name {
            "br" => self.writer.force_break(),
            "hr" => self.writer.break_lines(2),
            "td" | "th" => self.writer.space(),
            "li" => {
                let counting = self.open.iter_mut().rev().take(IMPLIED_END_REACH).find(|open| is_list(&open.name));
                let mark = match counting.and_then(|list| list.next_item.as_mut()) {
                    Some(number) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    None => "- ".to_owned(),
                };
                self.writer.mark(&mark, self.quotes);
            }
            "img" if !is_tiny && !is_file_name(&attributes.alt) => {
                self.writer.push(&attributes.alt, false, self.quotes)
            }
            _ => {}
        }
        if is_signature(attributes) {
            self.writer.break_lines(1);
            self.writer.mark("--", self.quotes);
            self.writer.force_break();
        }
    }

    // The beginning of some elements ends others whose end tag may be left out.
    fn end_implied(&mut self, name: &str) {
        let (ended, until): (&[&str], &[&str]) = match name {
            "li" => (&["li"], &["ul", "ol", "menu"]),
            "dt" | "dd" => (&["dt", "dd"], &["dl"]),
            "td" | "th" => (&["td", "th"], &["tr", "table"]),
            "tr" => (&["tr"], &["table"]),
            "option" => (&["option"], &["select"]),
            _ if breaks_around(name) > 0 && name != "br" => (&["p"], &[]),
            _ => return,
        };
        if ended.iter().all(|name| !self.is_open(name)) {
            return;
        }
        let found = self.open.iter().enumerate().rev().take(IMPLIED_END_REACH).find(|(_, open)| {
            ended.contains(&open.name.as_str())
                || until.contains(&open.name.as_str())
                || (until.is_empty() && breaks_around(&open.name) > 0)
        });
        if let Some((at, _)) = found.filter(|(_, open)| ended.contains(&open.name.as_str())) {
            while self.open.len() > at {
                self.close_last();
            }
        }
    }

    fn is_open(&self, name: &str) -> bool {
        self.open_by_name.get(name).is_some_and(|count| *count > 0)
    }

    fn is_shown(&self) -> bool {
        self.open.last().is_none_or(|open| !open.is_hidden && !open.is_tiny)
    }

    fn is_hidden_by_rule(&self, name: &str, attributes: &Attributes) -> bool {
        if self.hidden_by_rule.is_empty() {
            return false;
        }
        let classes = attributes.class.split_ascii_whitespace().map(|class| format!(".{class}"));
        let ids = (!attributes.id.is_empty()).then(|| format!("#{}", attributes.id));
        self.hidden_by_rule.contains(name)
            || classes
                .chain(ids)
                .any(|key| self.hidden_by_rule.contains(&key) || self.hidden_by_rule.contains(&format!("{name}{key}")))
    }
}

// Some programs describe a picture by its file.
fn is_file_name(alt: &str) -> bool {
    let alt = alt.trim();
    let ending = alt.rsplit_once('.').map_or("", |(_, ending)| ending);
    (3..=4).contains(&ending.len())
        && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !alt.contains(char::is_whitespace)
}

fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "param"
            | "source"
            | "track"
            | "wbr"
    )
}

fn is_list(name: &str) -> bool {
    matches!(name, "ul" | "ol" | "menu")
}

// How many line breaks stand at least before and after an element; two make an empty line.
fn breaks_around(name: &str) -> usize {
    match name {
        "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "blockquote" | "ul" | "ol" | "dl" | "pre" | "table" => 2,
        "div" | "li" | "tr" | "dt" | "dd" | "address" | "article" | "aside" | "center" | "fieldset" | "figure"
        | "footer" | "form" | "header" | "main" | "nav" | "section" | "caption" | "body" | "html" | "menu" => 1,
        _ => 0,
    }
}

fn is_signature(attributes: &Attributes) -> bool {
    attributes.is_signature
        || attributes.class.split_ascii_whitespace().any(|class| matches!(class, "gmail_signature" | "moz-signature"))
        || matches!(attributes.id.as_str(), "Signature" | "AppleMailSignature" | "ms-outlook-mobile-signature")
}

/// What an element's own style says about being seen.
#[derive(Default)]
struct Look {
    is_hidden: bool,
    /// It says a way of display other than none.
    is_displayed: bool,
    /// Its font size, where it says one.
    is_tiny: Option<bool>,
}

impl Look {
    fn of(style: &str) -> Self {
        let mut look = Self::default();
        let (mut is_flat, mut is_clipped) = (false, false);
        let (mut colour, mut ground) = (String::new(), String::new());
        for declaration in style.split(';') {
            let Some((property, value)) = declaration.split_once(':') else { continue };
            let property = property.trim().to_ascii_lowercase();
            let value = value.to_ascii_lowercase().replace("!important", "");
            let value = value.trim();
            match property.as_str() {
                "display" => {
                    look.is_hidden |= value == "none";
                    look.is_displayed = value != "none";
                }
                "visibility" => look.is_hidden |= matches!(value, "hidden" | "collapse"),
                "mso-hide" => look.is_hidden |= value == "all",
                "opacity" => look.is_hidden |= length(value).is_some_and(|opacity| opacity < 0.05),
                "font-size" => look.is_tiny = length(value).map(|size| size <= smallest(value)),
                "font" => {
                    let size = value.split_ascii_whitespace().find_map(|part| length(part.split('/').next()?));
                    look.is_tiny = size.map(|size| size == 0.0).or(look.is_tiny);
                }
                "height" | "max-height" | "width" | "max-width" => {
                    is_flat |= length(value).is_some_and(|size| size == 0.0 || (size <= 1.0 && !value.ends_with('%')));
                }
                "overflow" | "overflow-x" | "overflow-y" => is_clipped |= matches!(value, "hidden" | "clip"),
                "text-indent" | "left" | "top" | "right" | "margin-left" | "margin-top" => {
                    look.is_hidden |= length(value).is_some_and(|offset| offset <= -999.0);
                }
                "color" => colour = value.to_owned(),
                "background" | "background-color" => ground = value.to_owned(),
                _ => {}
            }
        }
        let is_same_colour = !colour.is_empty() && (colour == ground || colour == "transparent");
        look.is_hidden |= (is_flat && is_clipped) || is_same_colour;
        look
    }
}

// The number at the beginning of a value, whatever its unit.
fn length(value: &str) -> Option<f32> {
    let end =
        value.find(|character: char| !(character.is_ascii_digit() || "+-.".contains(character))).unwrap_or(value.len());
    value[..end].parse().ok()
}

// The largest size that nobody can read: a point or pixel, but a twentieth of an `em`.
fn smallest(value: &str) -> f32 {
    if value.ends_with("px") || value.ends_with("pt") {
        1.0
    } else if value.ends_with('%') {
        5.0
    } else {
        0.05
    }
}

/// What the page's style sheets hide: selectors of one element, as `name`, `.class`, `#id` or `name.class`.
fn hiding_rules(html: &str) -> HashSet<String> {
    let mut hidden = HashSet::new();
    let mut room = STYLE_BYTES;
    for token in (Tokens { rest: html }) {
        if let Token::Style(sheet) = token {
            let read = cut_bytes(sheet, room);
            room -= read.len();
            collect_rules(read, &mut hidden);
        }
    }
    hidden
}

fn collect_rules(sheet: &str, hidden: &mut HashSet<String>) {
    let sheet = without_comments(sheet);
    let mut rest = sheet.as_str();
    while let Some(at) = rest.find(['{', '}', ';']) {
        let prelude = rest[..at].trim();
        let after = &rest[at + 1..];
        if !rest[at..].starts_with('{') {
            // The end of a group that was entered, or a rule without a block such as `@import`.
            rest = after;
            continue;
        }
        if prelude.starts_with('@') {
            // What depends on the reader's device may be seen; what stands for every screen is a rule as any.
            let is_general = matches!(
                prelude.to_ascii_lowercase().split_ascii_whitespace().collect::<Vec<_>>().as_slice(),
                ["@media", "all" | "screen"] | ["@media", "only", "screen"]
            );
            rest = if is_general { after } else { after_block(after) };
            continue;
        }
        let end = after.find('}').unwrap_or(after.len());
        let look = Look::of(&after[..end]);
        for selector in prelude.split(',').map(str::trim).filter(|selector| is_simple(selector)) {
            let key = if let Some(at) = selector.find(['.', '#']) {
                format!("{}{}", selector[..at].to_ascii_lowercase(), &selector[at..])
            } else {
                selector.to_ascii_lowercase()
            };
            if look.is_hidden {
                hidden.insert(key);
            } else if look.is_displayed {
                hidden.remove(&key);
            }
        }
        rest = after.get(end + 1..).unwrap_or_default();
    }
}

// A name, a class or an id, or a name with one of them.
fn is_simple(selector: &str) -> bool {
    let mut parts = selector.split(['.', '#']);
    let is_name = |part: &str| part.chars().all(|character| character.is_alphanumeric() || "-_".contains(character));
    !selector.is_empty()
        && parts.next().is_some_and(is_name)
        && parts.next().is_none_or(|part| !part.is_empty() && is_name(part))
        && parts.next().is_none()
}

fn without_comments(sheet: &str) -> String {
    let mut kept = String::with_capacity(sheet.len());
    let mut rest = sheet;
    while let Some((before, comment)) = rest.split_once("/*") {
        kept.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept.replace("<!--", " ").replace("-->", " ")
}

// What follows a block whose `{` was read already.
fn after_block(text: &str) -> &str {
    let mut depth = 1_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[at + 1..];
        }
    }
    ""
}

/// Decodes character references; what is none stays as it is.
fn decode_entities(text: &str, decoded: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        let reference = &rest[at..];
        let length =
            reference[1..].bytes().take(32).take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'#').count();
        let is_ended = reference.as_bytes().get(length + 1) == Some(&b';');
        let name = &reference[1..=length];
        let used = if let Some(number) = name.strip_prefix('#') {
            push_numbered(number, decoded).then_some(1 + length + usize::from(is_ended))
        } else if is_ended && length > 0 {
            add_html_token(decoded, &reference.as_bytes()[..length + 2], false);
            Some(length + 2)
        } else {
            // These may stand without their semicolon.
            [("nbsp", ' '), ("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"')].into_iter().find_map(
                |(known, character)| {
                    name.starts_with(known).then(|| {
                        decoded.push(character);
                        1 + known.len()
                    })
                },
            )
        };
        let used = used.unwrap_or_else(|| {
            decoded.push('&');
            1
        });
        rest = &reference[used..];
    }
    decoded.push_str(rest);
}

fn push_numbered(number: &str, decoded: &mut String) -> bool {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    let Ok(code) = code else { return false };
    // Browsers take the control codes of the second block for Windows-1252, and so do those who write them.
    match (u8::try_from(code), charset_decoder(b"windows-1252")) {
        (Ok(byte @ 0x80..=0x9f), Some(decode)) => decoded.push_str(&decode(&[byte])),
        _ => decoded.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
    }
    true
}

/// Writes text with spaces collapsed and line breaks where the page has them.
#[derive(Default)]
struct Writer {
    text: String,
    characters: usize,
    /// Line breaks due before the next text.
    breaks: usize,
    has_space: bool,
    /// Something stands on the current line besides its marks.
    is_within_line: bool,
}

impl Writer {
    /// At least so many line breaks before what comes next, unless nothing came yet.
    fn break_lines(&mut self, count: usize) {
        if count > 0 && (self.is_within_line || self.breaks > 0) {
            self.breaks = self.breaks.max(count);
            self.is_within_line = false;
            self.has_space = false;
        }
    }

    /// One more line break, as `br` is.
    fn force_break(&mut self) {
        if self.is_within_line || self.breaks > 0 {
            // More than an empty line says nothing more.
            self.breaks = (self.breaks + 1).min(2);
            self.is_within_line = false;
            self.has_space = false;
        }
    }

    /// A space before the next text, unless a line begins there.
    fn space(&mut self) {
        self.has_space |= self.is_within_line;
    }

    /// The mark of a list's item, at the beginning of a line.
    fn mark(&mut self, mark: &str, quotes: usize) {
        self.open_line(quotes);
        self.put(mark);
        self.is_within_line = true;
    }

    fn push(&mut self, text: &str, is_preformatted: bool, quotes: usize) {
        if is_preformatted {
            for (index, line) in text.split('\n').enumerate() {
                if index > 0 {
                    self.is_within_line = true;
                    self.breaks = (self.breaks + 1).min(2);
                }
                let line = line.trim_end_matches('\r');
                if !line.is_empty() {
                    self.open_line(quotes);
                    self.put(line);
                    self.is_within_line = true;
                }
            }
            return;
        }
        // A space that does not break is a filler as often as not.
        let is_space = |character: char| character.is_ascii_whitespace() || character == '\u{a0}';
        if text.starts_with(is_space) {
            self.space();
        }
        for (index, word) in text.split(is_space).filter(|word| !word.is_empty()).enumerate() {
            if index > 0 {
                self.has_space = true;
            }
            self.open_line(quotes);
            if std::mem::take(&mut self.has_space) && self.is_within_line {
                self.put(" ");
            }
            self.put(word);
            self.is_within_line = true;
        }
        if text.ends_with(is_space) {
            self.space();
        }
    }

    // Pays the line breaks that are due and marks the new line as quoted.
    fn open_line(&mut self, quotes: usize) {
        if self.text.is_empty() {
            self.breaks = 0;
        } else if self.breaks == 0 {
            return;
        }
        let marks = ">".repeat(quotes.min(QUOTE_MARKS));
        for _ in 0..std::mem::take(&mut self.breaks) {
            self.put("\n");
        }
        if !marks.is_empty() {
            self.put(&marks);
            self.put(" ");
        }
        self.is_within_line = false;
        self.has_space = false;
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.characters += text.chars().count();
    }
}
