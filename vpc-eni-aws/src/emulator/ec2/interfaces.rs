//! Creating, attaching, changing, detaching and deleting ENIs.

use std::collections::BTreeMap;

use vpc_ipam_core::{
    id::EniId,
    testkit::ec2::{
        AttachNetworkInterface, ConnectionTracking, CreateNetworkInterface, DetachNetworkInterface,
        Ec2Error, ModifyNetworkInterfaceAttribute,
    },
};

use super::{
    call::{Call, malformed},
    render,
};

/// What tags at creation may be for.
const ENI_RESOURCE: &str = "network-interface";

impl Call<'_> {
    pub(super) fn create(&mut self) -> Result<(), Ec2Error> {
        let mut request = CreateNetworkInterface::new(self.form.id("SubnetId", malformed::SUBNET)?);
        request.description = self.form.text("Description").unwrap_or_default();
        request.groups = self.form.ids("SecurityGroupId", malformed::GROUP)?;
        request.ipv4 = self.ipv4_request()?;
        request.ipv6_addresses = self.form.value("Ipv6AddressCount")?.unwrap_or(0);
        request.tags = self.creation_tags()?;
        if let Some(kind) = self.form.text("InterfaceType") {
            request.kind = kind.parse()?;
        }
        request.connection_tracking = self.connection_tracking()?;
        request.client_token = self.form.text("ClientToken");
        self.parsed()?;
        let eni = self.world.create_network_interface(&request, self.now)?;
        let world = &*self.world;
        self.xml.element("networkInterface", |x| render::eni(x, world, &eni));
        if let Some(token) = &request.client_token {
            self.xml.text("clientToken", token);
        }
        Ok(())
    }

    pub(super) fn attach(&mut self) -> Result<(), Ec2Error> {
        let eni = self.form.id("NetworkInterfaceId", malformed::ENI)?;
        let instance = self.form.id("InstanceId", malformed::INSTANCE)?;
        let device = self.form.value("DeviceIndex")?;
        let card = self.form.value("NetworkCardIndex")?.unwrap_or(0);
        self.parsed()?;
        let device = device.ok_or_else(|| Ec2Error::missing_parameter("DeviceIndex"))?;
        let request = AttachNetworkInterface { eni, instance, device, card };
        let attachment = self.world.attach_network_interface(&request, self.now)?;
        self.xml.text("attachmentId", attachment);
        self.xml.text("networkCardIndex", card);
        Ok(())
    }

    pub(super) fn modify(&mut self) -> Result<(), Ec2Error> {
        let eni = self.form.id("NetworkInterfaceId", malformed::ENI)?;
        let groups = self.form.ids("SecurityGroupId", malformed::GROUP)?;
        let attachment = self.attachment_change(&eni)?;
        self.parsed()?;
        let request = match (groups.is_empty(), attachment) {
            (true, Some(change)) => change,
            (false, None) => ModifyNetworkInterfaceAttribute::Groups { eni, groups },
            (true, None) => {
                return Err(Ec2Error::invalid_combination("No attributes specified."));
            }
            (false, Some(_)) => {
                return Err(Ec2Error::invalid_combination(
                    "Fields for multiple attribute types specified: attachment, groupSet",
                ));
            }
        };
        self.world.modify_network_interface_attribute(&request, self.now)?;
        self.done();
        Ok(())
    }

    pub(super) fn detach(&mut self) -> Result<(), Ec2Error> {
        let request = DetachNetworkInterface {
            attachment: self.form.required("AttachmentId")?,
            force: self.form.value("Force")?.unwrap_or(false),
        };
        self.parsed()?;
        self.world.detach_network_interface(&request, self.now)?;
        self.done();
        Ok(())
    }

    pub(super) fn delete(&mut self) -> Result<(), Ec2Error> {
        let eni = self.form.id("NetworkInterfaceId", malformed::ENI)?;
        self.parsed()?;
        self.world.delete_network_interface(&eni, self.now)?;
        self.done();
        Ok(())
    }

    /// `TagSpecification.N.{ResourceType,Tag.M.Key,Tag.M.Value}`.
    fn creation_tags(&mut self) -> Result<BTreeMap<String, String>, Ec2Error> {
        let mut tags = BTreeMap::new();
        for mut part in self.form.parts("TagSpecification")? {
            let kind = part.required("ResourceType")?;
            if kind != ENI_RESOURCE {
                let kind: String = kind.chars().take(64).collect();
                return Err(Ec2Error::invalid_value(format!(
                    "'{kind}' is not a valid taggable resource type for this operation."
                )));
            }
            tags.extend(part.tags()?);
            part.finish()?;
        }
        Ok(tags)
    }

    fn connection_tracking(&mut self) -> Result<Option<ConnectionTracking>, Ec2Error> {
        let Some(mut part) = self.form.part("ConnectionTrackingSpecification") else {
            return Ok(None);
        };
        let tracking = ConnectionTracking {
            tcp_established_timeout: part.value("TcpEstablishedTimeout")?,
            udp_stream_timeout: part.value("UdpStreamTimeout")?,
            udp_timeout: part.value("UdpTimeout")?,
        };
        part.finish()?;
        Ok(Some(tracking))
    }

    fn attachment_change(
        &mut self,
        eni: &EniId,
    ) -> Result<Option<ModifyNetworkInterfaceAttribute>, Ec2Error> {
        let Some(mut part) = self.form.part("Attachment") else { return Ok(None) };
        let attachment = part.required("AttachmentId")?;
        let value = part.value("DeleteOnTermination")?;
        part.finish()?;
        let value =
            value.ok_or_else(|| Ec2Error::missing_parameter("Attachment.DeleteOnTermination"))?;
        Ok(Some(ModifyNetworkInterfaceAttribute::DeleteOnTermination {
            eni: eni.clone(),
            attachment,
            value,
        }))
    }
}
