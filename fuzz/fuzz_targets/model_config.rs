//! The configs of a model's parts and of its scheduler.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noisefind_diffusion::decoder;
use noisefind_diffusion::denoiser::unet2d::UnetConfig;
use noisefind_diffusion::model_index::ModelIndex;
use noisefind_diffusion::scheduler::{Schedule, SchedulerFile};
use noisefind_fuzz::Folder;
use noisefind_nn::config::ClipTextConfig;

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::new();
    for name in ["unet/config.json", "scheduler/scheduler_config.json", "model_index.json"] {
        folder.write(name, bytes);
    }
    let files = folder.files();
    let _ = UnetConfig::read(&files);
    let _ = decoder::config(&files, "unet");
    let _ = ClipTextConfig::read(&files, "unet");
    let schedule = ModelIndex::read(&files)
        .and_then(|index| SchedulerFile::read(&files, &index))
        .and_then(|file| file.selected(None))
        .and_then(|config| Schedule::new(&config, 20, 0.0));
    let _ = schedule;
});
