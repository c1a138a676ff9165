//! The line that says that it is ready.

use serde::{Serialize, Serializer};

/// What a test needs to know.
#[derive(Debug, Serialize)]
pub(crate) struct Ready {
    /// Endpoint of EC2.
    pub(crate) ec2: String,
    /// Endpoint of metadata by instance, in the order of the world.
    #[serde(serialize_with = "as_object")]
    pub(crate) instances: Vec<(String, String)>,
    /// Where the state is shown, and faults and changes are taken.
    pub(crate) control: String,
}

fn as_object<S: Serializer>(pairs: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().map(|(id, url)| (id, url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_keep_their_order() -> Result<(), serde_json::Error> {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let ready = Ready {
            ec2: url(1),
            instances: vec![("i-z".to_owned(), url(2)), ("i-a".to_owned(), url(3))],
            control: url(1) + "/_control",
        };
        assert_eq!(
            serde_json::to_string(&ready)?,
            r#"{"ec2":"http://127.0.0.1:1","instances":{"i-z":"http://127.0.0.1:2","i-a":"http://127.0.0.1:3"},"control":"http://127.0.0.1:1/_control"}"#
        );
        Ok(())
    }
}
