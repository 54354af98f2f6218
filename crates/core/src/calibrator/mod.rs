//! What reward is to be expected: the comparison that turns a reward into a calibrated one.

mod value_network;

pub use value_network::ValueNetwork;
