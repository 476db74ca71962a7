//! Documents that real programs made (`tests/documents/README.md` says which and how): what a reader sees in them is
//! in their text, whole and at its place.

use ihelper_workflow::domain::document::Content;

use crate::{extract, refusal};

macro_rules! document {
    ($name:literal) => {
        include_bytes!(concat!("../documents/", $name)).as_slice()
    };
}
pub(super) use document;

/// Each of these words stands in the section of that label, on one line or broken over several.
#[track_caller]
fn assert_reads(content: &Content, expected: &[(&str, &str)]) {
    for (label, words) in expected {
        let section = content.sections.iter().find(|section| section.label == *label);
        let labels = || content.sections.iter().map(|section| section.label.as_str()).collect::<Vec<_>>();
        let section = section.unwrap_or_else(|| panic!("no section {label:?} among {:?}", labels()));
        let joined = section.text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Scripts without spaces break their lines anywhere.
        let is_there = joined.contains(words) || joined.replace(' ', "").contains(&words.replace(' ', ""));
        assert!(is_there, "{words:?} in {label:?}: {:?}", section.text);
    }
}

#[tokio::test]
async fn two_columns_of_tex_are_read_one_after_the_other_with_ligatures_and_notes() {
    let content = extract("contract", document!("latex-columns.pdf")).await.unwrap();
    assert_reads(
        &content,
        &[
            ("page 1", "Framework agreement on field services"),
            ("page 1", "The supplier offers efficient field services for the offices of the customer"),
            ("page 1", "including the first-floor archive and the affiliated workshops"),
            ("page 1", "All difficult configurations are classified before the fieldwork begins"),
            ("page 1", "A confirmation by electronic mail is sufficient for this purpose."),
            (
                "page 1",
                "The monthly remuneration amounts to EUR 4,500.00 and is payable within thirty days of the invoice.",
            ),
            ("page 1", "notwithstanding any interdepartmental arrangements to the contrary"),
        ],
    );
}

#[tokio::test]
async fn a_browsers_pages_in_six_scripts_are_read_in_their_own_order() {
    let content = extract("languages", document!("browser-languages.pdf")).await.unwrap();
    assert!(content.without_text.is_empty());
    assert_reads(
        &content,
        &[
            ("page 1", "the seller delivers the goods to the office of the buyer within fourteen days."),
            ("page 1", "the buyer pays EUR 2,400 in two instalments, and the seller keeps the title until the last"),
            ("page 2", "يجوز لأي من الطرفين إنهاء هذا العقد بإشعار خطي مدته ثلاثة أشهر"),
            ("page 2", "يدفع المستأجر إيجارا شهريا قدره 1200 يورو في اليوم الأول من كل شهر"),
            ("page 3", "השוכר ישלם דמי שכירות בסך 1200 אירו בכל חודש"),
            ("page 3", "כל צד רשאי לסיים את החוזה בהודעה של 90 ימים מראש"),
            ("page 4", "任何一方均可提前三个月书面通知终止本合同"),
            ("page 5", "いずれの当事者も三か月前の書面による通知により本契約を解約することができる。"),
            ("page 6", "어느 당사자든 3개월 전에 서면으로 통지하여 이 계약을 해지할 수 있다."),
        ],
    );
}

#[tokio::test]
async fn an_office_programs_pdf_is_read_with_tables_notes_and_other_scripts() {
    let content = extract("lease", document!("libreoffice.pdf")).await.unwrap();
    assert_reads(
        &content,
        &[
            ("page 1", "The tenant pays a rent of EUR 900.00 a month, in advance, to the account of the landlord."),
            ("page 1", "Heating 80.10"),
            ("page 1", "Quarters end in March, June, September and December."),
            ("page 1", "مدة الإشعار ستة أشهر"),
            ("page 1", "通知期为六个月"),
        ],
    );
}

#[tokio::test]
async fn an_office_programs_files_have_headings_tables_and_notes() {
    for (file, format) in [(document!("libreoffice.docx"), "docx"), (document!("libreoffice.odt"), "odt")] {
        let content = extract("lease", file).await.unwrap();
        assert_eq!(content.format, format);
        assert_reads(
            &content,
            &[
                ("Office lease › Rent", "The tenant pays a rent of EUR 900.00 a month, in advance"),
                ("Office lease › Rent", "Heating | 80.10"),
                ("Office lease › Notice › Ordinary notice", "The notice period is six months to the end of a quarter."),
                ("Office lease › Notice › العربية", "مدة الإشعار ستة أشهر."),
                ("footnotes", "Quarters end in March, June, September and December."),
            ],
        );
    }
}

#[tokio::test]
async fn what_libraries_write_is_read_without_what_they_hide() {
    let content = extract("terms", document!("python-docx.docx")).await.unwrap();
    assert_reads(
        &content,
        &[
            ("Service terms", "These terms apply between the provider and the client."),
            ("Service terms › Payment", "Support | EUR 250.00"),
            ("Service terms › Payment › Late payment", "Interest on late payments is 5 % a year."),
        ],
    );
    assert!(content.sections.iter().all(|section| !section.text.contains("Assistant")), "{content:?}");

    for file in [document!("openpyxl.xlsx"), document!("libreoffice.xlsx")] {
        let content = extract("prices", file).await.unwrap();
        let sheet = &content.sections[0];
        assert_eq!((content.sections.len(), sheet.label.as_str()), (1, "sheet Prices"));
        assert_reads(&content, &[("sheet Prices", "Part 17 | 178.5 | 2025-03-01")]);
        let row_of = |words: &str| {
            let byte = sheet.text.find(words).unwrap();
            sheet.row_at(sheet.text[..byte].chars().count())
        };
        assert_eq!(["Item", "Part 17", "2025-03-01", "Discount"].map(row_of), [Some(1), Some(17), Some(2), Some(41)]);
    }

    let content = extract("plan", document!("python-pptx.pptx")).await.unwrap();
    assert_reads(
        &content,
        &[
            ("slide 1", "Budget The budget of the project is EUR 40,000."),
            ("slide 2", "The work ends on 30 June 2026."),
        ],
    );
    assert!(content.sections.iter().all(|section| !section.text.contains("speaker")), "{content:?}");
}

#[tokio::test]
async fn a_real_encrypted_file_and_every_cut_one_is_refused_by_name() {
    let message = refusal("locked", document!("encrypted.pdf")).await;
    assert_eq!(message, "the document is encrypted; it needs a password to be read");
    for (name, file) in [
        ("latex-columns.pdf", document!("latex-columns.pdf")),
        ("browser-languages.pdf", document!("browser-languages.pdf")),
        ("libreoffice.pdf", document!("libreoffice.pdf")),
        ("libreoffice.docx", document!("libreoffice.docx")),
        ("libreoffice.odt", document!("libreoffice.odt")),
        ("openpyxl.xlsx", document!("openpyxl.xlsx")),
        ("python-pptx.pptx", document!("python-pptx.pptx")),
    ] {
        for share in [3, 6, 9] {
            let message = refusal(name, &file[..file.len() * share / 10]).await;
            assert!(message.starts_with("the document is corrupt"), "{name} {share}: {message}");
        }
    }
}
