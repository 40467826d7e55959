//! The curve as SVG: text of our own, readable on light and dark grounds.

use std::fmt::Write as _;

/// What one load came to.
pub struct Point {
    /// Offered, as a part of what can be borne.
    pub load: f64,
    /// Answered, as a part of what can be borne.
    pub useful: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

const LEFT: f64 = 64.0;
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 170.0;
const UPPER: f64 = 40.0;
const LOWER: f64 = 290.0;
/// Colours in the middle: seen on white and on black.
const TEXT: &str = "#7d8590";
const BLUE: &str = "#3b82d6";
const ORANGE: &str = "#d0802a";

/// Loads from a quarter to ten times, each doubling as wide as the other.
fn x(load: f64) -> f64 {
    LEFT + WIDTH * (load / 0.25).log2() / (10.0_f64 / 0.25).log2()
}

fn y(top: f64, value: f64, max: f64) -> f64 {
    top + HEIGHT * (1.0 - value / max)
}

fn line(out: &mut String, points: &[(f64, f64)], colour: &str, label: &str) {
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(out, r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#, path.join(" "));
    for (x, y) in points {
        let _ = writeln!(out, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#);
    }
    if let Some((x, y)) = points.last() {
        let _ = writeln!(out, r#"<text x="{:.1}" y="{:.1}" fill="{colour}">{label}</text>"#, x + 8.0, y + 4.0);
    }
}

fn frame(out: &mut String, top: f64, title: &str, marks: &[(f64, String)], max: f64) {
    let _ = writeln!(out, r#"<text x="{LEFT}" y="{:.1}" fill="{TEXT}" font-weight="bold">{title}</text>"#, top - 14.0);
    for (value, label) in marks {
        let at = y(top, *value, max);
        let right = LEFT + WIDTH;
        let _ = writeln!(
            out,
            r#"<line x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}" stroke="{TEXT}" stroke-opacity="0.3"/>"#
        );
        let _ = writeln!(
            out,
            r#"<text x="{}" y="{:.1}" fill="{TEXT}" text-anchor="end">{label}</text>"#,
            LEFT - 8.0,
            at + 4.0
        );
    }
}

/// Two plots, one above the other: what is answered, and how long that takes.
pub fn svg(points: &[Point]) -> String {
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 510\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Overload: what is answered, and how long it takes, by the load that is offered</title>\n",
    );
    let percents: Vec<(f64, String)> =
        [0, 20, 40, 60, 80, 100].map(|p| (f64::from(p) / 100.0, format!("{p} %"))).into();
    frame(&mut out, UPPER, "Answered, of what can be answered at best", &percents, 1.1);
    line(&mut out, &points.iter().map(|p| (x(p.load), y(UPPER, p.useful, 1.1))).collect::<Vec<_>>(), BLUE, "answered");
    let highest = points.iter().map(|p| p.p99_ms).fold(100.0, f64::max);
    let max = (highest / 100.0).ceil() * 100.0;
    let step = (max / 4.0).ceil();
    let marks: Vec<(f64, String)> = (0..5).map(|n| f64::from(n) * step).map(|ms| (ms, format!("{ms:.0} ms"))).collect();
    frame(&mut out, LOWER, "How long an answer takes", &marks, max);
    line(&mut out, &points.iter().map(|p| (x(p.load), y(LOWER, p.p50_ms, max))).collect::<Vec<_>>(), BLUE, "p50");
    line(&mut out, &points.iter().map(|p| (x(p.load), y(LOWER, p.p99_ms, max))).collect::<Vec<_>>(), ORANGE, "p99");
    for (load, label) in [(0.25, "¼"), (0.5, "½"), (1.0, "1"), (2.0, "2"), (5.0, "5"), (10.0, "10")] {
        for top in [UPPER, LOWER] {
            let (x, y) = (x(load), top + HEIGHT + 18.0);
            let _ = writeln!(out, r#"<text x="{x:.1}" y="{y}" fill="{TEXT}" text-anchor="middle">{label}</text>"#);
        }
    }
    let (middle, bottom) = (LEFT + WIDTH / 2.0, LOWER + HEIGHT + 40.0);
    let _ = writeln!(
        out,
        r#"<text x="{middle}" y="{bottom}" fill="{TEXT}" text-anchor="middle">load that is offered, as times what can be answered</text>"#
    );
    out.push_str("</svg>\n");
    out
}
