//! A table of text, aligned for a terminal and valid as Markdown.

use std::fmt;

/// Rows of cells under headings; the first column is flush left, the others, being numbers, flush right.
#[derive(Debug, Clone)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Table {
        Table {
            headings: headings.into_iter().map(str::to_owned).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: one cell a heading; what is missing stays empty, what is too much is dropped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.headings.len(), String::new());
        self.rows.push(cells);
    }

    /// The same without the columns in which no row has anything.
    pub fn without_empty_columns(self) -> Table {
        let is_used = |column: &usize| self.rows.iter().any(|row| !row[*column].is_empty());
        let used: Vec<usize> = (0..self.headings.len()).filter(is_used).collect();
        let select =
            |cells: &Vec<String>| used.iter().map(|&column| cells[column].clone()).collect();
        Table {
            headings: select(&self.headings),
            rows: self.rows.iter().map(select).collect(),
        }
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| &row[column]);
            cells
                .chain([&self.headings[column]])
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(3)
        };
        (0..self.headings.len()).map(width).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        write_row(f, &self.headings, &widths)?;
        for (column, width) in widths.iter().enumerate() {
            let (left, right) = if column == 0 { (':', '-') } else { ('-', ':') };
            write!(f, "|{left}{:-<width$}{right}", "")?;
        }
        writeln!(f, "|")?;
        self.rows
            .iter()
            .try_for_each(|row| write_row(f, row, &widths))
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, cells: &[String], widths: &[usize]) -> fmt::Result {
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if column == 0 {
            write!(f, "| {cell:<width$} ")?
        } else {
            write!(f, "| {cell:>width$} ")?
        }
    }
    writeln!(f, "|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_nobody_needs_go() {
        let mut table = Table::new(["test", "chunk", "tok/s"]);
        table.row(["a".to_owned(), String::new(), "1".to_owned()]);
        let table = table.without_empty_columns().to_string();
        assert!(table.starts_with("| test | tok/s |\n"), "{table}");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["test", "tok/s"]);
        table.row(["prefill 512".to_owned(), "9.5".to_owned()]);
        table.row([
            "decode".to_owned(),
            "1234.5".to_owned(),
            "dropped".to_owned(),
        ]);
        table.row([]);
        let expected = "\
            | test        |  tok/s |\n\
            |:------------|-------:|\n\
            | prefill 512 |    9.5 |\n\
            | decode      | 1234.5 |\n\
            |             |        |\n";
        assert_eq!(table.to_string(), expected);
    }
}
