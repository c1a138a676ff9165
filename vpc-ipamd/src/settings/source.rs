//! Where settings come from, and the rules by which their texts are read.

use std::{collections::BTreeMap, fmt::Display};

use super::{
    SettingsError, Warning,
    table::{Invalid, Variable},
};

/// A set of named texts: the process environment, or a map in tests and embedders.
pub trait Strings {
    /// The text called `name`. Set but empty is `Some("")`.
    fn string(&self, name: &str) -> Option<String>;
}

/// The environment of this process. A value that is not UTF-8 reads with replacement characters, so
/// that it is refused by whoever parses it instead of counting as unset.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnv;

impl Strings for ProcessEnv {
    fn string(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|v| v.to_string_lossy().into_owned())
    }
}

impl Strings for BTreeMap<String, String> {
    fn string(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

impl Strings for BTreeMap<&str, &str> {
    fn string(&self, name: &str) -> Option<String> {
        self.get(name).map(|v| (*v).to_owned())
    }
}

/// Characters of an offending value that a message repeats.
const SHOWN_MAX: usize = 64;

/// Reads variables of the table and treats what does not parse as the table says.
pub(super) struct Reader<'a> {
    source: &'a dyn Strings,
    warnings: Vec<Warning>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a dyn Strings) -> Self {
        Self { source, warnings: Vec::new() }
    }

    pub(super) fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }

    pub(super) fn warn(&mut self, name: &'static str, message: impl Into<String>) {
        self.warnings.push(Warning { name, message: message.into() });
    }

    pub(super) fn text(&self, var: &Variable) -> Option<String> {
        self.source.string(var.name)
    }

    pub(super) fn raw(&self, name: &str) -> Option<String> {
        self.source.string(name)
    }

    /// The variable through `parse`, which says in words what is wrong.
    pub(super) fn parsed<T: Display>(
        &mut self,
        var: &Variable,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        let shown = default.to_string();
        self.optional(var, parse, &shown).map(|value| value.unwrap_or(default))
    }

    /// Like [`parsed`](Self::parsed) for a variable whose default is to be absent.
    pub(super) fn optional<T>(
        &mut self,
        var: &Variable,
        parse: impl FnOnce(&str) -> Result<T, String>,
        instead: &str,
    ) -> Result<Option<T>, SettingsError> {
        let Some(text) = self.text(var) else { return Ok(None) };
        match parse(&text) {
            Ok(value) => Ok(Some(value)),
            Err(why) if var.invalid == Invalid::Fatal => Err(SettingsError::Invalid {
                name: var.name,
                value: shorten(&text),
                why,
                expected: var.values,
            }),
            Err(why) => {
                self.warn(
                    var.name,
                    format!("{:?} is not valid ({why}); using {instead}", shorten(&text)),
                );
                Ok(None)
            }
        }
    }

    pub(super) fn bool(&mut self, var: &Variable, default: bool) -> Result<bool, SettingsError> {
        self.parsed(var, default, parse_bool)
    }
}

/// The spellings of Go's `strconv.ParseBool`, which is what manifests are written for.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("not a boolean".to_owned()),
    }
}

/// A decimal integer between `min` and `max`.
pub(super) fn parse_u32(text: &str, min: u32, max: u32) -> Result<u32, String> {
    let value: i64 = text.parse().map_err(|_| "not an integer".to_owned())?;
    u32::try_from(value)
        .ok()
        .filter(|v| (min..=max).contains(v))
        .ok_or_else(|| "out of range".to_owned())
}

pub(super) fn shorten(text: &str) -> String {
    if text.chars().count() <= SHOWN_MAX {
        return text.to_owned();
    }
    text.chars().take(SHOWN_MAX).chain(['…']).collect()
}
