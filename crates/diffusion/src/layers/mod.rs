//! Layers that several parts are built of.

mod resnet;
mod temporal;

pub(crate) use resnet::{ResnetBlock, ResnetOptions};
pub(crate) use temporal::{TemporalConv, TemporalTransformer, TemporalTransformerOptions};
