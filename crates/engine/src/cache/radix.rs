//! A tree over sequences of tokens, in which those with a common beginning share it.

use std::collections::BTreeMap;

/// Values at sequences of tokens. A node is where a value is, or where sequences part.
#[derive(Debug)]
pub(super) struct Radix<V> {
    root: Node<V>,
    /// Tokens on all edges: what the sequences themselves take.
    tokens: usize,
}

#[derive(Debug)]
struct Node<V> {
    value: Option<V>,
    /// By the first token of the edge that leads there.
    children: BTreeMap<u32, Edge<V>>,
}

#[derive(Debug)]
struct Edge<V> {
    /// Never empty.
    tokens: Vec<u32>,
    to: Node<V>,
}

impl<V> Node<V> {
    fn new(value: Option<V>) -> Self {
        Self {
            value,
            children: BTreeMap::new(),
        }
    }
}

impl<V> Radix<V> {
    pub(super) fn new() -> Self {
        Self {
            root: Node::new(None),
            tokens: 0,
        }
    }

    /// Tokens that are held, shared ones counted once.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Puts a value at a sequence, and returns the one that was there.
    pub(super) fn insert(&mut self, sequence: &[u32], value: V) -> Option<V> {
        let (mut node, mut rest) = (&mut self.root, sequence);
        while let Some(first) = rest.first() {
            let edge = node.children.entry(*first).or_insert_with(|| {
                self.tokens += rest.len();
                Edge {
                    tokens: rest.to_vec(),
                    to: Node::new(None),
                }
            });
            let common = common_length(&edge.tokens, rest);
            if common < edge.tokens.len() {
                edge.split(common);
            }
            node = &mut edge.to;
            rest = &rest[common..];
        }
        node.value.replace(value)
    }

    /// The value at the longest beginning of a sequence that is accepted, by its length, and that length.
    pub(super) fn longest(
        &mut self,
        sequence: &[u32],
        accepts: impl Fn(usize, &V) -> bool,
    ) -> Option<(usize, &mut V)> {
        let length = self.longest_length(sequence, accepts)?;
        let value = self.get_mut(&sequence[..length])?;
        Some((length, value))
    }

    fn longest_length(
        &self,
        sequence: &[u32],
        accepts: impl Fn(usize, &V) -> bool,
    ) -> Option<usize> {
        let (mut node, mut at, mut longest) = (&self.root, 0, None);
        loop {
            if node.value.as_ref().is_some_and(|value| accepts(at, value)) {
                longest = Some(at);
            }
            let edge = sequence.get(at).and_then(|first| node.children.get(first));
            match edge.filter(|edge| sequence[at..].starts_with(&edge.tokens)) {
                None => return longest,
                Some(edge) => {
                    at += edge.tokens.len();
                    node = &edge.to;
                }
            }
        }
    }

    /// The value at a sequence.
    pub(super) fn get_mut(&mut self, sequence: &[u32]) -> Option<&mut V> {
        let (mut node, mut rest) = (&mut self.root, sequence);
        while let Some(first) = rest.first() {
            let edge = node.children.get_mut(first)?;
            rest = rest.strip_prefix(&edge.tokens[..])?;
            node = &mut edge.to;
        }
        node.value.as_mut()
    }

    /// All values, in no order that matters.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        let mut nodes = vec![&self.root];
        let nodes = std::iter::from_fn(move || {
            let node = nodes.pop()?;
            nodes.extend(node.children.values().map(|edge| &edge.to));
            Some(node)
        });
        nodes.filter_map(|node| node.value.as_ref())
    }

    /// Takes out the first value that is wanted, with its sequence.
    pub(super) fn remove(&mut self, is_wanted: impl Fn(&V) -> bool) -> Option<(Vec<u32>, V)> {
        let mut sequence = Vec::new();
        let value = self
            .root
            .remove(&is_wanted, &mut sequence, &mut self.tokens)?;
        Some((sequence, value))
    }
}

impl<V> Node<V> {
    /// As deep as values follow one another on one sequence, of which tokens are bounded and snapshots far apart.
    fn remove(
        &mut self,
        is_wanted: &impl Fn(&V) -> bool,
        sequence: &mut Vec<u32>,
        tokens: &mut usize,
    ) -> Option<V> {
        if self.value.as_ref().is_some_and(is_wanted) {
            return self.value.take();
        }
        for (first, edge) in &mut self.children {
            let length = sequence.len();
            sequence.extend(&edge.tokens);
            if let Some(value) = edge.to.remove(is_wanted, sequence, tokens) {
                let first = *first;
                self.tidy(first, tokens);
                return Some(value);
            }
            sequence.truncate(length);
        }
        None
    }

    /// After a value was taken from below: removes an edge that leads to nothing, joins one that leads to another alone.
    fn tidy(&mut self, first: u32, tokens: &mut usize) {
        let Some(edge) = self
            .children
            .get_mut(&first)
            .filter(|edge| edge.to.value.is_none())
        else {
            return;
        };
        if edge.to.children.len() <= 1 {
            match edge.to.children.pop_first() {
                Some((_, next)) => {
                    edge.tokens.extend(next.tokens);
                    edge.to = next.to;
                }
                None => {
                    *tokens -= edge.tokens.len();
                    self.children.remove(&first);
                }
            }
        }
    }
}

impl<V> Edge<V> {
    /// Puts a node after the first `at` tokens, at least one.
    fn split(&mut self, at: usize) {
        let tokens = self.tokens.split_off(at);
        let to = std::mem::replace(&mut self.to, Node::new(None));
        self.to.children.insert(tokens[0], Edge { tokens, to });
    }
}

fn common_length(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Few tokens, so that sequences share their beginnings.
    fn sequence() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(0_u32..3, 0..8)
    }

    /// What the shared beginnings of sequences come to.
    fn shared_tokens(map: &BTreeMap<Vec<u32>, usize>) -> usize {
        let beginnings = map
            .keys()
            .flat_map(|key| (1..=key.len()).map(|end| &key[..end]));
        beginnings.collect::<std::collections::BTreeSet<_>>().len()
    }

    proptest! {
        /// Against a plain map: what is inserted is found, the longest beginning first, until it is removed.
        #[test]
        fn agrees_with_a_map(
            changes in prop::collection::vec((sequence(), any::<bool>()), 1..60),
            asked in prop::collection::vec((sequence(), 0_usize..2), 20),
        ) {
            let (mut radix, mut map) = (Radix::new(), BTreeMap::new());
            for (id, (sequence, removes)) in changes.into_iter().enumerate() {
                if removes && map.contains_key(&sequence) {
                    let value = map.remove(&sequence).unwrap();
                    prop_assert_eq!(radix.remove(|v| *v == value), Some((sequence, value)));
                } else {
                    prop_assert_eq!(radix.insert(&sequence, id), map.insert(sequence, id));
                }
                prop_assert_eq!(radix.tokens(), shared_tokens(&map));
            }
            for (sequence, parity) in asked {
                let expected = (0..=sequence.len())
                    .rev()
                    .filter_map(|end| Some((end, *map.get(&sequence[..end])?)))
                    .find(|(length, value)| (length + value) % 2 == parity);
                let found = radix.longest(&sequence, |length, value| (length + value) % 2 == parity);
                prop_assert_eq!(found.map(|(length, value)| (length, *value)), expected);
            }
            let mut values: Vec<usize> = radix.values().copied().collect();
            let mut expected: Vec<usize> = map.into_values().collect();
            values.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(values, expected);
        }
    }
}
