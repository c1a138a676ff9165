//! The emulator: a world, a clock, and who is told of changes.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::Router;
use tokio::net::TcpListener;
use vpc_ipam_core::{
    id::InstanceId,
    testkit::ec2::{World, WorldChange},
    time::Time,
};

use super::{
    Faults, FileError, MetadataFault, WorldFile, ec2,
    faults::{Before, Latencies},
    imds,
};

/// What time it is in the world.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;
type Hook = Arc<dyn Fn(WorldChange) + Send + Sync>;

/// The machine's own clock.
pub fn wall_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// The clock of the tokio runtime, beginning with the machine's time: stands and jumps where the runtime's
/// clock is paused. Must be made and used inside a runtime.
pub fn tokio_clock() -> Clock {
    let (start, began) = (wall_clock()(), tokio::time::Instant::now());
    Arc::new(move || start + began.elapsed())
}

/// A set of HTTP routes for [`serve`].
#[derive(Clone, Debug)]
pub struct Service(pub(crate) Router);

/// Answers requests on `listener` until `shutdown` resolves and the requests under way are answered.
///
/// The listener may come from any network namespace.
///
/// # Errors
///
/// If the listener cannot be handed to the runtime.
pub async fn serve<F>(
    listener: std::net::TcpListener,
    service: Service,
    shutdown: F,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    axum::serve(listener, service.0).with_graceful_shutdown(shutdown).await
}

/// EC2 and metadata servers for one world. Clones share everything.
#[derive(Clone)]
pub struct Emulator {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    world: Arc<Mutex<World>>,
    clock: Clock,
    hook: Mutex<Option<Hook>>,
    /// Held while changes are taken and told, so that they arrive in order.
    telling: Mutex<()>,
    next_tick: Mutex<Option<Time>>,
    requests: AtomicU64,
    pub(super) imds: imds::State,
    pub(super) latencies: Latencies,
    pub(super) before_faults: Mutex<Option<Before>>,
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("world", &self.shared.world).finish_non_exhaustive()
    }
}

impl Emulator {
    /// An emulator of `world`, which the caller may inspect and change at any time.
    pub fn new(world: Arc<Mutex<World>>, clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                world,
                clock,
                hook: Mutex::new(None),
                telling: Mutex::new(()),
                next_tick: Mutex::new(None),
                requests: AtomicU64::new(0),
                imds: imds::State::default(),
                latencies: Latencies::default(),
                before_faults: Mutex::new(None),
            }),
        }
    }

    /// An emulator of the world that `file` describes, as it begins now.
    ///
    /// # Errors
    ///
    /// If the parts of the file do not fit together.
    pub fn from_file(file: &WorldFile, clock: Clock) -> Result<Self, FileError> {
        let world = file.build(clock())?;
        let emulator = Self::new(Arc::new(Mutex::new(world)), clock);
        emulator.allow_imds_v1(file.imds_v1());
        Ok(emulator)
    }

    /// Ends all failures of metadata that are yet to come.
    pub fn heal_imds(&self) {
        self.shared.imds.heal();
    }

    /// Whether metadata answers requests without a token (IMDSv1). It does not at first.
    pub fn allow_imds_v1(&self, allowed: bool) {
        self.shared.imds.allow_v1(allowed);
    }

    /// The world.
    pub fn world(&self) -> &Arc<Mutex<World>> {
        &self.shared.world
    }

    /// What time it is in the world.
    pub fn now(&self) -> Time {
        self.shared.now()
    }

    /// Calls `hook` for each change, in order, beginning with those that nobody has fetched yet.
    ///
    /// A request is answered only after the hook has seen what the request changed. The hook may
    /// block and may look at the world, but must not call the emulator. It replaces a former hook.
    pub fn on_change(&self, hook: impl Fn(WorldChange) + Send + Sync + 'static) {
        *lock(&self.shared.hook) = Some(Arc::new(hook));
        self.tick();
    }

    /// Lets everything happen that is due and tells the hook; inside a tokio runtime also what falls
    /// due later, at its time. EC2 requests do so by themselves; call it after changing the world by
    /// hand.
    pub fn tick(&self) {
        self.shared.tell();
        self.shared.schedule();
    }

    /// EC2's Query protocol.
    pub fn ec2_router(&self) -> Service {
        ec2::service(Arc::clone(&self.shared))
    }

    /// Instance metadata as `instance` sees it. An unknown instance sees nothing but 404.
    pub fn imds_router(&self, instance: &InstanceId) -> Service {
        imds::service(Arc::clone(&self.shared), instance.clone())
    }

    /// Lets the next `times` metadata requests at or below `path` fail with `status`. The token is at
    /// `/latest/api/token`.
    pub fn fail_imds(&self, path: &str, status: u16, times: u32) {
        self.inject(&Faults::new().metadata(MetadataFault::status(status, path).times(times)));
    }
}

impl Shared {
    pub(super) fn now(&self) -> Time {
        (self.clock)()
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// A fresh request id.
    pub(super) fn request_id(&self) -> String {
        let n = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("00000000-0000-4000-8000-{n:012x}")
    }

    /// What every request that may have changed something ends with.
    pub(super) async fn settle(self: &Arc<Self>) {
        if lock(&self.hook).is_none() {
            return;
        }
        // A hook may block for as long as the kernel takes to plug a link.
        let shared = Arc::clone(self);
        if let Err(error) = tokio::task::spawn_blocking(move || shared.tell()).await {
            tracing::error!(%error, "the hook for changes of the world failed");
        }
        self.schedule();
    }

    fn tell(&self) {
        let _in_order = lock(&self.telling);
        let Some(hook) = lock(&self.hook).clone() else { return };
        let now = self.now();
        loop {
            let changes = {
                let mut world = self.world();
                world.advance(now);
                world.take_changes()
            };
            if changes.is_empty() {
                return;
            }
            changes.into_iter().for_each(|change| hook(change));
        }
    }

    /// Makes sure that somebody looks when the next change falls due.
    fn schedule(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Some(due) = self.world().poll_timeout() else { return };
        {
            let mut next = lock(&self.next_tick);
            if next.is_some_and(|next| next <= due) {
                return;
            }
            *next = Some(due);
        }
        let weak = Arc::downgrade(self);
        let wait = due.since(self.now());
        runtime.spawn(async move {
            tokio::time::sleep(wait).await;
            let Some(shared) = weak.upgrade() else { return };
            {
                let mut next = lock(&shared.next_tick);
                if *next != Some(due) {
                    // Something earlier has come up, and whoever waits for that goes on from there.
                    return;
                }
                *next = None;
            }
            shared.settle_boxed().await;
        });
    }

    /// The same as [`settle`](Self::settle); boxed, since it comes back here.
    fn settle_boxed(self: Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { self.settle().await })
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves every value here whole: each is changed in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
