//! Which plots are drawn of a report: those whose rows are in it.

use bench_kit::{
    figure::{Figure, Mark, Unit},
    report::{Measured, Report},
};

use crate::{
    chart::{Bars, Group, Layout, Lines},
    end_to_end::{ENGINE, GATEWAY, GENERATOR, P50, P99, P99_9, REDIS, TRACES},
    engines::{COMMANDS, CPU, ENGINES, REQUESTS, told},
    forwarders::SUBJECTS,
    replaced::{GRPC, JSON, RATE, SETUPS, STAND_IN, TABLE},
};

/// A plot as it is kept.
#[derive(Debug)]
pub(crate) struct Plot {
    /// Name of its file.
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) svg: String,
}

/// All plots for which there are figures.
pub(crate) fn of(report: &Report) -> Vec<Plot> {
    type Draw = fn(&Report, &'static str) -> Option<String>;
    let plots: [(&str, &str, Draw); 7] = [
        ("rates.svg", "Traces per second without refusals (red: the mark)", rates),
        ("cpu.svg", "CPU per span, of all processes", cpu),
        (
            "latency.svg",
            "Time to the acknowledgement at half of the maximum (logarithmic; red: the mark)",
            latency,
        ),
        ("engines.svg", "Costs of a span with more engines, of those with one", engines),
        ("distance.svg", "Requests of one trace per second with Redis 2 ms away", distance),
        ("forwarders.svg", "CPU per span, Redis included", forwarders),
        ("replaced.svg", "Requests of one trace per second (logarithmic)", replaced),
    ];
    let drawn = |(file, title, draw): (_, _, Draw)| Some(Plot { file, title, svg: draw(report, title)? });
    plots.into_iter().filter_map(drawn).collect()
}

fn rates(report: &Report, title: &'static str) -> Option<String> {
    let groups = end_to_end(report, &[TRACES]);
    bars(Bars { title, unit: Unit::PerSecond, respects: vec![TRACES], groups, layout: Layout::SideBySide })
}

fn cpu(report: &Report, title: &'static str) -> Option<String> {
    let groups = end_to_end(report, &[ENGINE, GATEWAY, REDIS, GENERATOR]);
    let respects = vec!["engine", "gateway", "Redis", "generator"];
    bars(Bars { title, unit: Unit::Microseconds, respects, groups, layout: Layout::EndToEnd })
}

fn latency(report: &Report, title: &'static str) -> Option<String> {
    let groups = end_to_end(report, &[P50, P99, P99_9]);
    let respects = vec!["p50", "p99", "p99.9"];
    bars(Bars { title, unit: Unit::Microseconds, respects, groups, layout: Layout::Logarithmic })
}

fn engines(report: &Report, title: &'static str) -> Option<String> {
    let row = row(report, "engines")?;
    let relative = |figure: &str| {
        let values = over_engines(row, figure)?;
        Some(values.iter().map(|value| value / values[0]).collect())
    };
    let lines = vec![("CPU per span", relative(CPU)?), ("commands in Redis per span", relative(COMMANDS)?)];
    Some(Lines { title, over: "engines", unit: Unit::Share, numbers: numbers(), lines }.draw())
}

fn distance(report: &Report, title: &'static str) -> Option<String> {
    let lines = vec![(REQUESTS, over_engines(row(report, "distance")?, REQUESTS)?)];
    Some(Lines { title, over: "engines", unit: Unit::PerSecond, numbers: numbers(), lines }.draw())
}

fn forwarders(report: &Report, title: &'static str) -> Option<String> {
    let row = row(report, "forwarders")?;
    let group = |subject: &&str| {
        let values = vec![value(row, &format!("{subject}: CPU per span"))?];
        Some(Group { name: (*subject).to_owned(), values, mark: None })
    };
    let groups = SUBJECTS.iter().map(group).collect::<Option<_>>()?;
    let respects = vec!["CPU per span"];
    bars(Bars { title, unit: Unit::Microseconds, respects, groups, layout: Layout::SideBySide })
}

fn replaced(report: &Report, title: &'static str) -> Option<String> {
    let row = row(report, "replaced")?;
    let respects = vec![TABLE, STAND_IN, JSON, GRPC];
    let group = |setup: &&str| {
        let values = respects.iter().map(|who| value(row, &format!("{setup}, {who}: {RATE}")));
        Some(Group { name: (*setup).to_owned(), values: values.collect::<Option<_>>()?, mark: None })
    };
    let groups = SETUPS.iter().map(group).collect::<Option<_>>()?;
    bars(Bars { title, unit: Unit::PerSecond, respects, groups, layout: Layout::Logarithmic })
}

/// A group for each row that has the last of these figures; others are nothing where they are missing.
fn end_to_end(report: &Report, figures: &[&str]) -> Vec<Group> {
    let rows =
        report.rows.iter().filter(|row| figures.last().is_some_and(|name| figure(row, name).is_some()));
    let group = |row: &Measured| {
        let found: Vec<Option<&Figure>> = figures.iter().map(|name| figure(row, name)).collect();
        let mark = found.iter().flatten().find_map(|figure| match figure.mark? {
            Mark::AtMost(mark) | Mark::AtLeast(mark) => Some(mark),
        });
        let values = found.iter().map(|figure| figure.map_or(0.0, |figure| figure.value)).collect();
        Group { name: row.row.clone(), values, mark }
    };
    rows.map(group).collect()
}

fn bars(bars: Bars) -> Option<String> {
    (!bars.groups.is_empty()).then(|| bars.draw())
}

fn numbers() -> Vec<f64> {
    ENGINES.iter().map(|engines| *engines as f64).collect()
}

fn over_engines(row: &Measured, figure: &str) -> Option<Vec<f64>> {
    ENGINES.iter().map(|engines| value(row, &told(*engines, figure))).collect()
}

fn row<'a>(report: &'a Report, name: &str) -> Option<&'a Measured> {
    report.rows.iter().find(|row| row.row == name)
}

fn figure<'a>(row: &'a Measured, name: &str) -> Option<&'a Figure> {
    row.figures.iter().find(|figure| figure.name == name)
}

fn value(row: &Measured, name: &str) -> Option<f64> {
    figure(row, name).map(|figure| figure.value)
}

#[cfg(test)]
mod tests {
    use bench_kit::machine::Machine;

    use super::*;

    #[test]
    fn only_what_was_measured_is_drawn() {
        let end_to_end = vec![
            Figure::new(TRACES, Unit::PerSecond, 2.0).with_mark(Mark::AtLeast(1.0)),
            Figure::new(GENERATOR, Unit::Microseconds, 1.0),
        ];
        let engines = ENGINES.iter().flat_map(|engines| {
            [CPU, COMMANDS].map(|figure| Figure::new(told(*engines, figure), Unit::Count, 4.0))
        });
        let rows = vec![
            Measured::new("memory-1000", "", end_to_end),
            Measured::new("engines", "", engines.collect()),
        ];
        let report = Report::new(Machine::ask(), false, rows, Vec::new());
        let names: Vec<&str> = of(&report).iter().map(|plot| plot.file).collect();
        assert_eq!(names, ["rates.svg", "cpu.svg", "engines.svg"]);
    }
}
