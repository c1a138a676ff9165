//! What world files and fault files have in common: where a mistake is, and values as text.

mod action;
mod conditions;
mod error;
#[cfg(test)]
mod hostile;
mod span;

pub use self::error::{FileError, FileProblem};
pub(super) use self::{
    action::ActionName,
    conditions::{ConsistencySpec, DelaysSpec, ThrottlingSpec},
    error::{Source, is_word},
    span::Span,
};
