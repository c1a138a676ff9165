//! The hook that plugs links and routes addresses.

use std::{sync::mpsc, time::Duration};

use vpc_eni_aws::emulator::wall_clock;
use vpc_ipam_core::testkit::ec2::{AttachNetworkInterface, CreateNetworkInterface, WorldChange};

use super::*;

fn kind(change: &WorldChange) -> &'static str {
    match change {
        WorldChange::EniAttached(_) => "attached",
        WorldChange::EniDetached { .. } => "detached",
        WorldChange::AddressesChanged { .. } => "addresses",
        _ => "other",
    }
}

#[tokio::test]
async fn the_hook_has_seen_a_change_before_the_client_has_the_answer() {
    let bed = Bed::plain();
    let (tell, told) = mpsc::channel();
    bed.emulator.on_change(move |change| tell.send(kind(&change)).unwrap());
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["attached", "addresses"]);
    let rest = format!("NetworkInterfaceId={}&SecondaryPrivateIpAddressCount=1", bed.primary());
    bed.ok("AssignPrivateIpAddresses", &rest).await;
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["addresses"]);
    bed.ok("DescribeTags", "").await;
    assert_eq!(told.try_iter().count(), 0);
}

#[tokio::test]
async fn late_changes_are_told_when_they_are_due_without_any_request() {
    let config = config("m5.large").start(wall_clock()());
    let mut world = config.build().unwrap();
    world.take_changes();
    let instance = world.instances()[0].id.clone();
    let subnet = world.subnets()[0].id.to_string();
    let emulator = Emulator::new(Arc::new(Mutex::new(world)), wall_clock());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    emulator.on_change(move |change| tell.send(kind(&change)).unwrap());
    let ec2 = start(emulator.ec2_router());
    let ms = Duration::from_millis;
    let delays = |link, detach| {
        let delays = Delays { link_after_attach: link, detach, ..Delays::NONE };
        emulator.world().lock().unwrap().set_delays(delays);
    };
    let attach = async |device: u32| {
        let xml = ec2_ok(ec2, &format!("Action=CreateNetworkInterface&SubnetId={subnet}")).await;
        let eni = text(&xml, "networkInterfaceId");
        let rest = format!("NetworkInterfaceId={eni}&InstanceId={instance}&DeviceIndex={device}");
        let xml = ec2_ok(ec2, &format!("Action=AttachNetworkInterface&{rest}")).await;
        text(&xml, "attachmentId")
    };
    delays(ms(100), ms(0));
    let first = attach(1).await;
    assert_eq!(next(&mut told).await, "attached");
    assert_eq!(next(&mut told).await, "addresses");
    // What is due in an hour must not keep back what is due at once.
    delays(ms(3_600_000), ms(100));
    attach(2).await;
    ec2_ok(ec2, &format!("Action=DetachNetworkInterface&AttachmentId={first}")).await;
    assert_eq!(next(&mut told).await, "detached");
}

#[tokio::test]
async fn changes_made_by_hand_are_told_when_they_are_due() {
    let delays = Delays { link_after_attach: Duration::from_millis(100), ..Delays::NONE };
    let config = config("m5.large").start(wall_clock()()).delays(delays);
    let world = Arc::new(Mutex::new(config.build().unwrap()));
    world.lock().unwrap().take_changes();
    let emulator = Emulator::new(Arc::clone(&world), wall_clock());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    emulator.on_change(move |change| tell.send(kind(&change)).unwrap());
    {
        let mut world = world.lock().unwrap();
        let (subnet, instance) = (world.subnets()[0].id.clone(), world.instances()[0].id.clone());
        let request = CreateNetworkInterface::new(subnet);
        let eni = world.create_network_interface(&request, emulator.now()).unwrap().id;
        let attach = AttachNetworkInterface { eni, instance, device: 1, card: 0 };
        world.attach_network_interface(&attach, emulator.now()).unwrap();
    }
    emulator.tick();
    assert_eq!(next(&mut told).await, "attached");
}

async fn next(told: &mut tokio::sync::mpsc::UnboundedReceiver<&'static str>) -> &'static str {
    tokio::time::timeout(Duration::from_secs(60), told.recv()).await.unwrap().unwrap()
}

async fn ec2_ok(to: std::net::SocketAddr, body: &str) -> String {
    let reply = request(to, "POST", "/", &[], &format!("{body}&Version=2016-11-15")).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

#[tokio::test]
async fn a_hook_that_panics_does_not_stop_the_server() {
    let bed = Bed::plain();
    bed.world().take_changes();
    bed.emulator.on_change(|_| panic!("the embedder's fault"));
    let rest = format!("NetworkInterfaceId={}&SecondaryPrivateIpAddressCount=1", bed.primary());
    bed.ok("AssignPrivateIpAddresses", &rest).await;
    bed.ok("DescribeTags", "").await;
}

#[tokio::test]
async fn a_server_stops_when_it_is_told() {
    let bed = Bed::plain();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async move { stopped.await.unwrap_or_default() };
    let server = tokio::spawn(serve(listener, bed.emulator.ec2_router(), shutdown));
    let body = "Action=DescribeTags&Version=2016-11-15";
    assert_eq!(request(to, "POST", "/", &[], body).await.status, 200);
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(to).await.is_err());
}
