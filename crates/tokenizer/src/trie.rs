//! A compact byte trie that finds the longest token at the beginning of a text.
//!
//! Nodes are numbered breadth first, so the children of a node are neighbours, sorted by their byte: a node needs no
//! more than the number of its first child and how many there are. The first two levels, where nodes have hundreds of
//! children, are tables indexed by the bytes themselves.

use std::ops::Range;

/// Stands for "no token" and "no node".
const NONE: u32 = u32::MAX;

/// The root's number.
const ROOT: usize = 0;

/// Longest-match search over a fixed set of byte strings.
pub(crate) struct Trie {
    /// In breadth-first order; node 0 is the root.
    nodes: Vec<Node>,
    /// The byte that leads to each node from its parent; `bytes[0]` (the root's) means nothing.
    bytes: Vec<u8>,
    /// The token of each single byte, or `NONE`.
    token_of_byte: [u32; 256],
    /// The node of each pair of bytes (first byte is the high one), or `NONE`.
    node_of_pair: Vec<u32>,
}

struct Node {
    first_child: u32,
    /// Up to 256.
    children: u16,
    /// The token that ends here, or `NONE`.
    token: u32,
}

/// Two tokens that stand for the same bytes.
#[derive(Debug, PartialEq)]
pub(crate) struct Duplicate {
    pub(crate) first: u32,
    pub(crate) second: u32,
}

impl Trie {
    /// Builds the trie of `(bytes, token)` entries.
    ///
    /// Uses at most 13 bytes for each byte of the entries, besides the fixed tables. The caller limits the entries to
    /// less than 4 GiB of bytes.
    pub(crate) fn build(mut entries: Vec<(&[u8], u32)>) -> Result<Self, Duplicate> {
        entries.sort_unstable();
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Duplicate {
                first: pair[0].1,
                second: pair[1].1,
            });
        }
        let mut trie = Self {
            nodes: vec![Node {
                first_child: 1,
                children: 0,
                token: NONE,
            }],
            bytes: vec![0],
            token_of_byte: [NONE; 256],
            node_of_pair: vec![NONE; 256 * 256],
        };
        trie.grow(&entries);
        trie.fill_tables();
        Ok(trie)
    }

    /// The longest token at the beginning of `text`, and its length in bytes.
    pub(crate) fn longest_match(&self, text: &[u8]) -> Option<(u32, usize)> {
        let (&first, rest) = text.split_first()?;
        let single = match self.token_of_byte[usize::from(first)] {
            NONE => None,
            token => Some((token, 1)),
        };
        let Some((&second, rest)) = rest.split_first() else {
            return single;
        };
        match self.node_of_pair[pair_index(first, second)] {
            NONE => single,
            node => self.longest_match_below(node as usize, rest).or(single),
        }
    }

    /// The longest token on the way down from `node` (at depth two) along `rest`.
    #[inline]
    fn longest_match_below(&self, mut node: usize, rest: &[u8]) -> Option<(u32, usize)> {
        let mut longest = self.token_at(node).map(|token| (token, 2));
        for (depth, &byte) in rest.iter().enumerate() {
            let Some(child) = self.child(node, byte) else {
                break;
            };
            node = child;
            if let Some(token) = self.token_at(node) {
                longest = Some((token, depth + 3));
            }
        }
        longest
    }

    fn token_at(&self, node: usize) -> Option<u32> {
        Some(self.nodes[node].token).filter(|&token| token != NONE)
    }

    fn child(&self, node: usize, byte: u8) -> Option<usize> {
        let children = self.children(node);
        let position = self.bytes[children.clone()].binary_search(&byte).ok()?;
        Some(children.start + position)
    }

    fn children(&self, node: usize) -> Range<usize> {
        let Node {
            first_child,
            children,
            ..
        } = self.nodes[node];
        first_child as usize..first_child as usize + usize::from(children)
    }

    /// Adds all nodes, a level at a time, from entries that are sorted and distinct.
    fn grow(&mut self, entries: &[(&[u8], u32)]) {
        // For each node of the current level, in order: the entries that pass through it.
        let mut level = vec![entries];
        let mut node = ROOT;
        for depth in 0.. {
            let mut next_level = Vec::new();
            for entries in level {
                let deeper = self.take_token(node, depth, entries);
                self.nodes[node].first_child = self.nodes.len() as u32;
                for child in deeper.chunk_by(|a, b| a.0[depth] == b.0[depth]) {
                    self.nodes[node].children += 1;
                    self.nodes.push(Node {
                        first_child: 0,
                        children: 0,
                        token: NONE,
                    });
                    self.bytes.push(child[0].0[depth]);
                    next_level.push(child);
                }
                node += 1;
            }
            if next_level.is_empty() {
                return;
            }
            level = next_level;
        }
    }

    /// Gives `node` the token that ends there, which sorts first, and returns the entries that go deeper.
    fn take_token<'e, 'b>(
        &mut self,
        node: usize,
        depth: usize,
        entries: &'e [(&'b [u8], u32)],
    ) -> &'e [(&'b [u8], u32)] {
        match entries.split_first() {
            Some((&(bytes, token), deeper)) if bytes.len() == depth => {
                self.nodes[node].token = token;
                deeper
            }
            _ => entries,
        }
    }

    fn fill_tables(&mut self) {
        for single in self.children(ROOT) {
            let first = self.bytes[single];
            self.token_of_byte[usize::from(first)] = self.nodes[single].token;
            for pair in self.children(single) {
                self.node_of_pair[pair_index(first, self.bytes[pair])] = pair as u32;
            }
        }
    }
}

fn pair_index(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    fn trie(tokens: &[&[u8]]) -> Trie {
        Trie::build(tokens.iter().copied().zip(0..).collect()).unwrap()
    }

    #[test]
    fn finds_the_longest_token_even_past_gaps() {
        let trie = trie(&[b"a", b"abcd", b"b", b"ab"]);
        assert_eq!(trie.longest_match(b"abcd"), Some((1, 4)));
        assert_eq!(trie.longest_match(b"abcx"), Some((3, 2)));
        assert_eq!(trie.longest_match(b"ax"), Some((0, 1)));
        assert_eq!(trie.longest_match(b"a"), Some((0, 1)));
        assert_eq!(trie.longest_match(b"cab"), None);
        assert_eq!(trie.longest_match(b""), None);
    }

    #[test]
    fn a_long_token_alone_matches_only_whole() {
        let trie = trie(&[b"xyz"]);
        assert_eq!(trie.longest_match(b"xy"), None);
        assert_eq!(trie.longest_match(b"xyzz"), Some((0, 3)));
    }

    #[test]
    fn an_empty_trie_matches_nothing() {
        assert_eq!(trie(&[]).longest_match(b"abc"), None);
    }

    #[test]
    fn names_both_tokens_of_the_same_bytes() {
        let entries: Vec<(&[u8], u32)> = vec![(b"b", 7), (b"a", 3), (b"b", 5)];
        assert_eq!(
            Trie::build(entries).err(),
            Some(Duplicate {
                first: 5,
                second: 7
            })
        );
    }

    /// The definition, word for word.
    fn longest_match_naive(tokens: &[Vec<u8>], text: &[u8]) -> Option<(u32, usize)> {
        let matching = tokens
            .iter()
            .zip(0..)
            .filter(|(token, _)| text.starts_with(token));
        matching
            .max_by_key(|(token, _)| token.len())
            .map(|(token, id)| (id, token.len()))
    }

    /// Few distinct bytes, so that tokens share prefixes and texts hit them; 0 and 255 are the ends of the tables.
    fn byte() -> impl Strategy<Value = u8> {
        prop::sample::select(vec![0, b'a', b'b', 255])
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_search(
            tokens in btree_set(vec(byte(), 1..7), 0..60),
            text in vec(byte(), 0..80),
        ) {
            let tokens: Vec<Vec<u8>> = tokens.into_iter().collect();
            let trie = Trie::build(tokens.iter().map(Vec::as_slice).zip(0..).collect()).unwrap();
            for start in 0..=text.len() {
                prop_assert_eq!(trie.longest_match(&text[start..]), longest_match_naive(&tokens, &text[start..]));
            }
        }
    }
}
