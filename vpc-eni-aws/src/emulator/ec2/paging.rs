//! `MaxResults` and `NextToken`.

use std::ops::RangeInclusive;

use vpc_ipam_core::testkit::ec2::{Ec2Error, code};

use crate::emulator::form::Form;

/// Start of a token; the rest is the key that the page before ended with.
const TOKEN_PREFIX: &str = "after:";

/// Which page is wanted.
#[derive(Debug)]
pub(super) struct Paging {
    size: Option<u32>,
    sizes: RangeInclusive<u32>,
    token: Option<String>,
}

impl Paging {
    /// Reads the two parameters; `sizes` are those that EC2 takes.
    pub(super) fn read(form: &mut Form, sizes: RangeInclusive<u32>) -> Result<Self, Ec2Error> {
        Ok(Self { size: form.value("MaxResults")?, sizes, token: form.text("NextToken") })
    }

    /// The page, sorted by the items' keys, and the token of the next one.
    pub(super) fn page<T>(
        &self,
        mut items: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> Result<(Vec<T>, Option<String>), Ec2Error> {
        let size = self.size.unwrap_or(*self.sizes.end());
        if !self.sizes.contains(&size) {
            return Err(Ec2Error::invalid_value(format!(
                "Value ( {size} ) for parameter maxResults is invalid. Expecting a value from {} to {}.",
                self.sizes.start(),
                self.sizes.end()
            )));
        }
        items.sort_by_cached_key(&key);
        if let Some(token) = &self.token {
            // Keys of things that have gone since are as good as any.
            let after = token.strip_prefix(TOKEN_PREFIX).filter(|key| !key.is_empty());
            let after = after.ok_or_else(|| {
                Ec2Error::new(code::INVALID_NEXT_TOKEN, "The specified NextToken is not valid.")
            })?;
            items.retain(|item| key(item).as_str() > after);
        }
        let more = items.len() > size as usize;
        items.truncate(size as usize);
        let next = items.last().filter(|_| more).map(|last| format!("{TOKEN_PREFIX}{}", key(last)));
        Ok((items, next))
    }
}

/// For calls where ids and `MaxResults` exclude each other.
impl Paging {
    /// Refuses a page size beside ids.
    pub(super) fn not_with(&self, name: &str, ids: &[impl Sized]) -> Result<(), Ec2Error> {
        if self.size.is_some() && !ids.is_empty() {
            return Err(Ec2Error::invalid_combination(format!(
                "The parameter {name} cannot be used with the parameter maxResults"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn paging(query: &str) -> Paging {
        Paging::read(&mut Form::parse(query.as_bytes()).unwrap(), 2..=5).unwrap()
    }

    fn page(query: &str) -> Result<(Vec<u32>, Option<String>), Ec2Error> {
        paging(query).page(vec![3, 1, 2, 5, 4, 6, 7], u32::to_string)
    }

    #[test]
    fn pages_follow_each_other_and_end() {
        let (first, token) = page("MaxResults=4").unwrap();
        assert_eq!(first, [1, 2, 3, 4]);
        let rest = format!("MaxResults=4&NextToken={}", token.unwrap());
        assert_eq!(page(&rest).unwrap(), (vec![5, 6, 7], None));
        assert_eq!(page("").unwrap().0.len(), 5);
    }

    #[test]
    fn sizes_and_tokens_of_ones_own_making_are_refused() {
        for (query, code) in [
            ("MaxResults=1", code::INVALID_PARAMETER_VALUE),
            ("MaxResults=6", code::INVALID_PARAMETER_VALUE),
            ("NextToken=5", code::INVALID_NEXT_TOKEN),
            ("NextToken=after:", code::INVALID_NEXT_TOKEN),
        ] {
            assert_eq!(page(query).unwrap_err().code, code, "{query}");
        }
        assert!(paging("MaxResults=2").not_with("ids", &[1]).is_err());
        assert!(paging("MaxResults=2").not_with("ids", &[0; 0]).is_ok());
    }
}
