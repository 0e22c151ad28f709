//! Charts: lying bars, side by side or end to end, and lines.

use bench_kit::figure::Unit;

use crate::svg::{Anchor, INK, PALE, Svg};

const COLORS: [&str; 4] = ["#0969da", "#bf8700", "#1a7f37", "#8250df"];
const MARK: &str = "#cf222e";
const WIDTH: f64 = 860.0;
/// Left of the bars, for their names.
const NAMES: f64 = 210.0;
/// Right of the bars, for the figure of the longest one.
const FIGURES: f64 = 90.0;
const HEAD: f64 = 56.0;
const BAR: f64 = 14.0;
const GAP: f64 = 10.0;
/// Of a chart of lines.
const LINES_HEIGHT: f64 = 340.0;
const TICKS: usize = 4;

/// Bars of several things in several respects.
#[derive(Debug)]
pub(crate) struct Bars {
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    /// Names of the respects.
    pub(crate) respects: Vec<&'static str>,
    pub(crate) groups: Vec<Group>,
    /// In what way bars of one thing lie.
    pub(crate) layout: Layout,
}

/// The bars of one thing.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
    pub(crate) mark: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    SideBySide,
    /// The same, on a logarithmic scale.
    Logarithmic,
    /// One behind the other: their sum counts.
    EndToEnd,
}

/// Several figures over one number.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) title: &'static str,
    /// What the number counts.
    pub(crate) over: &'static str,
    pub(crate) unit: Unit,
    pub(crate) numbers: Vec<f64>,
    pub(crate) lines: Vec<(&'static str, Vec<f64>)>,
}

impl Bars {
    /// Draws it.
    pub(crate) fn draw(&self) -> String {
        let rows = if self.layout == Layout::EndToEnd { 1 } else { self.respects.len() };
        let group_height = rows as f64 * BAR + GAP;
        let mut svg = Svg::new(WIDTH, HEAD + group_height * self.groups.len() as f64 + GAP);
        head(&mut svg, self.title, &self.respects);
        let scale = self.scale();
        for (index, group) in self.groups.iter().enumerate() {
            let top = HEAD + group_height * index as f64;
            let middle = top + rows as f64 * BAR / 2.0 + 4.0;
            svg.text((NAMES - 8.0, middle), Anchor::End, &group.name);
            let mut left = NAMES;
            for (respect, value) in group.values.iter().enumerate() {
                let width = scale(*value);
                if self.layout == Layout::EndToEnd {
                    svg.rectangle(left, top, width, BAR, COLORS[respect % COLORS.len()]);
                    left += width;
                } else {
                    let top = top + respect as f64 * BAR;
                    svg.rectangle(NAMES, top, width, BAR - 1.0, COLORS[respect % COLORS.len()]);
                    svg.text(
                        (NAMES + width + 6.0, top + BAR - 3.0),
                        Anchor::Start,
                        &self.unit.describe(*value),
                    );
                }
            }
            if self.layout == Layout::EndToEnd {
                let sum = self.unit.describe(group.values.iter().sum());
                svg.text((left + 6.0, top + BAR - 3.0), Anchor::Start, &sum);
            }
            if let Some(mark) = group.mark {
                let at = NAMES + scale(mark);
                svg.line((at, top - 3.0), (at, top + rows as f64 * BAR + 2.0), MARK, 2.0);
            }
        }
        svg.finish()
    }

    /// From a value to the length of its bar.
    fn scale(&self) -> impl Fn(f64) -> f64 {
        let longest = |group: &Group| match self.layout {
            Layout::EndToEnd => group.values.iter().sum(),
            _ => group.values.iter().copied().fold(group.mark.unwrap_or(0.0), f64::max),
        };
        let most = self.groups.iter().map(longest).fold(f64::MIN_POSITIVE, f64::max);
        let values = self.groups.iter().flat_map(|group| &group.values).copied();
        // The decade below the smallest one: no bar is gone, and lengths begin at a round number.
        let least = values.filter(|value| *value > 0.0).fold(most, f64::min);
        let least = 10_f64.powf(least.log10().floor()).min(most / 10.0);
        let is_logarithmic = self.layout == Layout::Logarithmic;
        move |value| {
            let share = if is_logarithmic {
                ((value.max(least) / least).ln() / (most / least).ln()).max(0.0)
            } else {
                value.max(0.0) / most
            };
            share * (WIDTH - NAMES - FIGURES)
        }
    }
}

impl Lines {
    /// Draws it; the scale begins at nothing.
    pub(crate) fn draw(&self) -> String {
        let mut svg = Svg::new(WIDTH, LINES_HEIGHT);
        head(&mut svg, self.title, &self.lines.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        let (left, right, top, bottom) = (90.0, WIDTH - 90.0, HEAD + 10.0, LINES_HEIGHT - 44.0);
        let most =
            self.lines.iter().flat_map(|(_, values)| values).copied().fold(f64::MIN_POSITIVE, f64::max);
        let last = self.numbers.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let x = |number: f64| left + number / last * (right - left);
        let y = |value: f64| bottom - value / most * (bottom - top);
        for tick in 0..=TICKS {
            let value = most * tick as f64 / TICKS as f64;
            svg.line((left, y(value)), (right, y(value)), if tick == 0 { INK } else { PALE }, 1.0);
            svg.text((left - 8.0, y(value) + 4.0), Anchor::End, &self.unit.describe(value));
        }
        for number in &self.numbers {
            svg.text((x(*number), bottom + 18.0), Anchor::Middle, &number.to_string());
        }
        svg.text((f64::midpoint(left, right), bottom + 36.0), Anchor::Middle, self.over);
        for (index, (_, values)) in self.lines.iter().enumerate() {
            let color = COLORS[index % COLORS.len()];
            let points: Vec<(f64, f64)> =
                self.numbers.iter().zip(values).map(|(number, value)| (x(*number), y(*value))).collect();
            points.windows(2).for_each(|pair| svg.line(pair[0], pair[1], color, 2.0));
            points.iter().for_each(|point| svg.dot(*point, color));
            if let (Some((x, y)), Some(value)) = (points.last(), values.last()) {
                svg.text((x + 8.0, y + 4.0), Anchor::Start, &self.unit.describe(*value));
            }
        }
        svg.finish()
    }
}

/// The title, and what the colours mean where there are several.
fn head(svg: &mut Svg, title: &str, respects: &[&str]) {
    svg.text((16.0, 22.0), Anchor::Start, title);
    if respects.len() < 2 {
        return;
    }
    for (index, respect) in respects.iter().enumerate() {
        let left = 16.0 + 215.0 * index as f64;
        svg.rectangle(left, 33.0, 10.0, 10.0, COLORS[index % COLORS.len()]);
        svg.text((left + 16.0, 42.0), Anchor::Start, respect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(layout: Layout) -> Bars {
        let group = |name: &str, values| Group { name: name.into(), values, mark: None };
        Bars {
            title: "a title",
            unit: Unit::Count,
            respects: vec!["this", "that"],
            groups: vec![group("small", vec![10.0, 20.0]), group("large", vec![100.0, 1_000.0])],
            layout,
        }
    }

    #[test]
    fn bars_are_as_long_as_their_values_are_large() {
        let longest = WIDTH - NAMES - FIGURES;
        let scale = bars(Layout::SideBySide);
        let scale = scale.scale();
        assert_eq!([scale(0.0), scale(500.0), scale(1_000.0)], [0.0, longest / 2.0, longest]);
        let scale = bars(Layout::Logarithmic);
        let scale = scale.scale();
        assert!((scale(100.0) - longest / 2.0).abs() < 1e-6, "{}", scale(100.0));
        let scale = bars(Layout::EndToEnd);
        assert_eq!(scale.scale()(1_100.0), longest);
    }

    #[test]
    fn every_value_has_a_bar_and_every_mark_a_line() {
        let mut bars = bars(Layout::SideBySide);
        bars.groups[0].mark = Some(15.0);
        let drawn = bars.draw();
        // The page, two colours that are explained, four bars.
        assert_eq!((drawn.matches("<rect").count(), drawn.matches("<line").count()), (7, 1));
    }

    #[test]
    fn every_number_has_a_dot_on_every_line() {
        let lines = Lines {
            title: "a title",
            over: "engines",
            unit: Unit::Microseconds,
            numbers: vec![1.0, 3.0, 10.0],
            lines: vec![("this", vec![1.0, 2.0, 3.0]), ("that", vec![3.0, 2.0, 1.0])],
        };
        assert_eq!(lines.draw().matches("<circle").count(), 6);
    }
}
