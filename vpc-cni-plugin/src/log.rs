//! The plugin's log: one JSON object per line.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};

use crate::protocol::LogLevel;

/// Appends events to a file or to standard error.
///
/// A log never fails a command: what cannot be written is lost.
#[derive(Debug)]
pub struct Log {
    level: LogLevel,
    file: Option<File>,
}

impl Log {
    /// Opens `path` for appending and makes its directory if need be. Empty means standard error; so does
    /// standard output under any name, which belongs to the result, and a file that cannot be opened.
    pub fn open(path: &str, level: LogLevel) -> Self {
        if matches!(path, "" | "stderr" | "stdout") {
            return Self { level, file: None };
        }
        match open(Path::new(path)) {
            Ok(file) => Self { level, file: Some(file) },
            Err(e) => {
                let log = Self { level, file: None };
                log.warn("cannot open the log file", &[("file", path), ("error", &e.to_string())]);
                log
            }
        }
    }

    /// Says what is going on.
    pub fn debug(&self, msg: &str, fields: &[(&str, &str)]) {
        self.event(LogLevel::Debug, msg, fields);
    }

    /// Says what was done.
    pub fn info(&self, msg: &str, fields: &[(&str, &str)]) {
        self.event(LogLevel::Info, msg, fields);
    }

    /// Says what is odd.
    pub fn warn(&self, msg: &str, fields: &[(&str, &str)]) {
        self.event(LogLevel::Warn, msg, fields);
    }

    /// Says what failed.
    pub fn error(&self, msg: &str, fields: &[(&str, &str)]) {
        self.event(LogLevel::Error, msg, fields);
    }

    fn event(&self, level: LogLevel, msg: &str, fields: &[(&str, &str)]) {
        if level < self.level {
            return;
        }
        let line = line(SystemTime::now(), level, msg, fields);
        // One write per line: concurrent plugins append to the same file.
        let _lost = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    // Under another name, such as /dev/stdout.
    if is_stdout(&file) {
        return Err(io::Error::other("it is standard output, which belongs to the result"));
    }
    Ok(file)
}

fn is_stdout(file: &File) -> bool {
    match (file.metadata(), fs::metadata("/proc/self/fd/1")) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn line(now: SystemTime, level: LogLevel, msg: &str, fields: &[(&str, &str)]) -> String {
    let mut object = Map::new();
    object.insert("level".into(), level.as_str().into());
    object.insert("ts".into(), timestamp(now).into());
    object.insert("msg".into(), msg.into());
    for (key, value) in fields {
        object.insert((*key).to_owned(), (*value).into());
    }
    format!("{}\n", Value::Object(object))
}

/// ISO 8601 in UTC with milliseconds, as `2026-11-24T07:05:00.123Z`.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil_from_days(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

/// Date of a day counted from 1970-01-01, by Howard Hinnant's `civil_from_days`: years begin in
/// March, so that the leap day is the last one.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year_of_era + era * 400 + carry, month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_iso_8601() {
        for (ms, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (1_795_503_900_123, "2026-11-24T07:05:00.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(ms)), want);
        }
    }

    #[test]
    fn lines_are_appended_whole_and_filtered_by_level() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/plugin.log");
        for level in [LogLevel::Debug, LogLevel::Warn] {
            let log = Log::open(path.to_str().unwrap(), level);
            log.info("wired\npod", &[("pod", "shop/cart")]);
            log.error("failed", &[]);
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let levels: Vec<_> = lines.iter().map(|l| l.get("level").unwrap().as_str()).collect();
        assert_eq!(levels, [Some("info"), Some("error"), Some("error")]);
        assert_eq!(lines.first().unwrap().get("pod").unwrap(), "shop/cart");
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_not_fatal() {
        let log = Log::open("/proc/version/plugin.log", LogLevel::Error);
        assert!(log.file.is_none());
        assert!(Log::open("stdout", LogLevel::Debug).file.is_none());
    }
}
