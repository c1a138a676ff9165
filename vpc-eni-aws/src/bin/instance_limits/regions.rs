//! What EC2 is asked.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_ec2::{Client, config::Builder, error::DisplayErrorContext};

use crate::{args::Args, described::described, failure::Failure, limits::Described};

/// Types per page, the most that EC2 takes.
const PAGE_MAX: i32 = 100;
/// Types of one region that are read. EC2 had 1,400 in 2026.
const TYPES_MAX: usize = 20_000;

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

/// All types of a region, all pages of them.
pub(crate) async fn types(args: &Args, region: &str) -> Result<Vec<Described>, Failure> {
    let request = client(args, region).await.describe_instance_types().max_results(PAGE_MAX);
    let mut pages = request.into_paginator().send();
    let mut types = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failed("DescribeInstanceTypes", region, &error))?;
        types.extend(page.instance_types().iter().map(described));
        if types.len() > TYPES_MAX {
            return Err(Failure::Endless { region: region.to_owned(), max: TYPES_MAX });
        }
    }
    Ok(types)
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
