//! SVG by hand: axes, lines, areas, dots and bars. Colours come from the page's style sheet.

use std::fmt::Write as _;

/// Ticks that an axis aims at.
const TICKS: f64 = 5.0;

/// How a value becomes a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    /// From zero to a little more than `high`.
    pub(crate) fn linear(high: f64) -> Self {
        Self { low: 0.0, high: if high > 0.0 { high } else { 1.0 }, log: false }
    }

    /// From `low` to `high`, both above zero, equal factors equally far apart.
    pub(crate) fn log(low: f64, high: f64) -> Self {
        Self { low, high: high.max(low * 10.0), log: true }
    }

    fn share(self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    fn ticks(self) -> Vec<f64> {
        if self.log {
            let first = self.low.log10().ceil() as i32;
            return (first..=self.high.log10().floor() as i32).map(|n| 10f64.powi(n)).collect();
        }
        let step = nice(self.high / TICKS);
        (0..).map(|n| f64::from(n) * step).take_while(|tick| *tick <= self.high * 1.0001).collect()
    }
}

/// The next 1, 2 or 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= step * 0.999).unwrap_or(10.0);
    factor * power
}

/// One plot under construction.
#[derive(Debug)]
pub(crate) struct Plot {
    body: String,
    width: f64,
    height: f64,
    x: Axis,
    y: Axis,
    /// Where there is text already: left, right, baseline.
    texts: Vec<(f64, f64, f64)>,
}

/// Width of a letter, and distance of two lines, in the font of the plots.
const LETTER: f64 = 7.4;
const LINE: f64 = 15.0;

const LEFT: f64 = 74.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;

impl Plot {
    pub(crate) fn new(width: f64, height: f64, x: Axis, y: Axis) -> Self {
        Self { body: String::new(), width, height, x, y, texts: Vec::new() }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (w, h) = (self.width - LEFT - RIGHT, self.height - TOP - BOTTOM);
        (LEFT + w * self.x.share(x), TOP + h * (1.0 - self.y.share(y)))
    }

    /// Grid, ticks and the names of the axes.
    pub(crate) fn axes(
        &mut self,
        (x_name, x_ticks): (&str, Option<Vec<f64>>),
        y_name: &str,
        x_label: impl Fn(f64) -> String,
        y_label: impl Fn(f64) -> String,
    ) {
        let (right, bottom) = (self.width - RIGHT, self.height - BOTTOM);
        for tick in self.y.ticks() {
            let (_, y) = self.at(0.0, tick);
            let _ = write!(
                self.body,
                r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 7.0,
                y + 4.0,
                escape(&y_label(tick))
            );
        }
        for tick in x_ticks.unwrap_or_else(|| self.x.ticks()) {
            let (x, _) = self.at(tick, 0.0);
            let _ = write!(
                self.body,
                r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 16.0,
                escape(&x_label(tick))
            );
        }
        let _ = write!(
            self.body,
            r#"<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/><text class="name" x="{right}" y="{:.1}" text-anchor="end">{}</text><text class="name" transform="translate(13 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            self.height - 6.0,
            escape(x_name),
            f64::midpoint(TOP, bottom),
            escape(y_name)
        );
    }

    pub(crate) fn line(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let path = self.path(points);
        let _ = write!(self.body, r#"<path class="line {class}" d="M{path}"/>"#);
    }

    /// Between two lines over the same `x`.
    pub(crate) fn band(&mut self, class: &str, points: &[(f64, f64, f64)]) {
        let upper = self.path(points.iter().map(|(x, _, high)| (*x, *high)));
        let lower = self.path(points.iter().rev().map(|(x, low, _)| (*x, *low)));
        let _ = write!(self.body, r#"<path class="band {class}" d="M{upper}L{lower}Z"/>"#);
    }

    fn path(&self, points: impl IntoIterator<Item = (f64, f64)>) -> String {
        let mut text = String::new();
        for (x, y) in points {
            let (x, y) = self.at(x, y);
            let _ = write!(text, "{}{x:.1} {y:.1}", if text.is_empty() { "" } else { "L" });
        }
        text
    }

    /// A vertical line from one value to another.
    pub(crate) fn span(&mut self, class: &str, x: f64, (low, high): (f64, f64)) {
        let ((x, low), (_, high)) = (self.at(x, low), self.at(x, high));
        let _ = write!(self.body, r#"<path class="line {class}" d="M{x:.1} {low:.1}V{high:.1}"/>"#);
    }

    /// A dot with its name near it, if there is room, and its figures when pointed at.
    pub(crate) fn dot(&mut self, class: &str, (x, y): (f64, f64), name: &str, title: &str) {
        let (x, y) = self.at(x, y);
        let _ = write!(
            self.body,
            r#"<circle class="dot {class}" cx="{x:.1}" cy="{y:.1}" r="7"><title>{}</title></circle>"#,
            escape(title),
        );
        if let Some((left, baseline)) = self.room((x, y), name.chars().count() as f64 * LETTER) {
            let _ = write!(
                self.body,
                r#"<text class="label" x="{left:.1}" y="{baseline:.1}">{}</text>"#,
                escape(name)
            );
        }
    }

    /// A place for a text of that width beside, above or below a dot; none where it would leave the
    /// plot or meet another text.
    fn room(&mut self, (x, y): (f64, f64), width: f64) -> Option<(f64, f64)> {
        let (right, left) = (x + 12.0, x - 12.0 - width);
        let places = [0.0, -1.0, 1.0, -2.0, 2.0].into_iter().flat_map(|lines| {
            let baseline = y + 4.5 + lines * LINE;
            [(right, baseline), (left, baseline)]
        });
        let free = |(left, baseline): &(f64, f64)| {
            let inside = *left > LEFT && left + width < self.width - RIGHT;
            let inside = inside && *baseline > TOP && *baseline < self.height - BOTTOM;
            inside
                && self.texts.iter().all(|(other, end, line)| {
                    (line - baseline).abs() >= LINE || left + width < *other || *end < *left
                })
        };
        let (left, baseline) = places.into_iter().find(free)?;
        self.texts.push((left, left + width, baseline));
        Some((left, baseline))
    }

    pub(crate) fn finish(self, about: &str) -> String {
        svg(self.width, self.height, about, &self.body)
    }
}

/// A part of a bar.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) colour: usize,
    pub(crate) value: f64,
    pub(crate) title: String,
}

/// Bars that lie on each other's ends, one row per name.
pub(crate) fn bars(width: f64, rows: &[(String, Vec<Piece>)], unit: &str) -> String {
    const ROW: f64 = 46.0;
    let longest = rows
        .iter()
        .map(|(_, parts)| parts.iter().map(|p| p.value).sum::<f64>())
        .fold(0.0, f64::max);
    let axis = Axis::linear(longest);
    // Beside the longest bar stands its sum.
    let room = width - 190.0;
    let mut body = String::new();
    let mut top = 0.0;
    for (name, parts) in rows {
        let mut x = 0.0;
        let total: f64 = parts.iter().map(|p| p.value).sum();
        let _ = write!(
            body,
            r#"<text class="label" x="0" y="{:.1}">{}</text>"#,
            top + 14.0,
            escape(name)
        );
        for Piece { colour, value, title } in parts {
            let w = room * axis.share(*value);
            let _ = write!(
                body,
                r#"<rect class="fill s{colour}" x="{x:.1}" y="{:.1}" width="{:.1}" height="18"><title>{}</title></rect>"#,
                top + 20.0,
                w.max(0.0),
                escape(title)
            );
            x += w;
        }
        let _ = write!(
            body,
            r#"<text class="tick" x="{:.1}" y="{:.1}">{} {}</text>"#,
            x + 8.0,
            top + 33.5,
            crate::number::rough(total),
            escape(unit)
        );
        top += ROW;
    }
    svg(width, top, &format!("bars, {unit}"), &body)
}

fn svg(width: f64, height: f64, about: &str, body: &str) -> String {
    format!(
        r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{}">{body}</svg>"#,
        escape(about)
    )
}

/// For text and attributes of HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        assert_eq!(Axis::linear(23.0).ticks(), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(Axis::log(0.001, 10.0).ticks().len(), 5);
        assert_eq!(Axis::linear(0.0).ticks().len(), 6);
    }

    #[test]
    fn values_outside_stay_on_the_edge() {
        let axis = Axis::log(1.0, 100.0);
        assert_eq!((axis.share(0.0), axis.share(10.0), axis.share(1e9)), (0.0, 0.5, 1.0));
    }

    #[test]
    fn names_of_dots_do_not_lie_on_each_other_nor_outside() {
        let mut plot = Plot::new(300.0, 200.0, Axis::linear(10.0), Axis::linear(10.0));
        for n in 0..14 {
            plot.dot("s0", (5.0, 5.0), "a-policy", &n.to_string());
        }
        plot.dot("s0", (5.0, 5.0), &"a-long-name".repeat(5), "");
        let texts = plot.texts.clone();
        assert!((3..=10).contains(&texts.len()), "{texts:?}");
        for (n, (left, right, line)) in texts.iter().enumerate() {
            assert!(*left > LEFT && *right < 300.0 - RIGHT, "{texts:?}");
            for (other, end, below) in &texts[n + 1..] {
                let apart = (line - below).abs() >= LINE || right < other || end < left;
                assert!(apart, "{texts:?}");
            }
        }
        assert_eq!(plot.finish("").matches("<circle").count(), 15);
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }
}
