//! `--keep`: everything stays up, and the user is told how to look inside.

use std::{fmt::Write as _, fs, thread, time::Duration};

use crate::{kubelet::Pod, progress::Progress, scene::Scene};

/// Between two looks at the daemons.
const WATCH: Duration = Duration::from_secs(1);
/// Whose environment tells the sandbox's process outside.
const INIT_ENVIRONMENT: &str = "/proc/1/environ";
/// What of it tells that.
const INIT_STAGE: &str = "VPC_CNI_SANDBOX_STAGE=init:";

/// Tells how to look inside, and stays until the user ends it. Never returns.
pub(crate) fn stay(scene: &Scene, pods: &[Pod], progress: &Progress) -> ! {
    progress.say(&directions(scene, pods));
    let mut alive: Vec<bool> = scene.nodes.iter().map(|_| true).collect();
    loop {
        thread::sleep(WATCH);
        for (node, alive) in scene.nodes.iter().zip(&mut alive) {
            if let (true, Err(error)) = (*alive, node.check_daemon()) {
                *alive = false;
                progress.say(&error.to_string());
            }
        }
    }
}

fn directions(scene: &Scene, pods: &[Pod]) -> String {
    let mut out =
        "\nEverything stays up until you press Ctrl-C here. In another terminal:\n".to_owned();
    let outer = outer_pid().unwrap_or_else(|| "$(pgrep -o vpc-in-a-box)".to_owned());
    let sandbox = format!("nsenter -t {outer} -U -m -n --preserve-credentials");
    for node in &scene.nodes {
        let Some(pid) = node.daemon_pid() else { continue };
        let _ = writeln!(
            out,
            "\n  {}, {} ({}):\n    {sandbox} nsenter --mount=/proc/{pid}/ns/mnt \
             --net=/proc/{pid}/ns/net sh",
            node.name, node.ip, node.instance,
        );
        if let Some(pod) = pods.iter().find(|p| p.node == node.index) {
            let _ = writeln!(
                out,
                "  in there, {} ({}):\n    nsenter --net={} sh",
                pod.name,
                pod.ip,
                pod.home.path()
            );
        }
    }
    if let Some(node) = scene.nodes.first() {
        let log = node.log().display();
        let _ =
            writeln!(out, "\n  ipamd's log, here of {}:\n    {sandbox} tail -f {log}", node.name);
    }
    out.push_str("\n  in a node: ip rule; ip route show table 100513; nft list ruleset;");
    out.push_str("\n             curl -s http://127.0.0.1:61679/v1/enis");
    out
}

/// The process outside that holds the sandbox's namespaces, by its number outside.
fn outer_pid() -> Option<String> {
    let environment = fs::read(INIT_ENVIRONMENT).ok()?;
    let mut variables = environment.split(|&b| b == 0).filter_map(|v| std::str::from_utf8(v).ok());
    variables.find_map(|v| v.strip_prefix(INIT_STAGE)).map(str::to_owned)
}
