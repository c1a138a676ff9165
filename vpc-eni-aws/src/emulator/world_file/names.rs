//! Names by which the parts of a file refer to each other.

use std::{collections::BTreeMap, ops::Range};

use toml::Spanned;

use crate::emulator::file::{FileError, FileProblem, Source};

/// Things of one kind by their names and ids.
#[derive(Debug)]
pub(super) struct Names<T> {
    what: &'static str,
    by_name: BTreeMap<String, T>,
}

impl<T: Clone> Names<T> {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, by_name: BTreeMap::new() }
    }

    pub(super) fn insert(
        &mut self,
        key: &'static str,
        name: String,
        thing: T,
    ) -> Result<(), FileProblem> {
        if self.by_name.contains_key(&name) {
            return Err(FileProblem::NameTaken { key, name });
        }
        self.by_name.insert(name, thing);
        Ok(())
    }

    /// What `name` stands for.
    pub(super) fn find(
        &self,
        source: &Source,
        key: &'static str,
        name: &Spanned<String>,
    ) -> Result<T, FileError> {
        let at: Range<usize> = name.span();
        let name = name.get_ref();
        self.by_name.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
            let known = match known.as_slice() {
                [] => format!("the file has no {} with a name", self.what),
                known => format!("there are {}", known.join(", ")),
            };
            let what = self.what;
            source.error(&at, FileProblem::NoSuchName { key, what, name: name.clone(), known })
        })
    }
}
