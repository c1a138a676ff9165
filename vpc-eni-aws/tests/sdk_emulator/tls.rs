//! Which certificates EC2 may show: `tls/server.pem` is for 127.0.0.1 and from the authority `tls/ca.pem`, whose key is
//! nowhere.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use vpc_eni_aws::{AwsBackend, AwsConfig, AwsConfigBuilder, AwsConfigError};
use vpc_ipam_core::cloud::{AddressCount, CloudBackend as _, CloudError, CloudErrorKind as Kind};

use crate::support::{Cloud, m5_large};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk_emulator/tls").join(name)
}

/// An EC2 that refuses everything, over TLS.
fn server() -> String {
    let chain = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("https://{}", listener.local_addr().unwrap());
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            thread::spawn(move || refuse(stream, config));
        }
    });
    url
}

fn refuse(stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    let connection = ServerConnection::new(config).ok()?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    let body = "<Response><Errors><Error><Code>PrivateIpAddressLimitExceeded</Code><Message>m</Message></Error>\
                </Errors></Response>";
    let head = format!(
        "HTTP/1.1 400 X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let stream = reader.get_mut();
    stream.write_all(head.as_bytes()).ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}

async fn ask(change: impl FnOnce(AwsConfigBuilder) -> AwsConfigBuilder) -> CloudError {
    let cloud = Cloud::start(&m5_large());
    let config = AwsConfig::builder()
        .ec2_endpoint(server())
        .imds_endpoint(&cloud.imds.as_ref().unwrap().url)
        .static_credentials("AKID", "secret");
    let backend = AwsBackend::new(change(config).build().unwrap()).unwrap();
    backend.assign_addresses(&cloud.primary(), AddressCount::Secondary(1)).await.unwrap_err()
}

#[tokio::test]
async fn an_endpoint_whose_authority_is_in_the_bundle_is_believed_and_no_other() {
    let error = ask(|config| config.ca_bundle(file("ca.pem"))).await;
    assert_eq!(error.kind, Kind::AddressLimit, "{error}");
    let error = ask(|config| config).await;
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert!(error.message.contains("certificate"), "{error}");
}

#[tokio::test]
async fn entries_of_a_bundle_that_are_no_certificates_do_no_harm() {
    let good = fs::read_to_string(file("ca.pem")).unwrap();
    let bad = "# a remark\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n\
               -----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n";
    let bundle = std::env::temp_dir().join(format!("vpc-eni-aws-bundle-{}", std::process::id()));
    fs::write(&bundle, format!("{bad}{good}")).unwrap();
    let error = ask(|config| config.ca_bundle(&bundle)).await;
    assert_eq!(error.kind, Kind::AddressLimit, "{error}");
    // Nobody is left to trust.
    fs::write(&bundle, bad).unwrap();
    let useless = AwsConfig::builder().ca_bundle(&bundle).build().unwrap_err();
    fs::remove_file(&bundle).unwrap();
    assert!(matches!(useless, AwsConfigError::CaBundle { .. }), "{useless}");
    let missing = AwsConfig::builder().ca_bundle(&bundle).build().unwrap_err();
    for error in [useless, missing] {
        let text = error.to_string();
        assert!(text.contains("AWS_CA_BUNDLE") && text.contains("vpc-eni-aws-bundle"), "{text}");
    }
    assert!(AwsConfig::builder().ca_bundle("").build().is_ok());
}
