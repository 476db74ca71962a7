//! `make bench-documents`: the memory and the time that reading a document takes, of the process that asks and of the
//! child that reads. A measurement, not a test; the figures in template.yaml and in `extract` come from it.

use std::{
    env,
    error::Error,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ihelper_adapters::{
    extract::{IsolatedExtractor, Limits, run_if_child},
    system,
};
use ihelper_workflow::ports::Extractor as _;
use lopdf::{Document, Object, Stream, dictionary};
use zip::{ZipWriter, write::SimpleFileOptions};

/// How many children the start is the median of.
const STARTS: usize = 101;

/// Just below the largest file that is read.
const LARGEST_BYTES: usize = 32 * 1024 * 1024 - 64 * 1024;

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    run_if_child();
    let mut output = io::stdout().lock();
    if let Some(name) = env::args().nth(1) {
        // Each document in a process of its own, whose highest mark is its alone.
        return Ok(output.write_all(measure(&name)?.as_bytes())?);
    }
    writeln!(output, "# Documents, measured\n")?;
    let (child, nothing) = (starts(|| start_child("empty")), starts(start_nothing));
    writeln!(output, "Start to end of a child: {child:.1?}; of `true`: {nothing:.1?} (medians of {STARTS}).\n")?;
    writeln!(output, "| document | MiB | asks, MiB | reads, MiB | time | outcome |\n|---|---:|---:|---:|---:|---|")?;
    for (name, _) in DOCUMENTS {
        let measured = Command::new(env::current_exe()?).arg(name).output()?;
        output.write_all(&measured.stdout)?;
        output.write_all(&measured.stderr)?;
    }
    Ok(())
}

/// Makes a document.
type Make = fn() -> Vec<u8>;

const DOCUMENTS: [(&str, Make); 7] = [
    ("nothing but a line of text", || b"A line.".to_vec()),
    ("PDF of 300 pages of text", || pdf(300, 0)),
    ("PDF of 300 pages with pictures, the largest", || pdf(300, LARGEST_BYTES)),
    ("PDF of 2,000 pages of text", || pdf(2000, 0)),
    ("DOCX with pictures, the largest", docx),
    ("HTML of 6 MB", html),
    ("text, the largest", text),
];

fn measure(name: &str) -> Result<String, Failed> {
    let (name, make) = DOCUMENTS.iter().find(|(known, _)| *known == name).ok_or("there is no such document")?;
    let file = env::temp_dir().join(format!("ihelper-measured-{}", std::process::id()));
    // Made by another thread of work than the one measured: what it took is given back with its process.
    if env::var_os("MAKE").is_some() {
        fs::write(env::var("MAKE")?, make())?;
        return Ok(String::new());
    }
    let made = Command::new(env::current_exe()?).arg(name).env("MAKE", &file).status()?;
    if !made.success() {
        return Err("the document cannot be made".into());
    }
    let bytes = fs::read(&file)?;
    fs::remove_file(&file)?;
    let size = bytes.len();
    let watch = Watch::start();
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let extractor = IsolatedExtractor::new(PathBuf::from("/proc/self/exe"), Limits::default());
    let outcome = runtime.block_on(extractor.extract(Some("document"), bytes));
    let took = started.elapsed();
    let outcome = match outcome {
        Ok(content) => format!("{} characters", content.characters()),
        Err(failure) => failure.message,
    };
    let own = highest_mark("self").unwrap_or_default();
    Ok(format!(
        "| {name} | {:.1} | {:.0} | {:.0} | {took:.1?} | {outcome} |\n",
        mebibytes(size as u64),
        mebibytes(own),
        mebibytes(watch.stop())
    ))
}

/// Watches the highest mark of the children of this process.
struct Watch {
    highest: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    fn start() -> Self {
        let watch = Self { highest: Arc::default(), is_over: Arc::default() };
        let (highest, is_over) = (Arc::clone(&watch.highest), Arc::clone(&watch.is_over));
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                for child in children() {
                    highest.fetch_max(highest_mark(&child).unwrap_or_default(), Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        watch
    }

    fn stop(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.highest.load(Ordering::Relaxed)
    }
}

fn children() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|children| children.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The most memory that a process had at once, in bytes.
fn highest_mark(process: &str) -> Option<u64> {
    system::peak_memory_in(&fs::read(format!("/proc/{process}/status")).ok()?)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

fn starts(mut start: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let started = Instant::now();
            start();
            started.elapsed()
        })
        .collect();
    times.sort();
    times[STARTS / 2]
}

fn start_child(text: &str) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let extractor = IsolatedExtractor::new(PathBuf::from("/proc/self/exe"), Limits::default());
    drop(runtime.block_on(extractor.extract(None, text.as_bytes().to_vec())));
}

fn start_nothing() {
    drop(Command::new("/bin/true").status());
}

/// A PDF of so many pages of text, and pictures on them that fill it up to this size.
fn pdf(pages: usize, size_bytes: usize) -> Vec<u8> {
    let mut document = Document::with_version("1.5");
    let tree = document.new_object_id();
    let font = document.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica", "Encoding" => "WinAnsiEncoding",
    });
    let mut noise = Noise(1);
    let kids: Vec<Object> = (0..pages)
        .map(|page| {
            let mut content = String::from("BT /F1 11 Tf 14 TL 72 770 Td ");
            for line in 0..50 {
                content +=
                    &format!("(Clause {page}.{line}: either party may terminate within {line} days of notice.) Tj T* ");
            }
            content += "ET /X Do";
            let mut content = Stream::new(dictionary! {}, content.into_bytes());
            drop(content.compress());
            let content = document.add_object(content);
            let picture = Stream::new(
                dictionary! { "Type" => "XObject", "Subtype" => "Image", "Width" => 1, "Height" => 1 },
                noise.bytes(size_bytes.saturating_sub(512 * 1024) / pages),
            );
            let picture = document.add_object(picture);
            let resources = dictionary! {
                "Font" => dictionary! { "F1" => font }, "XObject" => dictionary! { "X" => picture },
            };
            let page =
                dictionary! { "Type" => "Page", "Parent" => tree, "Contents" => content, "Resources" => resources };
            document.add_object(page).into()
        })
        .collect();
    let count = kids.len() as i64;
    let media_box = vec![0.into(), 0.into(), 595.into(), 842.into()];
    let pages = dictionary! { "Type" => "Pages", "Kids" => kids, "Count" => count, "MediaBox" => media_box };
    document.objects.insert(tree, pages.into());
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
    document.trailer.set("Root", catalog);
    let mut bytes = Vec::new();
    drop(document.save_to(&mut bytes));
    bytes
}

/// A DOCX of 300 pages, and pictures that fill it up to the largest size.
fn docx() -> Vec<u8> {
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let paragraph = "<w:p><w:r><w:t>Either party may terminate within thirty days of notice.</w:t></w:r></w:p>";
    let types = "<Types><Override PartName=\"/word/document.xml\" \
                 ContentType=\"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml\"/></Types>";
    let parts = [
        ("[Content_Types].xml", types.as_bytes().to_vec()),
        (
            "_rels/.rels",
            format!(
                "<Relationships><Relationship Id=\"r1\" Type=\"{relations}/officeDocument\" Target=\"word/document.xml\"/>\
                 </Relationships>"
            )
            .into_bytes(),
        ),
        (
            "word/document.xml",
            format!("<w:document><w:body>{}</w:body></w:document>", paragraph.repeat(15_000)).into_bytes(),
        ),
        ("word/media/image1.png", Noise(1).bytes(LARGEST_BYTES - 512 * 1024)),
    ];
    let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, content) in parts {
        drop(writer.start_file(name, SimpleFileOptions::default()));
        drop(writer.write_all(&content));
    }
    writer.finish().map(io::Cursor::into_inner).unwrap_or_default()
}

fn html() -> Vec<u8> {
    let paragraph = "<p>Either party may <b>terminate</b> within thirty days of notice, in <i>writing</i>.</p>\n";
    format!("<!doctype html><html><body>{}</body></html>", paragraph.repeat(6_000_000 / paragraph.len())).into_bytes()
}

fn text() -> Vec<u8> {
    let line = "Either party may terminate within thirty days of notice.\n";
    line.repeat(LARGEST_BYTES / line.len()).into_bytes()
}

/// Bytes that nothing makes smaller.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        std::iter::repeat_with(|| {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 56) as u8
        })
        .take(count)
        .collect()
    }
}
