//! Pictures, and the folder that they are drawn into.

use std::path::Path;

use thalweg_bench::plot::Picture;

use crate::failure::Failure;
use crate::output;

/// A folder in which pictures can be made.
pub(crate) struct Pictures<'a> {
    folder: &'a Path,
}

impl<'a> Pictures<'a> {
    /// Makes the folder if need be, and finds out whether files can be made in it: before minutes are spent on what is to
    /// be drawn.
    pub(crate) fn new(folder: &'a Path) -> Result<Pictures<'a>, Failure> {
        std::fs::create_dir_all(folder)
            .and_then(|()| tempfile::tempfile_in(folder).map(|_| ()))
            .map_err(|error| {
                Failure::Path(format!(
                    "cannot write into the folder {}: {error}; name one of your own with --plot",
                    folder.display()
                ))
            })?;
        Ok(Pictures { folder })
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder
    }

    /// Writes the pictures, and says where they are.
    pub(crate) fn draw(&self, pictures: &[Picture]) -> Result<(), Failure> {
        if pictures.is_empty() {
            output::note(
                "there is nothing to draw: expected several chunk sizes, block sizes or numbers of sequences",
            );
        }
        for picture in pictures {
            self.write(picture, "svg", picture.svg.as_bytes())?;
            self.write(picture, "png", &picture.png)?;
        }
        Ok(())
    }

    fn write(&self, picture: &Picture, ending: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.folder.join(format!("{}.{ending}", picture.name));
        std::fs::write(&path, bytes).map_err(|error| Failure::path("write", &path, &error))?;
        output::note(format_args!("drew {}", path.display()));
        Ok(())
    }
}
