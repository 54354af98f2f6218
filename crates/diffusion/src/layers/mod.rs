//! Layers that several parts are built of.

mod resnet;

pub(crate) use resnet::{ResnetBlock, ResnetOptions};
