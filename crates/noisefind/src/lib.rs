//! Tune, sample and compare noise policies: the facade that other programs depend on
