//! What several test programs share; each uses its part.

#![allow(dead_code, unused_imports, reason = "each test program uses its part")]

pub(crate) mod bench;
pub(crate) mod scripts;
