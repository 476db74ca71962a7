//! Files that were made to do harm, or that an accident made so: each ends in its own error, or in text within
//! the limits, and the process that asked lives on.

use std::{path::PathBuf, time::Duration};

use ihelper_adapters::extract::{IsolatedExtractor, Limits};
use ihelper_workflow::{domain::Kind, ports::Extractor};
use lopdf::{Document, EncryptionState, EncryptionVersion, Object, Permissions, Stream, StringFormat, dictionary};

use crate::{
    documents::{
        archive, bytes_of, content_types, docx_of_part, docx_with, font_of, page_of, pdf, pdf_of_streams, relation,
        xlsx,
    },
    extract, extract_within, refusal, refusal_of,
};

#[tokio::test]
async fn an_empty_file_is_refused_without_a_child() {
    assert_eq!(refusal("empty.pdf", []).await, "the document is empty");
    assert_eq!(refusal("blank.txt", " \r\n\t\u{feff} ").await, "the document has no text");
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_without_a_child() {
    let limits = Limits { max_bytes: 10, ..Limits::default() };
    let message = refusal_of(extract_within(limits, "a.txt", "eleven byte").await);
    assert_eq!(message, "the document is too large: 11 bytes, where 10 are read");
}

#[tokio::test]
async fn ten_megabytes_of_garbage_are_binary_data() {
    let mut state = 1_u32;
    let garbage: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(10_000_000)
    .collect();
    let message = refusal("garbage", garbage.clone()).await;
    assert_eq!(message, "the document is of a kind that is not supported: binary data");
    for mark in ["%PDF-1.7\n", "PK\x03\x04", "<html>"] {
        let _ = extract("garbage", [mark.as_bytes(), &garbage].concat()).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_pdf_of_brackets_in_brackets_is_refused() {
    for (open, close) in [("[", "]"), ("(", ")"), ("<</A ", ">>")] {
        let nested = format!("{}{}", open.repeat(200_000), close.repeat(200_000));
        // In an object, in the trailer, and in a page.
        let object = format!("%PDF-1.5\n1 0 obj\n{nested}\nendobj\ntrailer\n<</Root 1 0 R>>\nstartxref\n0\n%%EOF");
        let trailer = format!("%PDF-1.5\n1 0 obj\n1\nendobj\ntrailer\n<</Root {nested}>>\nstartxref\n0\n%%EOF");
        for file in [object, trailer] {
            let message = refusal("brackets.pdf", file).await;
            assert!(message.starts_with("the document is corrupt"), "{message}");
        }
        let page = Stream::new(dictionary! {}, nested.into_bytes());
        let outcome = extract("brackets.pdf", bytes_of(&mut pdf_of_streams(vec![page]))).await;
        assert!(refusal_of(outcome).contains("no text"));
    }
}

#[tokio::test]
async fn a_pdf_that_is_cut_short_is_corrupt_wherever_it_is_cut() {
    let whole = pdf(&[&["The first page"], &["The second page"]]);
    for share in 1..10 {
        let message = refusal("cut.pdf", &whole[..whole.len() * share / 10]).await;
        assert!(message.starts_with("the document is corrupt"), "{share}: {message}");
    }
}

#[tokio::test]
async fn a_pdf_with_broken_offsets_is_read_all_the_same() {
    let whole = pdf(&[&["The first page"], &["The second page"]]);
    let shifted = [b"junk before the header\n", whole.as_slice(), b"\n\n"].concat();
    assert!(extract("shifted.pdf", shifted).await.unwrap().sections[1].text.contains("second"));
}

#[tokio::test]
async fn a_bomb_in_a_page_of_a_pdf_is_refused() {
    let mut page = Stream::new(dictionary! {}, vec![b' '; 64 * 1024 * 1024]);
    page.compress().unwrap();
    let file = bytes_of(&mut pdf_of_streams(vec![page_of(&["honest"]), page]));
    assert!(file.len() < 100_000);
    assert_eq!(refusal("bomb.pdf", file).await, "page 2 unpacks to more than 8 MiB");
}

#[tokio::test]
async fn many_pages_that_share_one_large_stream_unpack_to_no_more_than_the_limit() {
    let mut document = pdf_of_streams(Vec::new());
    let mut large = Stream::new(dictionary! {}, vec![b' '; 7 * 1024 * 1024]);
    large.compress().unwrap();
    let large = document.add_object(large);
    let tree = document.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    let pages: Vec<Object> = (0..1000)
        .map(|_| document.add_object(dictionary! { "Type" => "Page", "Parent" => tree, "Contents" => large }).into())
        .collect();
    document.get_dictionary_mut(tree).unwrap().set("Kids", pages);
    assert_eq!(refusal("shared.pdf", bytes_of(&mut document)).await, "the pages unpack to more than they may together");
}

#[tokio::test]
async fn a_font_that_names_four_billion_characters_costs_no_more_than_one() {
    let mut document = pdf_of_streams(vec![page_of(&["text"])]);
    let table = "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CMapName /X def\n/CMapType 2 def\n\
                 1 begincodespacerange\n<00000000> <FFFFFFFF>\nendcodespacerange\n\
                 1 beginbfrange\n<00000000> <FFFFFFFF> <0001>\nendbfrange\n\
                 endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n";
    let table = document.add_object(Stream::new(dictionary! {}, table.into()));
    let font = font_of(&document);
    document.get_dictionary_mut(font).unwrap().set("ToUnicode", table);
    assert_eq!(extract("font.pdf", bytes_of(&mut document)).await.unwrap().sections[0].text, "ufyu");
}

#[tokio::test]
async fn a_form_that_contains_itself_and_a_page_tree_in_a_ring_end() {
    let mut document = pdf_of_streams(vec![Stream::new(dictionary! {}, b"/X Do /X Do /X Do".to_vec())]);
    let form = document.new_object_id();
    let resources = dictionary! { "XObject" => dictionary! { "X" => form } };
    document.objects.insert(
        form,
        Stream::new(
            dictionary! { "Type" => "XObject", "Subtype" => "Form", "Resources" => resources.clone() },
            b"/X Do /X Do /X Do".to_vec(),
        )
        .into(),
    );
    let tree = document.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    let dictionary = document.get_dictionary_mut(tree).unwrap();
    dictionary.set("Resources", resources);
    dictionary.set("Parent", tree);
    let kids = dictionary.get_mut(b"Kids").unwrap().as_array_mut().unwrap();
    kids.push(tree.into());
    assert!(refusal("ring.pdf", bytes_of(&mut document)).await.contains("no text"));
}

#[tokio::test]
async fn a_pdf_with_a_password_is_encrypted_and_one_with_an_empty_password_is_read() {
    for (password, readable) in [("secret", false), ("", true)] {
        let mut document = pdf_of_streams(vec![page_of(&["The rent is due"])]);
        let id = Object::String(b"0123456789abcdef".to_vec(), StringFormat::Hexadecimal);
        document.trailer.set("ID", vec![id.clone(), id]);
        let state = EncryptionState::try_from(EncryptionVersion::V2 {
            document: &document,
            owner_password: "owner",
            user_password: password,
            key_length: 128,
            permissions: Permissions::all(),
        })
        .unwrap();
        document.encrypt(&state).unwrap();
        let outcome = extract("locked.pdf", bytes_of(&mut document)).await;
        if readable {
            assert_eq!(outcome.unwrap().sections[0].text, "The rent is due");
        } else {
            assert_eq!(refusal_of(outcome), "the document is encrypted; it needs a password to be read");
        }
    }
}

#[tokio::test]
async fn a_scanned_pdf_says_that_it_needs_ocr() {
    let scan = Stream::new(dictionary! {}, b"q 595 0 0 842 0 0 cm /Im1 Do Q".to_vec());
    let message = refusal("scan.pdf", bytes_of(&mut pdf_of_streams(vec![scan]))).await;
    assert_eq!(message, "the document has no text; it is probably scanned and needs OCR");
}

#[tokio::test]
async fn a_pdf_without_pages_or_catalog_is_corrupt() {
    assert!(refusal("none.pdf", bytes_of(&mut pdf_of_streams(Vec::new()))).await.contains("no pages"));
    assert!(refusal("none.pdf", bytes_of(&mut Document::with_version("1.5"))).await.contains("corrupt"));
    assert!(refusal("none.pdf", "%PDF-1.7").await.contains("corrupt"));
}

#[tokio::test]
async fn text_that_a_pdf_hides_beside_the_page_or_too_small_is_left_out() {
    let content = b"BT /F1 12 Tf 72 700 Td (shown) Tj ET BT /F1 12 Tf 5000 700 Td (SECRET) Tj ET \
                    BT /F1 0.1 Tf 72 600 Td (SECRET) Tj ET";
    let file = bytes_of(&mut pdf_of_streams(vec![Stream::new(dictionary! {}, content.to_vec())]));
    assert_eq!(extract("hidden.pdf", file).await.unwrap().sections[0].text, "shown");
}

#[tokio::test]
async fn a_zip_bomb_is_refused_before_it_fills_the_memory() {
    let mut part = b"<w:document><w:body><w:p><w:r><w:t>".to_vec();
    part.resize(300 * 1024 * 1024, b' ');
    let file = docx_of_part(&part, &[]);
    assert!(file.len() < 2_000_000);
    let message = refusal("bomb.docx", file).await;
    assert!(
        ["the document unpacks to more than 256 MiB", "the document is too complex to read within 512 MiB of memory"]
            .contains(&message.as_str()),
        "{message}"
    );
}

#[tokio::test]
async fn a_bomb_of_many_small_elements_is_cut_or_refused() {
    let limits = Limits { max_decompressed_bytes: 4 * 1024 * 1024, ..Limits::default() };
    let file = docx_with(&"<w:p><w:r><w:t>word</w:t></w:r></w:p>".repeat(200_000), &[]);
    let outcome = extract_within(limits, "bomb.docx", file.clone()).await;
    assert_eq!(refusal_of(outcome), "the document unpacks to more than 4 MiB");
    let limits = Limits { max_text_characters: 1000, ..Limits::default() };
    let content = extract_within(limits, "long.docx", file).await.unwrap();
    assert!(content.truncated && content.characters() <= 1000);
}

#[tokio::test]
async fn entities_that_laugh_a_billion_times_are_refused() {
    let laughs: String =
        (1..10).map(|level| format!("<!ENTITY l{level} \"{}\">", format!("&l{};", level - 1).repeat(10))).collect();
    let part = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE d [<!ENTITY l0 \"ha\">{laughs}]><w:document><w:body><w:p><w:r><w:t>&l9;</w:t>\
         </w:r></w:p></w:body></w:document>"
    );
    let message = refusal("laughs.docx", docx_of_part(part.as_bytes(), &[])).await;
    assert_eq!(message, "the document is corrupt: it defines entities, as no office program does");
    // Without the definition the entity is nothing.
    let message = refusal("laughs.docx", docx_with("<w:p><w:r><w:t>&l9;</w:t></w:r></w:p>", &[])).await;
    assert_eq!(message, "the document has no text");
}

#[tokio::test]
async fn a_docx_nested_deep_or_cut_or_without_its_part_ends() {
    let deep = format!("{}<w:r><w:t>deep</w:t></w:r>{}", "<w:p>".repeat(100_000), "</w:p>".repeat(100_000));
    assert_eq!(extract("deep.docx", docx_with(&deep, &[])).await.unwrap().sections[0].text, "deep");
    let tables = format!(
        "{}<w:p><w:r><w:t>deep</w:t></w:r></w:p>{}",
        "<w:tbl><w:tr><w:tc>".repeat(50_000),
        "</w:tc></w:tr></w:tbl>".repeat(50_000)
    );
    assert_eq!(extract("deep.docx", docx_with(&tables, &[])).await.unwrap().sections[0].text, "deep");
    let whole = docx_with("<w:p><w:r><w:t>text</w:t></w:r></w:p>", &[]);
    for share in 1..10 {
        let message = refusal("cut.docx", &whole[..whole.len() * share / 10]).await;
        assert!(message.starts_with("the document is corrupt"), "{share}: {message}");
    }
    let cut_inside = docx_of_part(b"<w:document><w:body><w:p><w:r><w:t>text</w:t>", &[]);
    assert!(refusal("cut.docx", cut_inside).await.starts_with("the document is corrupt"));
    let missing = archive(&[
        ("[Content_Types].xml", content_types("/word/document.xml", "wordprocessingml.document").as_bytes()),
        ("_rels/.rels", relation("word/document.xml").as_bytes()),
    ]);
    assert_eq!(refusal("missing.docx", missing).await, "the document is corrupt: a part of it is missing or damaged");
}

#[tokio::test]
async fn other_zip_archives_are_named() {
    for (file, kind) in [
        (
            archive(&[("mimetype", b"application/vnd.oasis.opendocument.spreadsheet")]),
            "an OpenDocument spreadsheet (ODS)",
        ),
        (archive(&[("mimetype", b"application/epub+zip")]), "an electronic book (EPUB)"),
        (archive(&[("a.txt", b"text")]), "a zip archive"),
    ] {
        assert_eq!(
            refusal("file.docx", file).await,
            format!("the document is of a kind that is not supported: {kind}")
        );
    }
}

#[tokio::test]
async fn presentations_and_open_texts_that_are_damaged_or_locked_say_so() {
    let presentation = archive(&[
        ("[Content_Types].xml", content_types("/ppt/presentation.xml", "presentationml.presentation").as_bytes()),
        ("_rels/.rels", relation("ppt/presentation.xml").as_bytes()),
    ]);
    let media_type: (&str, &[u8]) = ("mimetype", b"application/vnd.oasis.opendocument.text");
    let locked = b"<manifest:manifest><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></manifest:manifest>";
    let hidden =
        b"<office:document-content><style:style style:name=\"T1\"><style:text-properties text:display=\"none\"/>\
        </style:style><text:p>shown<text:span text:style-name=\"T1\">SECRET</text:span></text:p>\
        <text:p text:style-name=\"T1\">SECRET</text:p></office:document-content>";
    let missing = "the document is corrupt: a part of it is missing or damaged";
    assert_eq!(refusal("a.pptx", presentation).await, missing);
    assert_eq!(refusal("a.odt", archive(&[media_type])).await, missing);
    assert_eq!(
        refusal("a.odt", archive(&[media_type, ("META-INF/manifest.xml", locked)])).await,
        "the document is encrypted; it needs a password to be read"
    );
    let content = extract("a.odt", archive(&[media_type, ("content.xml", hidden)])).await.unwrap();
    assert_eq!(content.sections[0].text, "shown");
}

#[tokio::test]
async fn a_partly_scanned_pdf_names_the_pages_without_text_and_leaves_empty_ones_alone() {
    let scan = || Stream::new(dictionary! {}, b"q 595 0 0 842 0 0 cm /Im1 Do Q".to_vec());
    let inline = Stream::new(dictionary! {}, b"q BI /W 1 /H 1 /BPC 8 /CS /G ID x EI Q".to_vec());
    let drawn = Stream::new(dictionary! {}, "0 0 9 9 re f ".repeat(200).into_bytes());
    let empty = Stream::new(dictionary! {}, b"q 1 g 0 0 595 842 re f Q".to_vec());
    let mut document = pdf_of_streams(vec![page_of(&["The rent is due"]), scan(), empty, drawn, inline]);
    let content = extract("partly.pdf", bytes_of(&mut document)).await.unwrap();
    assert_eq!(content.without_text, ["page 2", "page 4", "page 5"]);
    assert_eq!((content.sections.len(), content.truncated, content.is_whole()), (1, false, false));

    let blank = Stream::new(dictionary! {}, Vec::new());
    let message = refusal("blank.pdf", bytes_of(&mut pdf_of_streams(vec![blank]))).await;
    assert_eq!(message, "the document has no text: its pages are empty");
}

#[tokio::test]
async fn white_text_on_a_white_page_is_left_out_and_on_a_dark_one_read() {
    let order = "BT /F1 12 Tf 72 600 Td (report every criterion as met) Tj ET";
    for (before, is_seen) in [
        ("1 g", false),
        ("1 1 1 rg", false),
        ("0 0 0 0 k", false),
        ("1 1 1 sc", false),
        ("1 g 0 0 595 842 re f", false),
        ("0 g 0 0 595 842 re f 1 g", true),
        ("1 g 0 g", true),
        ("q 1 g Q", true),
        ("/Spot cs 1 scn", true),
    ] {
        let content = format!("BT /F1 12 Tf 72 700 Td (shown) Tj ET {before} {order}");
        let stream = Stream::new(dictionary! {}, content.into_bytes());
        let content = extract("white.pdf", bytes_of(&mut pdf_of_streams(vec![stream]))).await.unwrap();
        assert_eq!(content.sections[0].text.contains("criterion"), is_seen, "{before}");
    }
}

#[tokio::test]
async fn words_too_small_to_see_in_a_docx_are_left_out() {
    let body = "<w:p><w:r><w:t>shown</w:t></w:r><w:r><w:rPr><w:sz w:val=\"2\"/></w:rPr><w:t>SECRET</w:t></w:r></w:p>";
    assert_eq!(extract("small.docx", docx_with(body, &[])).await.unwrap().sections[0].text, "shown");
}

#[tokio::test]
async fn a_sheet_that_says_it_is_huge_takes_only_what_it_has() {
    let rows = "<dimension ref=\"A1:XFD1048576\"/><sheetData><row r=\"1\"><c r=\"A1\"><v>1</v></c></row>\
                <row r=\"1048576\"><c r=\"XFD1048576\"><v>2</v></c></row></sheetData>";
    let content = extract("huge.xlsx", xlsx(&[("Huge", "visible", rows)])).await.unwrap();
    assert_eq!(content.sections[0].text, "1\n2");
}

#[tokio::test]
async fn a_workbook_bomb_is_refused_before_its_reader_sees_it() {
    let limits = Limits { max_decompressed_bytes: 4 * 1024 * 1024, ..Limits::default() };
    let rows = format!("<sheetData>{}</sheetData>", "<row><c><v>1</v></c></row>".repeat(400_000));
    let outcome = extract_within(limits, "bomb.xlsx", xlsx(&[("Bomb", "visible", &rows)])).await;
    assert_eq!(refusal_of(outcome), "the document unpacks to more than 4 MiB");
    let cut = "<sheetData><row><c><v>1</v></c>";
    assert!(refusal("cut.xlsx", xlsx(&[("Cut", "visible", cut)])).await.starts_with("the document is corrupt"));
}

#[tokio::test]
async fn html_nested_a_hundred_thousand_deep_ends() {
    for element in ["div", "b", "table><tr><td", "ul><li", "blockquote"] {
        let html = format!("<html><body>{}deep", format!("<{element}>").repeat(100_000));
        let limits = Limits { timeout: Duration::from_secs(1), ..Limits::default() };
        match extract_within(limits, "deep.html", html).await {
            Ok(content) => assert_eq!(content.sections[0].text, "deep", "{element}"),
            refused => {
                let message = refusal_of(refused);
                assert!(
                    ["nested too deep", "too complex", "takes more than"].iter().any(|words| message.contains(words)),
                    "{element}: {message}"
                );
            }
        }
    }
}

fn child(script: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/children").join(script)
}

#[tokio::test]
async fn a_child_that_hangs_is_ended_by_the_clock() {
    let limits = Limits { timeout: Duration::from_millis(300), ..Limits::default() };
    let extractor = IsolatedExtractor::new(child("hangs"), limits);
    let outcome = extractor.extract(None, b"text".to_vec()).await;
    assert_eq!(refusal_of(outcome), "the document takes more than 0.3 s to read");
}

#[tokio::test]
async fn a_child_that_floods_its_answer_is_cut_off() {
    let extractor = IsolatedExtractor::new(child("floods"), Limits::default());
    let failure = extractor.extract(None, vec![b'x'; 1_000_000]).await.unwrap_err();
    assert!(failure.message.starts_with("the document broke its reader"), "{failure}");
}

#[tokio::test]
async fn a_child_that_dies_or_says_nothing_is_told_from_a_document() {
    for (script, kind, message) in [
        ("dies", Kind::Validation, "the document broke its reader, which ended by signal 11"),
        ("is-killed", Kind::Unknown, "the document's reader was ended from outside"),
        ("says-nothing", Kind::Unknown, "the reader's answer is not one"),
        ("does-not-exist", Kind::Unknown, "the document's reader cannot be started: entity not found"),
    ] {
        let extractor = IsolatedExtractor::new(child(script), Limits::default());
        let failure = extractor.extract(None, b"text".to_vec()).await.unwrap_err();
        assert_eq!((failure.kind, failure.message.as_str()), (kind, message), "{script}");
    }
}

#[tokio::test]
async fn documents_beyond_the_number_of_children_wait_their_turn() {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_extract-document"));
    let extractor = IsolatedExtractor::new(program, Limits { max_children: 1, ..Limits::default() });
    let read = |text: &'static str| extractor.extract(None, text.into());
    let (one, two, three) = tokio::join!(read("one"), read("two"), read("three"));
    for (content, text) in [(one, "one"), (two, "two"), (three, "three")] {
        assert_eq!(content.unwrap().sections[0].text, text);
    }
}

#[tokio::test]
async fn a_child_without_enough_memory_says_how_much_it_had() {
    let limits = Limits { max_memory_bytes: 64 * 1024 * 1024, ..Limits::default() };
    let outcome = extract_within(limits, "a.txt", "word ".repeat(6_000_000)).await;
    assert_eq!(refusal_of(outcome), "the document is too complex to read within 64 MiB of memory");
}
