//! Honest documents of each kind.

use ihelper_adapters::extract::Limits;
use ihelper_workflow::domain::document::Content;
use lopdf::{Object, Stream, dictionary};

use crate::{
    documents::{bytes_of, docx_with, font_of, pdf, pdf_of_streams, xlsx},
    extract, extract_within, refusal, refusal_of,
};

fn labels(content: &Content) -> Vec<&str> {
    content.sections.iter().map(|section| section.label.as_str()).collect()
}

#[tokio::test]
async fn the_pages_of_a_pdf_are_sections_in_order() {
    let file = pdf(&[&["Lease agreement", "The rent is 1200."], &[], &["Signed in Warsaw"]]);
    let content = extract("lease.pdf", file).await.unwrap();
    assert_eq!(content.format, "pdf");
    assert_eq!(labels(&content), ["page 1", "page 3"]);
    assert_eq!(content.sections[0].text, "Lease agreement\nThe rent is 1200.");
    assert!(!content.truncated);
}

#[tokio::test]
async fn text_in_pieces_in_forms_and_divided_words_is_put_together() {
    let content = b"q 1 0 0 1 72 700 cm BT /F1 12 Tf 14 TL 0 0 Td [(Mon) -20 (th) 10 (ly) -400 (pay-)] TJ \
                    0 -14 Td (ment is) Tj (\\344gst) ' ET Q /X Do";
    let mut document = pdf_of_streams(vec![Stream::new(dictionary! {}, content.to_vec())]);
    let form = document.add_object(Stream::new(
        dictionary! {
            "Subtype" => "Form",
            "Matrix" => vec![1.into(), 0.into(), 0.into(), 1.into(), 72.into(), 600.into()],
        },
        b"BT /F1 12 Tf (in a form) Tj ET".to_vec(),
    ));
    let tree = document.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    let resources = document.get_dictionary(tree).unwrap().get(b"Resources").unwrap().as_reference().unwrap();
    document.get_dictionary_mut(resources).unwrap().set("XObject", dictionary! { "X" => form });
    let content = extract("pieces.pdf", bytes_of(&mut document)).await.unwrap();
    assert_eq!(content.sections[0].text, "Monthly payment is\n\u{e4}gst\n\nin a form");
}

#[tokio::test]
async fn a_docx_has_headings_lists_tables_and_notes() {
    let body = "<w:p><w:r><w:t>Between the parties</w:t></w:r></w:p>\
        <w:p><w:pPr><w:pStyle w:val=\"Nagwek1\"/></w:pPr><w:r><w:t>Rent &amp; </w:t></w:r><w:r><w:t>heat</w:t></w:r>\
        </w:p>\
        <w:p><w:r><w:t xml:space=\"preserve\">The rent is </w:t></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t>SECRET</w:t>\
        </w:r>\
        <w:r><w:t>1200&#8364;.</w:t></w:r><w:del><w:r><w:delText>SECRET</w:delText></w:r></w:del></w:p>\
        <w:p><w:pPr><w:numPr><w:ilvl w:val=\"0\"/></w:numPr><w:rPr><w:vanish/></w:rPr></w:pPr><w:r><w:t>gas</w:t>\
        </w:r></w:p>\
        <w:tbl><w:tr><w:tc><w:p><w:r><w:t>Item</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Price</w:t></w:r></w:p>\
        </w:tc></w:tr>\
        <w:tr><w:tc><w:p><w:r><w:t>Rent</w:t></w:r></w:p><w:p><w:r><w:t>monthly</w:t></w:r></w:p></w:tc>\
        <w:tc><w:tbl><w:tr><w:tc><w:p><w:r><w:t>12</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>00</w:t></w:r></w:p>\
        </w:tc></w:tr></w:tbl></w:tc></w:tr></w:tbl>\
        <w:p><w:r><w:t>line</w:t><w:br/><w:t>break</w:t><w:tab/><w:t>tab</w:t></w:r></w:p>\
        <w:p><w:r><w:rPr><w:rStyle w:val=\"Ukryty\"/></w:rPr><w:t>SECRET</w:t></w:r></w:p>\
        <mc:AlternateContent><mc:Choice><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Choice><mc:Fallback><w:p><w:r>\
        <w:t>box</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent>\
        <w:p><w:pPr><w:outlineLvl w:val=\"1\"/></w:pPr><w:r><w:t>End</w:t></w:r></w:p><w:p><w:r><w:t>Signed</w:t>\
        </w:r></w:p>";
    let styles = "<w:styles><w:style w:styleId=\"Nagwek\"><w:name w:val=\"heading 1\"/></w:style>\
        <w:style w:styleId=\"Nagwek1\"><w:name w:val=\"Mine\"/><w:basedOn w:val=\"Nagwek\"/></w:style>\
        <w:style w:styleId=\"Ukryty\"><w:rPr><w:vanish/></w:rPr></w:style>\
        <w:style w:styleId=\"Ring\"><w:basedOn w:val=\"Ring\"/></w:style></w:styles>";
    let notes = "<w:footnotes><w:footnote><w:p><w:r><w:t>A note</w:t></w:r></w:p></w:footnote></w:footnotes>";
    let file = docx_with(body, &[("word/styles.xml", styles), ("word/footnotes.xml", notes)]);
    let content = extract("lease.docx", file).await.unwrap();
    assert_eq!(content.format, "docx");
    assert_eq!(labels(&content), ["beginning", "Rent & heat", "Rent & heat › End", "footnotes"]);
    assert_eq!(
        content.sections[1].text,
        "Rent & heat\nThe rent is 1200€.\n- gas\nItem | Price\nRent monthly | 12 | 00\nline\nbreak tab\n\nbox"
    );
    assert_eq!(content.sections[2].text, "End\nSigned");
    assert_eq!(content.sections[3].text, "A note");
}

#[tokio::test]
async fn the_visible_sheets_of_a_workbook_are_sections() {
    let prices = "<sheetData><row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>Item</t></is></c>\
        <c r=\"B1\" t=\"inlineStr\"><is><t>Price</t></is></c></row>\
        <row r=\"2\"><c r=\"A2\" t=\"inlineStr\"><is><t>Rent\nmonthly</t></is></c><c r=\"B2\"><v>1200.5</v></c>\
        <c r=\"D2\" t=\"b\"><v>1</v></c></row></sheetData>";
    let hidden = "<sheetData><row r=\"1\"><c r=\"A1\"><v>13</v></c></row></sheetData>";
    let file = xlsx(&[("Prices", "visible", prices), ("Secret", "hidden", hidden), ("Deep", "veryHidden", hidden)]);
    let content = extract("prices.xlsx", file).await.unwrap();
    assert_eq!(content.format, "xlsx");
    assert_eq!(labels(&content), ["sheet Prices"]);
    assert_eq!(content.sections[0].text, "Item | Price\nRent monthly | 1200.5 | | TRUE");
}

#[tokio::test]
async fn text_formats_are_told_apart_and_read() {
    for (name, bytes, format, label, text) in [
        ("a.txt", &b"Caf\xe9  bill\r\n"[..], "text", "text", "Café bill"),
        ("a.txt", b"\xff\xfeH\0i\0", "text", "text", "Hi"),
        ("a.md", b"# Terms\nPay", "markdown", "Terms", "# Terms\nPay"),
        ("a.csv", b"a;b\n1;2\n", "csv", "rows 1–200", "a | b\n1 | 2"),
        ("a", b"<!doctype html><h1>Terms</h1><p>Pay", "html", "Terms", "Terms\n\nPay"),
    ] {
        let content = extract(name, bytes).await.unwrap();
        assert_eq!(content.format, format);
        assert_eq!(content.sections[0].label, label);
        assert_eq!(content.sections[0].text, text);
    }
}

#[tokio::test]
async fn a_quotation_can_be_found_in_the_text_again() {
    let content = extract("a.txt", "The \u{201c}rent\u{201d}\u{a0}is\tdue \u{fb01}rst.").await.unwrap();
    assert!(content.sections[0].text.contains("\u{201c}rent\u{201d} is due first."));
}

/// A page in a font of two-byte codes.
fn pdf_in(font: lopdf::Dictionary, table: Option<&str>, codes: &[u8]) -> Vec<u8> {
    let shown: String = codes.iter().map(|code| format!("{code:02x}")).collect();
    let content = format!("BT /F1 12 Tf 72 700 Td <{shown}> Tj ET");
    let mut document = pdf_of_streams(vec![Stream::new(dictionary! {}, content.into_bytes())]);
    let place = font_of(&document);
    let descendant = document.add_object(dictionary! { "Type" => "Font", "Subtype" => "CIDFontType0", "DW" => 1000 });
    let mut font = font;
    font.set("Type", "Font");
    font.set("Subtype", "Type0");
    font.set("DescendantFonts", vec![descendant.into()]);
    if let Some(table) = table {
        let table = document.add_object(Stream::new(dictionary! {}, table.as_bytes().to_vec()));
        font.set("ToUnicode", table);
    }
    document.objects.insert(place, font.into());
    bytes_of(&mut document)
}

#[tokio::test]
async fn chinese_and_japanese_are_read_by_table_and_by_character_set() {
    let words = "契約書";
    let utf_16: Vec<u8> = words.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let by_set = |name: &str| dictionary! { "Encoding" => Object::Name(name.into()) };
    let table = "1 begincodespacerange <0000> <ffff> endcodespacerange 1 beginbfchar <0001> <5951> endbfchar \
                 1 beginbfrange <0002> <0003> [<7d04> <66f8>] endbfrange";
    for file in [
        pdf_in(by_set("UniJIS-UTF16-H"), None, &utf_16),
        pdf_in(by_set("90ms-RKSJ-H"), None, b"\x8c\x5f\x96\xf1\x8f\x91"),
        pdf_in(by_set("Identity-H"), Some(table), &[0, 1, 0, 2, 0, 3]),
    ] {
        assert_eq!(extract("contract.pdf", file).await.unwrap().sections[0].text, words);
    }
}

#[tokio::test]
async fn a_font_that_does_not_say_what_its_letters_mean_needs_ocr() {
    let by_number = || dictionary! { "Encoding" => "Identity-H" };
    let message = refusal("glyphs.pdf", pdf_in(by_number(), None, &[0, 1, 0, 2])).await;
    assert_eq!(message, "the document has no text; it is probably scanned and needs OCR");
    let table = "1 beginbfchar <0001> <0041> endbfchar";
    let message = refusal("glyphs.pdf", pdf_in(by_number(), Some(table), &[0, 1, 0, 2, 0, 3])).await;
    assert_eq!(message, "the document's fonts do not say what its letters mean; it needs OCR");
}

/// `lease.pdf` is `lease.html`, printed by a browser.
#[tokio::test]
async fn a_browsers_pdf_reads_like_the_page_it_was_printed_from() {
    let content = extract("lease.pdf", include_bytes!("../documents/lease.pdf")).await.unwrap();
    assert_eq!(labels(&content), ["page 1", "page 2"]);
    let page = &content.sections[0].text;
    for words in [
        "Lease agreement\nThis agreement is made between the landlord, Anna Example, and the tenant,",
        "1. Rent\nThe monthly rent is 1,200.00 EUR, payable in\nadvance",
        "notwithstanding any other provision of this\nagreement.\n\n2. Termination\nEither party",
        "Item Monthly Yearly\nHeating and hot water 80.10 961.20\nWaste 12.00 144.00",
        "official office: first floor\nzażółć gęślą jaźń, Größe, façade",
    ] {
        assert!(page.contains(words), "{words:?} in {page:?}");
    }
    assert_eq!(
        content.sections[1].text,
        "4. Other languages\nДоговор составлен в двух экземплярах.\n\nSigned1 in Warsaw."
    );
}

#[tokio::test]
async fn the_same_page_as_html_has_its_headings_as_sections() {
    let content = extract("lease.html", include_bytes!("../documents/lease.html")).await.unwrap();
    assert_eq!(
        labels(&content),
        [
            "Lease agreement",
            "Lease agreement › 1. Rent",
            "Lease agreement › 2. Termination",
            "Lease agreement › 3. Costs",
            "Lease agreement › 4. Other languages",
        ]
    );
    assert!(content.sections[3].text.contains("Item | Monthly | Yearly\nHeating and hot water | 80.10 | 961.20"));
    assert!(content.sections[4].text.ends_with("Signed¹ in Warsaw."));
}

#[tokio::test]
async fn more_pages_than_the_limit_are_refused_and_more_text_is_left_out_and_said_to_be() {
    let file = pdf(&[&["one"], &["two"], &["three"]]);
    let too_many = extract_within(Limits { max_pages: 2, ..Limits::default() }, "a.pdf", file.clone()).await;
    assert_eq!(refusal_of(too_many), "the document has too many pages: more than 2");
    let content = extract_within(Limits { max_pages: 3, ..Limits::default() }, "a.pdf", file.clone()).await.unwrap();
    assert_eq!((content.sections.len(), content.truncated), (3, false));
    let limits = Limits { max_text_characters: 4, ..Limits::default() };
    let content = extract_within(limits, "a.pdf", file).await.unwrap();
    assert_eq!((content.characters(), content.truncated), (4, true));
}
