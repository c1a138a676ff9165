//! The command line.

use std::path::PathBuf;

use thiserror::Error;

pub(crate) const USAGE: &str = "\
Asks EC2 for its regions and, in each, for the network limits of its instance types, and writes them
as the source of a table. Credentials are found as by the AWS command line, first in AWS_ACCESS_KEY_ID
and AWS_SECRET_ACCESS_KEY.

usage: instance-limits [--endpoint URL] [--region NAME] [--source TEXT] [--out FILE] [--max-pods FILE]

  --endpoint URL   EC2 for all regions, in place of each region's own
  --region NAME    where to ask for the regions; us-east-1 if not given
  --source TEXT    what the endpoint is, for the table's header; \"Amazon EC2\" if not given
  --out FILE       where the table goes; standard output if not given
  --max-pods FILE  also write one line \"TYPE PODS\" for each type";

const REGION_DEFAULT: &str = "us-east-1";

/// What was asked for.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Args {
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) max_pods: Option<PathBuf>,
}

#[derive(Debug, Eq, Error, PartialEq)]
pub(crate) enum BadArgs {
    #[error("there is no option {0}")]
    Unknown(String),
    #[error("option {0} needs a value")]
    NoValue(String),
    #[error("option {0} is given twice")]
    Twice(String),
}

impl Args {
    /// The options; none if only help is wanted.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, BadArgs> {
        let mut args = Self::default();
        while let Some(word) = words.next() {
            if word == "--help" || word == "-h" {
                return Ok(None);
            }
            let value = args.take(&word)?;
            let given = words.next().ok_or_else(|| BadArgs::NoValue(word.clone()))?;
            if value(&mut args, given) {
                return Err(BadArgs::Twice(word));
            }
        }
        Ok(Some(args))
    }

    /// How the value of `option` is kept; says whether there was one already.
    fn take(&self, option: &str) -> Result<fn(&mut Self, String) -> bool, BadArgs> {
        match option {
            "--endpoint" => Ok(|args, value| args.endpoint.replace(value).is_some()),
            "--region" => Ok(|args, value| args.region.replace(value).is_some()),
            "--source" => Ok(|args, value| args.source.replace(value).is_some()),
            "--out" => Ok(|args, value| args.out.replace(value.into()).is_some()),
            "--max-pods" => Ok(|args, value| args.max_pods.replace(value.into()).is_some()),
            _ => Err(BadArgs::Unknown(option.to_owned())),
        }
    }

    /// Region that is asked for the others.
    pub(crate) fn first_region(&self) -> &str {
        self.region.as_deref().unwrap_or(REGION_DEFAULT)
    }

    /// What the endpoint is, as one line.
    pub(crate) fn source(&self) -> String {
        let source = self.source.as_deref().unwrap_or("Amazon EC2");
        source.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Args>, BadArgs> {
        Args::parse(line.split(' ').filter(|w| !w.is_empty()).map(str::to_owned))
    }

    #[test]
    fn options_come_in_any_order_and_once() {
        let args = parse("--max-pods pods --endpoint http://x --out t").ok().flatten();
        let want = Args {
            endpoint: Some("http://x".to_owned()),
            out: Some("t".into()),
            max_pods: Some("pods".into()),
            ..Args::default()
        };
        assert_eq!(args, Some(want));
        assert_eq!(parse(""), Ok(Some(Args::default())));
        assert_eq!(parse("--out t --help"), Ok(None));
        for (line, error) in [
            ("--bogus", BadArgs::Unknown("--bogus".to_owned())),
            ("--out", BadArgs::NoValue("--out".to_owned())),
            ("--out a --out b", BadArgs::Twice("--out".to_owned())),
        ] {
            assert_eq!(parse(line), Err(error));
        }
    }

    #[test]
    fn a_source_stays_one_line() {
        let args = Args { source: Some("moto\n 5".to_owned()), ..Args::default() };
        assert_eq!(args.source(), "moto 5");
    }
}
