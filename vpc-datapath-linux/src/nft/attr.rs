//! Netlink attributes of nf_tables in both directions. Numbers are big-endian here, unlike in
//! rtnetlink.

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NlasIterator};

pub(super) fn bytes(kind: u16, value: &[u8]) -> DefaultNla {
    DefaultNla::new(kind, value.to_vec())
}

pub(super) fn text(kind: u16, value: &str) -> DefaultNla {
    let mut value = value.as_bytes().to_vec();
    value.push(0);
    DefaultNla::new(kind, value)
}

pub(super) fn be32(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}

pub(super) fn be64(kind: u16, value: u64) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}

pub(super) fn nested(kind: u16, attributes: &[DefaultNla]) -> DefaultNla {
    let mut value = vec![0; attributes.buffer_len()];
    attributes.emit(&mut value);
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

/// Attributes as received; looked up by number, unknown ones are ignored.
#[derive(Clone, Debug, Default)]
pub(super) struct Attrs<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Attrs<'a> {
    /// Reads attributes up to the first malformed one.
    pub(super) fn parse(mut payload: &'a [u8]) -> Self {
        let mut all = Vec::new();
        // The iterator's items borrow from the iterator's own copy, so take ranges of our slice.
        while let Some(Ok(attribute)) = NlasIterator::new(payload).next() {
            let len = usize::from(attribute.length());
            let Some(value) = payload.get(4..len) else { break };
            all.push((attribute.kind(), value));
            payload = payload.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        }
        Self(all)
    }

    pub(super) fn bytes(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.iter().find(|(k, _)| *k == kind).map(|(_, value)| *value)
    }

    pub(super) fn text(&self, kind: u16) -> Option<String> {
        let value = self.bytes(kind)?;
        let value = value.strip_suffix(&[0]).unwrap_or(value);
        Some(String::from_utf8_lossy(value).into_owned())
    }

    pub(super) fn be32(&self, kind: u16) -> Option<u32> {
        self.bytes(kind)?.first_chunk().map(|b| u32::from_be_bytes(*b))
    }

    pub(super) fn be64(&self, kind: u16) -> Option<u64> {
        self.bytes(kind)?.first_chunk().map(|b| u64::from_be_bytes(*b))
    }

    pub(super) fn nested(&self, kind: u16) -> Option<Self> {
        self.bytes(kind).map(Self::parse)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = [be32(1, 7), text(2, "abc"), nested(3, &[be64(1, 9)]), bytes(4, &[1, 2, 3])];
        let mut buf = vec![0; all.as_slice().buffer_len()];
        all.as_slice().emit(&mut buf);
        let read = Attrs::parse(&buf);
        assert_eq!(read.be32(1), Some(7));
        assert_eq!(read.text(2).as_deref(), Some("abc"));
        assert_eq!(read.nested(3).unwrap().be64(1), Some(9));
        assert_eq!(read.bytes(4), Some(&[1, 2, 3][..]));
        assert_eq!(read.bytes(5), None);
        for cut in 0..buf.len() {
            let _ = Attrs::parse(buf.get(..cut).unwrap());
        }
    }
}
