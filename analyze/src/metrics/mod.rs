//! Figures counted over heaps and streams. A metric is one file here and one line in this list.

pub mod advice;
pub mod asks;
pub mod batch;
pub mod births;
pub mod breakdown;
pub mod diff;
pub mod estimate;
pub mod fates;
pub mod followed;
pub mod growth;
pub mod lifetimes;
pub mod lives;
pub mod map;
pub mod objects;
pub mod partial;
pub mod population;
pub mod rates;
pub mod resizes;
pub mod sites;
pub mod student;
pub mod timeline;
pub mod windows;
