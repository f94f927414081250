//! The measurement: every test cold, then warm, then sample by sample in turn.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use thalweg_bench::{Case, Load, Report, host_memory, interleave};

use super::Args;
use super::check;
use super::former::Former;
use super::plan::{Place, Plan, Sequences};
use super::station::Station;
use crate::failure::Failure;
use crate::model::{Compute, SharedModel};
use crate::output;

/// A GPU that has idled, as it does while kernels compile, runs at a fraction of its clock for up to two seconds.
const WARM_UP: Duration = Duration::from_millis(2000);
/// Processors are at their clock sooner.
const PROCESSOR_WARM_UP: Duration = Duration::from_millis(500);

/// Places whose tests take turns. Each needs memory on the device for itself; those beyond come afterwards.
const PLACES_AT_ONCE: usize = 8;

/// A measurement under way.
pub(super) struct Measurement<'a> {
    args: &'a Args,
    compute: &'a Compute<'a>,
    plan: &'a Plan,
    former: Option<Former>,
    /// Where what was measured goes.
    report: &'a mut Report,
    bar: ProgressBar,
}

/// A test: where it runs, and which case of the report its samples are.
struct Job {
    station: usize,
    case: usize,
}

impl<'a> Measurement<'a> {
    pub(super) fn new(
        args: &'a Args,
        compute: &'a Compute<'a>,
        plan: &'a Plan,
        former: Option<Former>,
        report: &'a mut Report,
    ) -> Measurement<'a> {
        let trials: usize = plan.places.iter().map(|place| place.trials.len()).sum();
        Measurement {
            args,
            compute,
            plan,
            former,
            report,
            // A cold run of each, a warm one, and its samples.
            bar: output::progress(trials * (2 + plan.repeat), 3, "measuring"),
        }
    }

    /// Measures everything. What was measured until an error is in the report.
    pub(super) fn run(mut self) -> Result<(), Failure> {
        let measured = self.measure();
        self.bar.finish_and_clear();
        measured
    }

    fn measure(&mut self) -> Result<(), Failure> {
        if self.plan.places.is_empty() && !self.args.check {
            return Ok(());
        }
        let shared = self.load()?;
        self.check_sizes(&shared)?;
        if let Some(former) = &self.former {
            former.check(self.report)?;
        }
        let weights_bytes = self.compute.device_bytes();
        if self.args.check {
            self.check(&shared)?;
        }
        for places in self.plan.places.chunks(PLACES_AT_ONCE) {
            self.measure_places(&shared, places, weights_bytes)?;
        }
        Ok(())
    }

    fn load(&mut self) -> Result<SharedModel, Failure> {
        let file = self.args.path.open()?;
        let start = Instant::now();
        let shared = self.bar.suspend(|| self.compute.share(file))?;
        self.report.loads.push(Load {
            seconds: start.elapsed().as_secs_f64(),
            host_memory: host_memory(),
            device_bytes: self.compute.device_bytes(),
        });
        Ok(shared)
    }

    /// Refuses what the device cannot do before hours are spent on the rest.
    fn check_sizes(&mut self, shared: &SharedModel) -> Result<(), Failure> {
        for place in &self.plan.places {
            let (chunk_size, block_size) = match place.sequences {
                Sequences::One(chunk_size, block_size) => (chunk_size, block_size),
                Sequences::Batch(_) => (None, None),
            };
            let compute = self.compute.with_activations(place.activations);
            self.report.tuned |= compute.check_sizes(shared, chunk_size, block_size)?;
        }
        Ok(())
    }

    /// Finds out whether results are what they should be. What is wrong is in the report, too.
    fn check(&mut self, shared: &SharedModel) -> Result<(), Failure> {
        let (compute, device) = (self.compute, &self.report.device);
        let activations = &self.args.activations;
        let check = self
            .bar
            .suspend(|| check::run(compute, shared, self.plan, activations, device))?;
        let failure = check::failure(&check, &self.report.device);
        self.report.check = Some(check);
        failure.map_or(Ok(()), Err)
    }

    fn measure_places(
        &mut self,
        shared: &SharedModel,
        places: &[Place],
        weights_bytes: Option<u64>,
    ) -> Result<(), Failure> {
        let mut stations = Vec::new();
        let mut jobs = Vec::new();
        for place in places {
            let before = self.compute.device_bytes();
            let mut station = Station::new(self.compute, shared, place)?;
            self.resume_or_begin(&mut jobs, &station, stations.len(), place);
            self.run_cold(&mut station, &jobs, stations.len())?;
            let after = self.compute.device_bytes();
            station.device_bytes = before
                .zip(after)
                .map_or(0, |(before, after)| after.saturating_sub(before));
            stations.push(station);
        }
        for job in &jobs {
            let own = stations[job.station].device_bytes;
            self.report.cases[job.case].device_bytes = weights_bytes.map(|weights| weights + own);
        }
        self.warm_up(&mut stations, &jobs)?;
        self.sample(&mut stations, &jobs)
    }

    /// Adds a case to the report for each test of the place, with the samples that there are already.
    fn resume_or_begin(
        &mut self,
        jobs: &mut Vec<Job>,
        station: &Station,
        index: usize,
        place: &Place,
    ) {
        for trial in &place.trials {
            if !station.can(trial) {
                self.bar.set_length(
                    self.bar
                        .length()
                        .unwrap_or(0)
                        .saturating_sub(2 + self.plan.repeat as u64),
                );
                continue;
            }
            let mut case = Case::new(station.setting(trial));
            if let Some(former) = self
                .former
                .as_ref()
                .and_then(|former| former.case(&case.setting))
            {
                case.first_s = former.first_s;
                case.samples_s = former.samples_s.clone();
            }
            let known = case.samples_s.len().min(self.plan.repeat);
            self.bar.inc(known as u64);
            self.report.cases.push(case);
            if known < self.plan.repeat {
                jobs.push(Job {
                    station: index,
                    case: self.report.cases.len() - 1,
                });
            } else {
                self.bar.inc(2);
            }
        }
        self.bar.reset_eta();
    }

    /// Runs each test of the station for the first time.
    fn run_cold(
        &mut self,
        station: &mut Station,
        jobs: &[Job],
        index: usize,
    ) -> Result<(), Failure> {
        for job in jobs.iter().filter(|job| job.station == index) {
            let case = &mut self.report.cases[job.case];
            let first = station.run(&case.setting)?;
            case.first_s.get_or_insert(first.as_secs_f64());
            self.bar.inc(1);
        }
        Ok(())
    }

    /// Runs each test once more, and on, until the device is at its clock.
    fn warm_up(&mut self, stations: &mut [Station], jobs: &[Job]) -> Result<(), Failure> {
        let warm_up = match self.compute.is_gpu() {
            true => WARM_UP,
            false => PROCESSOR_WARM_UP,
        };
        let start = Instant::now();
        for job in jobs {
            stations[job.station].run(&self.report.cases[job.case].setting)?;
            self.bar.inc(1);
        }
        for job in jobs.iter().cycle() {
            if start.elapsed() >= warm_up {
                break;
            }
            stations[job.station].run(&self.report.cases[job.case].setting)?;
        }
        Ok(())
    }

    fn sample(&mut self, stations: &mut [Station], jobs: &[Job]) -> Result<(), Failure> {
        let missing = |job: &Job| self.plan.repeat - self.report.cases[job.case].samples_s.len();
        let missing: Vec<usize> = jobs.iter().map(missing).collect();
        for index in interleave(&missing, self.args.seed) {
            let job = &jobs[index];
            let case = &mut self.report.cases[job.case];
            let elapsed = stations[job.station].run(&case.setting)?;
            case.samples_s.push(elapsed.as_secs_f64());
            self.bar.inc(1);
        }
        Ok(())
    }
}
