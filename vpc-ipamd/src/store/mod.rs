//! Durable homes of the checkpoint.

mod file;

pub use self::file::FileStore;
