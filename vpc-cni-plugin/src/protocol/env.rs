//! The environment of one invocation.

use std::ffi::OsString;

use thiserror::Error;

use super::{CniError, Code};

/// Longest interface name that the kernel takes, in bytes.
const IF_NAME_LEN_MAX: usize = 15;

/// What the runtime wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Connect a sandbox.
    Add,
    /// Verify that a sandbox is still connected as it was.
    Check,
    /// Disconnect a sandbox.
    Del,
    /// Release all but the listed attachments.
    Gc,
    /// Say whether ADD can be served.
    Status,
    /// Say which versions there are.
    Version,
}

impl Command {
    /// The command as `CNI_COMMAND` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Check => "CHECK",
            Self::Del => "DEL",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Add, Self::Check, Self::Del, Self::Gc, Self::Status, Self::Version]
            .into_iter()
            .find(|c| c.as_str() == text)
    }
}

/// Why the environment cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum EnvError {
    /// A value is not UTF-8.
    #[error("environment variable {0} is not valid UTF-8")]
    NotUtf8(&'static str),
    /// `CNI_COMMAND` is not a command.
    #[error("unknown CNI_COMMAND: {0:?}")]
    UnknownCommand(String),
    /// Variables that the command needs are missing or empty.
    #[error("required environment variables {} missing", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// `CNI_CONTAINERID` has characters that a container id never has.
    #[error(
        "CNI_CONTAINERID {0:?} is invalid, expected a letter or digit followed by letters, digits, \
         '_', '.' or '-'"
    )]
    ContainerId(String),
    /// `CNI_IFNAME` is not an interface name.
    #[error("CNI_IFNAME {0:?} is not an interface name: {1}")]
    IfName(String, &'static str),
}

impl From<EnvError> for CniError {
    fn from(e: EnvError) -> Self {
        Self::new(Code::InvalidEnvironment, e.to_string(), "")
    }
}

/// The variables of an invocation as they are; an empty one counts as absent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Env {
    /// `CNI_COMMAND`
    pub command: Option<OsString>,
    /// `CNI_CONTAINERID`
    pub container_id: Option<OsString>,
    /// `CNI_NETNS`
    pub netns: Option<OsString>,
    /// `CNI_IFNAME`
    pub if_name: Option<OsString>,
    /// `CNI_ARGS`
    pub args: Option<OsString>,
    /// `CNI_PATH`
    pub path: Option<OsString>,
    /// `CNI_NETNS_OVERRIDE`
    pub netns_override: Option<OsString>,
}

/// A valid command with what it works on.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// Sandbox id; empty for VERSION, STATUS and GC.
    pub container_id: String,
    /// Path of the pod's network namespace; DEL may come without.
    pub netns: Option<String>,
    /// Interface name inside the pod; empty for VERSION, STATUS and GC.
    pub if_name: String,
    /// `CNI_ARGS`, unparsed; may be empty.
    pub args: String,
    /// The pod's namespace may be the plugin's own (`CNI_NETNS_OVERRIDE`).
    pub netns_override: bool,
}

impl Env {
    /// The environment that `lookup` knows.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let var = |name| lookup(name).filter(|v| !v.is_empty());
        Self {
            command: var("CNI_COMMAND"),
            container_id: var("CNI_CONTAINERID"),
            netns: var("CNI_NETNS"),
            if_name: var("CNI_IFNAME"),
            args: var("CNI_ARGS"),
            path: var("CNI_PATH"),
            netns_override: var("CNI_NETNS_OVERRIDE"),
        }
    }

    /// The environment of this process.
    pub fn from_process() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Checks what the command needs. `None` if there is no command: somebody ran the plugin by
    /// hand.
    ///
    /// # Errors
    ///
    /// If a variable is missing or invalid; the message names it.
    pub fn parse(&self) -> Result<Option<Invocation>, EnvError> {
        let text = utf8(&self.command, "CNI_COMMAND")?;
        if text.is_empty() {
            return Ok(None);
        }
        let command = Command::parse(text).ok_or_else(|| EnvError::UnknownCommand(quoted(text)))?;
        self.require(command)?;
        let for_sandbox = matches!(command, Command::Add | Command::Check | Command::Del);
        let (mut container_id, mut if_name) = ("", "");
        if for_sandbox {
            container_id = utf8(&self.container_id, "CNI_CONTAINERID")?;
            if_name = utf8(&self.if_name, "CNI_IFNAME")?;
            if !is_cni_name(container_id) {
                return Err(EnvError::ContainerId(quoted(container_id)));
            }
            check_if_name(if_name).map_err(|why| EnvError::IfName(quoted(if_name), why))?;
        }
        Ok(Some(Invocation {
            command,
            container_id: container_id.to_owned(),
            netns: Some(utf8(&self.netns, "CNI_NETNS")?)
                .filter(|n| !n.is_empty())
                .map(str::to_owned),
            if_name: if_name.to_owned(),
            args: utf8(&self.args, "CNI_ARGS")?.to_owned(),
            netns_override: matches!(
                utf8(&self.netns_override, "CNI_NETNS_OVERRIDE")?.to_ascii_lowercase().as_str(),
                "1" | "true"
            ),
        }))
    }

    /// All missing variables at once, so that the caller need not find them one by one.
    fn require(&self, command: Command) -> Result<(), EnvError> {
        let (sandbox, netns, path) = match command {
            Command::Add | Command::Check => (true, true, true),
            Command::Del => (true, false, true),
            Command::Gc | Command::Status => (false, false, true),
            Command::Version => (false, false, false),
        };
        let missing: Vec<_> = [
            (sandbox, &self.container_id, "CNI_CONTAINERID"),
            (netns, &self.netns, "CNI_NETNS"),
            (sandbox, &self.if_name, "CNI_IFNAME"),
            (path, &self.path, "CNI_PATH"),
        ]
        .into_iter()
        .filter_map(|(needed, value, name)| (needed && value.is_none()).then_some(name))
        .collect();
        if missing.is_empty() { Ok(()) } else { Err(EnvError::Missing(missing)) }
    }
}

/// True for `[A-Za-z0-9][A-Za-z0-9_.-]*`: the form of container ids and of network names.
pub(super) fn is_cni_name(text: &str) -> bool {
    let tail = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && text.bytes().all(tail)
}

fn check_if_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > IF_NAME_LEN_MAX {
        return Err("it is longer than 15 bytes");
    }
    if name == "." || name == ".." {
        return Err("the kernel reserves it");
    }
    if name.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace()) {
        return Err("it contains '/', ':', NUL or white space");
    }
    Ok(())
}

fn utf8<'a>(value: &'a Option<OsString>, name: &'static str) -> Result<&'a str, EnvError> {
    match value {
        None => Ok(""),
        Some(value) => value.to_str().ok_or(EnvError::NotUtf8(name)),
    }
}

fn quoted(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        Env::from_lookup(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn add() -> Env {
        env(&[
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/run/netns/c1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
        ])
    }

    #[test]
    fn a_complete_environment() {
        let got = add().parse().unwrap().unwrap();
        assert_eq!(got.command, Command::Add);
        assert_eq!(got.netns.as_deref(), Some("/run/netns/c1"));
        assert_eq!((got.container_id.as_str(), got.if_name.as_str()), ("c1", "eth0"));
        assert!(!got.netns_override && got.args.is_empty());
    }

    #[test]
    fn no_command_is_not_an_error() {
        assert_eq!(env(&[]).parse(), Ok(None));
        assert_eq!(env(&[("CNI_COMMAND", "")]).parse(), Ok(None));
    }

    #[test]
    fn what_is_missing_is_named_per_command() {
        let missing = |command| env(&[("CNI_COMMAND", command)]).parse();
        let all = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"];
        assert_eq!(missing("ADD"), Err(EnvError::Missing(all.to_vec())));
        assert_eq!(missing("CHECK"), Err(EnvError::Missing(all.to_vec())));
        let no_netns = ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"];
        assert_eq!(missing("DEL"), Err(EnvError::Missing(no_netns.to_vec())));
        assert_eq!(missing("STATUS"), Err(EnvError::Missing(vec!["CNI_PATH"])));
        assert_eq!(missing("GC"), Err(EnvError::Missing(vec!["CNI_PATH"])));
        assert_eq!(missing("VERSION").unwrap().unwrap().command, Command::Version);
        assert_eq!(missing("add"), Err(EnvError::UnknownCommand("add".into())));
    }

    #[test]
    fn an_empty_variable_is_absent() {
        let mut del = add();
        del.command = Some("DEL".into());
        del.netns = None;
        assert_eq!(del.parse().unwrap().unwrap().netns, None);
        assert_eq!(env(&[("CNI_NETNS", "")]).netns, None);
    }

    #[test]
    fn names_are_checked() {
        for bad in ["-c", ".c", "c/1", "c 1", "c\n", "ć"] {
            let mut e = add();
            e.container_id = Some(bad.into());
            assert_eq!(e.parse(), Err(EnvError::ContainerId(bad.into())));
        }
        for bad in [".", "..", "a/b", "a:b", "a b", "a\tb", "0123456789abcdef"] {
            let mut e = add();
            e.if_name = Some(bad.into());
            assert!(matches!(e.parse(), Err(EnvError::IfName(name, _)) if name == bad), "{bad:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_by_name() {
        let mut e = add();
        e.args = Some(OsString::from_vec(vec![0xff]));
        assert_eq!(e.parse(), Err(EnvError::NotUtf8("CNI_ARGS")));
    }
}
