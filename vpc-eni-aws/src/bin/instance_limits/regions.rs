//! What EC2 is asked.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_ec2::{Client, config::Builder, error::DisplayErrorContext};

use crate::{args::Args, described::described, failure::Failure, limits::Described};

/// Types asked for per page, the most that EC2 gives.
const PAGE_LEN: i32 = 100;
/// Pages read of one region. EC2 had 14 in 2026, but may return short ones; an endpoint that never ends
/// a listing must not hold us for ever.
const PAGES_MAX: usize = 500;

/// Names of the regions that the account can use, sorted.
pub(crate) async fn names(args: &Args) -> Result<Vec<String>, Failure> {
    let first = args.first_region();
    let answer = client(args, first).await.describe_regions().send().await;
    let answer = answer.map_err(|error| failed("DescribeRegions", first, &error))?;
    let named = answer.regions().iter().filter_map(|region| region.region_name());
    let mut names: Vec<_> = named.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    if names.is_empty() { Err(Failure::NoRegion(first.to_owned())) } else { Ok(names) }
}

/// All types of a region, all pages of them. Not by the SDK's paginator: that takes a token that comes
/// twice for the end, and half a list for the whole.
pub(crate) async fn types(args: &Args, region: &str) -> Result<Vec<Described>, Failure> {
    const ACTION: &str = "DescribeInstanceTypes";
    let client = client(args, region).await;
    let (mut types, mut token) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let request = client.describe_instance_types().max_results(PAGE_LEN).set_next_token(token);
        let page = request.send().await.map_err(|error| failed(ACTION, region, &error))?;
        types.extend(page.instance_types().iter().map(described));
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(types);
        }
    }
    Err(Failure::Endless { region: region.to_owned(), max: PAGES_MAX })
}

async fn client(args: &Args, region: &str) -> Client {
    let region = Region::new(region.to_owned());
    let shared = aws_config::defaults(BehaviorVersion::v2026_01_12()).region(region).load().await;
    let mut config = Builder::from(&shared);
    // Only for EC2: the credential providers must not be sent there.
    if let Some(url) = &args.endpoint {
        config = config.endpoint_url(url);
    }
    Client::from_conf(config.build())
}

fn failed<E>(action: &'static str, region: &str, error: &E) -> Failure
where
    E: std::error::Error,
{
    let why = DisplayErrorContext(error).to_string();
    Failure::Ec2 { action, region: region.to_owned(), why }
}
