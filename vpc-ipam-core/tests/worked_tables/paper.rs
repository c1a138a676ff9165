//! A node on paper: a few numbers per ENI, changed as the plan says.

use vpc_ipam_core::{
    addr::Prefix,
    config::{AllocationMode, PoolConfig},
    id::EniId,
    plan::{EniView, Growth, Plan, Shrink, View, plan},
    time::Time,
};

use crate::{Shape, rows::Row};

/// Old enough for every ENI to go.
pub(crate) const NOW: Time = Time::from_millis(10_000_000);
/// Plans that may follow each other without a pod coming or going.
const PLANS_MAX: usize = 10;

#[derive(Clone, Debug)]
pub(crate) struct Paper {
    pub(crate) config: PoolConfig,
    /// By device: secondary addresses or prefixes, and pods, which fill the first of them.
    pub(crate) enis: Vec<(u64, u64)>,
    pub(crate) waiting: u64,
}

/// The row, pod by pod.
pub(crate) fn at_rest(row: &Row) -> Shape {
    let mut paper = Paper { config: row.config(), enis: vec![(0, 0)], waiting: 0 };
    paper.settle();
    for _ in 0..row.pods {
        paper.waiting = 1;
        paper.settle();
        paper.place();
        paper.settle();
    }
    paper.shape()
}

impl Paper {
    fn per_entry(&self) -> u64 {
        u64::from(self.config.addresses_per_slot())
    }

    pub(crate) fn shape(&self) -> Shape {
        let entries: Vec<u64> = self.enis.iter().map(|(entries, _)| *entries).collect();
        let total = entries.iter().sum::<u64>() * self.per_entry();
        let pods: u64 = self.enis.iter().map(|(_, pods)| pods).sum();
        let used = self.enis.iter().map(|(_, pods)| pods.div_ceil(self.per_entry()));
        let free = entries.iter().sum::<u64>() - used.sum::<u64>();
        Shape { enis: entries, total, available: total - pods, free }
    }

    /// Follows the plan until there is nothing more to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..PLANS_MAX {
            let next = self.plan();
            if next.grow.is_empty() && next.shrink.is_empty() {
                return;
            }
            self.carry_out(&next);
        }
        panic!("no rest after {PLANS_MAX} plans: {self:?}");
    }

    pub(crate) fn plan(&self) -> Plan {
        let mut view = View::default();
        view.enis = (0..self.enis.len()).map(|device| self.eni(device)).collect();
        (view.confirmed, view.waiting) = (true, self.waiting);
        plan(&view, &self.config, NOW)
    }

    /// The pod that waits gets an address, on the fullest ENI that has one.
    fn place(&mut self) {
        let per_entry = self.per_entry();
        let open = self.enis.iter_mut().filter(|(entries, pods)| entries * per_entry > *pods);
        let best = open.rev().max_by_key(|(_, pods)| *pods);
        best.expect("an address for the pod that waits").1 += 1;
        self.waiting = 0;
    }

    fn eni(&self, device: usize) -> EniView {
        let (entries, pods) = self.enis[device];
        let used = pods.div_ceil(self.per_entry());
        let mut eni = EniView::new(id(device), u32::try_from(device).unwrap());
        eni.taken = u32::try_from(entries).unwrap();
        (eni.entries, eni.unleased) = (entries, entries - used);
        (eni.total, eni.assigned, eni.occupied) = (entries * self.per_entry(), pods, pods);
        eni.idle = (used..entries).map(|n| self.cidr(device, n)).collect();
        eni
    }

    fn cidr(&self, device: usize, n: u64) -> Prefix {
        let ip = format!("10.{device}.{n}.0").parse().unwrap();
        let len = if self.config.mode == AllocationMode::Secondary { 32 } else { 28 };
        Prefix::new(ip, len).unwrap()
    }

    fn carry_out(&mut self, plan: &Plan) {
        let device = |eni: &EniId| (0..).find(|n| id(*n) == *eni).unwrap();
        for step in &plan.grow {
            match step {
                Growth::Assign { eni, count } => {
                    self.enis[device(eni)].0 += u64::from(count.slots());
                }
                Growth::Create { count } => self.enis.push((u64::from(count.slots()), 0)),
                other => panic!("{other:?}"),
            }
        }
        for step in &plan.shrink {
            match step {
                // Only the last one, so that the others keep their numbers.
                Shrink::Free { eni } if device(eni) + 1 == self.enis.len() => {
                    self.enis.pop();
                }
                Shrink::Release { eni, cidrs } => {
                    self.enis[device(eni)].0 -= u64::try_from(cidrs.len()).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn id(device: usize) -> EniId {
    EniId::new(&format!("eni-{device}")).unwrap()
}
