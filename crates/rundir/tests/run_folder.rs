//! A run from its creation to its policy: what is kept, what is refused, what a kill leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use noisefind_rundir::{Claim, Error, IfOccupied, Resumed, RunReader, RunWriter, Tensor, TensorFile};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    step: u32,
}

fn state(step: u32) -> TensorFile<u32> {
    let tensors = BTreeMap::from([("mu".to_owned(), Tensor::vector(vec![step as f32; 4]))]);
    TensorFile { tensors, metadata: step }
}

fn create(root: &Path, if_occupied: IfOccupied) -> Result<RunWriter, Error> {
    RunWriter::create(Claim::take(root, if_occupied)?, "prompt = \"a dog\"\n", &"environment")
}

fn save(writer: &mut RunWriter, step: u32, best: Option<u32>) {
    writer.save_step(step, &Record { step }, &state(step), best).expect("a step is saved");
}

#[test]
fn keeps_the_last_two_checkpoints_and_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(folder.path(), IfOccupied::Refuse).unwrap();
    for step in 1..=5 {
        save(&mut writer, step, Some(2.min(step)));
    }
    let reader = RunReader::open(folder.path()).unwrap();
    assert_eq!(reader.saved_steps().unwrap(), [2, 4, 5]);
    assert_eq!(reader.metrics::<Record>().unwrap().len(), 5);
    assert!(reader.policy().unwrap().is_none());
}

#[test]
fn refuses_a_folder_that_holds_a_run_unless_told_to_replace_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(folder.path(), IfOccupied::Refuse).unwrap();
    save(&mut writer, 1, None);
    drop(writer);
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    assert!(matches!(create(folder.path(), IfOccupied::Refuse), Err(Error::HoldsRun(_))));
    create(folder.path(), IfOccupied::Replace).unwrap();
    let reader = RunReader::open(folder.path()).unwrap();
    assert!(reader.saved_steps().unwrap().is_empty());
    assert!(reader.metrics::<Record>().unwrap().is_empty());
    assert_eq!(fs::read(folder.path().join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn a_scored_sample_is_kept_before_the_first_step_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    drop(create(folder.path(), IfOccupied::Refuse).unwrap());
    let mut writer = create(folder.path(), IfOccupied::Refuse).expect("nothing was scored yet");
    writer.save_sample(&Record { step: 0 }).unwrap();
    drop(writer);
    let path = folder.path().join("rewards.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"{\"st"].concat()).unwrap();
    assert!(matches!(create(folder.path(), IfOccupied::Refuse), Err(Error::HoldsRun(_))));
    let Resumed { mut writer, checkpoint, .. } = RunWriter::resume::<u32>(folder.path()).unwrap();
    assert_eq!(checkpoint, None);
    writer.save_sample(&Record { step: 0 }).unwrap();
    assert_eq!(RunReader::open(folder.path()).unwrap().samples::<Record>().unwrap().len(), 2);
    drop(writer);
    create(folder.path(), IfOccupied::Replace).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn never_writes_among_foreign_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Cargo.toml"), "").unwrap();
    for if_occupied in [IfOccupied::Refuse, IfOccupied::Replace] {
        assert!(matches!(create(folder.path(), if_occupied), Err(Error::Foreign { .. })));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn one_writer_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let writer = create(folder.path(), IfOccupied::Refuse).unwrap();
    assert!(matches!(RunWriter::resume::<u32>(folder.path()), Err(Error::Locked(_))));
    assert!(matches!(create(folder.path(), IfOccupied::Replace), Err(Error::Locked(_))));
    drop(writer);
    RunWriter::resume::<u32>(folder.path()).unwrap();
}

#[test]
fn a_kill_between_any_two_writes_of_a_step_loses_at_most_that_step() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut writer = create(root, IfOccupied::Refuse).unwrap();
    save(&mut writer, 1, None);
    save(&mut writer, 2, None);
    drop(writer);
    let whole = fs::read(root.join("metrics.jsonl")).unwrap();

    // After the record of step 3, before its state; the temporary file of the state is half written.
    let mut torn = whole.clone();
    torn.extend_from_slice(b"{\"step\":3}\n{\"st");
    fs::write(root.join("metrics.jsonl"), torn).unwrap();
    fs::write(root.join("policy/.step-000003.safetensors.1.noisefind-tmp"), b"half").unwrap();

    let Resumed { mut writer, config, checkpoint } = RunWriter::resume::<u32>(root).unwrap();
    assert_eq!(config, "prompt = \"a dog\"\n");
    assert_eq!(checkpoint, Some((2, state(2))));
    assert_eq!(fs::read(root.join("metrics.jsonl")).unwrap(), whole);
    assert_eq!(fs::read_dir(root.join("policy")).unwrap().count(), 2);
    save(&mut writer, 3, None);
    assert_eq!(RunReader::open(root).unwrap().metrics::<Record>().unwrap().len(), 3);
}

#[test]
fn a_folder_without_config_is_no_run_and_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("environment.json"), "{}").unwrap();
    let message = RunReader::open(folder.path()).unwrap_err().to_string();
    assert!(message.ends_with("is not a run folder: config.toml is missing"), "{message}");
    create(folder.path(), IfOccupied::Refuse).unwrap();
}

#[test]
fn a_run_that_cannot_be_made_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(create(&folder.path().join("file/run"), IfOccupied::Refuse).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
