//! What can go wrong in making a kernel.

/// A defect of a kernel's template, found when it is specialised.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The template does not render.
    #[error("kernel {kernel} cannot be made from its template: {message}")]
    Template {
        /// The kernel's name.
        kernel: String,
        /// What the template engine says, with file and line.
        message: String,
    },
}
