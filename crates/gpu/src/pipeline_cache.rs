//! Compiled pipelines kept on disk, where the backend lets a program keep them: Vulkan, so far.
//!
//! A driver trusts what it is given back. So a file begins with a header of ours, and one that is cut short, altered or
//! of another make is taken for none.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::Error;
use crate::scope::{catch, lock};

/// What a file begins with.
const MAGIC: [u8; 8] = *b"THALWEGP";
/// The form of the file.
const VERSION: u32 = 1;
/// Magic, version, length of the data, checksum of the data.
const HEADER_BYTES: usize = 8 + 4 + 8 + 8;
/// A file that has grown larger is begun anew: drivers never forget a pipeline.
const MOST_BYTES: u64 = 256 << 20;

/// The pipelines of one adapter.
#[derive(Debug)]
pub(crate) struct PipelineCache {
    cache: wgpu::PipelineCache,
    path: PathBuf,
    /// The checksum of what the file holds, as far as this process knows.
    saved: Mutex<Option<u64>>,
}

impl PipelineCache {
    /// What is kept in `folder` for the adapter; nothing where its backend keeps no pipelines.
    pub(crate) fn open(
        device: &wgpu::Device,
        adapter: &wgpu::AdapterInfo,
        folder: &Path,
    ) -> Option<PipelineCache> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let path = folder.join(wgpu::util::pipeline_cache_key(adapter)? + ".bin");
        let data = read(&path);
        let descriptor = wgpu::PipelineCacheDescriptor {
            label: Some("kernels"),
            data: data.as_deref(),
            fallback: true,
        };
        let create = || {
            // SAFETY: the checksum says that the data is what `get_data` once returned. wgpu and the driver find out
            // whether it was for this adapter and this driver, and otherwise begin anew.
            unsafe { device.create_pipeline_cache(&descriptor) }
        };
        let (cache, created) = catch(device, "reading the pipeline cache", 0, create);
        created.ok()?;
        Some(PipelineCache {
            cache,
            path,
            saved: Mutex::new(data.as_deref().map(checksum)),
        })
    }

    pub(crate) fn wgpu(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes the file anew if pipelines have come in since.
    pub(crate) fn save(&self) -> Result<(), Error> {
        let Some(data) = self.cache.get_data() else {
            return Ok(());
        };
        let sum = checksum(&data);
        let mut saved = lock(&self.saved);
        if *saved == Some(sum) {
            return Ok(());
        }
        write(&self.path, &data).map_err(|error| Error::PipelineCache {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        *saved = Some(sum);
        Ok(())
    }
}

/// The data in a file, unless there is something wrong with it.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).ok()?.take(MOST_BYTES + 1);
    file.read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > MOST_BYTES {
        return None;
    }
    let (found, data) = bytes.split_at_checked(HEADER_BYTES)?;
    (found == header(data)).then(|| data.to_vec())
}

/// Writes the file in one step, so that no other process ever finds half of it.
fn write(path: &Path, data: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&header(data))?;
    file.write_all(data)?;
    file.persist(path)?;
    Ok(())
}

fn header(data: &[u8]) -> Vec<u8> {
    [
        &MAGIC[..],
        &VERSION.to_le_bytes(),
        &(data.len() as u64).to_le_bytes(),
        &checksum(data).to_le_bytes(),
    ]
    .concat()
}

/// Another version of Rust may compute another sum; then the file is begun anew.
fn checksum(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(data);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not there yet").join("cache.bin");
        for data in [&b"first"[..], b"", b"a second, longer one"] {
            write(&path, data).unwrap();
            assert_eq!(read(&path).as_deref(), Some(data));
        }
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a folder");
        std::fs::create_dir_all(path.join("with something in it")).unwrap();
        assert!(write(&path, b"data").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn damaged_files_are_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.bin");
        assert_eq!(read(&path), None);
        write(&path, b"some data").unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read(&path), None, "cut to {length} bytes");
        }
        for bit in 0..8 * whole.len() {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read(&path), None, "bit {bit} flipped");
        }
        std::fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert_eq!(read(&path), None);
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(read(&path).as_deref(), Some(&b"some data"[..]));
    }
}
