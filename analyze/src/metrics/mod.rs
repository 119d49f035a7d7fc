//! Figures counted over heaps and streams. A metric is one file here and one line in this list.

pub mod population;
