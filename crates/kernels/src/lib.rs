//! CPU kernels on plain slices, with the instruction set chosen at run time
