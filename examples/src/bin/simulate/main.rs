//! A node or a fleet in virtual time: the pool that ships, on a model of EC2, under a load and with
//! failures of your choice. Several policies side by side; a table, CSV files and an HTML report.

#![forbid(unsafe_code)]

mod chart;
mod csv;
mod fault;
mod fleet;
mod load;
mod matrix;
mod node;
mod number;
mod options;
mod outcome;
mod policy;
mod report;
mod summary;
mod svg;
mod table;

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    time::Instant,
};

use anyhow::Context as _;
use clap::Parser as _;

use crate::{fleet::Fleet, options::Options, outcome::Outcome, summary::Summary};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    if options.list {
        return Ok(std::io::stdout().write_all(options::catalog().as_bytes())?);
    }
    let Some(runs) = options.each_workload() else {
        let summary = simulate(options)?;
        return tell(options, &summary);
    };
    let summaries = runs
        .iter()
        .map(|run| {
            if !options.quiet {
                eprintln!("workload {}", run.workload);
            }
            simulate(run)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    write(&options.out, "workloads.md", &matrix::markdown(&summaries))?;
    write(&options.out, "workloads.csv", &matrix::csv(&summaries))?;
    tell_all(options, &summaries)
}

/// Runs one workload under all policies, and writes its files.
fn simulate(options: &Options) -> anyhow::Result<Summary> {
    let fleet = Fleet::new(options)?;
    fs::create_dir_all(&options.out)
        .with_context(|| format!("make the directory {}", options.out.display()))?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (n, policy) in fleet.policies.iter().enumerate() {
        let progress = Progress::new(options.quiet, n + 1, fleet.policies.len(), policy.name());
        outcomes.push(fleet.run(policy, |done| progress.say(done, fleet.nodes))?);
        progress.end();
    }
    let summary = Summary::new(&fleet, &outcomes);
    let files = [
        ("summary.csv", csv::summary(&summary)),
        ("pool.csv", csv::pool(&fleet, &outcomes)),
        ("waits.csv", csv::waits(&fleet, &outcomes)),
        ("report.html", report::html(&fleet, &summary, &outcomes)),
    ];
    for (name, content) in files {
        write(&options.out, name, &content)?;
    }
    Ok(summary)
}

fn write(dir: &Path, name: &str, content: &str) -> anyhow::Result<()> {
    let path = dir.join(name);
    fs::write(&path, content).with_context(|| format!("write {}", path.display()))
}

fn tell_all(options: &Options, summaries: &[Summary]) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if options.json {
        let all = serde_json::json!({ "workloads": summaries });
        writeln!(out, "{all}")?;
    } else {
        out.write_all(matrix::render(summaries).as_bytes())?;
    }
    if !options.quiet {
        eprintln!("reports: {}", options.out.join("*").join("report.html").display());
    }
    Ok(())
}

/// To a person on standard output, or to a program with `--json`.
fn tell(options: &Options, summary: &Summary) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if options.json {
        writeln!(out, "{}", serde_json::to_string(summary)?)?;
    } else {
        out.write_all(table::render(summary).as_bytes())?;
    }
    if !options.quiet {
        eprintln!("report: {}", options.out.join("report.html").display());
    }
    Ok(())
}

/// How far one policy is, on standard error: results alone go to standard output.
struct Progress {
    quiet: bool,
    terminal: bool,
    title: String,
    since: Instant,
}

impl Progress {
    fn new(quiet: bool, number: usize, count: usize, policy: &str) -> Self {
        let title = format!("policy {number} of {count}, {policy}");
        Self { quiet, terminal: std::io::stderr().is_terminal(), title, since: Instant::now() }
    }

    fn say(&self, done: u32, nodes: u32) {
        if !self.quiet && self.terminal {
            eprint!("\r\x1b[K{}: {done} of {nodes} nodes", self.title);
        }
    }

    fn end(&self) {
        if !self.quiet {
            let line_start = if self.terminal { "\r\x1b[K" } else { "" };
            eprintln!("{line_start}{}: {:.1} s", self.title, self.since.elapsed().as_secs_f64());
        }
    }
}
