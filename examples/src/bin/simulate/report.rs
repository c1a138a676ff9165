//! One HTML page that needs nothing else: style and plots are in it.

use crate::{
    chart,
    fleet::Fleet,
    outcome::Outcome,
    summary::{PolicySummary, Summary},
    svg::escape,
    table::{self, HEADINGS},
};

const STYLE: &str = include_str!("report.css");

/// The page.
pub(crate) fn html(fleet: &Fleet, summary: &Summary, outcomes: &[Outcome]) -> String {
    let (bars, bars_key) = chart::calls(summary);
    let policies = chart::key(summary.policies.iter().map(|p| p.policy.as_str()));
    let title = escape(&table::title(summary));
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>VPC CNI simulation</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
<h1>What each policy holds, and what pods get for it</h1>
<p>{title}</p>
<div class="table">{table}</div>
<p class="note">Means over time and nodes. Green: the best of its column. A pod waits from its scheduling to its address.</p>
<h2>Cost and service</h2>
<p>Left: nearer to the lower left corner is better; the dot is the p99, the line ends at the p99.9. Right: how many pods
waited longer than the time on the axis; a line further left is better.</p>
<div class="cards">
<figure><figcaption>Waste against wait</figcaption>{trade}{policies}</figure>
<figure><figcaption>Waits of pods for their address</figcaption>{waits}{policies}</figure>
</div>
<h2>The pool over time</h2>
<p>All nodes together, on one scale. What lies between the lines is held and idle.</p>
<ul class="key"><li><i class="used"></i>used by pods</li><li><i class="idle"></i>held, idle</li></ul>
<div class="cards small">{pools}</div>
<h2>What EC2 is asked</h2>
<p>Point at a piece for its action and number.</p>
<figure>{bars}{bars_key}</figure>
</main>
</body>
</html>
"#,
        table = comparison(summary),
        trade = chart::trade(summary),
        waits = chart::waits(outcomes),
        pools = chart::pools(fleet, outcomes),
    )
}

/// The comparison, with the best of each column marked where smaller is better.
fn comparison(summary: &Summary) -> String {
    let head: String = HEADINGS.iter().map(|h| format!("<th>{}</th>", escape(h))).collect();
    let best: Vec<Option<f64>> = (0..HEADINGS.len()).map(|n| best(summary, n)).collect();
    let rows: String = summary.policies.iter().map(|policy| line(policy, &best)).collect();
    format!("<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
}

fn line(policy: &PolicySummary, best: &[Option<f64>]) -> String {
    let cells: String = table::row(policy)
        .iter()
        .enumerate()
        .map(|(n, cell)| {
            let mine = value(policy, n);
            let wins = mine.is_some() && best.get(n).copied().flatten() == mine;
            let class = if wins { r#" class="best""# } else { "" };
            // Settings are long words; between them is the place to break.
            format!("<td{class}>{}</td>", escape(cell).replace(',', ",<wbr>"))
        })
        .collect();
    format!("<tr>{cells}</tr>")
}

/// The smallest value of a column, unless all are the same.
fn best(summary: &Summary, column: usize) -> Option<f64> {
    let values: Vec<f64> = summary.policies.iter().filter_map(|p| value(p, column)).collect();
    let low = values.iter().copied().reduce(f64::min)?;
    values.iter().any(|v| *v > low).then_some(low)
}

fn value(p: &PolicySummary, column: usize) -> Option<f64> {
    Some(match column {
        1 => p.held_per_node,
        2 => p.idle_per_node,
        3 => p.idle_percent,
        4 => p.pod_wait.p50_ms as f64,
        5 => p.pod_wait.p99_ms as f64,
        6 => p.pod_wait.p999_ms as f64,
        7 => p.pod_wait.max_ms as f64,
        8 => p.failed_adds as f64,
        9 => p.ec2_calls_per_node_hour,
        10 => p.throttled_calls as f64,
        11 => p.subnet_addresses_peak as f64,
        _ => return None,
    })
}
