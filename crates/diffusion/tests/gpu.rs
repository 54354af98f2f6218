//! Whole pipelines of each family on the GPU of the build, against the numbers that hold on the CPU.
//!
//! `cargo test --release -p noisefind-diffusion --features vulkan --test gpu`, also with a driver that computes on the CPU
//! (`mesa-vulkan-drivers` of Debian). Where there is no device the tests fail.

#![cfg(any(feature = "cuda", feature = "metal", feature = "rocm", feature = "vulkan", feature = "webgpu"))]

mod common;

use common::pipelines::{adapted, animatediff, check_clips, check_images, check_shipped};
use common::{F32, tiny};
use noisefind_diffusion::{DeviceChoice, LoadOptions};

/// The device of the feature that the tests were built with; a build of several has the first.
const DEVICE: DeviceChoice = if cfg!(feature = "vulkan") {
    DeviceChoice::Vulkan
} else if cfg!(feature = "cuda") {
    DeviceChoice::Cuda(0)
} else if cfg!(feature = "rocm") {
    DeviceChoice::Rocm
} else if cfg!(feature = "metal") {
    DeviceChoice::Metal
} else {
    DeviceChoice::WebGpu
};

fn gpu() -> LoadOptions {
    LoadOptions { device: DEVICE, ..F32 }
}

#[test]
fn the_default_model_agrees() {
    check_shipped("emoji-64-turbo", &gpu());
}

#[test]
fn pipelines_of_still_images_agree() {
    for name in ["sd1", "sd2", "sdxl", "lcm"] {
        check_images(name, &gpu());
    }
}

#[test]
fn pipelines_of_clips_agree() {
    check_clips(tiny("modelscope"), &gpu(), "modelscope");
    let (_folder, files) = animatediff();
    check_clips(files, &adapted("motion_adapter", &gpu()), "motion_adapter");
}
