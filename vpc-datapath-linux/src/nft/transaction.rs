//! Changes that happen together or not at all.

use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::nftables::NfTablesMessageType as Type;

use super::{
    attr::{be32, text},
    chain::{Chain, Table},
    rule::Rule,
    set::{Element, Set},
};

const TABLE_NAME: u16 = 1;
pub(super) const OBJ_TABLE: u16 = 1;
pub(super) const OBJ_NAME: u16 = 2;
pub(super) const OBJ_TYPE: u16 = 3;
pub(super) const OBJ_DATA: u16 = 4;
pub(super) const OBJ_TYPE_COUNTER: u32 = 1;
/// Elements in one message: an attribute holds 64 KiB, an element of two 16-byte keys with a verdict
/// takes about 100 bytes.
const ELEMENTS_PER_MESSAGE: usize = 400;

/// One change of a transaction.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) label: String,
    pub(super) family: u8,
    pub(super) kind: Type,
    pub(super) flags: u16,
    pub(super) attributes: Vec<DefaultNla>,
}

/// Changes to tables, chains, rules, sets and counters, carried out in order, all or none.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    pub(super) ops: Vec<Op>,
    sets: u32,
}

impl Transaction {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// True without any change.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// What the changes are, in order, for logs.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.ops.iter().map(|op| op.label.as_str())
    }

    fn push(
        &mut self,
        label: String,
        table: &Table,
        kind: Type,
        flags: u16,
        attributes: Vec<DefaultNla>,
    ) -> &mut Self {
        self.ops.push(Op { label, family: table.family.number(), kind, flags, attributes });
        self
    }

    /// Makes a table unless it is there.
    pub fn add_table(&mut self, table: &Table) -> &mut Self {
        let label = format!("add table {}", table.name);
        let name = vec![text(TABLE_NAME, &table.name)];
        self.push(label, table, Type::NewTable, NLM_F_CREATE, name)
    }

    /// Deletes a table with all that is in it.
    pub fn delete_table(&mut self, table: &Table) -> &mut Self {
        let label = format!("delete table {}", table.name);
        let name = vec![text(TABLE_NAME, &table.name)];
        self.push(label, table, Type::DeleteTable, 0, name)
    }

    /// Makes a chain unless it is there.
    pub fn add_chain(&mut self, table: &Table, chain: &Chain) -> &mut Self {
        let label = format!("add chain {}", chain.name);
        self.push(label, table, Type::NewChain, NLM_F_CREATE, chain.encode(&table.name))
    }

    /// Deletes a chain that nothing leads to, with its rules.
    pub fn delete_chain(&mut self, table: &Table, chain: &str) -> &mut Self {
        let label = format!("delete chain {chain}");
        self.push(label, table, Type::DeleteChain, 0, Chain::name_only(&table.name, chain))
    }

    /// Deletes all rules of a chain.
    pub fn flush_chain(&mut self, table: &Table, chain: &str) -> &mut Self {
        let label = format!("flush chain {chain}");
        self.push(label, table, Type::DeleteRule, 0, Rule::reference(&table.name, chain, None))
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, table: &Table, chain: &str, rule: &Rule) -> &mut Self {
        let label = format!("add rule to chain {chain}");
        let flags = NLM_F_CREATE | NLM_F_APPEND;
        self.push(label, table, Type::NewRule, flags, rule.encode(&table.name, chain))
    }

    /// Puts a rule at the head of a chain.
    pub fn insert_rule(&mut self, table: &Table, chain: &str, rule: &Rule) -> &mut Self {
        let label = format!("insert rule into chain {chain}");
        self.push(label, table, Type::NewRule, NLM_F_CREATE, rule.encode(&table.name, chain))
    }

    /// Deletes one rule.
    pub fn delete_rule(&mut self, table: &Table, chain: &str, handle: u64) -> &mut Self {
        let label = format!("delete rule {handle} of chain {chain}");
        let reference = Rule::reference(&table.name, chain, Some(handle));
        self.push(label, table, Type::DeleteRule, 0, reference)
    }

    /// Makes a set or map unless it is there.
    pub fn add_set(&mut self, table: &Table, set: &Set) -> &mut Self {
        self.sets += 1;
        let attributes = set.encode(&table.name, self.sets);
        let label = format!("add set {}", set.name);
        self.push(label, table, Type::NewSet, NLM_F_CREATE, attributes)
    }

    /// Deletes a set that no rule uses.
    pub fn delete_set(&mut self, table: &Table, set: &str) -> &mut Self {
        let label = format!("delete set {set}");
        self.push(label, table, Type::DeleteSet, 0, Set::name_only(&table.name, set))
    }

    /// Deletes all elements of a set.
    pub fn flush_set(&mut self, table: &Table, set: &str) -> &mut Self {
        let label = format!("flush set {set}");
        let list = Element::encode_list(&table.name, set, &[]);
        self.push(label, table, Type::DeleteSetElement, 0, list)
    }

    /// Adds elements to a set. One that is there already is fine, unless its verdict differs.
    pub fn add_elements(&mut self, table: &Table, set: &str, elements: &[Element]) -> &mut Self {
        for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let label = format!("add {} element(s) to set {set}", chunk.len());
            let list = Element::encode_list(&table.name, set, chunk);
            self.push(label, table, Type::NewSetElement, NLM_F_CREATE, list);
        }
        self
    }

    /// Deletes elements of a set, all of which must be there.
    pub fn delete_elements(&mut self, table: &Table, set: &str, elements: &[Element]) -> &mut Self {
        for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let label = format!("delete {} element(s) of set {set}", chunk.len());
            // The kernel finds an element by its key alone.
            let keys: Vec<_> =
                chunk.iter().map(|e| Element { verdict: None, ..e.clone() }).collect();
            let list = Element::encode_list(&table.name, set, &keys);
            self.push(label, table, Type::DeleteSetElement, 0, list);
        }
        self
    }

    /// Makes a counter with a name of its own, unless it is there.
    pub fn add_counter(&mut self, table: &Table, name: &str) -> &mut Self {
        let attributes = vec![
            text(OBJ_TABLE, &table.name),
            text(OBJ_NAME, name),
            be32(OBJ_TYPE, OBJ_TYPE_COUNTER),
            super::attr::nested(OBJ_DATA, &[]),
        ];
        let label = format!("add counter {name}");
        self.push(label, table, Type::NewObject, NLM_F_CREATE, attributes)
    }

    /// Deletes a counter that no rule uses.
    pub fn delete_counter(&mut self, table: &Table, name: &str) -> &mut Self {
        let attributes = vec![
            text(OBJ_TABLE, &table.name),
            text(OBJ_NAME, name),
            be32(OBJ_TYPE, OBJ_TYPE_COUNTER),
        ];
        let label = format!("delete counter {name}");
        self.push(label, table, Type::DeleteObject, 0, attributes)
    }

    /// Makes the last change fail if its object exists already.
    pub fn exclusively(&mut self) -> &mut Self {
        if let Some(op) = self.ops.last_mut() {
            op.flags |= NLM_F_EXCL;
        }
        self
    }
}
