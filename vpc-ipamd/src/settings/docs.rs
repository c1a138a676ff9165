//! The table of variables as a page of documentation.

use std::fmt::Write as _;

use super::table::{Invalid, UNSUPPORTED, VARIABLES};

const HEAD: &str = "\
# Settings

Environment variables of the node daemon `aws-k8s-agent`. The page is generated from the daemon's own table
(`aws-k8s-agent --settings`), so it cannot disagree with what the daemon does.

A value that is not valid either stops the daemon with one line that names the variable, the value and what it may be (*stops*),
or is replaced by the default with a warning in the log (*default*), or, in lists, is skipped with a warning (*skipped*).

Address targets (`WARM_IP_TARGET`, `MINIMUM_IP_TARGET`) rule over `WARM_PREFIX_TARGET`, which rules over `WARM_ENI_TARGET`.
With `VPC_CNI_WARM_POLICY=adaptive` none of them decides.

Besides, the AWS SDK reads its own variables: those of its credential chain, `AWS_ENDPOINT_URL_EC2`, `HTTPS_PROXY` and `NO_PROXY` (instance metadata is
never read through a proxy), `AWS_EC2_METADATA_SERVICE_ENDPOINT` (a URL) and `AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE` (`IPv4` or `IPv6`).

| Variable | Default | Values | Otherwise | Effect |
|---|---|---|---|---|
";

const TAIL: &str = "
## Without effect in this version

Known from the reference system. Setting one to a value that asks for something is reported in the log.

";

/// All variables as a Markdown page.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for var in VARIABLES {
        let otherwise = match var.invalid {
            Invalid::Any => "",
            Invalid::Default => "default",
            Invalid::Fatal => "stops",
            Invalid::Skip => "skipped",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {otherwise} | {} |",
            var.name, var.default, var.values, var.doc
        );
    }
    page.push_str(TAIL);
    for (name, _) in UNSUPPORTED {
        let _ = writeln!(page, "- `{name}`");
    }
    page
}
