//! A moto server with one instance, and metadata for it.

use std::{
    collections::BTreeMap,
    env,
    fs::OpenOptions,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use vpc_eni_aws::{AwsBackend, AwsConfig};

/// The server imports half of Python at its first call.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of foreign programs; `None`, after a note, where they are not installed.
pub(crate) fn installed(test: &str) -> Option<PathBuf> {
    if let Some(dir) = env::var_os("VPC_CNI_FOREIGN") {
        return Some(Path::new(&dir).join("bin"));
    }
    let why = env::var("VPC_CNI_FOREIGN_WHY")
        .unwrap_or_else(|_| "moto is installed by `make test` only".to_owned());
    let skip = format!("SKIP moto::{test}: {why}");
    eprintln!("{skip}");
    if let Some(path) = env::var_os("VPC_CNI_SKIP_LOG") {
        let mut log = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(log, "{skip}").unwrap();
    }
    None
}

/// An EC2 that others wrote, with an m5.large in it; ends with this value.
pub(crate) struct Moto {
    process: Child,
    pub(crate) facts: BTreeMap<String, String>,
    pub(crate) backend: AwsBackend,
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Moto {
    pub(crate) async fn start(bin: &Path) -> Self {
        // The port is free now, and nobody else here asks for one by number.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let process = Command::new(bin.join("python"))
            .arg(bin.join("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From here on the server ends with the value, whatever fails.
        let config = AwsConfig::builder().build().unwrap();
        let backend = AwsBackend::new(config).unwrap();
        let mut moto = Self { process, facts: BTreeMap::new(), backend };
        let end = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < end, "moto does not answer");
            sleep(Duration::from_millis(50)).await;
        }
        moto.facts = facts(bin, &url);
        let imds = serve_metadata(&moto.facts);
        let config = AwsConfig::builder()
            .ec2_endpoint(url)
            .imds_endpoint(imds)
            .static_credentials("AKID", "secret")
            .cluster_name("prod")
            .build()
            .unwrap();
        moto.backend = AwsBackend::new(config).unwrap();
        moto
    }

    pub(crate) fn fact(&self, name: &str) -> &str {
        &self.facts[name]
    }
}

fn facts(bin: &Path, url: &str) -> BTreeMap<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/moto/world.py");
    let done = Command::new(bin.join("python")).arg(script).arg(url).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let facts: Value = serde_json::from_slice(&done.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    facts.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// moto's own metadata knows nothing of network interfaces.
fn serve_metadata(facts: &BTreeMap<String, String>) -> String {
    let fact = |name: &str| facts[name].clone();
    let identity = r#"{"region": "us-west-2", "instanceId": "INSTANCE"}"#;
    let top = [
        (
            "/latest/dynamic/instance-identity/document",
            identity.replace("INSTANCE", &fact("instance")),
        ),
        ("/latest/meta-data/instance-id", fact("instance")),
        ("/latest/meta-data/instance-type", "m5.large".to_owned()),
        ("/latest/meta-data/local-ipv4", fact("ip")),
        ("/latest/meta-data/mac", fact("mac")),
        ("/latest/meta-data/network/interfaces/macs", format!("{}/", fact("mac"))),
        ("/latest/meta-data/placement/availability-zone", "us-west-2a".to_owned()),
    ];
    let own = [
        ("device-number", "0".to_owned()),
        ("interface-id", fact("primary")),
        ("local-ipv4s", fact("ip")),
        ("security-group-ids", fact("group")),
        ("subnet-id", fact("subnet")),
        ("subnet-ipv4-cidr-block", "10.0.0.0/20".to_owned()),
        ("vpc-id", fact("vpc")),
        ("vpc-ipv4-cidr-blocks", "10.0.0.0/16".to_owned()),
    ];
    let mac = fact("mac");
    let own = own.map(|(key, value)| {
        (format!("/latest/meta-data/network/interfaces/macs/{mac}/{key}"), value)
    });
    let tree = top.map(|(path, value)| (path.to_owned(), value)).into_iter().chain(own).collect();
    let router = Router::new().fallback(read).with_state(Arc::new(tree));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    url
}

async fn read(State(tree): State<Arc<BTreeMap<String, String>>>, request: Request) -> Response {
    if request.method() == Method::PUT {
        return ([("x-aws-ec2-metadata-token-ttl-seconds", "21600")], "token").into_response();
    }
    match tree.get(request.uri().path().trim_end_matches('/')) {
        Some(text) => text.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
