//! Every kernel against its CPU twin, over random data and odd shapes.

mod harness;
mod lookup;
mod norm;
mod product;
mod time_mix;
