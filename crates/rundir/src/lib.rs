//! The run folder: layout, records, policy file, writer and reader
