//! The session against scripted answers, in virtual time.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_config::imds::Client;
use aws_sdk_ec2::config::{
    HttpClient, RuntimeComponents, SharedHttpClient,
    http::{HttpRequest, HttpResponse},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    result::ConnectorError,
};

use super::{super::client, TTL_HEADER, TTL_S, WITHOUT_MAX};
use crate::{
    config::{AwsConfig, AwsConfigBuilder, ImdsMode},
    sdk::Transport,
};

/// A status with a body, or no answer at all.
type Answer = Option<(u16, &'static str)>;

/// Gives answers in order.
#[derive(Clone, Debug, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// Method, URL and token of each request.
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpClient for Script {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let token = request.headers().get("x-aws-ec2-metadata-token").unwrap_or("-");
        let asked = format!("{} {} {token}", request.method(), request.uri());
        self.asked.lock().unwrap().push(asked);
        if request.method() == "PUT" {
            assert_eq!(request.headers().get(TTL_HEADER), Some(TTL_S.to_string().as_str()));
        }
        let answer = self.answers.lock().unwrap().pop_front().expect("a request too many");
        HttpConnectorFuture::ready(match answer {
            Some((status, body)) => {
                let mut answer = HttpResponse::new(status.try_into().unwrap(), body.into());
                if request.method() == "PUT" {
                    answer.headers_mut().insert(TTL_HEADER, "60");
                }
                Ok(answer)
            }
            None => Err(ConnectorError::timeout("no answer".into())),
        })
    }
}

struct Bed {
    script: Script,
    client: Client,
}

impl Bed {
    fn new() -> Self {
        Self::with(|config| config)
    }

    fn with(change: impl FnOnce(AwsConfigBuilder) -> AwsConfigBuilder) -> Self {
        let script = Script::default();
        let imds = SharedHttpClient::new(script.clone());
        let transport =
            Transport { ec2: imds.clone(), imds, now: Arc::new(std::time::SystemTime::now) };
        let mut config = change(AwsConfig::builder()).build().unwrap();
        config.transport = Some(transport);
        Self { script, client: client::build(&config).unwrap() }
    }

    fn answers(&self, answers: &[Answer]) -> &Self {
        self.script.answers.lock().unwrap().extend(answers);
        self
    }

    async fn read(&self) -> Result<String, String> {
        let read = self.client.get("/latest/meta-data/mac").await.map(String::from);
        assert!(self.script.answers.lock().unwrap().is_empty(), "a request too few");
        read.map_err(|error| match client::refusal(&error) {
            Some(refusal) => format!("{} to_token={}", refusal.status(), refusal.to_token()),
            None => super::super::chain(&error),
        })
    }

    /// What was asked since the last call.
    fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.script.asked.lock().unwrap());
        let short = |line: String| line.replace("http://169.254.169.254/latest/", "");
        asked.into_iter().map(short).collect()
    }
}

const TOKEN: &str = "PUT api/token -";
const PLAIN: &str = "GET meta-data/mac -";

#[tokio::test(start_paused = true)]
async fn one_token_serves_until_it_is_old() {
    let bed = Bed::new();
    bed.answers(&[Some((200, "T1")), Some((200, "m")), Some((200, "m"))]);
    bed.client.get("/latest/meta-data/mac").await.unwrap();
    assert_eq!(bed.read().await, Ok("m".to_owned()));
    assert_eq!(bed.asked(), [TOKEN, "GET meta-data/mac T1", "GET meta-data/mac T1"]);
    tokio::time::advance(Duration::from_secs(51)).await;
    bed.answers(&[Some((200, "T2")), Some((200, "m"))]).read().await.unwrap();
    assert_eq!(bed.asked(), [TOKEN, "GET meta-data/mac T2"]);
}

#[tokio::test(start_paused = true)]
async fn without_tokens_metadata_is_read_without_and_asked_for_one_now_and_then() {
    for refusal in [None, Some((403, "")), Some((404, "")), Some((405, ""))] {
        let bed = Bed::new();
        bed.answers(&[refusal, Some((200, "m"))]).read().await.unwrap();
        assert_eq!(bed.asked(), [TOKEN, PLAIN]);
        bed.answers(&[Some((200, "m"))]).read().await.unwrap();
        assert_eq!(bed.asked(), [PLAIN]);
        tokio::time::advance(WITHOUT_MAX).await;
        bed.answers(&[Some((200, "T1")), Some((200, "m"))]).read().await.unwrap();
        assert_eq!(bed.asked(), [TOKEN, "GET meta-data/mac T1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_is_replaced_once() {
    let bed = Bed::new();
    bed.answers(&[Some((200, "T1")), Some((401, "")), Some((200, "T2")), Some((200, "m"))]);
    bed.read().await.unwrap();
    let (first, second) = ("GET meta-data/mac T1", "GET meta-data/mac T2");
    assert_eq!(bed.asked(), [TOKEN, first, TOKEN, second]);
    bed.answers(&[Some((401, "")), Some((200, "T3")), Some((401, ""))]);
    assert_eq!(bed.read().await.unwrap_err(), "401 to_token=false");
}

#[tokio::test(start_paused = true)]
async fn metadata_that_has_come_to_want_tokens_gets_them() {
    let bed = Bed::new();
    bed.answers(&[Some((404, "")), Some((200, "m"))]).read().await.unwrap();
    bed.answers(&[Some((401, "")), Some((200, "T1")), Some((200, "m"))]).read().await.unwrap();
    assert_eq!(bed.asked()[2..], [PLAIN, TOKEN, "GET meta-data/mac T1"]);
    bed.answers(&[Some((200, "m"))]).read().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn metadata_that_answers_nothing_says_nothing_of_tokens() {
    let bed = Bed::new();
    bed.answers(&[None, None]).read().await.unwrap_err();
    bed.answers(&[Some((200, "T1")), Some((200, "m"))]).read().await.unwrap();
    assert_eq!(bed.asked(), [TOKEN, PLAIN, TOKEN, "GET meta-data/mac T1"]);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_request_for_a_token_is_an_error() {
    let bed = Bed::new();
    let error = bed.answers(&[Some((400, ""))]).read().await.unwrap_err();
    assert_eq!(error, "400 to_token=true");
    // What may pass is tried again.
    bed.answers(&[Some((500, "")), Some((200, "T1")), Some((200, "m"))]).read().await.unwrap();
    // No header can carry this.
    let bed = Bed::new();
    let error = bed.answers(&[Some((200, "<html>\n"))]).read().await.unwrap_err();
    assert!(error.contains("something else"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_forbids_it_never_reads_without_a_token() {
    for (refusal, error) in [
        (Some((403, "")), "403 to_token=true"),
        (Some((405, "")), "405 to_token=true"),
        (None, "no answer"),
    ] {
        let bed = Bed::with(|config| config.imds_v1(false));
        let got = bed.answers(&[refusal]).read().await.unwrap_err();
        assert!(got.contains(error), "{got}");
        assert_eq!(bed.asked(), [TOKEN]);
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_asked_where_they_are() {
    for (change, base) in [
        (Bed::with(|config| config.imds_mode(ImdsMode::V6)), "http://[fd00:ec2::254]"),
        (Bed::with(|config| config.imds_endpoint("http://h:1/a/b")), "http://h:1/a/b"),
        (Bed::with(|c| c.imds_mode(ImdsMode::V6).imds_endpoint("http://h:1")), "http://h:1"),
    ] {
        change.answers(&[Some((200, "T1")), Some((200, "m"))]).read().await.unwrap();
        let paths = ["PUT BASE/latest/api/token -", "GET BASE/latest/meta-data/mac T1"];
        assert_eq!(change.asked(), paths.map(|path| path.replace("BASE", base)));
    }
}
