//! The client against a real gRPC server on a unix socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{io, os::unix::net::UnixListener, path::PathBuf};

use tempfile::TempDir;
use tonic::Status;
use vpc_cni_plugin::{
    backend::{Backend, BackendError},
    client::IpamdClient,
    rpc::{
        AddNetworkReply, AddNetworkRequest, DelNetworkReply, DelNetworkRequest,
        IpAllocationMetadata,
    },
};

mod support;
use support::{Daemon, Script};

fn socket() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("ipamd.sock");
    (dir, socket)
}

fn failing(status: fn() -> Status) -> Script {
    Script { add: Box::new(move |_| Err(status())), del: Box::new(move |_| Err(status())) }
}

#[test]
fn requests_and_replies_cross_the_socket_whole() {
    let (_dir, socket) = socket();
    let daemon = Daemon::start(
        &socket,
        Script {
            add: Box::new(|request| {
                Ok(AddNetworkReply {
                    success: true,
                    ip_allocation_metadata: vec![IpAllocationMetadata {
                        ipv4_addr: format!("10.0.0.{}", request.container_id.len()),
                        ipv6_addr: String::new(),
                        device_number: 1,
                        route_table_id: 2,
                    }],
                    ..AddNetworkReply::default()
                })
            }),
            del: Box::new(|_| Ok(DelNetworkReply { success: true, ..DelNetworkReply::default() })),
        },
    );
    let client = IpamdClient::new();
    let request = AddNetworkRequest {
        container_id: "abcde".into(),
        client_version: "0.1.0".into(),
        ..AddNetworkRequest::default()
    };
    let reply = client.add_network(&socket, request.clone()).unwrap();
    assert_eq!(reply.ip_allocation_metadata[0].ipv4_addr, "10.0.0.5");
    let reply = client.del_network(&socket, DelNetworkRequest::default()).unwrap();
    assert!(reply.success);
    let asked = daemon.asked.lock().unwrap();
    assert_eq!(asked.adds, [request]);
    assert_eq!(asked.dels.len(), 1);
    assert!(asked.deadlines.iter().all(|d| !d.is_empty()), "no deadline: {:?}", asked.deadlines);
}

#[test]
fn statuses_become_kinds() {
    let (_dir, socket) = socket();
    let kind = |status: fn() -> Status| {
        let daemon = Daemon::start(&socket, failing(status));
        let error = IpamdClient::new()
            .del_network(&socket, DelNetworkRequest::default())
            .expect_err("the daemon refuses");
        drop(daemon);
        std::fs::remove_file(&socket).unwrap();
        error
    };
    let unknown = kind(|| Status::unknown("rpc: datastore: unknown pod"));
    assert!(matches!(unknown, BackendError::UnknownPod), "{unknown}");
    let version = kind(|| Status::failed_precondition("version 9"));
    assert!(matches!(version, BackendError::Version { .. }), "{version}");
    let failed = kind(|| Status::internal("disk full"));
    assert!(failed.to_string().contains("disk full") && !failed.is_transient(), "{failed}");
    let late = kind(|| Status::deadline_exceeded("late"));
    assert!(matches!(late, BackendError::Deadline { .. }), "{late}");
    let late = kind(|| Status::cancelled("Timeout expired"));
    assert!(matches!(late, BackendError::Deadline { .. }), "{late}");
    let full = kind(|| Status::resource_exhausted("27 of 27 addresses in use"));
    assert!(matches!(full, BackendError::NoAddress { .. }) && full.is_transient(), "{full}");
    let early = kind(|| Status::unavailable("EC2 does not answer"));
    assert!(matches!(early, BackendError::NotReady { .. }) && early.is_transient(), "{early}");
}

#[test]
fn a_daemon_that_dies_in_the_middle_of_a_call_is_worth_another_try() {
    use std::io::Read;
    let (_dir, socket) = socket();
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The client's preface and first frames.
        let _ = stream.read(&mut [0; 1024]);
    });
    let error = IpamdClient::new()
        .add_network(&socket, AddNetworkRequest::default())
        .expect_err("nobody answers");
    assert!(matches!(error, BackendError::Broken { .. }) && error.is_transient(), "{error}");
    assert!(error.to_string().contains(socket.to_str().unwrap()), "{error}");
    server.join().unwrap();
}

#[test]
fn a_socket_that_nobody_serves_is_unreachable_at_once() {
    let (_dir, socket) = socket();
    drop(UnixListener::bind(&socket).unwrap());
    let error = IpamdClient::new()
        .add_network(&socket, AddNetworkRequest::default())
        .expect_err("nobody listens");
    match &error {
        BackendError::Unreachable { source, .. } => {
            assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
        }
        other => panic!("{other}"),
    }
    assert!(error.to_string().contains(socket.to_str().unwrap()), "{error}");
}

#[test]
fn a_server_that_speaks_something_else_is_an_error() {
    use std::io::Write;
    let (_dir, socket) = socket();
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"220 mail ready\r\n");
    });
    let got = IpamdClient::new().add_network(&socket, AddNetworkRequest::default());
    assert!(got.is_err(), "{got:?}");
    server.join().unwrap();
}
