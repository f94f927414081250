//! What an interrupted job has left behind, put in order for one that goes on with it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use super::entry::Id;
use super::lines::{Lines, RawLine};
use super::reply::{BEGINNING, Written};
use crate::failure::Failure;

/// A reply with the log-probabilities of many tokens is long; what is longer than this is none.
const LONGEST_REPLY: usize = 1 << 30;

/// What there is in an output file.
#[derive(Debug, Default)]
struct Contents {
    /// Ids with a reply.
    replied: HashSet<Id>,
    has_faults: bool,
    /// Bytes of whole lines, after which a torn one may stand.
    whole: u64,
}

/// Leaves in the file whole lines with replies alone, so that everything else is done again. Returns the ids of these.
pub(super) fn tidy(path: &Path) -> Result<HashSet<Id>, Failure> {
    let contents = Contents::read(path)?;
    let tidied = match contents.has_faults {
        true => keep_replies(path),
        false => cut(path, contents.whole),
    };
    tidied.map_err(|error| Failure::path("write", path, &error))?;
    Ok(contents.replied)
}

impl Contents {
    /// Reads through the file, every line of which must be one of a job.
    fn read(path: &Path) -> Result<Self, Failure> {
        let cannot_read = |error| Failure::path("read", path, &error);
        let mut contents = Self::default();
        let mut lines = lines(path).map_err(cannot_read)?;
        while let Some(line) = lines.next().map_err(cannot_read)? {
            if is_torn(&line) {
                break;
            }
            let Some(written) = written(&line) else {
                return Err(no_output(path, line.number));
            };
            contents.whole += line.length;
            match written.is_reply() {
                true => drop(contents.replied.insert(written.id)),
                false => contents.has_faults = true,
            }
        }
        Ok(contents)
    }
}

fn lines(path: &Path) -> io::Result<Lines<BufReader<File>>> {
    Ok(Lines::new(BufReader::new(File::open(path)?), LONGEST_REPLY))
}

fn written(line: &RawLine) -> Option<Written> {
    let content = line.content.as_ref().filter(|_| line.is_ended)?;
    Written::parse(content)
}

/// Whether writing the line was broken off. What does not begin as such a line begins is somebody's who will miss it.
fn is_torn(line: &RawLine) -> bool {
    let is_beginning = |content: &Vec<u8>| {
        let length = content.len().min(BEGINNING.len());
        content[..length] == BEGINNING.as_bytes()[..length]
    };
    !line.is_ended && line.content.as_ref().is_some_and(is_beginning)
}

fn no_output(path: &Path, number: u64) -> Failure {
    Failure::Model(format!(
        "{}, line {number} was not written by this command, expected lines with \"id\" and either \"text\" or \"error\" to \
         go on after; name another file with -o, or delete this one",
        path.display()
    ))
}

fn cut(path: &Path, length: u64) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    if file.metadata()?.len() > length {
        file.set_len(length)?;
    }
    Ok(())
}

/// Puts a file with the replies alone in the place of the other, which stays whole until then.
fn keep_replies(path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path)?; // the file behind a link, not the link
    let folder = path.parent().unwrap_or(Path::new("."));
    let kept = NamedTempFile::new_in(folder)?;
    copy_replies(&path, kept.as_file())?;
    kept.as_file()
        .set_permissions(fs::metadata(&path)?.permissions())?;
    kept.as_file().sync_all()?;
    kept.persist(&path)?;
    Ok(())
}

fn copy_replies(from: &Path, to: &File) -> io::Result<()> {
    let mut writer = BufWriter::new(to);
    let mut lines = lines(from)?;
    while let Some(line) = lines.next()? {
        let is_reply = written(&line).is_some_and(|written| written.is_reply());
        if let Some(content) = line.content.filter(|_| is_reply) {
            writer.write_all(&content)?;
            writer.write_all(b"\n")?;
        }
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = "{\"id\":\"a\",\"line\":1,\"text\":\"x\"}\n";
    const FAULT: &str = "{\"id\":2,\"line\":2,\"error\":\"x\"}\n";

    /// The ids found in a file, and what is left in it.
    fn tidied(contents: &str) -> Result<(Vec<String>, String), Failure> {
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), contents).unwrap();
        let ids = tidy(file.path());
        let left = fs::read_to_string(file.path()).unwrap();
        if ids.is_err() {
            assert_eq!(left, contents, "what is refused must stay as it is");
        }
        Ok((ids?.iter().map(ToString::to_string).collect(), left))
    }

    #[test]
    fn replies_stay_and_everything_else_goes() {
        let reply = (vec!["\"a\"".to_owned()], REPLY.to_owned());
        for rest in [
            "",
            "{",
            "{\"id\":7",
            "{\"id\":3,\"line\":3,\"text\":\"x\"}",
            FAULT,
        ] {
            assert_eq!(tidied(&format!("{REPLY}{rest}")).unwrap(), reply, "{rest}");
        }
        assert_eq!(tidied(&format!("{FAULT}{REPLY}{{\"id\"")).unwrap(), reply);
        assert_eq!(tidied("").unwrap(), (Vec::new(), String::new()));
        assert_eq!(tidied(FAULT).unwrap(), (Vec::new(), String::new()));
    }

    #[test]
    fn the_files_of_others_are_left_alone() {
        for contents in [
            "a letter",
            "a letter\n",
            "{\"prompt\":\"x\"}",
            "{\"id\":1,\"prompt\":\"x\"}\n",
            &format!("{REPLY}\n{REPLY}"),
            &format!("{REPLY}a letter"),
        ] {
            let Err(Failure::Model(message)) = tidied(contents) else {
                panic!("{contents}");
            };
            assert!(message.contains("name another file"), "{message}");
        }
    }
}
