//! Plots, as SVG that stands in a page.
//!
//! Colours are names of the page's own, so that a plot is light or dark with it; each has a number here that stands for the
//! name until the SVG is written. No text in a plot comes from outside.

use std::ops::Range;

use plotters::{
    coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    Measurement, Metric,
    statistics::{Summary, carries, percentile},
};

/// A plot and what it shows in words.
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) words: String,
    pub(crate) svg: String,
}

// Small, so that on a phone its text is still large enough to be read.
const WIDTH: u32 = 480;
const HEIGHT: u32 = 300;
const FONT: u32 = 15;

const INK: RGBColor = RGBColor(1, 1, 1);
const FAINT: RGBColor = RGBColor(2, 2, 2);
const NOW: RGBColor = RGBColor(3, 3, 3);
const THEN: RGBColor = RGBColor(4, 4, 4);
const MARKS: RGBColor = RGBColor(5, 5, 5);

/// The name of each colour in the page's style.
const NAMES: [(RGBColor, &str); 5] =
    [(INK, "var(--ink)"), (FAINT, "var(--faint)"), (NOW, "var(--now)"), (THEN, "var(--then)"), (MARKS, "var(--mark)")];

/// Bars of a histogram.
const BARS: usize = 30;

/// As many of them would fill a plot at least.
const FEWEST_BARS: f64 = 8.0;

/// No course has more points: a larger measurement is thinned to so many.
const MOST_POINTS: usize = 2_000;

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// All plots of a measurement. What no run tells has none.
pub(crate) fn plots(measurement: &Measurement, baseline: Option<&Measurement>) -> Vec<Plot> {
    let times = measurement.values(Metric::ExecutionTime);
    let before = baseline.map(|baseline| baseline.values(Metric::ExecutionTime)).unwrap_or_default();
    [
        histogram(Metric::ExecutionTime, &times),
        curve(&times, &before),
        course(Metric::ExecutionTime, measurement),
        course(Metric::Memory, measurement),
        histogram(Metric::StoreCalls, &measurement.values(Metric::StoreCalls)),
        histogram(Metric::WorkingTime, &measurement.values(Metric::WorkingTime)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How often which values came, with the percentiles marked.
fn histogram(metric: Metric, values: &[f64]) -> Option<Plot> {
    let summary = Summary::of(values)?;
    let (first, width) = bins(metric, &summary);
    let bars = ((summary.max - first) / width) as usize + 1;
    let mut counts = vec![0_u32; bars];
    for value in values {
        counts[(((value - first) / width) as usize).min(bars - 1)] += 1;
    }
    let highest = counts.iter().max().copied().unwrap_or_default();
    let end = first + width * bars as f64;
    // Few bars do not fill the plot.
    let room = ((end - first) * 0.03).max((FEWEST_BARS * width - (end - first)) / 2.0);
    let marks: &[(f64, usize)] =
        if metric.is_time() { &[(summary.p99, 99), (summary.p95, 95), (summary.p50, 50)] } else { &[] };
    let svg = drawn(|area| {
        let top = f64::from(highest) * if marks.is_empty() { 1.08 } else { 1.4 };
        let mut chart = chart(area).build_cartesian_2d(Axis::new(first - room..end + room), Axis::new(0.0..top))?;
        axes(&mut chart, metric.title(), "runs")?;
        let bar = |(place, count): (usize, &u32)| {
            let left = first + width * place as f64;
            Rectangle::new([(left, 0.0), (left + width, f64::from(*count))], NOW.mix(0.75).filled())
        };
        chart.draw_series(counts.iter().enumerate().filter(|(_, count)| **count > 0).map(bar))?;
        for (level, (value, percent)) in marks.iter().enumerate() {
            // Each line ends at its label, and labels stand left of their lines where there is room, so that no line of a
            // lower percentile crosses the label of a higher one.
            let height = top * (0.99 - 0.08 * level as f64);
            chart.draw_series([PathElement::new([(*value, 0.0), (*value, height)], MARKS.stroke_width(2))])?;
            let (side, gap) =
                if *value > first + (end - first) * 0.25 { (HPos::Right, -1.0) } else { (HPos::Left, 1.0) };
            let style = text_style(MARKS).pos(Pos::new(side, VPos::Top));
            let mark = if carries(values.len(), *percent) { "" } else { "*" };
            let label = format!("p{percent}{mark} {}", metric.show(*value));
            let place = (*value + gap * (end - first + 2.0 * room) * 0.01, height);
            chart.draw_series([Text::new(label, place, style)])?;
        }
        Ok(())
    })?;
    let show = |value| metric.show(value);
    let (name, unit) = named(metric);
    let words = format!(
        "Histogram: the {name} of {} runs is from {} to {}{unit}. Half of them are at most {}, 95 percent at most {}, \
         99 percent at most {}.",
        values.len(),
        show(summary.min),
        show(summary.max),
        show(summary.p50),
        show(summary.p95),
        show(summary.p99),
    );
    Some(Plot { title: format!("How often: {}", metric.title()), words, svg })
}

/// Where the first bar begins, and how wide each is. Whole numbers stand in the middle of their bars.
fn bins(metric: Metric, summary: &Summary) -> (f64, f64) {
    let range = summary.max - summary.min;
    if metric.is_count() || metric == Metric::WorkingTime {
        return (summary.min - 0.5, ((range + 1.0) / BARS as f64).ceil().max(1.0));
    }
    (summary.min, (range / BARS as f64).max(summary.max * 1e-3).max(1e-3))
}

/// A metric's name, and its unit as it stands behind a number.
fn named(metric: Metric) -> (&'static str, String) {
    match metric.title().split_once(", ") {
        Some((name, unit)) => (name, format!(" {unit}")),
        None => (metric.title(), String::new()),
    }
}

/// A metric over the course of the measurement.
fn course(metric: Metric, measurement: &Measurement) -> Option<Plot> {
    let points: Vec<(f64, f64)> =
        measurement.good().filter_map(|sample| Some((sample.started_ms / 1000.0, metric.of(sample)?))).collect();
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let summary = Summary::of(&values)?;
    let last = points.last().map_or(1.0, |(at, _)| at.max(1e-3));
    let step = points.len().div_ceil(MOST_POINTS);
    let svg = drawn(|area| {
        // Memory begins where it is, since its growth is what one looks for; times begin at zero.
        let bottom = if metric.is_time() { 0.0 } else { (summary.min * 0.98).floor() };
        let top = (summary.max + (summary.max - bottom) * 0.08).max(bottom + 1e-3);
        let mut chart = chart(area).build_cartesian_2d(Axis::new(0.0..last * 1.02), Axis::new(bottom..top))?;
        axes(&mut chart, "seconds after the first run began", metric.title())?;
        let point = |place: &(f64, f64)| Circle::new(*place, 3, NOW.mix(0.6).filled());
        chart.draw_series(points.iter().step_by(step).map(point))?;
        Ok(())
    })?;
    let (name, unit) = named(metric);
    let half = values.len().div_ceil(2);
    let median = |values: &[f64]| metric.show(percentile(&mut values.to_vec(), 50));
    let words = format!(
        "The {name} of each run over the course of the measurement is from {} to {}{unit}; the median is {} in the first \
         half and {} in the second.",
        metric.show(summary.min),
        metric.show(summary.max),
        median(&values[..half]),
        median(if half < values.len() { &values[half..] } else { &values }),
    );
    Some(Plot { title: format!("Over the course: {}", metric.title()), words, svg })
}

/// Which time so many percent of the runs do not exceed, beside that of the baseline.
fn curve(now: &[f64], before: &[f64]) -> Option<Plot> {
    let top = Summary::of(now)?.max.max(Summary::of(before).map_or(0.0, |summary| summary.max)) * 1.05;
    let sorted = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    };
    let svg = drawn(|area| {
        let mut chart = chart(area).build_cartesian_2d(Axis::new(0.0..100.0), Axis::new(0.0..top))?;
        axes(&mut chart, "percent of the runs", Metric::ExecutionTime.title())?;
        for (values, colour, name) in [(before, THEN, "baseline"), (now, NOW, "now")] {
            let sorted = sorted(values);
            if sorted.is_empty() {
                continue;
            }
            let points = (1..=100).map(|percent| (f64::from(percent), percentile_of(&sorted, percent as usize)));
            let line = chart.draw_series(LineSeries::new(points, colour.stroke_width(3)))?;
            line.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(3)));
        }
        let labels =
            chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).label_font(text_style(INK)).draw();
        Ok(labels?)
    })?;
    let median = |values: &[f64]| Metric::ExecutionTime.show(percentile(&mut values.to_vec(), 50));
    let beside = if before.is_empty() {
        "there is no baseline beside it".to_owned()
    } else {
        format!("that of the baseline is {}", median(before))
    };
    let words = format!("Percentiles of the execution time in milliseconds: the median is {}; {beside}.", median(now));
    Some(Plot { title: "Percentiles: execution time, ms".to_owned(), words, svg })
}

fn percentile_of(sorted: &[f64], percent: usize) -> f64 {
    sorted[crate::statistics::rank(sorted.len(), percent) - 1]
}

/// A range of numbers whose labels have no more digits than it takes to tell them apart.
struct Axis {
    range: plotters::coord::types::RangedCoordf64,
    decimals: usize,
}

impl Axis {
    fn new(range: Range<f64>) -> Self {
        let span = range.end - range.start;
        let decimals = if span > 6.0 {
            0
        } else if span > 0.6 {
            1
        } else if span > 0.06 {
            2
        } else {
            4
        };
        Self { range: range.into(), decimals }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.range.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.range.key_points(hint)
    }

    fn range(&self) -> Range<f64> {
        self.range.range()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        format!("{value:.*}", self.decimals)
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

fn chart<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart.margin(8).margin_right(16).x_label_area_size(50).y_label_area_size(64);
    chart
}

fn axes(chart: &mut Chart<'_, '_>, x: &str, y: &str) -> Drawn {
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(6)
        .y_labels(6)
        .x_desc(x)
        .y_desc(y)
        .axis_style(INK.mix(0.5))
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .label_style(text_style(INK))
        .axis_desc_style(text_style(INK))
        .draw()?;
    Ok(())
}

fn text_style(colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", FONT).into_font().color(&colour)
}

/// The SVG of what is drawn, without what a page has already; nothing where it cannot be drawn.
fn drawn(draw: impl FnOnce(&Area<'_>) -> Drawn) -> Option<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        draw(&area).ok()?;
        area.present().ok()?;
    }
    for (colour, name) in NAMES {
        svg = svg.replace(&format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2), name);
    }
    // Its size is the page's to say, and it is known by the words beside it.
    let size = format!("width=\"{WIDTH}\" height=\"{HEIGHT}\" ");
    let svg = svg.replacen(&size, "aria-hidden=\"true\" ", 1).replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
    Some(svg)
}
