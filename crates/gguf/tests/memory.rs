//! Memory of an open file, counted by the allocator: less than twice the file and 16 MiB.
//!
//! A mapped file counts for itself once, as pages that the system may drop; all else is on the heap
//! and counted here, with what is allocated and freed on the way.

#![allow(clippy::unwrap_used, reason = "a test's way of failing")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use thalweg_gguf::{GgufFile, writer::GgufWriter};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Held by every test, because the allocator counts for all threads.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

// SAFETY: every request is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes on the heap during `work`, beyond those before it.
fn peak_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    (PEAK.load(Ordering::Relaxed) - before, result)
}

const MIB: usize = 1 << 20;

/// 65,536 strings of 300 bytes: some 20 MB of metadata, and a long scalar string besides.
fn large_vocabulary() -> Vec<u8> {
    let tokens = (0..65_536).map(|index| format!("{index:0300}"));
    let text = "long ".repeat(MIB);
    GgufWriter::new()
        .str("general.description", text)
        .strings("tokens", tokens)
        .finish()
}

#[test]
fn large_metadata_stays_in_the_file() {
    let _alone = alone();
    let bytes = large_vocabulary();
    assert!(bytes.len() > 24_000_000);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vocabulary.gguf");
    std::fs::write(&path, &bytes).unwrap();
    drop(bytes);

    let (peak, total) = peak_of(|| {
        let file = GgufFile::open(&path).unwrap();
        let tokens = file.metadata().strings("tokens").unwrap();
        let total: usize = tokens.map(<[u8]>::len).sum();
        total + file.metadata().str("general.description").unwrap().len()
    });
    assert_eq!(total, 65_536 * 300 + 5 * MIB);
    assert!(
        peak < 64 << 10,
        "{peak} bytes on the heap for a file that needs none of them"
    );
}

#[test]
fn many_short_strings_and_many_scalar_strings() {
    let _alone = alone();
    // What the decoding of scalars costs at its worst: strings that just go through gguf-rs.
    let mut writer = GgufWriter::new().strings("tokens", (0..500_000).map(|_| "a"));
    for index in 0..64 {
        writer = writer.str(&format!("text.{index}"), "x".repeat(16_300));
    }
    let bytes = writer.finish();
    let length = bytes.len();
    let (peak, _file) = peak_of(|| GgufFile::from_bytes(bytes).unwrap());
    assert!(peak < 4 * MIB, "{peak} bytes besides a file of {length}");
}

#[test]
fn the_fullest_directory_stays_within_the_promise() {
    let _alone = alone();
    let mut writer = GgufWriter::new();
    for index in 0..16_384 {
        writer = writer.value(&format!("{index:x}"), 0, &[1]);
    }
    let mut bytes = writer.finish();
    // The writer would copy itself for every tensor; entries of the same length are appended here.
    let count = 65_536u64;
    bytes[8..16].copy_from_slice(&count.to_le_bytes());
    for index in 0..count {
        let name = format!("{index:x}");
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(24u32.to_le_bytes());
        bytes.extend((32 * index).to_le_bytes());
    }
    bytes.resize(bytes.len() + 32 * count as usize, 0);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.gguf");
    std::fs::write(&path, &bytes).unwrap();
    let (peak, file) = peak_of(|| GgufFile::open(&path).unwrap());
    assert_eq!(
        (file.tensors().len(), file.metadata().len()),
        (65_536, 16_384)
    );
    assert!(
        peak < bytes.len() + 16 * MIB,
        "{peak} bytes for a file of {}",
        bytes.len()
    );
}

#[test]
fn nothing_is_allocated_from_a_false_number() {
    let _alone = alone();
    let model = GgufWriter::new()
        .str("key", "value")
        .tensor_f32("t", &[1], &[1.0])
        .finish();
    for at in 8..model.len() - 8 {
        for number in [
            u64::MAX,
            u64::MAX / 2,
            1 << 40,
            1 << 32,
            1 << 24,
            65_536,
            16_384,
        ] {
            let mut bytes = model.clone();
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
            let (peak, _) = peak_of(|| GgufFile::from_bytes(bytes));
            assert!(peak < 16 << 10, "{peak} bytes with {number} at byte {at}");
        }
    }
}
