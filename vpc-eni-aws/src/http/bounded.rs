//! A bound on answers. The SDK itself reads whatever comes into memory, for as long as it comes.

use aws_sdk_ec2::config::{
    HttpClient, RuntimeComponents, SharedHttpClient,
    http::{HttpRequest, HttpResponse},
};
use aws_smithy_runtime_api::client::{
    connector_metadata::ConnectorMetadata,
    http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    result::ConnectorError,
};
use http_body_util::BodyExt as _;
use thiserror::Error;

/// An answer that is refused before it is parsed, so that it cannot use up the node's memory.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the answer is larger than {max} {unit}, more than there can be")]
pub(crate) struct AnswerTooLarge {
    max: usize,
    unit: &'static str,
}

/// How much of an answer is accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Limits {
    /// Bytes of the body.
    pub(crate) body_max: usize,
    /// `<item` tags in the body: each becomes a structure of up to a kilobyte, though it takes seven bytes.
    pub(crate) items_max: usize,
}

/// A page of 1000 ENIs with 50 addresses each, as large as EC2 makes them, has 16 MB.
pub(crate) const EC2: Limits = Limits { body_max: 32 << 20, items_max: 200_000 };
/// Metadata values have a few kilobytes; the parsers accept 64 KiB.
pub(crate) const IMDS: Limits = Limits { body_max: 256 << 10, items_max: usize::MAX };

/// An HTTP client whose answers are bounded.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    pub(super) inner: SharedHttpClient,
    pub(super) limits: Limits,
}

impl HttpClient for Bounded {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(BoundedConnector { inner, limits: self.limits })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}

#[derive(Debug)]
struct BoundedConnector {
    inner: SharedHttpConnector,
    limits: Limits,
}

impl HttpConnector for BoundedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answer, limits) = (self.inner.call(request), self.limits);
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            let body = receive(&mut answer, limits).await?;
            *answer.body_mut() = body.into();
            Ok(answer)
        })
    }
}

/// Takes the body of an answer, all of it.
async fn receive(answer: &mut HttpResponse, limits: Limits) -> Result<Vec<u8>, ConnectorError> {
    let Limits { body_max, items_max } = limits;
    let too_long = AnswerTooLarge { max: body_max, unit: "bytes" };
    let too_many = AnswerTooLarge { max: items_max, unit: "items" };
    // What is announced to be too long need not be read.
    let announced =
        answer.headers().get("content-length").and_then(|len| len.parse::<usize>().ok());
    if announced.is_some_and(|len| len > body_max) {
        return Err(refused(too_long));
    }
    let mut body = answer.take_body();
    let mut received = Vec::with_capacity(announced.unwrap_or_default());
    let mut items = Items::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(ConnectorError::io)?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > body_max.saturating_sub(received.len()) {
            return Err(refused(too_long));
        }
        if items.count(&data) > items_max {
            return Err(refused(too_many));
        }
        received.extend_from_slice(&data);
    }
    Ok(received)
}

/// Not worth another try: the next answer would be as large.
fn refused(why: AnswerTooLarge) -> ConnectorError {
    ConnectorError::other(why.into(), None)
}

/// Counts the opening tags of list entries in a text that comes in pieces.
#[derive(Debug, Default)]
struct Items {
    /// How much of the tag the text so far ends with.
    matched: usize,
    found: usize,
}

impl Items {
    const TAG: &[u8] = b"<item";

    /// Tags in all pieces so far.
    fn count(&mut self, piece: &[u8]) -> usize {
        for byte in piece {
            // The tag's first byte is nowhere else in it, so a failed match begins anew at most with this byte.
            self.matched = match Self::TAG.get(self.matched) {
                Some(expected) if expected == byte => self.matched + 1,
                _ => usize::from(Self::TAG.first() == Some(byte)),
            };
            self.found += usize::from(self.matched == Self::TAG.len());
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SMALL: Limits = Limits { body_max: 100, items_max: 3 };

    async fn read(body: &str, announced: Option<&str>) -> Result<Vec<u8>, String> {
        let mut answer = HttpResponse::new(200.try_into().unwrap(), body.to_owned().into());
        if let Some(len) = announced {
            answer.headers_mut().insert("content-length", len.to_owned());
        }
        receive(&mut answer, SMALL).await.map_err(|e| e.into_source().to_string())
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused() {
        assert_eq!(read(&"x".repeat(100), None).await.unwrap().len(), 100);
        assert!(read(&"x".repeat(101), None).await.unwrap_err().contains("100 bytes"));
        // Without reading it.
        assert!(read("", Some("101")).await.unwrap_err().contains("100 bytes"));
        assert!(read("y", Some("nonsense")).await.is_ok());
    }

    #[tokio::test]
    async fn what_has_too_many_entries_is_refused() {
        assert!(read("<item/><item><item >", None).await.is_ok());
        assert!(read("<item/><item><item ><<item>", None).await.unwrap_err().contains("3 items"));
    }

    #[test]
    fn tags_are_counted_wherever_the_text_is_cut() {
        let text = b"<a><item/><it<item></item><itemSet><items";
        for cut in 0..text.len() {
            let mut items = Items::default();
            items.count(text.get(..cut).unwrap());
            assert_eq!(items.count(text.get(cut..).unwrap()), 4, "{cut}");
        }
    }
}
