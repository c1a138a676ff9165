//! Mistakes in a file, with the place where they are.

use std::ops::Range;

use thiserror::Error;
use vpc_ipam_core::testkit::ec2::WorldError;

/// A mistake in a world file or a fault file. `line` and `column` count from 1; 0 stands for the file as
/// a whole.
#[derive(Debug, Error)]
#[error("{file}:{line}:{column}: {problem}")]
#[non_exhaustive]
pub struct FileError {
    /// Name of the file, as it was given.
    pub file: String,
    /// Line of the mistake.
    pub line: usize,
    /// Column of the mistake, in characters.
    pub column: usize,
    /// What is wrong; the message has it.
    pub problem: FileProblem,
}

/// What is wrong in a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// No TOML or JSON, a key that does not exist, or a value of the wrong kind.
    #[error("{0}")]
    Malformed(String),
    /// A name that nothing in the file has.
    #[error("{key}: there is no {what} {name:?} here; {known}")]
    NoSuchName {
        /// The key whose value it is.
        key: &'static str,
        /// The kind of thing that was looked for.
        what: &'static str,
        /// The name.
        name: String,
        /// What there is, or what to do.
        known: String,
    },
    /// A name that two things have.
    #[error("{key}: the name {name:?} is given twice; names tell things apart, choose another")]
    NameTaken {
        /// The key whose value it is.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// A key that makes no sense where it stands.
    #[error("{key} {why}")]
    Misplaced {
        /// The key.
        key: &'static str,
        /// Why, and what to do.
        why: &'static str,
    },
    /// A value that EC2 would not accept.
    #[error("{key}: {refusal}")]
    World {
        /// The key whose value it is.
        key: &'static str,
        /// What EC2 would say.
        refusal: WorldError,
    },
}

/// A text that is read, for the places of mistakes.
#[derive(Clone, Debug)]
pub(in crate::emulator) struct Source {
    file: String,
    text: String,
}

impl Source {
    pub(in crate::emulator) fn new(file: &str, text: &str) -> Self {
        Self { file: file.to_owned(), text: text.to_owned() }
    }

    /// Parses TOML.
    pub(in crate::emulator) fn toml<T: serde::de::DeserializeOwned>(&self) -> Result<T, FileError> {
        toml::from_str(&self.text).map_err(|error| {
            // The library's own text repeats the line; the message alone is what is needed.
            let problem = FileProblem::Malformed(error.message().replace('\n', ", "));
            match error.span() {
                Some(span) => self.error(&span, problem),
                None => self.whole(problem),
            }
        })
    }

    /// Parses JSON.
    pub(in crate::emulator) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, FileError> {
        serde_json::from_str(&self.text).map_err(|error| {
            let text = error.to_string();
            // The place is told in front.
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
            FileError {
                file: self.file.clone(),
                line: error.line(),
                column: error.column(),
                problem: FileProblem::Malformed(text.to_owned()),
            }
        })
    }

    /// A mistake at that place.
    pub(in crate::emulator) fn error(&self, at: &Range<usize>, problem: FileProblem) -> FileError {
        let before = self.text.get(..at.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        FileError {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            problem,
        }
    }

    fn whole(&self, problem: FileProblem) -> FileError {
        FileError { file: self.file.clone(), line: 0, column: 0, problem }
    }
}

/// Lower-case letters, digits and hyphens: regions and zones.
pub(in crate::emulator) fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
