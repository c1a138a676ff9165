//! Each action on its happy path.

use super::*;

#[tokio::test]
async fn an_eni_lives_over_http() {
    let bed = Bed::plain();
    let rest = format!(
        "SubnetId={}&Description=aws-K8S-x&SecondaryPrivateIpAddressCount=2&ClientToken=t1\
         &TagSpecification.1.ResourceType=network-interface&TagSpecification.1.Tag.1.Key=k\
         &TagSpecification.1.Tag.1.Value=a%3Cb",
        bed.subnet()
    );
    let xml = bed.ok("CreateNetworkInterface", &rest).await;
    let eni = text(&xml, "networkInterfaceId");
    assert_eq!(texts(&xml, "primary"), ["true", "false", "false"]);
    assert_eq!(text(&xml, "value"), "a&lt;b");
    let again = bed.ok("CreateNetworkInterface", &rest).await;
    assert_eq!(text(&again, "networkInterfaceId"), eni);

    let rest = format!(
        "NetworkInterfaceId={eni}&InstanceId={}&DeviceIndex=1&NetworkCardIndex=0",
        bed.instance
    );
    let attachment = text(&bed.ok("AttachNetworkInterface", &rest).await, "attachmentId");
    let rest = format!(
        "NetworkInterfaceId={eni}&Attachment.AttachmentId={attachment}&Attachment.DeleteOnTermination=true"
    );
    bed.ok("ModifyNetworkInterfaceAttribute", &rest).await;
    let xml = bed
        .ok(
            "DescribeNetworkInterfaces",
            &format!("Filter.1.Name=attachment.instance-id&Filter.1.Value.1={}", bed.instance),
        )
        .await;
    assert_eq!(texts(&xml, "networkInterfaceId").len(), 2);
    assert_eq!(texts(&xml, "deleteOnTermination"), ["true", "true"]);

    bed.ok("DetachNetworkInterface", &format!("AttachmentId={attachment}")).await;
    bed.ok("DeleteNetworkInterface", &format!("NetworkInterfaceId={eni}")).await;
    let message = bed
        .refused(
            "DescribeNetworkInterfaces",
            &format!("NetworkInterfaceId.1={eni}"),
            400,
            "InvalidNetworkInterfaceID.NotFound",
        )
        .await;
    assert_eq!(message, format!("The networkInterface ID '{eni}' does not exist"));
}
