//! Plain text: one section.

use ihelper_workflow::domain::{Failure, document::Content};

use super::{Limits, text::Collector};

/// Reads plain text.
///
/// # Errors
/// This returns an error when there is none but white space.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Content, Failure> {
    let mut collector = Collector::new("text", limits);
    collector.begin_section("text");
    collector.add_lines(text);
    collector.finish("the document has no text")
}
