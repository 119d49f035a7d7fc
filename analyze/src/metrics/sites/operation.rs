//! What LuaJIT was doing, by the names of its functions.

/// What functions of these names do; of several that fit, the first line counts.
const OPERATIONS: &[(&str, &[&str])] = &[
    ("string table resize", &["lj_str_resize", "lj_str_rehash"]),
    ("string interning", &["lj_str_", "lua_pushstring", "lua_pushlstring"]),
    ("table growth", &["lj_tab_resize", "lj_tab_reasize", "lj_tab_rehash", "lj_tab_newkey", "rehashtab", "resizetab"]),
    ("table freed", &["lj_tab_free"]),
    ("table creation", &["lj_tab_new", "lj_tab_dup", "newtab", "newhpart", "lua_createtable"]),
    ("table growth", &["lj_tab_"]),
    ("closure", &["lj_func_newL", "lj_func_newC", "func_newL", "lua_pushcclosure"]),
    ("upvalue", &["lj_func_finduv", "func_finduv", "func_emptyuv", "lj_func_closeuv", "lj_func_freeuv"]),
    ("function freed", &["lj_func_free"]),
    ("parsing", &["lj_parse", "lj_bcread", "lj_lex_", "lj_load", "bcread_", "parse_", "fs_finish", "lex_"]),
    ("stack growth", &["lj_state_growstack", "lj_state_shrinkstack", "lj_state_relimitstack", "resizestack"]),
    ("coroutine", &["lj_state_new", "lj_state_free", "lua_newthread"]),
    ("a new VM, or its end", &["lua_newstate", "lua_close", "luaL_newstate", "lj_state_newstate", "close_state"]),
    ("C data", &["lj_cdata_", "lj_carith_", "lj_cconv_", "lj_ccall_", "lj_ccallback_", "lj_gc_finalize_cdata"]),
    ("C types", &["lj_ctype_", "lj_cparse", "lj_clib_", "cp_", "ctype_"]),
    ("userdata", &["lj_udata_", "lua_newuserdata"]),
    ("string buffer", &["lj_buf_", "lj_bufx_", "lj_strfmt_", "lj_serialize_", "buf_grow"]),
    (
        "compiler of traces",
        &[
            "lj_trace_",
            "trace_",
            "lj_ir_",
            "lj_mcode_",
            "mcode_",
            "lj_snap_",
            "lj_asm_",
            "lj_record_",
            "lj_opt_",
            "rec_",
        ],
    ),
    ("collector", &["lj_gc_", "gc_", "propagatemark", "atomic"]),
    ("libraries", &["lj_lib_", "luaopen_", "luaL_openlibs"]),
];

/// Through these every operation gets its memory.
const PLUMBING: &[&str] = &["lj_alloc_", "lj_mem_", "lj_gc_barrier", "alloc_", "release_unused_segments", "direct_"];

/// What a function of LuaJIT is doing; none if its name does not tell.
pub fn of(function: &str) -> Option<&'static str> {
    let does = |(_, prefixes): &&(_, &[&str])| prefixes.iter().any(|prefix| function.starts_with(prefix));
    OPERATIONS.iter().find(does).filter(|_| !is_plumbing(function)).map(|(operation, _)| *operation)
}

/// Whether every operation goes through a function.
pub fn is_plumbing(function: &str) -> bool {
    PLUMBING.iter().any(|prefix| function.starts_with(prefix))
}

/// Whether a function's name is one that LuaJIT's own have, its API's included.
pub fn is_luajit(function: &str) -> bool {
    ["lj_", "lua_", "luaL_", "luaopen_"].iter().any(|prefix| function.starts_with(prefix))
}

/// Whether a function is LuaJIT's interface to programs in C: what calls it is not LuaJIT.
pub fn is_interface(function: &str) -> bool {
    ["lua_", "luaL_"].iter().any(|prefix| function.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_tell_what_they_do() {
        let known = [
            ("lj_str_new", Some("string interning")),
            ("lj_str_alloc", Some("string interning")),
            ("lj_str_resize", Some("string table resize")),
            ("lj_tab_new_ah", Some("table creation")),
            ("lj_tab_newkey", Some("table growth")),
            ("lj_tab_resize", Some("table growth")),
            ("lj_tab_reasize", Some("table growth")),
            ("lj_func_newL_gc", Some("closure")),
            ("lj_func_finduv", Some("upvalue")),
            ("lj_bcread", Some("parsing")),
            ("lj_state_new", Some("coroutine")),
            ("lj_state_growstack1", Some("stack growth")),
            ("lj_cdata_newv", Some("C data")),
            ("lj_ctype_new", Some("C types")),
            ("lj_udata_new", Some("userdata")),
            ("lj_ir_growtop", Some("compiler of traces")),
            ("lj_buf_more2", Some("string buffer")),
            ("lj_gc_step", Some("collector")),
            ("gc_sweep", Some("collector")),
            ("lj_mem_realloc", None),
            ("lj_alloc_f", None),
            ("lj_BC_TNEW", None),
            ("main", None),
        ];
        for (function, operation) in known {
            assert_eq!(of(function), operation, "{function}");
        }
    }
}
