//! Where LuaJIT's objects have what a census needs: `src/lj_obj.h` and `src/lj_jit.h` of LuaJIT 2.0 to 2.1 and of
//! OpenResty's fork, which differ in strings' headers alone. Offsets and sizes in bytes.

use shared::Addr;

/// Types of objects: the `gct` byte (`~LJ_TSTR` and on).
pub(super) mod gct {
    pub(in crate::census) const STRING: u8 = 4;
    pub(in crate::census) const UPVALUE: u8 = 5;
    pub(in crate::census) const THREAD: u8 = 6;
    pub(in crate::census) const PROTO: u8 = 7;
    pub(in crate::census) const FUNCTION: u8 = 8;
    pub(in crate::census) const TRACE: u8 = 9;
    pub(in crate::census) const CDATA: u8 = 10;
    pub(in crate::census) const TABLE: u8 = 11;
    pub(in crate::census) const USERDATA: u8 = 12;
}

/// Bits of the `marked` byte: the two whites, and never to be freed.
pub(super) const WHITES: u8 = 3;
/// `LJ_GC_FIXED`.
pub(super) const FIXED: u8 = 0x20;
/// In a C value's `marked`: it is not at the start of its block.
pub(super) const CDATA_VARIABLE: u8 = 0x80;
/// `ffid` of a Lua function.
pub(super) const LUA_FUNCTION: u8 = 0;
/// `udtype` of a string buffer.
pub(super) const STRING_BUFFER: u8 = 3;
/// A value's slot.
pub(super) const SLOT: u64 = 8;
/// A hash node: value, key, and links.
pub(super) const NODE: u64 = 24;
/// `sizeof(SnapShot)`.
pub(super) const SNAPSHOT: u64 = 12;
/// `sizeof(IRIns)`.
pub(super) const IR: u64 = 8;
/// What the collector is doing, by its `state`.
pub(super) const STATES: [&str; 6] = ["pause", "propagate", "atomic", "sweepstring", "sweep", "finalize"];

/// The offsets of builds with one size of references.
#[derive(Debug)]
pub(super) struct Layout {
    /// Bytes of a reference. `marked` follows `nextgc`, then `gct`, then two bytes of the object's own.
    pub(super) reference: usize,
    /// `GCtab`: `array`, `node`, `asize`, `hmask`, and its size.
    pub(super) table: [usize; 5],
    /// `GCfunc`: what comes before the upvalues of a Lua function, and of one in C.
    pub(super) function: [u64; 2],
    /// `GCfunc`: `pc`.
    pub(super) function_pc: usize,
    /// `GCproto`: `sizept`, `numline`.
    pub(super) proto: [usize; 2],
    /// `GCproto`: `sizebc`, `chunkname`, `firstline`, `lineinfo`, and its size, behind which the bytecode follows.
    pub(super) proto_code: [usize; 5],
    /// `GCupval`: its size.
    pub(super) upvalue: u64,
    /// `lua_State`: `glref`, `stack`, `openupval`, `stacksize`.
    pub(super) thread: [usize; 4],
    /// `GCudata`: `len`, and its size.
    pub(super) userdata: [usize; 2],
    /// `GCcdata`: its size.
    pub(super) cdata: u64,
    /// `GCtrace`: `nsnapmap`, `snap`, `snapmap`; `nsnap` is behind `gct`.
    pub(super) trace: [usize; 3],
    /// `GCtrace`: `startpc`, `szmcode`, `mcode`, `spadjust`, `traceno`.
    pub(super) trace_code: [usize; 5],
    /// `GCstr`: `len`, and its size: with `sid` since 2020, and before.
    pub(super) strings: [[usize; 2]; 2],
}

/// With 64-bit references.
pub(super) static GC64: Layout = Layout {
    reference: 8,
    table: [16, 40, 48, 52, 64],
    function: [40, 48],
    function_pc: 32,
    proto: [56, 76],
    proto_code: [12, 64, 72, 80, 104],
    upvalue: 48,
    thread: [16, 56, 64, 88],
    userdata: [24, 48],
    cdata: 16,
    trace: [44, 48, 56],
    trace_code: [72, 84, 88, 102, 104],
    strings: [[20, 24], [16, 24]],
};

/// With 32-bit references.
pub(super) static NO_GC64: Layout = Layout {
    reference: 4,
    table: [8, 20, 24, 28, 32],
    function: [20, 32],
    function_pc: 16,
    proto: [32, 48],
    proto_code: [8, 40, 44, 52, 64],
    upvalue: 24,
    thread: [8, 36, 40, 56],
    userdata: [12, 24],
    cdata: 8,
    trace: [28, 32, 40],
    trace_code: [52, 60, 64, 78, 80],
    strings: [[16, 20], [12, 16]],
};

/// The bytes of an object. What is behind their end is 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a>(pub(super) &'a [u8]);

impl Head<'_> {
    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        let found = self.0.get(at..).and_then(|rest| rest.first_chunk());
        found.copied().unwrap_or([0; N])
    }

    /// The byte at an offset.
    pub(super) fn byte(self, at: usize) -> u8 {
        self.bytes::<1>(at)[0]
    }

    /// The 16 bits at an offset.
    pub(super) fn half(self, at: usize) -> u64 {
        u64::from(u16::from_le_bytes(self.bytes(at)))
    }

    /// The 32 bits at an offset.
    pub(super) fn int(self, at: usize) -> u64 {
        u64::from(u32::from_le_bytes(self.bytes(at)))
    }

    /// The 64 bits at an offset.
    pub(super) fn word(self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    /// The reference at an offset.
    pub(super) fn reference(self, layout: &Layout, at: usize) -> Addr {
        if layout.reference == 8 { self.word(at) } else { self.int(at) }
    }
}
