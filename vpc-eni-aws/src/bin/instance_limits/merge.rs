//! One row per type, from all regions.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::limits::Facts;

/// Two rows for one type.
#[derive(Debug, Eq, Error, PartialEq)]
pub(crate) enum Conflict {
    /// Between regions. A node could not tell which one is its own.
    #[error(
        "{} is described differently in {one_region} and {other_region}; one of the two is wrong:\
         \n  {one_region}: {one:?}\n  {other_region}: {other:?}", .one.name
    )]
    Regions { one_region: String, one: Facts, other_region: String, other: Facts },
    /// EC2 began to describe a type.
    #[error(
        "{} is in the list of unpublished types, and {region} describes it otherwise; remove it \
         from the list if EC2 is right:\n  {region}: {described:?}\n  list: {listed:?}", .listed.name
    )]
    Unpublished { region: String, described: Facts, listed: Facts },
}

/// Rows by name, each with the region that had it first.
#[derive(Debug, Default)]
pub(crate) struct Merged(BTreeMap<String, (String, Facts)>);

impl Merged {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// A row of `region`, which must be like that of every other region.
    pub(crate) fn add(&mut self, region: &str, facts: Facts) -> Result<(), Box<Conflict>> {
        match self.0.get(&facts.name) {
            None => {
                self.0.insert(facts.name.clone(), (region.to_owned(), facts));
                Ok(())
            }
            Some((_, same)) if *same == facts => Ok(()),
            Some((one_region, one)) => Err(Box::new(Conflict::Regions {
                one_region: one_region.clone(),
                one: one.clone(),
                other_region: region.to_owned(),
                other: facts,
            })),
        }
    }

    /// Rows that EC2 does not describe.
    pub(crate) fn add_unpublished(
        &mut self,
        listed: impl IntoIterator<Item = Facts>,
    ) -> Result<(), Box<Conflict>> {
        for listed in listed {
            match self.0.get(&listed.name) {
                None => {
                    self.0.insert(listed.name.clone(), (String::new(), listed));
                }
                Some((_, described)) if *described == listed => {}
                Some((region, described)) => {
                    let (region, described) = (region.clone(), described.clone());
                    return Err(Box::new(Conflict::Unpublished { region, described, listed }));
                }
            }
        }
        Ok(())
    }

    /// The rows, sorted by name.
    pub(crate) fn into_rows(self) -> impl Iterator<Item = Facts> {
        self.0.into_values().map(|(_, facts)| facts)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::entry::example;

    #[test]
    fn regions_add_up_and_rows_are_sorted() {
        let mut merged = Merged::default();
        for (region, name) in [("b", "m5.xlarge"), ("b", "m5.large"), ("a", "m5.large")] {
            merged.add(region, example(name, &[3], 10)).unwrap();
        }
        merged
            .add_unpublished([example("c1.old", &[2], 6), example("m5.large", &[3], 10)])
            .unwrap();
        assert_eq!(merged.len(), 3);
        let names: Vec<_> = merged.into_rows().map(|facts| facts.name).collect();
        assert_eq!(names, ["c1.old", "m5.large", "m5.xlarge"]);
    }

    #[test]
    fn regions_that_disagree_are_both_shown() {
        let mut merged = Merged::default();
        merged.add("eu-north-1", example("m5.large", &[3], 10)).unwrap();
        let error = merged.add("sa-east-1", example("m5.large", &[4], 15)).unwrap_err().to_string();
        for word in ["m5.large", "eu-north-1: ", "sa-east-1: ", "[3]", "[4]", "10", "15"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_listed_type_that_ec2_describes_otherwise_is_an_error() {
        let mut merged = Merged::default();
        merged.add("eu-north-1", example("p3.16xlarge", &[8], 30)).unwrap();
        let listed = example("p3.16xlarge", &[8], 31);
        let error = merged.add_unpublished([listed]).unwrap_err().to_string();
        assert!(error.contains("remove it") && error.contains("eu-north-1"), "{error}");
    }
}
