//! Makes the table of instance limits from what EC2 says of its instance types.
//!
//! See docs/instance-limits.md. Asks DescribeRegions once, and DescribeInstanceTypes in each region.

use std::{io::Write, path::Path, process::ExitCode};

// Read by the module that the library's backend has too.
use vpc_eni_aws::limits;

mod args;
#[path = "../../sdk/described.rs"]
mod described;
mod entry;
mod failure;
mod merge;
mod regions;
mod render;
mod trunking;
mod unpublished;

use self::{args::Args, failure::Failure, merge::Merged, render::Header};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => match run(&args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("error: {failure}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            println!("{}", args::USAGE);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}\n\n{}", args::USAGE);
            ExitCode::from(2)
        }
    }
}

async fn run(args: &Args) -> Result<(), Failure> {
    let mut merged = Merged::default();
    let regions = regions::names(args).await?;
    for region in &regions {
        for described in regions::types(args, region).await? {
            match described.facts() {
                Ok(facts) => merged.add(region, facts)?,
                // One odd row must not cost the others.
                Err(why) => eprintln!("left out, in {region}: {why}"),
            }
        }
        eprintln!("{region}: {} types so far", merged.len());
    }
    let described = merged.len();
    merged.add_unpublished(unpublished::types())?;
    let entries = entry::entries(merged, &trunking::Trunking::published()?);
    let header = Header {
        source: args.source(),
        regions: regions.len(),
        described,
        unpublished: entries.len().saturating_sub(described),
    };
    eprint!("{}", entry::summary(&entries));
    write(args.out.as_deref(), &render::table(&header, &entries)?)?;
    if let Some(path) = &args.max_pods {
        write(Some(path), &render::max_pods(&header, &entries))?;
    }
    Ok(())
}

fn write(path: Option<&Path>, text: &str) -> Result<(), Failure> {
    match path {
        Some(path) => std::fs::write(path, text)
            .map_err(|source| Failure::Write { to: path.display().to_string(), source }),
        None => std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|source| Failure::Write { to: "standard output".to_owned(), source }),
    }
}
