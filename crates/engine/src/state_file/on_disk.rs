//! Reading and writing the files themselves.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::header::Header;
use super::{FIXED_BYTES, ReadFault, SavedState, StateFormat, check_length};
use crate::{Error, Snapshot};

impl StateFormat {
    /// Writes a state to a file, in one step: whoever looks finds the whole file, or the one that was there before. Returns
    /// the file's length in bytes.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use std::sync::Arc;
    /// # use thalweg_engine::{Origin, Snapshot, StateEncoding, StateFormat};
    /// # use thalweg_gguf::GgufFile;
    /// # use thalweg_rwkv::{CpuModel, CpuSession, Session, Wanted, model_hash};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("story.state");
    /// let file = GgufFile::open(Path::new("../../assets/thalweg-demo-29m-q4_k_m.gguf"))?;
    /// let origin = Origin { model: model_hash(&file)?, adapter: 0 };
    /// let mut session = CpuSession::new(Arc::new(CpuModel::load(file)?));
    /// let logits = session.forward(&[1, 2, 3], Wanted::Last)?;
    /// let snapshot = Snapshot { state: session.state()?, logits: Some(logits) };
    ///
    /// let format = StateFormat::new(origin, session.hyperparameters().clone(), StateEncoding::F32);
    /// format.save(&path, &[1, 2, 3], &snapshot)?;
    /// assert_eq!(format.load(&path)?.snapshot, snapshot);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`encode`](StateFormat::encode), and [`Error::Io`].
    pub fn save(&self, path: &Path, tokens: &[u32], snapshot: &Snapshot) -> Result<u64, Error> {
        let bytes = match self.encode(tokens, snapshot) {
            Err(Error::StateFile { fault, .. }) => return Err(Error::state_file(path, fault)),
            encoded => encoded?,
        };
        replace(path, &bytes).map_err(|error| Error::io("write", path, error))?;
        Ok(bytes.len() as u64)
    }

    /// Reads a state from a file. The file is refused before it is read if its header, model or length is wrong.
    ///
    /// # Errors
    ///
    /// [`Error::StateFile`] says what is wrong with it; [`Error::Io`].
    pub fn load(&self, path: &Path) -> Result<SavedState, Error> {
        self.read(path, Self::read_all)
    }

    /// What a file says of itself; the state in it is neither read nor checked.
    pub(crate) fn peek(&self, path: &Path) -> Result<Peeked, Error> {
        self.read(path, |format, file| {
            let (length, header, beginning) = format.read_beginning(file)?;
            Ok(Peeked {
                tokens: format.tokens(&header, &beginning)?,
                bytes: length,
                has_logits: header.has_logits,
            })
        })
    }

    fn read<T>(
        &self,
        path: &Path,
        read: impl FnOnce(&Self, &mut File) -> Result<T, ReadFault>,
    ) -> Result<T, Error> {
        let opened = File::open(path).map_err(ReadFault::from);
        opened
            .and_then(|mut file| read(self, &mut file))
            .map_err(|fault| match fault {
                ReadFault::State(fault) => Error::state_file(path, fault),
                ReadFault::Io(error) => Error::io("read", path, error),
            })
    }

    fn read_all(&self, file: &mut File) -> Result<SavedState, ReadFault> {
        let (_, header, beginning) = self.read_beginning(file)?;
        self.decode_body(&header, &beginning, file)
    }

    /// The length of the file, which is that of a state of this model, its header, and the bytes of that and the tokens.
    fn read_beginning(&self, file: &mut File) -> Result<(u64, Header, Vec<u8>), ReadFault> {
        let length = file.metadata()?.len();
        let mut bytes = Vec::new();
        file.take(FIXED_BYTES as u64).read_to_end(&mut bytes)?;
        let header = self.header(&bytes)?;
        check_length(length, header.file_bytes(&self.hp))?;
        file.take((header.bytes() - bytes.len()) as u64)
            .read_to_end(&mut bytes)?;
        Ok((length, header, bytes))
    }
}

/// What a file says of itself.
pub(crate) struct Peeked {
    pub(crate) tokens: Vec<u32>,
    /// Its length.
    pub(crate) bytes: u64,
    pub(crate) has_logits: bool,
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
