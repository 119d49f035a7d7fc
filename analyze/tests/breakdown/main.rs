//! Where memory goes, of recordings made without a recorder: the figures, their outputs, and bad input.

mod bad;
mod figures;
mod made;
mod outputs;
