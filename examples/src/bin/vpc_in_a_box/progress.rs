//! What is going on, while it goes on: a table that updates in place on a terminal, plain lines
//! elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::render::Paint;

/// More often than this nobody can read it.
const REDRAW_EVERY: Duration = Duration::from_millis(80);
/// Cells of a node's bar.
const BAR_CELLS: u32 = 24;
/// A table of more nodes than this would scroll, and the cursor cannot move above the screen.
const ROWS_MAX: usize = 16;

/// One row of the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeRow {
    pub(crate) name: String,
    pub(crate) enis: u64,
    pub(crate) prefixes: u64,
    pub(crate) addresses: u64,
    pub(crate) pods: u32,
    pub(crate) wanted: u32,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Style {
    Lines,
    Quiet,
    Table,
}

#[derive(Debug)]
struct State {
    stage: String,
    rows: Vec<NodeRow>,
    /// The rows when everything was up.
    peak: Vec<NodeRow>,
    /// Lines on the screen that the next drawing replaces.
    drawn: usize,
    drawn_at: Option<Instant>,
}

/// Shows progress. Shared by all workers.
#[derive(Debug)]
pub(crate) struct Progress {
    style: Style,
    paint: Paint,
    to_stderr: bool,
    started: Instant,
    state: Mutex<State>,
}

impl Progress {
    pub(crate) fn new(quiet: bool, to_stderr: bool) -> Self {
        let terminal =
            if to_stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        let style = match (quiet, terminal && !dumb) {
            (true, _) => Style::Quiet,
            (false, true) => Style::Table,
            (false, false) => Style::Lines,
        };
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            style,
            paint: Paint::new(terminal && !dumb && !no_color),
            to_stderr,
            started: Instant::now(),
            state: Mutex::new(State {
                stage: String::new(),
                rows: Vec::new(),
                peak: Vec::new(),
                drawn: 0,
                drawn_at: None,
            }),
        }
    }

    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A new stage begins.
    pub(crate) fn stage(&self, stage: impl Into<String>) {
        let mut state = self.lock();
        state.stage = stage.into();
        match self.style {
            Style::Quiet => {}
            Style::Lines => {
                let line = format!("{:>6.1}s  {}\n", self.elapsed().as_secs_f64(), state.stage);
                self.write(&line);
            }
            Style::Table => self.draw(&mut state),
        }
    }

    /// Something changed in the table.
    pub(crate) fn update(&self, rows: impl FnOnce(&mut Vec<NodeRow>)) {
        let mut state = self.lock();
        rows(&mut state.rows);
        let due = state.drawn_at.is_none_or(|at| at.elapsed() >= REDRAW_EVERY);
        if self.style == Style::Table && due {
            self.draw(&mut state);
        }
    }

    /// A sentence that stays, whatever the style: something the user must know.
    pub(crate) fn say(&self, text: &str) {
        let mut state = self.lock();
        self.erase(&mut state);
        self.write(&format!("{text}\n"));
        if self.style == Style::Table {
            self.draw(&mut state);
        }
    }

    /// Everything is up: what the table shows now is what it will show in the end.
    pub(crate) fn mark_peak(&self) {
        let mut state = self.lock();
        state.peak = state.rows.clone();
    }

    /// Leaves the table as it was when everything was up; without a terminal prints it once.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.stage.clear();
        state.rows = std::mem::take(&mut state.peak);
        if self.style != Style::Quiet {
            self.draw(&mut state);
            self.write("\n");
        }
        state.rows.clear();
        state.drawn = 0;
    }

    fn draw(&self, state: &mut State) {
        self.erase(state);
        let lines = table(state, self.elapsed(), self.paint);
        state.drawn = lines.len();
        state.drawn_at = Some(Instant::now());
        self.write(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    }

    fn erase(&self, state: &mut State) {
        if self.style == Style::Table && state.drawn > 0 {
            self.write(&format!("\x1b[{}A\x1b[J", state.drawn));
            state.drawn = 0;
        }
    }

    /// A reader that has gone away must not end the run before it has cleaned up.
    fn write(&self, text: &str) {
        let _ = if self.to_stderr {
            io::stderr().write_all(text.as_bytes())
        } else {
            let mut out = io::stdout();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn table(state: &State, elapsed: Duration, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    if !state.rows.is_empty() {
        let head =
            format!("  {:10}{:>6}{:>10}{:>11}   pods", "node", "ENIs", "prefixes", "addresses");
        lines.push(paint.faint(&head));
    }
    for row in state.rows.iter().take(ROWS_MAX) {
        lines.push(format!(
            "  {:10}{:>6}{:>10}{:>11}   {} {}/{}",
            row.name,
            row.enis,
            row.prefixes,
            row.addresses,
            bar(row.pods, row.wanted, paint),
            row.pods,
            row.wanted
        ));
    }
    if let Some(more) = state.rows.len().checked_sub(ROWS_MAX).filter(|&more| more > 0) {
        lines.push(format!("  and {more} more nodes"));
    }
    if !state.stage.is_empty() {
        lines.push(format!("  {:.1}s  {}", elapsed.as_secs_f64(), state.stage));
    }
    lines
}

fn bar(pods: u32, wanted: u32, paint: Paint) -> String {
    let full = (pods.min(wanted) * BAR_CELLS).checked_div(wanted).unwrap_or(0);
    let (full, rest) = (full as usize, BAR_CELLS.saturating_sub(full) as usize);
    format!("{}{}", paint.good(&"█".repeat(full)), paint.faint(&"·".repeat(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(nodes: usize) -> State {
        let row = |n| NodeRow {
            name: format!("node-{n}"),
            enis: 3,
            prefixes: 0,
            addresses: 27,
            pods: 10,
            wanted: 20,
        };
        State {
            stage: "scaling up".into(),
            rows: (1..=nodes).map(row).collect(),
            peak: Vec::new(),
            drawn: 0,
            drawn_at: None,
        }
    }

    #[test]
    fn the_table_fits_a_terminal() {
        let lines = table(&state(2), Duration::from_millis(1_500), Paint::new(false));
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|l| l.chars().count() <= 80), "{lines:?}");
        assert!(lines.iter().any(|l| l.contains("10/20")), "{lines:?}");
        assert!(lines.iter().any(|l| l == "  1.5s  scaling up"), "{lines:?}");
    }

    #[test]
    fn many_nodes_do_not_scroll() {
        let lines = table(&state(30), Duration::ZERO, Paint::new(false));
        assert!(lines.len() <= ROWS_MAX + 3);
        assert!(lines.iter().any(|l| l.contains("14 more nodes")), "{lines:?}");
    }

    #[test]
    fn a_bar_is_full_when_all_pods_are_up_and_survives_none_wanted() {
        let none = Paint::new(false);
        assert_eq!(bar(20, 20, none), "█".repeat(24));
        assert_eq!(bar(0, 0, none), "·".repeat(24));
        assert_eq!(bar(99, 20, none), "█".repeat(24));
    }
}
