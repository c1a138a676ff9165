//! The state files of a node with several cards: one each, whole or as changes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use super::bench::*;
use crate::{
    checkpoint::{self, Changes, Checkpoint},
    driver::{Driver, Job},
    node::Node,
    pool::{Action, Event},
    store::{Store, StoreError, Takes},
    testkit::{FakeDatapath, ModelCloud, ec2::WorldConfig},
};

/// A store that takes changes from its second write on.
#[derive(Default)]
struct Journaled(Mutex<(Option<Checkpoint>, u32)>);

impl Store for Journaled {
    fn load(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.lock().unwrap().0.as_ref().map(checkpoint::encode))
    }

    fn save(&self, content: &[u8]) -> Result<(), StoreError> {
        self.0.lock().unwrap().0 = Some(checkpoint::decode(content).unwrap());
        Ok(())
    }

    fn takes(&self) -> Takes {
        match self.0.lock().unwrap().0 {
            Some(_) => Takes::Changes,
            None => Takes::WholeWithReserve,
        }
    }

    fn append(&self, changes: &[u8]) -> Result<(), StoreError> {
        let (file, appended) = &mut *self.0.lock().unwrap();
        file.as_mut().unwrap().apply(Changes::decode(changes).unwrap());
        *appended += 1;
        Ok(())
    }

    fn set_aside(&self) -> Result<String, StoreError> {
        Err(StoreError::new("", "not in this test"))
    }
}

struct Files {
    driver: Driver,
    stores: BTreeMap<u32, Arc<Journaled>>,
}

impl Files {
    fn new(cards: &[u32]) -> Self {
        let world = WorldConfig::new("10.0.0.0/16".parse().unwrap())
            .subnet("10.0.0.0/24".parse().unwrap())
            .instance(0, "p4d.24xlarge")
            .build()
            .unwrap();
        let instance = world.instances()[0].id.clone();
        let cloud = Arc::new(ModelCloud::new(Arc::new(Mutex::new(world)), instance));
        let stores: BTreeMap<u32, Arc<Journaled>> =
            cards.iter().map(|card| (*card, Arc::default())).collect();
        let node = Node::new(configs(cards, 6), START).unwrap();
        let store = |card| -> Arc<dyn Store> { stores[&card].clone() };
        let driver = Driver::for_node(node, cloud, Arc::new(FakeDatapath::new()), store);
        let mut files = Self { driver, stores };
        files.run();
        files
    }

    fn run(&mut self) {
        while let Some((_, job)) = self.driver.next_job(START) {
            let event = match job {
                Job::Blocking(call) => call(),
                Job::Cloud(mut future) => {
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    match future.as_mut().poll(&mut context) {
                        std::task::Poll::Ready(event) => event,
                        std::task::Poll::Pending => panic!("the model answers at once"),
                    }
                }
            };
            self.driver.handle(event, START);
        }
        while self.driver.node_mut().poll_reply().is_some() {}
    }

    /// What a restart would find of a card, claims aside.
    fn on_disk(&self, card: u32) -> Checkpoint {
        let content = self.stores[&card].load().unwrap();
        let mut file =
            content.map_or_else(Checkpoint::default, |c| checkpoint::decode(&c).unwrap());
        file.unreserve();
        file
    }

    fn appended(&self, card: u32) -> u32 {
        self.stores[&card].0.lock().unwrap().1
    }
}

#[test]
fn each_card_appends_to_its_own_file_what_its_own_file_has_claimed() {
    let cards = [0, 2];
    let mut files = Files::new(&cards);
    for n in 0..3 {
        files.driver.node_mut().assign_on_every_card(key(n), pod(n), START).unwrap();
        files.run();
        for card in cards {
            let file = files.on_disk(card);
            assert_eq!(file, files.driver.node().checkpoint(card), "card {card}, pod {n}");
            assert_eq!(file.leases.iter().filter(|lease| lease.interfaces == 2).count(), {
                file.leases.len()
            });
        }
    }
    files.driver.node_mut().release(&key(1), START).unwrap();
    files.run();
    for card in cards {
        assert_eq!(files.on_disk(card), files.driver.node().checkpoint(card));
        assert!(files.appended(card) > 0, "card {card} was always written as a whole");
    }
    let leases = |card| files.on_disk(card).leases;
    assert!(leases(0).iter().all(|lease| leases(2).iter().all(|other| other.ip != lease.ip)));
}

#[test]
fn a_card_that_has_no_file_is_told_so() {
    let mut files = Files::new(&[0, 2]);
    let job = files.driver.job(Action::Persist { op: crate::id::OpId(7), card: 1 });
    let Job::Blocking(call) = job else { panic!("a write of a file") };
    let Event::Persisted { result: Err(error), .. } = call() else { panic!("there is none") };
    assert!(error.to_string().contains("network card 1 is not managed"), "{error}");
}
