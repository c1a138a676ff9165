//! The log: one JSON object per line.

use std::{
    fmt, fs,
    io::{self, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Map, Value};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format},
    layer::SubscriberExt as _,
    registry::LookupSpan,
};

use super::rfc3339;
use crate::{
    clock::Clock,
    settings::{LogLevel, LogSink},
};

/// Starts logging as `level` and `sink` say. If the file cannot be opened the log goes to standard
/// error, and the reason is returned so that it can be the first thing logged.
pub fn start(level: LogLevel, sink: &LogSink) -> Option<String> {
    let (writer, problem): (Box<dyn Write + Send>, _) = match sink {
        LogSink::Stderr => (Box::new(io::stderr()), None),
        LogSink::Stdout => (Box::new(io::stdout()), None),
        LogSink::File(path) => match open(path) {
            Ok(file) => (Box::new(file), None),
            Err(e) => (
                Box::new(io::stderr()),
                Some(format!("log file {}: {e}; logging to stderr", path.display())),
            ),
        },
    };
    // Fails if an embedder has set up its own logging, which then stays.
    let _ = tracing::subscriber::set_global_default(subscriber(level, writer));
    problem
}

fn open(path: &Path) -> io::Result<fs::File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::File::options().create(true).append(true).open(path)
}

fn subscriber(level: LogLevel, writer: Box<dyn Write + Send>) -> impl Subscriber + Send + Sync {
    let ours = filter(level);
    // HTTP and gRPC libraries log every frame at the level that is the default here.
    let theirs = ours.min(LevelFilter::WARN);
    let targets = OUR_TARGETS.iter().map(|target| (*target, ours));
    let layer = tracing_subscriber::fmt::layer()
        .event_format(JsonLine { clock: Clock::start() })
        .with_writer(Lines(Mutex::new(writer)));
    tracing_subscriber::registry()
        .with(layer)
        .with(Targets::new().with_default(theirs).with_targets(targets))
}

const OUR_TARGETS: &[&str] = &["aws_k8s_agent", "vpc_"];

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        // What ends the daemon is logged as an error: tracing has nothing above it.
        LogLevel::Error | LogLevel::Fatal => LevelFilter::ERROR,
    }
}

struct Lines(Mutex<Box<dyn Write + Send>>);

struct Line<'a>(MutexGuard<'a, Box<dyn Write + Send>>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `level`, `ts`, `caller`, `msg`, then the fields of the event: the reference's form.
struct JsonLine {
    clock: Clock,
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let meta = event.metadata();
        let head = [
            ("level", level_name(*meta.level()).to_owned()),
            ("ts", rfc3339(self.clock.now())),
            ("caller", caller(meta)),
            ("msg", fields.message),
        ];
        writer.write_char('{')?;
        for (n, (key, value)) in head.into_iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(writer, "{comma}\"{key}\":{}", Value::String(value))?;
        }
        for (key, value) in fields.rest {
            write!(writer, ",{}:{value}", Value::String(key))?;
        }
        writer.write_str("}\n")
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        _ => "debug",
    }
}

/// The last directory and the file: `src/engine.rs:12`.
fn caller(meta: &Metadata<'_>) -> String {
    let file = meta.file().unwrap_or("unknown");
    let from = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    format!("{}:{}", file.get(from..).unwrap_or(file), meta.line().unwrap_or(0))
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.rest.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LogLevel, say: impl FnOnce()) -> Vec<Value> {
        let buffer = Buffer::default();
        let subscriber = subscriber(level, Box::new(buffer.clone()));
        tracing::subscriber::with_default(subscriber, say);
        let bytes = buffer.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    #[test]
    fn a_line_is_one_json_object_with_the_reference_s_keys() {
        let lines = logged(LogLevel::Debug, || {
            tracing::info!(pods = 3, ok = true, name = "a\"b\nc", "pool {}", "grows");
        });
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(line["level"], "info");
        assert_eq!(line["msg"], "pool grows");
        assert_eq!(line["pods"], 3);
        assert_eq!(line["ok"], true);
        assert_eq!(line["name"], "a\"b\nc");
        let caller = line["caller"].as_str().unwrap();
        assert!(caller.starts_with("telemetry/log.rs:"), "{caller}");
        assert!(line["ts"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn libraries_do_not_flood_the_log() {
        let lines = logged(LogLevel::Debug, || {
            tracing::debug!(target: "h2::codec", "frame");
            tracing::debug!("ours");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["msg"], "ours");
    }

    #[test]
    fn the_level_filters() {
        let lines = logged(LogLevel::Warn, || {
            tracing::info!("quiet");
            tracing::warn!("loud");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "warn");
    }
}
