//! The program that makes the table of instance limits, against a region or three.

use std::{fs, path::PathBuf, process::Command};

use crate::wire::{Ec2, server};

const REGIONS: [&str; 3] = ["eu-north-1", "sa-east-1", "us-east-1"];

struct Ran {
    success: bool,
    out: String,
    err: String,
    max_pods: Option<String>,
}

/// Runs the program as a user would, with static credentials.
fn generate(ec2: &Ec2, name: &str) -> Ran {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::remove_file(&path).ok();
    let output = Command::new(env!("CARGO_BIN_EXE_instance-limits"))
        .args(["--endpoint", &ec2.url, "--region", "us-east-1", "--source", "a test"])
        .arg("--max-pods")
        .arg(&path)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("AWS_ACCESS_KEY_ID", "AKID")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .output()
        .unwrap();
    let ran = Ran {
        success: output.status.success(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        max_pods: fs::read_to_string(&path).ok(),
    };
    fs::remove_file(&path).ok();
    ran
}

fn regions() -> String {
    let item = |name: &str| format!("<item><regionName>{name}</regionName></item>");
    // Not sorted: EC2 does not promise it.
    let items: String = REGIONS.iter().rev().map(|name| item(name)).collect();
    format!("<DescribeRegionsResponse><regionInfo>{items}</regionInfo></DescribeRegionsResponse>")
}

fn item(name: &str, hypervisor: &str, cards: &[u32], ipv4: u32) -> String {
    let listed: String = (0..)
        .zip(cards)
        .map(|(index, enis)| {
            format!(
                "<item><networkCardIndex>{index}</networkCardIndex>\
                 <maximumNetworkInterfaces>{enis}</maximumNetworkInterfaces></item>"
            )
        })
        .collect();
    format!(
        "<item><instanceType>{name}</instanceType><bareMetal>{}</bareMetal>{hypervisor}\
         <networkInfo><maximumNetworkInterfaces>{}</maximumNetworkInterfaces>\
         <ipv4AddressesPerInterface>{ipv4}</ipv4AddressesPerInterface>\
         <networkCards>{listed}</networkCards></networkInfo></item>",
        name.ends_with("metal"),
        cards.iter().sum::<u32>(),
    )
}

const NITRO: &str = "<hypervisor>nitro</hypervisor>";

fn page(items: &[String], next: Option<&str>) -> String {
    let next = next.map(|token| format!("<nextToken>{token}</nextToken>")).unwrap_or_default();
    format!(
        "<DescribeInstanceTypesResponse><instanceTypeSet>{}</instanceTypeSet>{next}\
         </DescribeInstanceTypesResponse>",
        items.concat()
    )
}

/// Two pages in the first region, one in the others.
fn three_regions(request: &str) -> String {
    let first = [item("m5.large", NITRO, &[3], 10), item("p4d.24xlarge", NITRO, &[15; 4], 50)];
    let second = [
        item("q1.metal", "", &[8], 30),
        item("q1.large", "<hypervisor>kvm</hypervisor>", &[2], 10),
        item("q1.broken", NITRO, &[0], 10),
    ];
    if request.contains("Action=DescribeRegions") {
        return regions();
    }
    assert!(request.contains("MaxResults=100"), "{request}");
    match (request.contains("/eu-north-1/ec2/"), request.contains("NextToken=page2")) {
        (true, false) => page(&first, Some("page2")),
        (true, true) => page(&second, None),
        (false, _) => page(&first[..1], None),
    }
}

#[test]
fn all_pages_of_all_regions_make_the_table() {
    let ec2 = server(|_, request| Some((200, three_regions(request))));
    let ran = generate(&ec2, "pages");
    assert!(ran.success, "{}", ran.err);
    for line in [
        "//! Source: a test; 4 types in 3 regions",
        "    nitro(\"m5.large\", &[3], 10).branches(9),\n",
        "    nitro(\"p4d.24xlarge\", &[15; 4], 50).branches(62),\n",
        "    unknown(\"q1.large\", &[2], 10),\n    metal(\"q1.metal\", &[8], 30),\n",
        // Retired, and so not in any region.
        "    xen(\"p3.16xlarge\", &[8], 30),\n",
    ] {
        assert!(ran.out.contains(line), "{line}\n{}", ran.out);
    }
    assert!(!ran.out.contains("broken"), "{}", ran.out);
    assert!(ran.err.contains("left out, in eu-north-1: ") && ran.err.contains("q1.broken"));
    let pods = ran.max_pods.as_ref().unwrap();
    for line in ["\nm5.large 29\n", "\np4d.24xlarge 737\n", "\nq1.large 20\n"] {
        assert!(pods.contains(line), "{pods}");
    }
    assert!(pods.starts_with('#'), "{pods}");
    // One for the regions, two pages, two regions of one page.
    assert_eq!(ec2.requests.lock().unwrap().len(), 5);

    let again = generate(&ec2, "pages-again");
    assert_eq!((again.out, again.max_pods), (ran.out, ran.max_pods));
}

#[test]
fn regions_that_disagree_end_the_run_and_are_both_shown() {
    let ec2 = server(|_, request| {
        let of_sao_paulo = page(&[item("m5.large", NITRO, &[4], 15)], None);
        let elsewhere = || three_regions(request);
        let there = request.contains("/sa-east-1/ec2/");
        Some((200, if there { of_sao_paulo } else { elsewhere() }))
    });
    let ran = generate(&ec2, "conflict");
    assert!(!ran.success && ran.out.is_empty() && ran.max_pods.is_none(), "{}", ran.out);
    for word in ["m5.large", "eu-north-1: Facts", "sa-east-1: Facts", "[3]", "[4]"] {
        assert!(ran.err.contains(word), "{word}\n{}", ran.err);
    }
}

#[test]
fn a_listing_that_goes_in_circles_ends_the_run() {
    let ec2 = server(|_, request| {
        let regions = request.contains("Action=DescribeRegions");
        let circle = || page(&[item("m5.large", NITRO, &[3], 10)], Some("page2"));
        Some((200, if regions { self::regions() } else { circle() }))
    });
    let ran = generate(&ec2, "circle");
    assert!(!ran.success && ran.out.is_empty(), "{}", ran.out);
    assert!(ran.err.contains("DescribeInstanceTypes in eu-north-1 goes on"), "{}", ran.err);
}

#[test]
fn a_refusal_names_the_action() {
    let ec2 = server(|_, _| {
        let error = "<Response><Errors><Error><Code>UnauthorizedOperation</Code>\
                     <Message>no</Message></Error></Errors></Response>";
        Some((403, error.to_owned()))
    });
    let ran = generate(&ec2, "refusal");
    assert!(!ran.success && ran.out.is_empty(), "{}", ran.out);
    for word in ["DescribeRegions in us-east-1", "UnauthorizedOperation"] {
        assert!(ran.err.contains(word), "{word}\n{}", ran.err);
    }
}
