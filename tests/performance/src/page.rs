use minijinja::{Environment, UndefinedBehavior, value::Serde};
use serde::Serialize;

use crate::{Analysis, Comparison, Measurement, Metric, Record, Verdict, cost::LEFT_OUT, plots::plots, words};

/// Its name ends so that everything in it is escaped.
const NAME: &str = "page.html";

const TEMPLATE: &str = include_str!("page.html");

#[derive(Serialize)]
struct Page {
    title: String,
    columns: [&'static str; words::COLUMNS.len()],
    mark_explained: &'static str,
    not_told: &'static str,
    left_out: &'static str,
    workflows: Vec<Section>,
}

#[derive(Serialize)]
struct Section {
    name: &'static str,
    headline: String,
    headlines: Vec<(&'static str, String)>,
    verdict: String,
    details: Vec<String>,
    is_compared: bool,
    is_marked: bool,
    rows: Vec<Row>,
    failures: Vec<Failure>,
    unread: Option<String>,
    plots: Vec<Shown>,
    settings: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Row {
    title: &'static str,
    cells: Option<Vec<String>>,
    changes: Vec<Changed>,
}

#[derive(Serialize)]
struct Changed {
    kind: &'static str,
    words: String,
}

#[derive(Serialize)]
struct Failure {
    runs: usize,
    status: String,
    outcome: &'static str,
    problem: String,
}

#[derive(Serialize)]
struct Shown {
    title: String,
    words: String,
    svg: String,
}

/// All workflows of a record on one page, which needs nothing but itself. The baselines are in the record's order.
///
/// # Panics
/// Never: the template is compiled in, and tests render it.
pub fn page(record: &Record, baselines: &[Option<Measurement>]) -> String {
    let baselines = baselines.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    let sections: Vec<Section> =
        record.analyses.iter().zip(baselines).map(|(analysis, baseline)| Section::of(analysis, baseline)).collect();
    let title = match &sections[..] {
        [only] => format!("Performance of {}", only.name),
        _ => "Performance of the workflows".to_owned(),
    };
    let page = Page {
        title,
        columns: words::COLUMNS.map(|(name, _)| name),
        mark_explained: words::MARK_EXPLAINED,
        not_told: words::NOT_TOLD,
        left_out: LEFT_OUT,
        workflows: sections,
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let template = environment.template_from_named_str(NAME, TEMPLATE).expect("the template is valid");
    template.render(Serde(page)).expect("the template finds what it shows")
}

impl Section {
    fn of(analysis: &Analysis, baseline: Option<&Measurement>) -> Self {
        let measurement = &analysis.measurement;
        let (verdict, details) = words::verdict(&analysis.comparison);
        let is_compared = matches!(analysis.comparison, Comparison::Compared { .. });
        let rows: Vec<Row> = Metric::ALL.into_iter().map(|metric| Row::of(analysis, metric, is_compared)).collect();
        let cells = rows.iter().filter_map(|row| row.cells.as_ref()).flatten();
        Self {
            name: measurement.workflow.name(),
            headline: words::headline(measurement),
            headlines: headlines(analysis),
            verdict,
            details,
            is_compared,
            is_marked: cells.into_iter().any(|cell| cell.ends_with(words::MARK)),
            failures: failures(measurement),
            unread: words::unread(measurement),
            // A baseline that was measured otherwise is none here either.
            plots: plots(measurement, baseline.filter(|_| is_compared))
                .into_iter()
                .map(|plot| Shown { title: plot.title, words: plot.words, svg: plot.svg })
                .collect(),
            settings: words::settings(measurement),
            rows,
        }
    }
}

impl Row {
    fn of(analysis: &Analysis, metric: Metric, is_compared: bool) -> Self {
        let figure = analysis.figures.iter().find(|figure| figure.metric == metric);
        let summary = figure.and_then(|figure| figure.summary.as_ref());
        let change = |percentile| {
            let mut changes = analysis.comparison.changes().iter();
            let found = changes.find(|change| change.metric == metric && change.percentile == percentile);
            let kind = match found.map(|change| change.verdict) {
                Some(Verdict::Worse) => "worse",
                Some(Verdict::Better) => "better",
                Some(Verdict::NoDifference | Verdict::TooFewRuns) | None => "soft",
            };
            Changed { kind, words: found.map(words::change).unwrap_or_default() }
        };
        Self {
            title: metric.title(),
            cells: words::cells(metric, summary),
            changes: if is_compared { [50, 95].map(change).into() } else { Vec::new() },
        }
    }
}

/// What one looks for first.
fn headlines(analysis: &Analysis) -> Vec<(&'static str, String)> {
    let measurement = &analysis.measurement;
    let summary = |metric: Metric| {
        let figure = analysis.figures.iter().find(|figure| figure.metric == metric);
        figure.and_then(|figure| figure.summary)
    };
    let (good, all) = (measurement.good().count(), measurement.samples.len());
    let mut headlines = vec![("good runs", format!("{good} of {all}"))];
    if let Some(time) = summary(Metric::ExecutionTime) {
        let show = |value: f64| format!("{} ms", Metric::ExecutionTime.show(value));
        headlines.extend([("median time", show(time.p50)), ("95th percentile", show(time.p95))]);
    }
    headlines.push(("good runs a second", format!("{:.1}", measurement.runs_per_second())));
    if let Some(memory) = summary(Metric::Memory) {
        headlines.push(("most memory", format!("{} MiB", Metric::Memory.show(memory.max))));
    }
    if let Some(cost) = summary(Metric::Cost) {
        headlines.push(("a million runs cost", format!("${}", Metric::Cost.show(cost.mean))));
    }
    headlines
}

fn failures(measurement: &Measurement) -> Vec<Failure> {
    let failure = |group: crate::FailureGroup| Failure {
        runs: group.runs,
        status: group.http_status.map_or_else(|| "none".to_owned(), |status| status.to_string()),
        outcome: group.outcome.name(),
        problem: match group.detail {
            Some(detail) => format!("{}: {detail}", group.problem),
            None => group.problem,
        },
    };
    measurement.failures().into_iter().map(failure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Outcome, Sample,
        sampling::{analysis, bad_sample, measurement, typical},
    };

    fn rendered(measurement: Measurement, baseline: Option<Measurement>) -> String {
        let record = Record::new(vec![analysis(measurement, baseline.as_ref())]);
        page(&record, &[baseline])
    }

    /// What every address of the page leads to.
    fn addresses(page: &str) -> Vec<&str> {
        ["src=", "href=", "url(", "@import", "srcset=", "action="]
            .into_iter()
            .flat_map(|attribute| page.split(attribute).skip(1))
            .map(|rest| rest.split(['>', ' ']).next().unwrap_or_default())
            .collect()
    }

    #[test]
    fn the_page_needs_nothing_but_itself() {
        let record = Record::new(vec![analysis(typical(100, 1.0), None), analysis(typical(100, 1.0), None)]);
        let page = page(&record, &[None, None]);
        let addresses = addresses(&page);
        assert!(addresses.iter().all(|address| address.starts_with("\"#")), "{addresses:?}");
        assert!(!page.contains("<script") && !page.contains("<link") && !page.contains("<iframe"));
        assert!(!page.contains("http://") && !page.contains("https://"), "an address is in the page");
        assert!(page.contains("default-src 'none'"), "and the browser holds it to that");
    }

    #[test]
    fn every_metric_every_column_and_every_plot_is_on_the_page_and_a_plot_is_told_in_words() {
        let page = rendered(typical(100, 1.2), Some(typical(100, 1.0)));
        for metric in Metric::ALL {
            assert!(page.contains(&format!("<th scope=\"row\">{}</th>", metric.title())), "{metric:?}");
        }
        assert_eq!(page.matches("<svg").count(), 6);
        assert_eq!(page.matches("role=\"img\" aria-label=\"").count(), 6);
        assert!(page.contains("<td class=\"worse\">+20.0 % slower</td>"), "the slowdown is not marked");
        assert!(page.contains("that of the baseline is 25.0"), "the baseline is not in the plot");
        for colour in ["var(--ink)", "var(--now)", "var(--then)", "var(--mark)"] {
            assert!(page.contains(&format!("\"{colour}\"")), "{colour}");
        }
        assert!(!page.contains("#010101") && !page.contains("#030303"), "a stand-in for a colour is left");
    }

    #[test]
    fn what_came_from_outside_is_text_and_nothing_else() {
        let hostile = "</td><script>alert('x')</script><img src=x onerror=\"alert(1)\">{{ 7000 * 7 }}";
        let mut stranger = typical(30, 1.0);
        stranger
            .samples
            .push(Sample { detail: Some(hostile.to_owned()), ..bad_sample(30, Outcome::Failed, Some(500), hostile) });
        stranger.samples[0].unread = Some(hostile.to_owned());
        stranger.settings.input = hostile.to_owned();
        stranger.settings.target = hostile.to_owned();
        stranger.machine.processor = Some(hostile.to_owned());
        stranger.versions.source = Some(hostile.to_owned());
        let mut baseline = stranger.clone();
        baseline.settings.target = format!("{hostile}2");
        let page = rendered(stranger, Some(baseline));
        assert!(!page.contains("<script") && !page.contains("<img"), "markup came through");
        assert!(page.contains("&lt;script&gt;") && page.contains("{{ 7000 * 7 }}") && !page.contains("49000"));
    }

    #[test]
    fn what_no_run_tells_is_said_to_be_not_told_and_has_no_plot() {
        let mut silent = typical(30, 1.0);
        for sample in &mut silent.samples {
            sample.footprint = None;
        }
        let page = rendered(silent, None);
        assert_eq!(page.matches(words::NOT_TOLD).count(), 3, "working time, memory and store round trips");
        assert_eq!(page.matches("<svg").count(), 3);
    }

    #[test]
    fn a_measurement_without_a_good_run_is_a_page_too() {
        let failed = (0..5).map(|number| bad_sample(number, Outcome::Unanswered, None, "no connection")).collect();
        let page = rendered(measurement(failed), None);
        assert!(page.contains("0 of 5") && page.contains("no connection") && !page.contains("<svg"));
        assert!(rendered(typical(1, 1.0), None).contains("<svg"), "and one run is enough for plots");
    }
}
