//! What others do on the same machine, beside ours.

use super::results::Results;
use super::words;
use super::yardsticks::{Figure, Peer, Peers, Shape, Work};
use crate::Table;

/// Our figures beside those of others: of raw results, and of what was written down.
pub(super) fn rivals(results: &Results) -> String {
    let of_device = |peers: &&Peers| results.has_device(&peers.device);
    let peers = results.peers.iter().filter(of_device);
    let mut parts: Vec<String> = peers.map(|peers| written_down(results, peers)).collect();
    parts.push(measured(results));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// Our tests beside those of llama-bench that ran a model of the same size, and how that was run.
fn measured(results: &Results) -> String {
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

/// The best of ours beside figures of others, with the ratio of ours to theirs, a row a kind of work.
fn written_down(results: &Results, peers: &Peers) -> String {
    let how = peers.beside.name();
    let ours = format!("thalweg, {how}");
    let names = peers.peers.iter().map(|peer| words::name(&peer.name));
    let headings: Vec<String> = ["model".to_owned(), "what".to_owned(), ours]
        .into_iter()
        .chain(names)
        .chain(["run".to_owned(), "test".to_owned()])
        .collect();
    let mut table = Table::new(headings.iter().map(String::as_str));
    for (model, task, size) in kinds(peers) {
        let best = results.best(&peers.device, model, peers.beside, (task, size));
        let rate = best.as_ref().map(|best| best.tokens_per_s);
        let theirs = peers
            .peers
            .iter()
            .map(|peer| beside(rate, peer, model, task, size));
        let fixed = [
            words::name(&model.name),
            task.name(size),
            rate.map_or_else(String::new, words::rate),
        ];
        let place = best.map(|best| best.place()).unwrap_or_default();
        table.row(fixed.into_iter().chain(theirs).chain(place));
    }
    let list = peers.peers.iter().map(|peer| {
        let (name, how) = (words::name(&peer.name), words::name(&peer.how));
        format!("- {name}: {how}\n")
    });
    format!(
        "On an {}, tok/s of all sequences together; in brackets how many times as fast ours is. Ours are the best of all runs; theirs \
         come from {}.\n\n{table}\n{}",
        words::name(&peers.device),
        words::name(&peers.source),
        list.collect::<String>()
    )
}

/// What any of them was measured doing, model by model.
fn kinds(peers: &Peers) -> Vec<(&Shape, Work, usize)> {
    let mut kinds = Vec::new();
    for model in &peers.models {
        let figures = peers.peers.iter().flat_map(|peer| &peer.figures);
        let mut of_model: Vec<(Work, usize)> = figures
            .filter(|figure| figure.model == model.name)
            .map(|figure| (figure.task, figure.size))
            .collect();
        of_model.sort_by_key(|(task, size)| (*task as u8, *size));
        of_model.dedup();
        kinds.extend(of_model.into_iter().map(|(task, size)| (model, task, size)));
    }
    kinds
}

/// A cell of the peer: its rate, and the ratio of ours to it.
fn beside(ours: Option<f64>, peer: &Peer, model: &Shape, task: Work, size: usize) -> String {
    let is_it =
        |figure: &&Figure| figure.model == model.name && (figure.task, figure.size) == (task, size);
    let Some(figure) = peer.figures.iter().find(is_it) else {
        return String::new();
    };
    let theirs = words::rate(figure.tokens_per_s);
    match ours {
        None => theirs,
        Some(ours) => format!("{theirs} ({:.2})", ours / figure.tokens_per_s),
    }
}
