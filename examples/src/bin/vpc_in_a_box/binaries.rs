//! Where the daemon and the plugin are.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// The daemon's file name, as on a node.
const IPAMD: &str = "aws-k8s-agent";
/// The plugin's file name, as on a node.
const PLUGIN: &str = "aws-cni";

/// The two programs under test.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Binaries {
    pub(crate) ipamd: PathBuf,
    pub(crate) plugin: PathBuf,
}

/// Why the box cannot start.
#[derive(Debug, Error)]
pub(crate) enum BinariesError {
    #[error(
        "{name} is not in {}; build it with `make demo` (or `cargo build --workspace --bins`), \
         or say where it is with --bin-dir",
        .searched.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" nor in ")
    )]
    Missing { name: &'static str, searched: Vec<PathBuf> },

    #[error("cannot tell where this program is: {0}; say where the others are with --bin-dir")]
    Myself(#[source] std::io::Error),
}

impl Binaries {
    /// Looks in `bin_dir` if one is given, else beside this program, and for the plugin's small
    /// static build one directory up.
    pub(crate) fn find(bin_dir: Option<&Path>) -> Result<Self, BinariesError> {
        if let Some(dir) = bin_dir {
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
            return Self::in_dirs(std::slice::from_ref(&dir), std::slice::from_ref(&dir));
        }
        let own = std::env::current_exe().map_err(BinariesError::Myself)?;
        let beside = own.parent().map(Path::to_owned).unwrap_or_default();
        let static_build = beside.parent().map(|up| up.join("plugin"));
        let plugin_dirs: Vec<_> = static_build.into_iter().chain([beside.clone()]).collect();
        Self::in_dirs(&[beside], &plugin_dirs)
    }

    fn in_dirs(ipamd: &[PathBuf], plugin: &[PathBuf]) -> Result<Self, BinariesError> {
        Ok(Self { ipamd: search(IPAMD, ipamd)?, plugin: search(PLUGIN, plugin)? })
    }
}

fn search(name: &'static str, dirs: &[PathBuf]) -> Result<PathBuf, BinariesError> {
    dirs.iter()
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| BinariesError::Missing { name, searched: dirs.to_vec() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_the_way_to_build_it() {
        let dir = std::env::temp_dir().join("vpc-in-a-box-no-such-directory");
        let error = Binaries::find(Some(&dir)).unwrap_err().to_string();
        for part in [IPAMD, "make demo", "--bin-dir", "no-such-directory"] {
            assert!(error.contains(part), "{part:?} in {error:?}");
        }
    }
}
