-- Known populations of every kind of object, made between ready and done and kept: so what a census finds more at done than
-- at ready must be these. The compiler and the collector stand still meanwhile. The argument multiplies all numbers.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local has_ffi, ffi = pcall(require, "ffi")
local new_table = require("table.new")
jit.off()

local SCALE = common.argument(1)
local kept = {}
-- Whatever is made here is counted under its name.
local made = { cdata = 0 }
local order = {
  "strings", "string_bytes", "tables", "array_slots", "array_used", "hash_slots", "hash_used", "functions", "upvalues",
  "threads", "userdata", "cdata", "protos", "proto_lines",
}

local function count(name, number)
  made[name] = (made[name] or 0) + number
end

local function times(number, make)
  for i = 1, number * SCALE do
    kept[#kept + 1] = make(i)
  end
end

local function settle()
  collectgarbage()
  collectgarbage()
  collectgarbage("stop")
end

local KEYS = { "a", "b", "c", "d", "e", "f", "g", "h" }

local function fill(table, array, hash)
  for i = 1, array do
    table[i] = i
  end
  for i = 1, hash do
    table[KEYS[i]] = i
  end
  return table
end

-- `kept` has its full size from the start, in a block mapped on its own: only its use grows.
for i = 1, 40000 * SCALE do
  kept[i] = false
end
for i = #kept, 1, -1 do
  kept[i] = nil
end

settle()
common.ready()

times(10000, function(i)
  local text = string.format("%08d", i) .. string.rep("x", i % 90)
  count("strings", 1)
  count("string_bytes", #text)
  return text
end)
times(100, function(i)
  local text = string.rep("y", 5000) .. i
  count("strings", 1)
  count("string_bytes", #text)
  return text
end)

-- An array part of 10 and slot 0, in the header's block; a hash part of 8.
times(3000, function()
  count("tables", 1)
  count("array_slots", 11)
  count("array_used", 10)
  count("hash_slots", 8)
  count("hash_used", 8)
  return fill(new_table(10, 8), 10, 8)
end)
-- An array part of its own.
times(1000, function()
  count("tables", 1)
  count("array_slots", 21)
  count("array_used", 20)
  return fill(new_table(20, 0), 20, 0)
end)
-- Parts that are mostly empty.
times(500, function()
  count("tables", 1)
  count("array_slots", 31)
  count("array_used", 2)
  count("hash_slots", 8)
  count("hash_used", 1)
  return fill(new_table(30, 8), 2, 1)
end)

-- Closures, each with a variable of its own and one that all share.
local shared = 0
times(2000, function(i)
  count("functions", 1)
  count("upvalues", 1)
  local own = i
  return function()
    shared = shared + own
    own = own + 1
    return own
  end
end)

-- Suspended coroutines, each with a closure that refers to a variable on its stack.
times(300, function()
  count("threads", 1)
  count("functions", 2)
  count("upvalues", 1)
  local thread = coroutine.create(function()
    local open = 1
    local closure = function()
      open = open + 1
      return open
    end
    coroutine.yield(closure)
    return closure()
  end)
  assert(coroutine.resume(thread))
  return thread
end)

times(400, function()
  count("userdata", 1)
  return newproxy()
end)

if has_ffi then
  local fixed, variable = ffi.typeof("int64_t[4]"), ffi.typeof("uint8_t[?]")
  local aligned = ffi.typeof("struct { int x __attribute__((aligned(64))); }")
  times(1000, function()
    count("cdata", 1)
    return fixed()
  end)
  times(200, function(i)
    count("cdata", 1)
    return variable(i)
  end)
  times(100, function()
    count("cdata", 1)
    return aligned()
  end)
end

-- Functions of their own code. Of the text and the chunk around them nothing stays but the name.
times(200, function(i)
  count("protos", 1)
  count("functions", 1)
  count("strings", 1)
  count("proto_lines", i % 7 + 1)
  local name = "=chunk " .. i
  count("string_bytes", #name)
  return assert(loadstring("return function(x)" .. string.rep("\nx = x + 1", i % 7) .. "\nreturn x end", name))()
end)

count("array_used", #kept)
settle()
local figures = {}
for _, name in ipairs(order) do
  figures[#figures + 1] = string.format("%s=%d", name, made[name])
end
common.done(table.concat(figures, " "))
