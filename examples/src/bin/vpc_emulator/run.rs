//! From options to servers, and to their end.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinSet,
};
use vpc_eni_aws::emulator::{
    CONTROL_PATH, Emulator, Faults, Service, WorldFile, serve, wall_clock,
};

use crate::{
    listeners::{bind, bind_imds, url},
    options::Options,
    ready::Ready,
};

/// How long requests under way may take once the end has come. A test that waits for the process must
/// not wait for a client that keeps a connection open.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// Serves until it is told to end.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let emulator = emulator(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(serve_all(options, &emulator))?;
    // A blocked reader of standard input must not hold the process.
    runtime.shutdown_background();
    Ok(())
}

fn emulator(options: &Options) -> anyhow::Result<Emulator> {
    let file = match &options.world {
        Some(path) => WorldFile::parse(&path.display().to_string(), &read(path)?)?,
        None => WorldFile::standard()?,
    };
    let faults = match &options.faults {
        Some(path) => Faults::parse(&path.display().to_string(), &read(path)?)?,
        None => Faults::new(),
    };
    let emulator = Emulator::from_file(&file, wall_clock())?;
    emulator.inject(&faults);
    Ok(emulator)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

async fn serve_all(options: &Options, emulator: &Emulator) -> anyhow::Result<()> {
    // Before the line is printed: whoever reads it may send a signal at once.
    let end = end(options)?;
    let ids: Vec<_> = {
        let world = emulator.world().lock().map_err(|_| anyhow::anyhow!("the world is broken"))?;
        world.instances().iter().map(|i| i.id.clone()).collect()
    };
    let ec2 = bind("EC2", "--ec2", options.ec2)?;
    let imds = bind_imds(options.imds, ids.len())?;
    let mut ready = Ready { ec2: url(&ec2)?, instances: Vec::new(), control: String::new() };
    ready.control = format!("{}{CONTROL_PATH}", ready.ec2);
    let (stop, stopped) = watch::channel(false);
    let mut servers = JoinSet::new();
    let mut start = |listener, service: Service| {
        let mut stopped = stopped.clone();
        let shutdown = async move {
            // It also ends when the sender is gone.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        servers.spawn(serve(listener, service, shutdown));
    };
    start(ec2, emulator.ec2_router().and(emulator.control_router()));
    for (id, listener) in ids.iter().zip(imds) {
        ready.instances.push((id.to_string(), url(&listener)?));
        start(listener, emulator.imds_router(id));
    }
    announce(&ready)?;
    tokio::select! {
        () = end => {}
        Some(ended) = servers.join_next() => ended.context("a server failed")??,
    }
    stop.send_replace(true);
    let drain = async { while servers.join_next().await.is_some() {} };
    // What has not ended by then is cut off.
    let _ = tokio::time::timeout(LAST_REQUESTS, drain).await;
    Ok(())
}

fn announce(ready: &Ready) -> anyhow::Result<()> {
    let line = serde_json::to_string(ready)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("print the line of URLs")
}

/// Resolves at SIGTERM, at SIGINT, and where it is wanted at the end of standard input.
fn end(options: &Options) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let stdin = options.until_stdin_closes.then(stdin_closes).transpose()?;
    Ok(async move {
        let stdin = async {
            match stdin {
                Some(closed) => drop(closed.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stdin => {}
        }
    })
}

/// Reads standard input to its end, on a thread of its own: a read cannot be called off.
fn stdin_closes() -> anyhow::Result<oneshot::Receiver<()>> {
    let (closed, receiver) = oneshot::channel();
    let read_all = move || {
        let mut buffer = [0; 512];
        while io::stdin().lock().read(&mut buffer).is_ok_and(|n| n > 0) {}
        let _ = closed.send(());
    };
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(read_all)
        .context("start a thread for standard input")?;
    Ok(receiver)
}
