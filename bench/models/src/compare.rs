//! Ours against PyTorch's in one run: both sides are open, and each repetition measures one after the other, so that a
//! machine that slows down slows down both.

use bench_common::{Arguments, Clock, Failure, calls_for, median};
use serde_json::{Value, json};

use crate::ours::{Call, Case, FRAMES, Folders};
use crate::peer::Peer;

/// Shortest time of one repetition.
const REPETITION_SECONDS: f64 = 0.2;
/// Formats of ours.
const DTYPES: [&str; 2] = ["f32", "bf16"];

/// The variants of the peer, each with the place of ours that it is compared with.
fn variants(case: Case) -> &'static [(&'static str, usize)] {
    match case {
        Case::DefaultUnet { .. } => &[("eager f32", 0), ("eager bf16", 1), ("compiled bf16", 1)],
        _ => &[("eager f32", 0), ("eager bf16", 1)],
    }
}

/// Measures the cases that the first word asks for, prints a table and writes JSON. With `--dtype` only that format is
/// opened on both sides, for models that do not fit into memory four times.
pub fn run(arguments: &Arguments, folders: &Folders) -> Result<(), Failure> {
    let repetitions = arguments.value("--repetitions", 7usize)?;
    if repetitions.is_multiple_of(2) {
        return Err(format!(
            "--repetitions is {repetitions}, expected an odd number, whose median is one of them"
        )
        .into());
    }
    let images = arguments.value("--images", 160)?;
    let video = Case::VideoUnet { frames: arguments.value("--frames", FRAMES)? };
    let all =
        [Case::DefaultUnet { batch: 32 }, Case::Sd15Unet, Case::Sd15Vae, video, Case::EndToEnd { images }];
    let only: String = arguments.value("--dtype", String::new())?;
    let python: String = arguments.value("--python", "python3".to_owned())?;
    let mut peer = Peer::start(&python, arguments.threads, folders)?;
    let isa = noisefind_nn::device::kernels_in_use();
    println!("{}, threads {}, our instruction set {isa}", peer.version, arguments.threads);
    println!("{:28} {:14} {:>11} {:>11} {:>6}", "case", "peer", "ours ms", "peer ms", "ratio");
    let mut rows = Vec::new();
    for case in all.into_iter().filter(|case| arguments.asks_for(&case.name())) {
        rows.extend(measure(case, (arguments.threads, repetitions, &only), folders, &mut peer)?);
    }
    let report = json!({ "isa": isa, "peer": peer.version, "threads": arguments.threads,
                         "repetitions": repetitions, "rows": rows });
    arguments.report(&report)
}

fn measure(
    case: Case,
    (threads, repetitions, only): (usize, usize, &str),
    folders: &Folders,
    peer: &mut Peer,
) -> Result<Vec<Value>, Failure> {
    let is_asked = |dtype: &str| only.is_empty() || only == dtype;
    let dtypes: Vec<&str> = DTYPES.into_iter().filter(|dtype| is_asked(dtype)).collect();
    let place = |at: usize| dtypes.iter().position(|dtype| *dtype == DTYPES[at]);
    let variants = variants(case).iter().filter_map(|&(variant, at)| Some((variant, place(at)?)));
    let (name, variants) = (case.name(), variants.collect::<Vec<_>>());
    let open = |dtype: &&str| Timed::prepare(case.prepare(folders, dtype)?, threads);
    let mut ours = dtypes.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    variants.iter().try_for_each(|(variant, _)| peer.prepare(&name, variant))?;
    let mut seconds_of_ours = vec![Vec::new(); ours.len()];
    let mut seconds_of_peer = vec![Vec::new(); variants.len()];
    for _ in 0..repetitions {
        for (call, seconds) in ours.iter_mut().zip(&mut seconds_of_ours) {
            seconds.push(call.measure(threads)?);
        }
        for ((variant, _), seconds) in variants.iter().zip(&mut seconds_of_peer) {
            seconds.push(peer.measure(variant)?);
        }
    }
    peer.forget()?;
    let mut rows = Vec::new();
    for ((variant, at), theirs) in variants.iter().zip(&seconds_of_peer) {
        let (mine, middle) = (&seconds_of_ours[*at], |seconds: &Vec<f64>| median(&mut seconds.clone()));
        let (mine_median, theirs_median) = (middle(mine), middle(theirs));
        let ratio = theirs_median / mine_median;
        let [mine_ms, theirs_ms] = [mine_median, theirs_median].map(|seconds| 1e3 * seconds);
        println!("{name:28} {variant:14} {mine_ms:11.2} {theirs_ms:11.2} {ratio:6.2}");
        rows.push(json!({
            "case": name, "our_dtype": dtypes[*at], "peer": variant,
            "our_median_seconds": mine_median, "peer_median_seconds": theirs_median, "ratio": ratio,
            "our_seconds": mine, "peer_seconds": theirs,
        }));
    }
    Ok(rows)
}

/// A warm call, and how many of it make a repetition.
struct Timed {
    call: Call,
    calls: usize,
}

impl Timed {
    fn prepare(mut call: Call, threads: usize) -> Result<Self, Failure> {
        call()?;
        let start = Clock::start(threads);
        call()?;
        Ok(Self { call, calls: calls_for(start.elapsed().as_secs_f64(), REPETITION_SECONDS) })
    }

    fn measure(&mut self, threads: usize) -> Result<f64, Failure> {
        let start = Clock::start(threads);
        (0..self.calls).try_for_each(|_| (self.call)())?;
        Ok(start.elapsed().as_secs_f64() / self.calls as f64)
    }
}
