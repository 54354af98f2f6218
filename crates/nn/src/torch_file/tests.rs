use std::path::PathBuf;

use super::*;
use crate::files::ModelFiles;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion/torch_file")
}

fn read_in(folder: PathBuf, name: &str) -> Result<BTreeMap<String, (TorchTensor, Vec<u8>)>> {
    let mut file = ModelFiles::directory(folder)?.open(name)?;
    let mut all = BTreeMap::new();
    for tensor in tensors(&mut file)?.tensors {
        let bytes = file.map_at(tensor.start, tensor.length)?.to_vec();
        all.insert(tensor.name.clone(), (tensor, bytes));
    }
    Ok(all)
}

fn read(name: &str) -> Result<BTreeMap<String, (TorchTensor, Vec<u8>)>> {
    read_in(folder(), name)
}

fn refusal(name: &str) -> String {
    read(name).expect_err("a file that is refused").to_string()
}

/// `n` numbers from `first` on, in steps of a quarter.
fn quarters(first: f32, n: usize) -> Vec<u8> {
    (0..n).flat_map(|at| (first + at as f32 / 4.0).to_le_bytes()).collect()
}

#[test]
fn tensors_are_found_where_they_lie_in_every_layout() {
    for name in ["plain.pth", "state-dict.pt", "model.pt", "protocol-4.pt", "lightning.ckpt"] {
        let all = read(name).unwrap();
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        let expected = ["bf16", "f16", "f32", "f64", "ids", "parameter", "scalar", "shared", "view"];
        assert_eq!(names, expected, "{name}");
        let check = |key: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]| {
            let (tensor, found) = &all[key];
            assert_eq!(
                (tensor.dtype, &tensor.shape[..], &found[..]),
                (dtype, shape, bytes),
                "{key} of {name}"
            );
        };
        check("f32", Dtype::F32, &[2, 3, 4], &quarters(-2.0, 24));
        check("shared", Dtype::F32, &[2, 3, 4], &quarters(-2.0, 24));
        check("view", Dtype::F32, &[2, 3], &quarters(-0.75, 6));
        check("parameter", Dtype::F32, &[4], &quarters(-2.0, 4));
        check("scalar", Dtype::F32, &[], &4.5f32.to_le_bytes());
        let doubles: Vec<u8> = (0..4).flat_map(|at| (f64::from(at) / 4.0 - 2.0).to_le_bytes()).collect();
        check("f64", Dtype::F64, &[4], &doubles);
        let ids: Vec<u8> = (0..5i64).flat_map(i64::to_le_bytes).collect();
        check("ids", Dtype::I64, &[5], &ids);
        let halves: Vec<u8> =
            (0..6).flat_map(|at| half::f16::from_f32(at as f32 / 4.0 - 2.0).to_le_bytes()).collect();
        check("f16", Dtype::F16, &[6], &halves);
        let brains: Vec<u8> =
            (0..6).flat_map(|at| half::bf16::from_f32(at as f32 / 4.0 - 2.0).to_le_bytes()).collect();
        check("bf16", Dtype::BF16, &[6], &brains);
    }
}

#[test]
fn numbers_beside_the_weights_are_notes() {
    let mut file = ModelFiles::directory(folder()).unwrap().open("lightning.ckpt").unwrap();
    let notes = tensors(&mut file).unwrap().notes;
    assert_eq!(notes["global_step"], "875000");
    assert_eq!(notes["pytorch-lightning_version"], "1.4.2");
}

#[test]
fn a_bare_tensor_has_an_empty_name() {
    let all = read("bare.pt").unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), [""]);
    assert_eq!(all[""].0.shape, [1, 2]);
}

#[test]
fn what_would_be_executed_is_refused_by_its_name() {
    let message = refusal("command.pt");
    assert!(message.contains("it calls `posix.system`"), "{message}");
}

#[test]
fn other_files_are_refused_with_a_way_out() {
    for (name, expected) in [
        ("legacy.pt", "torch.save(torch.load("),
        ("empty.pt", "it holds no tensors at its top, under `state_dict` or under `model`"),
        ("transposed.pt", "its tensor transposed is a transposed or strided view"),
    ] {
        let message = refusal(name);
        assert!(message.contains(expected) && message.contains(name), "{message}");
    }
}

/// Cut or changed files may be refused or, where only unused bytes changed, read; they never panic.
#[test]
fn damaged_files_do_no_harm() {
    let whole = std::fs::read(folder().join("plain.pth")).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("damaged.pth");
    let mut refused = 0;
    for length in (0..whole.len()).step_by(37) {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(read_in(copy.path().into(), "damaged.pth").is_err(), "cut at {length}");
    }
    for at in (0..whole.len()).step_by(11) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x5a;
        std::fs::write(&path, &bytes).unwrap();
        refused += usize::from(read_in(copy.path().into(), "damaged.pth").is_err());
    }
    assert!(refused > 20, "only {refused} of the changed files were refused");
}

#[test]
fn a_pickle_nested_without_end_is_no_danger() {
    // An empty tuple wrapped in a million tuples.
    let mut bytes = vec![0x80, 2, b')'];
    bytes.extend(std::iter::repeat_n(0x85, 1_000_000));
    bytes.push(b'.');
    assert!(matches!(Pickle::read(&bytes, usize::MAX).unwrap().root(), Value::Tuple(_)));
    assert!(Pickle::read(&bytes[..bytes.len() - 1], usize::MAX).is_err());
    let refusal = Pickle::read(&bytes, 1_000).map(drop).unwrap_err();
    assert_eq!(refusal, "its pickle is far larger than its tensors need");
}
