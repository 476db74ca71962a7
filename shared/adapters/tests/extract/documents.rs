//! Documents made by code: honest ones, and what hostile ones are made of.

use std::io::{Cursor, Write};

use lopdf::{
    Document, Object, ObjectId, Stream,
    content::{Content, Operation},
    dictionary,
};
use zip::{ZipWriter, write::SimpleFileOptions};

/// A PDF with these content streams, one a page, in a standard font `F1`.
pub(crate) fn pdf_of_streams(streams: Vec<Stream>) -> Document {
    let mut document = Document::with_version("1.5");
    let tree = document.new_object_id();
    let font = document.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica", "Encoding" => "WinAnsiEncoding",
    });
    let resources = document.add_object(dictionary! { "Font" => dictionary! { "F1" => font } });
    let pages: Vec<Object> = streams
        .into_iter()
        .map(|stream| {
            let content = document.add_object(stream);
            document.add_object(dictionary! { "Type" => "Page", "Parent" => tree, "Contents" => content }).into()
        })
        .collect();
    let count = pages.len() as i64;
    document.objects.insert(
        tree,
        dictionary! {
            "Type" => "Pages", "Kids" => pages, "Count" => count, "Resources" => resources,
            "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
        }
        .into(),
    );
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
    document.trailer.set("Root", catalog);
    document
}

/// A PDF with these lines on its pages.
pub(crate) fn pdf(pages: &[&[&str]]) -> Vec<u8> {
    bytes_of(&mut pdf_of_streams(pages.iter().map(|lines| page_of(lines)).collect()))
}

pub(crate) fn page_of(lines: &[&str]) -> Stream {
    let mut operations = vec![
        Operation::new("BT", vec![]),
        Operation::new("Tf", vec!["F1".into(), 12.into()]),
        Operation::new("Td", vec![72.into(), 770.into()]),
    ];
    for line in lines {
        operations.push(Operation::new("Tj", vec![Object::string_literal(*line)]));
        operations.push(Operation::new("Td", vec![0.into(), (-14).into()]));
    }
    operations.push(Operation::new("ET", vec![]));
    Stream::new(dictionary! {}, Content { operations }.encode().unwrap())
}

pub(crate) fn bytes_of(document: &mut Document) -> Vec<u8> {
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).unwrap();
    bytes
}

/// The first font of a document made here.
pub(crate) fn font_of(document: &Document) -> ObjectId {
    document
        .objects
        .iter()
        .find(|(_, object)| object.as_dict().is_ok_and(|dictionary| dictionary.has_type(b"Font")))
        .map(|(id, _)| *id)
        .unwrap()
}

/// A zip container of these entries.
pub(crate) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

const WORD: &str = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";

/// A DOCX with this body, and these parts besides.
pub(crate) fn docx_with(body: &str, parts: &[(&str, &str)]) -> Vec<u8> {
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><w:document xmlns:w=\"{WORD}\"><w:body>{body}</w:body></w:document>"
    );
    docx_of_part(document.as_bytes(), parts)
}

/// A DOCX whose main part is exactly this.
pub(crate) fn docx_of_part(document: &[u8], parts: &[(&str, &str)]) -> Vec<u8> {
    let mut entries: Vec<(&str, &[u8])> = vec![
        ("[Content_Types].xml", content_types("/word/document.xml", "wordprocessingml.document").leak().as_bytes()),
        ("_rels/.rels", relation("word/document.xml").leak().as_bytes()),
        ("word/document.xml", document),
    ];
    entries.extend(parts.iter().map(|(name, content)| (*name, content.as_bytes())));
    archive(&entries)
}

/// An XLSX with these sheets: name, state and rows as XML.
pub(crate) fn xlsx(sheets: &[(&str, &str, &str)]) -> Vec<u8> {
    let spreadsheet = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let listed: String = sheets
        .iter()
        .zip(1..)
        .map(|((name, state, _), id)| {
            format!("<sheet name=\"{name}\" sheetId=\"{id}\" state=\"{state}\" r:id=\"r{id}\"/>")
        })
        .collect();
    let targets: String = (1..=sheets.len())
        .map(|id| {
            format!("<Relationship Id=\"r{id}\" Type=\"{relations}/worksheet\" Target=\"worksheets/sheet{id}.xml\"/>")
        })
        .collect();
    let mut parts = vec![
        ("[Content_Types].xml".to_owned(), content_types("/xl/workbook.xml", "spreadsheetml.sheet")),
        ("_rels/.rels".to_owned(), relation("xl/workbook.xml")),
        (
            "xl/workbook.xml".to_owned(),
            format!("<workbook xmlns=\"{spreadsheet}\" xmlns:r=\"{relations}\"><sheets>{listed}</sheets></workbook>"),
        ),
        (
            "xl/_rels/workbook.xml.rels".to_owned(),
            format!(
                "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">{targets}\
                 </Relationships>"
            ),
        ),
    ];
    for ((_, _, rows), id) in sheets.iter().zip(1..) {
        parts.push((
            format!("xl/worksheets/sheet{id}.xml"),
            format!("<worksheet xmlns=\"{spreadsheet}\">{rows}</worksheet>"),
        ));
    }
    let entries: Vec<(&str, &[u8])> = parts.iter().map(|(name, part)| (name.as_str(), part.as_bytes())).collect();
    archive(&entries)
}

pub(crate) fn content_types(part: &str, kind: &str) -> String {
    format!(
        "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"><Override PartName=\"{part}\" \
         ContentType=\"application/vnd.openxmlformats-officedocument.{kind}.main+xml\"/></Types>"
    )
}

pub(crate) fn relation(target: &str) -> String {
    format!(
        "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"r1\" \
         Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" \
         Target=\"{target}\"/></Relationships>"
    )
}
