//! Durable homes of the checkpoint.

mod books;
mod disk;
mod file;
mod frame;

pub use self::file::FileStore;
