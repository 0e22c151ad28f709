//! A figure as it changes with a setting: what a sweep finds.

use bench_kit::text::significant;
use serde::{Serialize, Serializer};

/// What a sweep found.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// What was done, for people.
    pub(crate) title: String,
    pub(crate) points: Vec<Point>,
}

/// One setting and its figures.
#[derive(Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) label: String,
    #[serde(flatten)]
    figures: Named,
    /// Most that the first figure may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<f64>,
}

/// Figures in their order, by names with the unit in them.
#[derive(Debug)]
struct Named(Vec<(&'static str, f64)>);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

impl Point {
    pub(crate) fn new<const N: usize>(label: impl Into<String>, figures: [(&'static str, f64); N]) -> Self {
        Self { label: label.into(), figures: Named(figures.to_vec()), mark: None }
    }

    /// With a mark that the first figure must not exceed.
    pub(crate) fn with_mark(self, mark: f64) -> Self {
        Self { mark: Some(mark), ..self }
    }

    fn first(&self) -> f64 {
        self.figures.0.first().map_or(f64::NAN, |(_, figure)| *figure)
    }

    fn is_missed(&self) -> bool {
        self.mark.is_some_and(|mark| self.first() > mark)
    }
}

/// What stays flat may cost so much more at a later point than at the first one.
const FLAT: f64 = 1.25;

impl Series {
    /// With marks that say whether the first figure stays flat.
    pub(crate) fn flat(mut self) -> Self {
        let mark = self.points.first().map(|point| point.first() * FLAT);
        self.points.iter_mut().skip(1).for_each(|point| point.mark = mark);
        self
    }

    /// Points that miss their mark, as series and label.
    pub(crate) fn failed(&self) -> impl Iterator<Item = String> {
        self.points
            .iter()
            .filter(|point| point.is_missed())
            .map(|point| format!("{}/{}", self.name, point.label))
    }

    pub(crate) fn markdown(&self) -> String {
        let Some(first) = self.points.first() else { return String::new() };
        let has_marks = self.points.iter().any(|point| point.mark.is_some());
        let mut header: Vec<String> = vec![self.name.into()];
        header.extend(first.figures.0.iter().map(|(name, _)| name.replace('_', " ").replace(" us", " µs")));
        if has_marks {
            header.push("mark".into());
        }
        let rule = format!("|---|{}\n", "--:|".repeat(header.len() - 1));
        let mut text = format!("### {}\n\n{}{rule}", self.title, row(&header));
        for point in &self.points {
            let mut cells = vec![point.label.clone()];
            cells.extend(point.figures.0.iter().map(|(_, figure)| significant(*figure)));
            if has_marks {
                let verdict = if point.is_missed() { "**missed**" } else { "met" };
                cells.push(
                    point.mark.map_or_else(|| "–".into(), |mark| format!("{} {verdict}", significant(mark))),
                );
            }
            text.push_str(&row(&cells));
        }
        text + "\n"
    }
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_figure_is_the_one_with_the_mark() {
        let point = |figure| Point::new("a", [("ratio", figure), ("other", 9.0)]).with_mark(0.5);
        let series = Series { name: "s", title: "t".into(), points: vec![point(0.5), point(0.6)] };
        assert_eq!(series.failed().collect::<Vec<_>>(), ["s/a"]);
        assert!(series.markdown().contains("| a | 0.600 | 9.00 | 0.500 **missed** |"));
    }

    #[test]
    fn a_quarter_more_is_not_flat_any_more() {
        let points = [4.0, 5.0, 5.1].map(|figure| Point::new(figure.to_string(), [("cpu", figure)])).into();
        let series = Series { name: "s", title: "t".into(), points }.flat();
        assert_eq!(series.failed().collect::<Vec<_>>(), ["s/5.1"]);
    }
}
