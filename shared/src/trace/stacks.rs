//! Who made some of a VM's calls: every so many calls the stack of the thread, as places in modules that debug
//! information can be looked up for elsewhere. No content, no addresses of the process.

use serde::{Deserialize, Serialize};

use super::BadPayload;
use super::meta;
use super::pack::{pack, unpack};
use super::varint::{Cursor, put};

/// A place on a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Frame {
    /// Code that belongs to no file and is not known to be LuaJIT's; where the stack could not be followed further, it is
    /// the last frame.
    Unknown,
    /// Code that LuaJIT has compiled.
    Jit,
    /// There is more, but not in the piece of stack that was taken.
    Cut,
    /// The Lua function that the frame before it runs: a number into [`About::places`].
    Lua(u32),
    /// Code of a file.
    Code {
        /// A number into [`About::modules`].
        module: u32,
        /// As the file itself numbers its addresses: of the innermost frame the probed instruction, of the others a byte
        /// of the call that has not returned.
        addr: u64,
    },
}

/// A file with code.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Module {
    /// Its path as the target sees it; anonymized, its last part.
    pub name: String,
    /// Its build id, in hex; empty if it has none.
    pub build_id: String,
}

/// A line of a Lua function.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The name of its chunk, as Lua has it: `@` and a path, or `=` and a name.
    pub chunk: String,
    /// The line on which the function begins.
    pub first_line: u64,
    /// The line that was running; 0 if the function has no line numbers. Of code that LuaJIT has compiled, the line where
    /// that begins.
    pub line: u64,
}

/// What the samples are of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Of each thread's calls one of so many was sampled, while stacks were taken.
    pub every: u64,
    /// The first call that could have been sampled. Calls of a VM are numbered from 0 in each file, in the order of its
    /// stream.
    pub first: u64,
    /// So many calls could have been: the frame speaks of these.
    pub calls: u64,
    /// Samples that are not here: the kernel dropped them, or which call they belong to could not be told.
    pub lost: u64,
    /// The files that stacks lead through.
    pub modules: Vec<Module>,
    /// The Lua functions' lines.
    pub places: Vec<Place>,
}

/// A call whose stack is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Which call.
    pub call: u64,
    /// A number into [`Stacks::stacks`].
    pub stack: u32,
}

/// Samples of a stretch of a VM's calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stacks {
    /// What they are of.
    pub about: About,
    /// Different stacks, each from the innermost frame on.
    pub stacks: Vec<Vec<Frame>>,
    /// In the order of the calls.
    pub samples: Vec<Sample>,
}

/// The number of [`Frame::Lua`]'s kind; [`Frame::Code`]'s are this and the module, plus 1.
const LUA: u64 = 3;

impl Stacks {
    /// The payload. The frame's `count` is the number of samples.
    pub fn encode(&self) -> Vec<u8> {
        let mut columns: [Vec<u8>; 3] = Default::default();
        let [frames, calls, stacks] = &mut columns;
        for stack in &self.stacks {
            put(frames, stack.len() as u64);
            for frame in stack {
                match *frame {
                    Frame::Unknown => put(frames, 0),
                    Frame::Jit => put(frames, 1),
                    Frame::Cut => put(frames, 2),
                    Frame::Lua(place) => [LUA, u64::from(place)].into_iter().for_each(|value| put(frames, value)),
                    Frame::Code { module, addr } => {
                        [LUA + 1 + u64::from(module), addr].into_iter().for_each(|value| put(frames, value));
                    }
                }
            }
        }
        let mut before = self.about.first;
        for sample in &self.samples {
            put(calls, sample.call.wrapping_sub(before));
            put(stacks, u64::from(sample.stack));
            before = sample.call;
        }
        let mut out = meta::encode(&self.about);
        columns.iter().for_each(|column| pack(&mut out, column));
        out
    }

    /// Reads a payload. All numbers in it lead somewhere.
    pub fn decode(payload: &[u8]) -> Result<Stacks, BadPayload> {
        let mut cursor = Cursor::new(payload, "stacks");
        let about: About = serde_json::from_slice(&unpack(&mut cursor)?).map_err(|e| BadPayload(e.to_string()))?;
        let [frames, calls, which] = [(); 3].map(|()| unpack(&mut cursor));
        let (frames, calls, which) = (frames?, calls?, which?);
        cursor.end()?;
        let stacks = read_stacks(&mut Cursor::new(&frames, "stacks"), &about)?;
        let (mut calls, mut which) = (Cursor::new(&calls, "stacks"), Cursor::new(&which, "stacks"));
        let (mut samples, mut call) = (Vec::new(), about.first);
        while calls.left() > 0 {
            call = call.wrapping_add(calls.get()?);
            if !(about.first..about.first.saturating_add(about.calls)).contains(&call) {
                return Err(BadPayload(format!("stacks: call {call} is none of those that it speaks of")));
            }
            samples.push(Sample { call, stack: below(which.get()?, stacks.len(), "stacks")? });
        }
        which.end()?;
        Ok(Stacks { about, stacks, samples })
    }
}

fn read_stacks(frames: &mut Cursor<'_>, about: &About) -> Result<Vec<Vec<Frame>>, BadPayload> {
    let mut stacks = Vec::new();
    while frames.left() > 0 {
        let mut stack = Vec::new();
        for _ in 0..frames.get()? {
            stack.push(match frames.get()? {
                0 => Frame::Unknown,
                1 => Frame::Jit,
                2 => Frame::Cut,
                LUA => Frame::Lua(below(frames.get()?, about.places.len(), "places")?),
                code => {
                    let module = below(code - LUA - 1, about.modules.len(), "modules")?;
                    Frame::Code { module, addr: frames.get()? }
                }
            });
        }
        stacks.push(stack);
    }
    Ok(stacks)
}

/// A number into a list of so many.
fn below(number: u64, count: usize, what: &str) -> Result<u32, BadPayload> {
    match u32::try_from(number) {
        Ok(small) if (number as usize) < count => Ok(small),
        _ => Err(BadPayload(format!("stacks: number {number} of {count} {what}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn about(first: u64, calls: u64) -> About {
        let module = |name: &str| Module { name: name.into(), build_id: "c0ffee".into() };
        let modules = ["/usr/sbin/nginx", "/lib/libluajit.so"].map(module).to_vec();
        let places = (1..4).map(|line| Place { chunk: "@x.lua".into(), first_line: 1, line }).collect();
        About { every: 1000, first, calls, lost: 1, modules, places }
    }

    fn frame() -> impl Strategy<Value = Frame> {
        prop_oneof![
            Just(Frame::Unknown),
            Just(Frame::Jit),
            Just(Frame::Cut),
            (0u32..3).prop_map(Frame::Lua),
            (0u32..2, any::<u64>()).prop_map(|(module, addr)| Frame::Code { module, addr }),
        ]
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(stacks in vec(vec(frame(), 0..20), 1..9), first: u32, steps in vec(0u64..5000, 0..50)) {
            let (first, mut call) = (u64::from(first), u64::from(first));
            let sample = |(at, step): (usize, &u64)| {
                call += step;
                Sample { call, stack: (at % stacks.len()) as u32 }
            };
            let samples: Vec<Sample> = steps.iter().enumerate().map(sample).collect();
            let stacks = Stacks { about: about(first, call - first + 1), stacks, samples };
            prop_assert_eq!(Stacks::decode(&stacks.encode()), Ok(stacks));
        }

        #[test]
        fn any_bytes_decode_or_fail(payload: Vec<u8>) {
            let _ = Stacks::decode(&payload);
        }
    }

    #[test]
    fn numbers_that_lead_nowhere_are_refused() {
        let good = Stacks {
            about: about(7, 3),
            stacks: vec![vec![Frame::Code { module: 1, addr: 9 }, Frame::Lua(2)]],
            samples: vec![Sample { call: 9, stack: 0 }],
        };
        assert!(Stacks::decode(&good.encode()).is_ok());
        let mut bad = [good.clone(), good.clone(), good.clone(), good];
        bad[0].stacks[0][0] = Frame::Code { module: 2, addr: 9 };
        bad[1].stacks[0][1] = Frame::Lua(3);
        bad[2].samples[0].stack = 1;
        bad[3].samples[0].call = 10;
        for (bad, what) in bad.iter().zip(["2 of 2 modules", "3 of 3 places", "1 of 1 stacks", "call 10"]) {
            let refused = Stacks::decode(&bad.encode());
            assert!(refused.as_ref().is_err_and(|BadPayload(found)| found.contains(what)), "{refused:?}");
        }
    }
}
