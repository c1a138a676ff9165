//! `aws-k8s-agent`: the node daemon on AWS.

#![forbid(unsafe_code)]

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use vpc_cni_plugin::rpc::IPAMD_SOCKET;
use vpc_datapath_linux::{LinuxDatapath, names::VethPrefix};
use vpc_ipamd::{
    LinuxHousekeeping, VERSION, aws, listen_unix,
    settings::{ProcessEnv, Settings, markdown},
    store::FileStore,
    telemetry::log,
};

/// One for the state file, the others for the kernel and host names. Each costs memory.
const BLOCKING_THREADS_MAX: usize = 4;
/// A blocked thread does not keep the process from ending.
const LAST_WAIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--settings") => return said(&markdown()),
        Some("--version") => return said(VERSION),
        Some(_) => return failed("usage: aws-k8s-agent [--settings | --version]"),
    }
    let outcome = Settings::parse(&ProcessEnv).map_err(anyhow::Error::from).and_then(|parsed| {
        let (settings, warnings) = parsed;
        let problem = log::start(settings.log_level, &settings.log_sink);
        tracing::info!(version = VERSION, node = settings.node_name, "starting");
        for warning in problem.into_iter().chain(warnings.iter().map(ToString::to_string)) {
            tracing::warn!("{warning}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()
            .context("cannot start the runtime")?;
        let outcome = runtime.block_on(serve(settings));
        runtime.shutdown_timeout(LAST_WAIT);
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e:#}");
            failed(&format!("aws-k8s-agent: {e:#}"))
        }
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let store = if settings.state_journal {
        FileStore::open_with_journal(&settings.backing_store)?
    } else {
        FileStore::open(&settings.backing_store)?
    };
    let datapath = Arc::new(LinuxDatapath::open()?);
    let house =
        LinuxHousekeeping::new(Arc::clone(&datapath), VethPrefix::new(&settings.veth_prefix)?);
    let config = aws::config(&settings).build()?;
    let socket = listen_unix(Path::new(IPAMD_SOCKET)).context(IPAMD_SOCKET)?;
    let (daemon, _) = aws::daemon(config, datapath, Arc::new(store), settings)?;
    daemon
        .with_housekeeping(Arc::new(house))
        .run(socket, async {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        })
        .await?;
    Ok(())
}

fn said(text: &str) -> ExitCode {
    println!("{}", text.trim_end());
    ExitCode::SUCCESS
}

fn failed(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::FAILURE
}
