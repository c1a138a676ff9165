//! Whatever stands in a file, there is a world or a mistake with its place.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;
use vpc_ipam_core::time::Time;

use crate::emulator::{Faults, WorldFile};

const WORLD: &str = include_str!("../world_file/everything.toml");
const FAULTS: &str = "[[ec2]]\naction = [\"CreateTags\"]\nerror = \"X\"\ntimes = 3\nafter = \"5s\"\n\
                      [[imds]]\nomit_keys = [\"ipv6s\"]\neni = \"eni-1\"\nlasting = \"9s\"\n\
                      [delays]\npreset = \"usual\"\n[throttling]\nlimits = \"documented\"\n";

/// `text` with some of its lines exchanged for others of them, and one character for another.
fn shuffled(text: &'static str) -> impl Strategy<Value = String> {
    let lines: Vec<&str> = text.lines().collect();
    let count = lines.len();
    let moves = prop::collection::vec((0..count, 0..count), 0..4);
    (moves, 0..text.len(), any::<char>(), any::<bool>()).prop_map(move |(moves, at, c, replace)| {
        let mut lines = lines.clone();
        for (to, from) in moves {
            lines[to] = lines[from];
        }
        let mut text: Vec<char> = lines.join("\n").chars().collect();
        if replace && at < text.len() {
            text[at] = c;
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn worlds(text in shuffled(WORLD)) {
        if let Err(error) = WorldFile::parse("w.toml", &text).and_then(|f| f.build(Time::ZERO)) {
            prop_assert!(error.to_string().starts_with("w.toml:"), "{}", error);
            prop_assert!(error.line <= text.matches('\n').count() + 1);
        }
    }

    #[test]
    fn faults(text in shuffled(FAULTS)) {
        if let Err(error) = Faults::parse("f.toml", &text) {
            prop_assert!(error.to_string().starts_with("f.toml:"), "{}", error);
        }
    }

    #[test]
    fn noise(text in any::<String>()) {
        // Nothing at all is a list of faults without any.
        let _ = Faults::parse("f.toml", &text);
        prop_assert!(WorldFile::parse("w.toml", &text).is_err());
        let is_object = text.trim_start().starts_with('{');
        prop_assert!(is_object || Faults::parse_json("f.json", &text).is_err());
    }
}
