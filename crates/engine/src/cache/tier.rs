//! Values at sequences of tokens, of which the one used longest ago goes first.

use super::radix::Radix;

/// One tier of a cache. Who owns it decides when it is too full.
#[derive(Debug)]
pub(crate) struct Tier<V> {
    tree: Radix<Entry<V>>,
    /// Counts uses.
    clock: u64,
    value_bytes: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: u64,
    /// Unique: the clock when it was last used.
    last_used: u64,
}

impl<V> Tier<V> {
    pub(crate) fn new() -> Self {
        Self {
            tree: Radix::new(),
            clock: 0,
            value_bytes: 0,
        }
    }

    /// What values and sequences take.
    pub(crate) fn bytes(&self) -> u64 {
        self.value_bytes + 4 * self.tree.tokens() as u64
    }

    /// The value at the longest beginning of a sequence that is accepted by its length, which counts as a use of it.
    pub(crate) fn find(
        &mut self,
        sequence: &[u32],
        accepts: impl Fn(usize, &V) -> bool,
    ) -> Option<(usize, &mut V)> {
        self.clock += 1;
        let accepts = |length, entry: &Entry<V>| accepts(length, &entry.value);
        let (length, entry) = self.tree.longest(sequence, accepts)?;
        entry.last_used = self.clock;
        Some((length, &mut entry.value))
    }

    /// Puts a value at a sequence, in the place of the one that was there.
    pub(crate) fn insert(&mut self, sequence: &[u32], value: V, bytes: u64) -> Option<V> {
        self.clock += 1;
        let entry = Entry {
            value,
            bytes,
            last_used: self.clock,
        };
        self.value_bytes += bytes;
        let replaced = self.tree.insert(sequence, entry)?;
        Some(self.forget(replaced))
    }

    /// Takes out what was used longest ago.
    pub(crate) fn pop_oldest(&mut self) -> Option<(Vec<u32>, V)> {
        let oldest = self.tree.values().map(|entry| entry.last_used).min()?;
        self.remove(|entry| entry.last_used == oldest)
    }

    /// Takes out the value at this very sequence.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn take(&mut self, sequence: &[u32]) -> Option<V> {
        let used = self.tree.get_mut(sequence)?.last_used;
        self.remove(|entry| entry.last_used == used)
            .map(|(_, value)| value)
    }

    fn remove(&mut self, is_wanted: impl Fn(&Entry<V>) -> bool) -> Option<(Vec<u32>, V)> {
        let (sequence, entry) = self.tree.remove(is_wanted)?;
        Some((sequence, self.forget(entry)))
    }

    fn forget(&mut self, entry: Entry<V>) -> V {
        self.value_bytes -= entry.bytes;
        entry.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut tier = Tier::new();
        for (value, sequence) in [[1, 2, 3], [1, 2, 4], [1, 5, 6]].iter().enumerate() {
            assert_eq!(tier.insert(sequence, value, 100), None);
        }
        assert_eq!(tier.bytes(), 300 + 4 * 6);
        assert_eq!(tier.find(&[1, 2, 3, 9], |_, _| true), Some((3, &mut 0)));
        assert_eq!(tier.insert(&[1, 2, 4], 7, 50), Some(1));
        let out = std::iter::from_fn(|| tier.pop_oldest());
        let out: Vec<_> = out.collect();
        assert_eq!(
            out,
            [(vec![1, 5, 6], 2), (vec![1, 2, 3], 0), (vec![1, 2, 4], 7)]
        );
        assert_eq!(tier.bytes(), 0);
    }
}
