//! One run from the first namespace to the verdict.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    audit::{self, EniAccount, Given, NodeAccount},
    binaries::Binaries,
    cloud::ENI_MTU,
    evidence::Evidence,
    figures::Percentiles,
    kubelet::{Kubelets, Pod, Report},
    leftovers,
    plan::{Layout, NodeSite, PodSite},
    prober,
    progress::{NodeRow, Progress},
    sabotage,
    scene::Scene,
    setup::{INTERNET, Setup},
    verdict::Verdict,
};

/// How often the table is refreshed while nothing else happens.
const REFRESH: Duration = Duration::from_millis(100);
/// How long the pool may take to hold what the daemon's targets ask for once all pods are up.
const SETTLE_DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at the pools.
const SETTLE_POLL: Duration = Duration::from_millis(50);

/// What a run ends with.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) verdict: Verdict,
    /// What is still up, with `--keep`.
    pub(crate) kept: Option<(Scene, Vec<Pod>)>,
}

/// Runs everything and says how it went. Whatever fails is in the verdict.
pub(crate) fn run(setup: &Setup, binaries: &Binaries, progress: &Progress) -> Ending {
    let mut verdict = Verdict {
        nodes: setup.options.nodes.into(),
        instance_type: setup.options.instance_type.clone(),
        mode: setup.options.mode.to_string(),
        ..Verdict::default()
    };
    progress.stage("building the VPC and its nodes");
    let mut kept = None;
    match Scene::build(setup, binaries) {
        Ok(scene) => kept = act(setup, scene, progress, &mut verdict),
        Err(error) => verdict.failures.push(format!("{error:#}")),
    }
    progress.finish();
    verdict.elapsed_ms = u64::try_from(progress.elapsed().as_millis()).unwrap_or(u64::MAX);
    verdict.decide();
    Ending { verdict, kept }
}

fn act(
    setup: &Setup,
    scene: Scene,
    progress: &Progress,
    verdict: &mut Verdict,
) -> Option<(Scene, Vec<Pod>)> {
    let evidence = Evidence::before(&scene);
    let mut pods = Vec::new();
    let mut outcome = play(setup, &scene, &mut pods, progress, verdict);
    if outcome.is_ok() && !setup.options.keep {
        outcome = tear_down(&scene, std::mem::take(&mut pods), progress, verdict);
    }
    if let Err(error) = outcome {
        verdict.failures.push(format!("{error:#}"));
    }
    verdict.failures.extend(scene.cloud.failures());
    verdict.ec2_calls = scene.cloud.calls();
    evidence.after(&scene, verdict);
    setup.options.keep.then_some((scene, pods))
}

/// Up to and including the probes.
fn play(
    setup: &Setup,
    scene: &Scene,
    pods: &mut Vec<Pod>,
    progress: &Progress,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    progress.update(|rows| *rows = first_rows(setup, scene));
    progress.stage("starting ipamd on every node");
    scene.nodes.iter().try_for_each(|node| node.start_daemon())?;
    scene.nodes.iter().try_for_each(|node| node.await_daemon())?;

    progress.stage(format!("starting {} pods", setup.options.pods));
    *pods = scale_up(setup, scene, progress, verdict)?;
    settle(scene, progress);
    progress.mark_peak();
    progress.stage("comparing what plugin, daemon and EC2 say");
    let layout = survey(scene, pods, verdict)?;
    if let Some(what) = setup.options.sabotage {
        for node in &scene.nodes {
            let macs = scene.secondary_macs(node);
            node.inside(|| sabotage::apply(what, &macs))??;
        }
    }
    progress.stage("probing every pod");
    let outcomes = prober::run(&layout, scene, pods, progress);
    verdict.enter_probes(&layout, &outcomes);
    verdict.ipamd_rss_kb = scene.nodes.iter().map(|n| n.daemon_rss_kb()).max().unwrap_or(0);
    scene.nodes.iter().try_for_each(|node| node.check_daemon())?;
    Ok(())
}

fn scale_up(
    setup: &Setup,
    scene: &Scene,
    progress: &Progress,
    verdict: &mut Verdict,
) -> anyhow::Result<Vec<Pod>> {
    let kubelets = Kubelets { nodes: &scene.nodes, plugin: &scene.plugin };
    let (mut pods, mut add, mut down) = (Vec::new(), Vec::new(), None);
    let mut up: BTreeMap<usize, u32> = BTreeMap::new();
    let mut kill_at = setup.options.kill_ipamd_at;
    kubelets.scale_up(setup.pods(), REFRESH, |report| {
        match report {
            Some(Report::Up { pod, took, failures, unremoved }) => {
                verdict.enter_retries(&failures);
                verdict.failures.extend(unremoved);
                *up.entry(pod.node).or_default() += 1;
                add.push(took);
                pods.push(*pod);
            }
            Some(Report::NotUp { reason, .. }) => verdict.failures.push(reason),
            _ => {}
        }
        if kill_at.is_some_and(|n| pods.len() >= n as usize) {
            kill_at = None;
            verdict.ipamd_restarts += 1;
            progress.stage("killed ipamd on every node and started it again");
            down = scene.nodes.iter().try_for_each(|n| n.restart_daemon()).err();
        }
        refresh(scene, progress, &up);
    });
    verdict.pods = pods.len() as u64;
    verdict.add_ms = Percentiles::of(&add);
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(error) = down {
        return Err(error.into());
    }
    scene.nodes.iter().try_for_each(|node| node.check_daemon())?;
    Ok(pods)
}

/// Waits until no pool grows any more: a daemon that was killed may still be finding out what it
/// has, and the figures are those of a pool at rest.
fn settle(scene: &Scene, progress: &Progress) {
    let deadline = Instant::now() + SETTLE_DEADLINE;
    let mut last = (scene.cloud.calls(), Instant::now());
    while Instant::now() < deadline && last.1.elapsed() < Duration::from_millis(500) {
        std::thread::sleep(SETTLE_POLL);
        let calls = scene.cloud.calls();
        if calls != last.0 {
            last = (calls, Instant::now());
        }
        progress.update(|rows| count_enis(scene, rows));
    }
}

/// Where every pod is, by three accounts.
fn survey(scene: &Scene, pods: &[Pod], verdict: &mut Verdict) -> anyhow::Result<Layout> {
    let given: Vec<_> = pods
        .iter()
        .map(|pod| Given { pod: pod.name.clone(), node: pod.node, ip: pod.ip })
        .collect();
    let accounts = accounts(scene)?;
    let (sites, wrong) = audit::reconcile(&given, &accounts);
    verdict.failures.extend(wrong);
    verdict.enis = accounts.iter().map(|a| a.enis.len() as u64).sum();
    let prefixes = accounts.iter().flat_map(|a| &a.enis).flat_map(|e| &e.owned);
    verdict.prefixes = prefixes.filter(|cidr| !cidr.is_host()).count() as u64;
    Ok(layout(scene, sites))
}

fn layout(scene: &Scene, pods: Vec<PodSite>) -> Layout {
    let site = |node: &crate::node::Node| NodeSite { name: node.name.clone(), ip: node.ip };
    let nodes = scene.nodes.iter().map(site).collect();
    Layout { nodes, pods, vpc_host: scene.vpc_host.ip, internet: INTERNET, eni_mtu: ENI_MTU }
}

/// Every node according to its daemon and to EC2.
pub(crate) fn accounts(scene: &Scene) -> anyhow::Result<Vec<NodeAccount>> {
    let account = |node: &crate::node::Node| {
        let pool = node.pool()?;
        let assigned = pool.assigned_addresses();
        let owner = |ip| pool.owner(ip).map(|eni| (ip, eni.id.clone()));
        let world = scene.cloud.world();
        let enis = world.enis_of(&node.instance).into_iter().map(EniAccount::from);
        Ok(NodeAccount {
            name: node.name.clone(),
            pool: assigned.into_iter().filter_map(owner).collect(),
            enis: enis.collect(),
        })
    };
    scene.nodes.iter().map(account).collect()
}

fn tear_down(
    scene: &Scene,
    pods: Vec<Pod>,
    progress: &Progress,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    progress.stage("stopping all pods");
    let kubelets = Kubelets { nodes: &scene.nodes, plugin: &scene.plugin };
    let mut del = Vec::new();
    let mut up: BTreeMap<usize, u32> = BTreeMap::new();
    for pod in &pods {
        *up.entry(pod.node).or_default() += 1;
    }
    kubelets.scale_down(pods, REFRESH, |report| {
        match report {
            Some(Report::Down { node, took }) => {
                del.push(took);
                up.entry(node).and_modify(|n| *n = n.saturating_sub(1));
            }
            Some(Report::NotDown { reason, .. }) => verdict.failures.push(reason),
            _ => {}
        }
        refresh(scene, progress, &up);
    });
    verdict.del_ms = Percentiles::of(&del);
    scene.nodes.iter().try_for_each(|node| node.check_daemon())?;

    progress.stage("looking for what was left behind");
    let left = leftovers::find(scene).context("look for what was left behind")?;
    progress.stage("stopping ipamd");
    scene.nodes.iter().try_for_each(|node| node.stop_daemon())?;
    verdict.enter_leftovers(left);
    Ok(())
}

fn first_rows(setup: &Setup, scene: &Scene) -> Vec<NodeRow> {
    let pods = setup.pods();
    let row = |(i, node): (usize, &crate::node::Node)| NodeRow {
        name: node.name.clone(),
        wanted: pods.iter().filter(|p| p.node == i).count().try_into().unwrap_or(u32::MAX),
        ..NodeRow::default()
    };
    scene.nodes.iter().enumerate().map(row).collect()
}

fn refresh(scene: &Scene, progress: &Progress, up: &BTreeMap<usize, u32>) {
    progress.update(|rows| {
        for (i, row) in rows.iter_mut().enumerate() {
            row.pods = up.get(&i).copied().unwrap_or(0);
        }
        count_enis(scene, rows);
    });
}

fn count_enis(scene: &Scene, rows: &mut [NodeRow]) {
    let world = scene.cloud.world();
    for (row, node) in rows.iter_mut().zip(&scene.nodes) {
        let enis = world.enis_of(&node.instance);
        let owned = || enis.iter().flat_map(|e| e.owned());
        row.enis = enis.len() as u64;
        row.prefixes = owned().filter(|cidr| !cidr.is_host()).count() as u64;
        row.addresses = owned().map(|cidr| u64::try_from(cidr.size()).unwrap_or(0)).sum();
    }
}
