use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use crate::{Analysis, Comparison, cost::LEFT_OUT, words};

/// What a workflow came to, for a terminal.
pub fn table(analysis: &Analysis) -> String {
    let measurement = &analysis.measurement;
    let mut text = format!("{}: {}\n", measurement.workflow, words::headline(measurement));
    let figures = figures(analysis).to_string();
    text += &format!("{figures}\n");
    if figures.contains(words::MARK) {
        text += &format!("{}\n", words::MARK_EXPLAINED);
    }
    for group in measurement.failures() {
        text += &format!("✗ {}\n", words::failure(&group));
    }
    text.extend(words::unread(measurement).map(|line| format!("{line}\n")));
    let (verdict, details) = words::verdict(&analysis.comparison);
    text += &format!("{verdict}\n");
    for detail in details {
        text += &format!("  - {detail}\n");
    }
    text + &format!("The cost is an estimate. {LEFT_OUT}\n")
}

fn figures(analysis: &Analysis) -> Table {
    let is_compared = matches!(analysis.comparison, Comparison::Compared { .. });
    let columns = words::COLUMNS.map(|(name, _)| name);
    let compared = if is_compared { &["change of p50", "change of p95"][..] } else { &[] };
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([""].iter().chain(&columns).chain(compared));
    for column in 1..=columns.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for figure in &analysis.figures {
        let mut row = vec![figure.metric.title().to_owned()];
        match words::cells(figure.metric, figure.summary.as_ref()) {
            Some(cells) => row.extend(cells),
            None => row.extend(columns.map(|name| if name == "mean" { words::NOT_TOLD } else { "" }.to_owned())),
        }
        if is_compared {
            let changes = analysis.comparison.changes();
            row.extend([50, 95].map(|percentile| {
                let mut of_row = changes.iter().filter(|change| change.metric == figure.metric);
                of_row.find(|change| change.percentile == percentile).map(words::change).unwrap_or_default()
            }));
        }
        table.add_row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Outcome,
        sampling::{analysis, bad_sample, measurement, typical},
    };

    #[test]
    fn a_table_has_every_metric_and_marks_what_so_few_runs_do_not_carry() {
        let shown = table(&analysis(typical(20, 1.0), None));
        for expected in
            ["execution time, ms", "working time, ms", "memory, MiB", "store round trips", "attempts", "p99"]
        {
            assert!(shown.contains(expected), "`{expected}` is not in\n{shown}");
        }
        assert!(shown.contains(words::MARK_EXPLAINED), "{shown}");
        assert!(shown.contains("20 of 20 runs succeeded in 2.0 s, 10.0 a second, 8 at a time"), "{shown}");
        assert!(!table(&analysis(typical(100, 1.0), None)).contains(words::MARK), "100 runs carry all of them");
    }

    #[test]
    fn failures_are_told_by_their_kind_and_their_times_do_not_mix_with_the_good_ones() {
        let mut mixed = typical(60, 1.0);
        for number in 0..3 {
            mixed.samples.push(bad_sample(60 + number, Outcome::Failed, Some(422), "validation in read_message"));
        }
        mixed.samples.push(bad_sample(63, Outcome::Refused, Some(429), "The caller has called too often"));
        let shown = table(&analysis(mixed, None));
        assert!(shown.contains("60 of 64 runs succeeded"), "{shown}");
        assert!(shown.contains("✗ 3 × failed, HTTP 422: validation in read_message"), "{shown}");
        assert!(shown.contains("✗ 1 × refused, HTTP 429: The caller has called too often"), "{shown}");
        assert!(!shown.contains("1,000,000"), "a failed run's time is among the figures:\n{shown}");
        assert!(table(&analysis(measurement(Vec::new()), None)).contains("not told"));
    }

    #[test]
    fn a_slowdown_is_told_in_words_and_another_measurement_is_not_compared() {
        let baseline = typical(100, 1.0);
        let shown = table(&analysis(typical(100, 1.2), Some(&baseline)));
        assert!(shown.contains("+20.0 % slower"), "{shown}");
        assert!(shown.contains("execution time, ms p50 is slower: 25.0 then, 30.0 now (+20.0 %)"), "{shown}");
        let mut other = typical(100, 1.2);
        other.settings.concurrency = 16;
        let shown = table(&analysis(other, Some(&baseline)));
        assert!(shown.contains("Not compared with the baseline"), "{shown}");
        assert!(shown.contains("- concurrency: 8 then, 16 now") && !shown.contains("slower"), "{shown}");
    }
}
