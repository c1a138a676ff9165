//! Journals as bytes: a line that names the file which is extended, and records.
//!
//! A record is its length (4 bytes, little end first), the first 8 bytes of the SHA-1 of what follows,
//! and the changes as JSON. A write that was cut short leaves a tail that is no record.

use sha1::{Digest as _, Sha1};

const VERSION: &str = "vpc-cni-journal/1";
/// Largest record: a write that changes as many leases as the largest nodes have.
const RECORD_MAX: usize = 8 << 20;
const CHECKSUM_LEN: usize = 8;

/// Name of a state file's content.
pub(super) fn hash(content: &[u8]) -> String {
    hex(&Sha1::digest(content))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How the journal of a state file with this hash begins.
pub(super) fn header(hash: &str) -> Vec<u8> {
    format!("{VERSION} {hash}\n").into_bytes()
}

/// `None` for changes that no node has at once.
pub(super) fn record(changes: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(changes.len()).ok().filter(|_| changes.len() <= RECORD_MAX)?;
    let mut record = len.to_le_bytes().to_vec();
    record.extend_from_slice(Sha1::digest(changes).get(..CHECKSUM_LEN)?);
    record.extend_from_slice(changes);
    Some(record)
}

/// The records of a journal, and how many bytes after them are none; `None` if it is not the journal of a
/// state file with this hash.
pub(super) fn records<'a>(journal: &'a [u8], hash: &str) -> Option<(Vec<&'a [u8]>, usize)> {
    let mut rest = journal.strip_prefix(header(hash).as_slice())?;
    let mut records = Vec::new();
    while let Some((record, after)) = first(rest) {
        records.push(record);
        rest = after;
    }
    Some((records, rest.len()))
}

fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, bytes) = bytes.split_first_chunk::<4>()?;
    let (checksum, bytes) = bytes.split_at_checked(CHECKSUM_LEN)?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok().filter(|len| *len <= RECORD_MAX)?;
    let (record, after) = bytes.split_at_checked(len)?;
    (Sha1::digest(record).get(..CHECKSUM_LEN)? == checksum).then_some((record, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Vec<u8> {
        let mut journal = header("cafe");
        for text in ["one", "", "three"] {
            journal.extend(record(text.as_bytes()).unwrap());
        }
        journal
    }

    #[test]
    fn the_header_names_the_file() {
        assert_eq!(hash(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(header("cafe"), b"vpc-cni-journal/1 cafe\n");
        assert_eq!(records(&journal(), "beef"), None);
        let whole: (Vec<&[u8]>, usize) = (vec![b"one", b"", b"three"], 0);
        assert_eq!(records(&journal(), "cafe"), Some(whole));
    }

    #[test]
    fn whatever_happens_to_a_journal_what_is_read_is_a_beginning_of_it() {
        let journal = journal();
        let (whole, _) = records(&journal, "cafe").unwrap();
        let is_beginning = |damaged: &[u8]| match records(damaged, "cafe") {
            Some((read, rest)) => {
                let at = damaged.len() - rest;
                read == whole[..read.len()] && journal[..at] == damaged[..at]
            }
            None => damaged.len() < header("cafe").len() || damaged[..23] != journal[..23],
        };
        for len in 0..journal.len() {
            assert!(is_beginning(&journal[..len]), "cut at {len}");
            for bit in 0..8 {
                let mut damaged = journal.clone();
                damaged[len] ^= 1 << bit;
                assert!(is_beginning(&damaged), "bit {bit} of byte {len}");
            }
        }
    }
}
