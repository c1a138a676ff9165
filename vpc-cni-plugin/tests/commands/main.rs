//! ADD, DEL and the rest against a daemon and a kernel that are only remembered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod add;
mod del;
mod fakes;

use std::io;

use serde_json::json;
use vpc_cni_plugin::command;

use fakes::{Kernel, conf, daemon, env, error, run};

#[test]
fn commands_that_are_not_there_say_so() {
    for (command, version, want) in [
        ("CHECK", "0.3.1", 1),
        ("CHECK", "0.4.0", 4),
        ("STATUS", "1.0.0", 1),
        ("STATUS", "1.1.0", 4),
        ("GC", "1.0.0", 1),
        ("GC", "1.1.0", 4),
        ("SET", "1.1.0", 4),
    ] {
        let output = run(command, &conf(version), &daemon(), &Kernel::default());
        let (code, text) = error(&output);
        assert_eq!(code, want, "{command} {version}");
        assert!(text.contains(command), "{text}");
    }
}

#[test]
fn errors_come_in_the_version_of_the_configuration() {
    let mut conf = conf("0.4.0");
    conf["mtu"] = json!(1500);
    let output = run("ADD", &conf, &daemon(), &Kernel::default());
    assert_eq!(error(&output).0, 6);
    assert!(output.stdout.starts_with(r#"{"cniVersion":"0.4.0""#), "{}", output.stdout);
}

#[test]
fn too_long_a_configuration_is_refused_before_it_is_parsed() {
    let mut endless = io::repeat(b' ');
    let output = command::run(&env("ADD"), &mut endless, &daemon(), &Kernel::default());
    assert_eq!(error(&output).0, 6);
}

#[test]
fn unreadable_input_is_an_io_error_except_for_version() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let run = |command| command::run(&env(command), &mut Broken, &daemon(), &Kernel::default());
    assert_eq!(error(&run("ADD")).0, 5);
    assert!(run("VERSION").success);
}
