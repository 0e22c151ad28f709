//! The few shapes of SVG that a plot is drawn with.

use std::fmt::Write as _;

const FONT: &str = "font-family=\"system-ui, sans-serif\" font-size=\"12\"";
pub(crate) const INK: &str = "#24292f";
pub(crate) const PALE: &str = "#d0d7de";

/// A drawing that grows.
#[derive(Debug)]
pub(crate) struct Svg {
    width: f64,
    height: f64,
    shapes: String,
}

/// Which end of a text is at its place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// On white, so that it can be read on a dark page too.
    pub(crate) fn new(width: f64, height: f64) -> Self {
        let mut svg = Self { width, height, shapes: String::new() };
        svg.rectangle(0.0, 0.0, width, height, "#ffffff");
        svg
    }

    pub(crate) fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, fill: &str) {
        let _ = writeln!(
            self.shapes,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
        );
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, width: f64) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.shapes,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{stroke}\" \
             stroke-width=\"{width}\"/>"
        );
    }

    pub(crate) fn dot(&mut self, (x, y): (f64, f64), fill: &str) {
        let _ = writeln!(self.shapes, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{fill}\"/>");
    }

    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(
            self.shapes,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {FONT} fill=\"{INK}\">{text}</text>"
        );
    }

    /// The whole document.
    pub(crate) fn finish(self) -> String {
        let Self { width, height, shapes } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\">\n{shapes}</svg>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_the_document() {
        let mut svg = Svg::new(10.0, 20.0);
        svg.text((1.0, 2.0), Anchor::Start, "a < b & c > d");
        let text = svg.finish();
        assert!(text.contains(">a &lt; b &amp; c &gt; d</text>"), "{text}");
        assert!(
            text.starts_with("<svg ") && text.contains("viewBox=\"0 0 10 20\"") && text.ends_with("</svg>\n")
        );
    }
}
