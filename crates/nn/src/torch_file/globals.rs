//! The names of Python that a pickle may mention.

use safetensors::Dtype;

/// The names that a file may mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    Size,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
    Opaque,
}

/// Packages whose objects training programs keep beside the weights.
const HARMLESS_PACKAGES: [&str; 11] = [
    "argparse",
    "collections",
    "datetime",
    "lightning",
    "lightning_fabric",
    "numpy",
    "omegaconf",
    "pathlib",
    "pytorch_lightning",
    "typing",
    "uuid",
];

/// Harmless names of modules that hold dangerous ones too.
const HARMLESS_NAMES: [(&str, &[&str]); 5] = [
    ("_codecs", &["encode"]),
    ("copyreg", &["_reconstructor"]),
    ("copy_reg", &["_reconstructor"]),
    ("builtins", BUILTINS),
    ("__builtin__", BUILTINS),
];

const BUILTINS: &[&str] = &[
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "long",
    "object",
    "range",
    "set",
    "slice",
    "str",
    "tuple",
    "unicode",
    "xrange",
];

impl Global {
    /// What the name stands for; `None` where it is neither known nor harmless.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "DoubleStorage") => Self::Storage(Dtype::F64),
            ("torch", "FloatStorage") => Self::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Self::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Dtype::BF16),
            ("torch", "LongStorage") => Self::Storage(Dtype::I64),
            ("torch", "IntStorage") => Self::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Self::Storage(Dtype::I16),
            ("torch", "CharStorage") => Self::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Self::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Self::Storage(Dtype::BOOL),
            (
                "torch",
                "device" | "dtype" | "float64" | "float32" | "float16" | "bfloat16" | "int64" | "int32"
                | "int16" | "int8" | "uint8" | "bool",
            ) => Self::Opaque,
            _ if is_harmless(module, name) => Self::Opaque,
            _ => return None,
        })
    }
}

/// Whether a name stands for values that no weight depends on, and says nothing bad about who made the file.
fn is_harmless(module: &str, name: &str) -> bool {
    let package = module.split('.').next().unwrap_or_default();
    let named = |(known, names): &(&str, &[&str])| *known == module && names.contains(&name);
    HARMLESS_PACKAGES.contains(&package) || HARMLESS_NAMES.iter().any(named)
}
