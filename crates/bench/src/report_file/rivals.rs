//! What others do on the same machine, beside ours.

use super::results::Results;
use super::words;

/// Our tests beside those of llama-bench that ran a model of the same size, and how that was run.
pub(super) fn rivals(results: &Results) -> String {
    let mut text = String::new();
    for rival in &results.rivals {
        for run in &results.runs {
            if rival.content.doubt(&run.content).is_some() {
                continue;
            }
            let Some(table) = rival.content.beside(&run.content) else {
                continue;
            };
            let (ours, theirs) = (words::name(&run.label), words::name(&rival.label));
            let mut commands = vec![run.command()];
            commands.extend(rival.content.commands());
            text += &format!(
                "**{ours}** beside {theirs}\n\n{table}\n{}\n",
                words::block(&commands)
            );
        }
    }
    text
}
