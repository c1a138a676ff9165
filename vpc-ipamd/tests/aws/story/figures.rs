//! The figures that were measured before, and the documentation that shows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
};

use super::{STORIES, Story};

pub(crate) const PHASES: [&str; 4] = ["start", "50 pods up", "50 pods down", "an hour idle"];

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/aws/story/figures.txt");
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ec2-calls.md");
/// Set to anything, figures and documentation are written instead of compared.
const REWRITE: &str = "VPC_CNI_WRITE_DOCS";
const COMMAND: &str = "VPC_CNI_WRITE_DOCS=1 cargo test --workspace --test aws story";
/// The generated part of the documentation.
const BEGIN: &str = "<!-- begin: measured figures -->\n";
const END: &str = "<!-- end: measured figures -->\n";

/// Calls by story and what was called, in each phase.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Figures(BTreeMap<(String, String), [u64; 4]>);

impl Figures {
    pub(crate) fn set(&mut self, story: &str, what: &str, phase: usize, calls: u64) {
        self.0.entry((story.to_owned(), what.to_owned())).or_default()[phase] = calls;
    }

    fn of(&self, story: &str, what: &str) -> [u64; 4] {
        self.0.get(&(story.to_owned(), what.to_owned())).copied().unwrap_or_default()
    }

    fn read() -> Self {
        let text = fs::read_to_string(FIGURES).unwrap_or_default();
        let line = |line: &str| {
            let parts: Vec<&str> = line.split(" | ").collect();
            let [story, what, calls @ ..] = &parts[..] else { panic!("{line}") };
            let calls: Vec<u64> = calls.iter().map(|n| n.parse().expect(line)).collect();
            (((*story).to_owned(), (*what).to_owned()), calls.try_into().expect(line))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).map(line).collect())
    }

    fn write(&self) {
        let mut text = format!("# Written by `{COMMAND}`.\n# story | call");
        for phase in PHASES {
            let _ = write!(text, " | {phase}");
        }
        text.push('\n');
        for ((story, what), [start, up, down, idle]) in &self.0 {
            let _ = writeln!(text, "{story} | {what} | {start} | {up} | {down} | {idle}");
        }
        fs::write(FIGURES, text).unwrap();
    }

    /// Fails where a figure is higher than the one that is kept, and says where it is lower.
    pub(crate) fn compare(&self) {
        if std::env::var_os(REWRITE).is_some() {
            self.write();
            let docs = fs::read_to_string(DOCS).unwrap();
            fs::write(DOCS, with_table(&docs, &self.table())).unwrap();
        }
        let kept = Self::read();
        let (mut rose, mut fell) = (String::new(), String::new());
        for (story, what) in self.0.keys().chain(kept.0.keys()).collect::<BTreeSet<_>>() {
            let (now, before) = (self.of(story, what), kept.of(story, what));
            for (phase, (now, before)) in now.iter().zip(before).enumerate() {
                let of = if *now > before { &mut rose } else { &mut fell };
                if *now != before {
                    let _ = writeln!(of, "{story}: {what}: {}: {before} -> {now}", PHASES[phase]);
                }
            }
        }
        if !fell.is_empty() {
            println!("calls are fewer now; keep that with `{COMMAND}`:\n{fell}");
        }
        assert!(rose.is_empty(), "calls are made more often than before:\n{rose}");
        let docs = fs::read_to_string(DOCS).unwrap();
        assert!(
            docs == with_table(&docs, &kept.table()),
            "docs/ec2-calls.md does not have the figures that are kept; `{COMMAND}`"
        );
    }

    fn table(&self) -> String {
        let mut text = String::new();
        for story in &STORIES {
            self.story(story, &mut text);
        }
        text
    }

    fn story(&self, story: &Story, text: &mut String) {
        let _ = writeln!(text, "\n### {}\n", story.name);
        let _ = writeln!(text, "| call | {} | all | reference |", PHASES.join(" | "));
        let _ = writeln!(text, "|---|---:|---:|---:|---:|---:|---:|");
        let reference: BTreeMap<String, u64> = story
            .reference
            .iter()
            .map(|(action, calls)| (format!("EC2 {action}"), calls.iter().sum()))
            .collect();
        let ours = self.0.keys().filter(|(of, _)| of == story.name).map(|(_, what)| what);
        let (mut sums, mut mutating) = ([[0; 4]; 2], [0; 4]);
        for what in ours.chain(reference.keys()).collect::<BTreeSet<_>>() {
            let calls = self.of(story.name, what);
            let ec2 = what.starts_with("EC2");
            let theirs = reference.get(what).copied().unwrap_or_default();
            let theirs = if ec2 { theirs.to_string() } else { String::new() };
            row(text, what.trim_start_matches("EC2 "), calls, &theirs);
            for (phase, n) in calls.into_iter().enumerate() {
                sums[usize::from(!ec2)][phase] += n;
                mutating[phase] += if changes(what) { n } else { 0 };
            }
        }
        let theirs = reference.iter().filter(|(what, _)| changes(what)).map(|(_, n)| n);
        row(text, "**EC2, mutating**", mutating, &theirs.sum::<u64>().to_string());
        row(text, "**EC2**", sums[0], &reference.values().sum::<u64>().to_string());
        row(text, "**IMDS**", sums[1], "");
    }
}

/// True for EC2 actions that do not only read.
fn changes(what: &str) -> bool {
    what.starts_with("EC2 ") && !what.starts_with("EC2 Describe")
}

fn row(text: &mut String, what: &str, calls: [u64; 4], reference: &str) {
    let [start, up, down, idle] = calls;
    let all: u64 = calls.iter().sum();
    let _ = writeln!(text, "| {what} | {start} | {up} | {down} | {idle} | {all} | {reference} |");
}

/// `docs` with this table in its generated part.
fn with_table(docs: &str, table: &str) -> String {
    let (before, rest) = docs.split_once(BEGIN).expect("the docs have no place for the figures");
    let (_, after) = rest.split_once(END).expect("the place for the figures does not end");
    format!("{before}{BEGIN}{table}\n{END}{after}")
}
