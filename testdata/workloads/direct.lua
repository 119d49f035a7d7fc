-- Blocks of 128 KiB and more, which LuaJIT maps one by one: tables with large arrays that grow and shrink, long strings,
-- the string buffer that grows to build them, cdata of 100 KiB to 4 MiB. Growing and shrinking resizes such blocks in
-- place or moves them; small blocks in between keep the rest of the heap at work. About 680,000 calls, some 600 of
-- them for direct blocks; the argument multiplies the rounds.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local random = common.random(131072)
local has_ffi, ffi = pcall(require, "ffi")

local KIB = 1024
local ROUNDS = math.floor(40 * common.argument(1))

-- Grows by doubling across the threshold, then shrinks: a new key in the hash part makes the table count its slots.
local function breathing_table(n)
  local array = {}
  for i = 1, n do
    array[i] = i
  end
  for i = n, 101, -1 do
    array[i] = nil
  end
  for i = 1, 8 do
    array["key" .. i] = i
  end
  return #array
end

local function long_string(bytes)
  return string.rep("0123456789abcdef", bytes / 16)
end

-- One long-lived string made of many: the buffer behind table.concat doubles up to it, and a collection halves it.
local function long_concat(lines)
  local parts = {}
  for i = 1, lines do
    parts[i] = "line " .. i
  end
  return table.concat(parts, "\n")
end

local function small_things()
  local things = {}
  for i = 1, 700 do
    things[i] = { i, "thing " .. random(1000000) }
  end
  return things
end

local long_lived = {}
for i = 1, 4 do
  long_lived[i] = long_string(200 * KIB) .. i
end

common.ready()
local sum = 0
for round = 1, ROUNDS do
  sum = sum + breathing_table(random(200000) + 20000)
  local text = long_string((random(1900) + 100) * KIB) .. round
  sum = sum + #text
  long_lived[random(8)] = text
  local lines = long_concat(random(30000))
  sum = sum + #lines
  local bytes = (random(3996) + 100) * KIB
  sum = sum + bytes
  if has_ffi then
    local block = ffi.new("uint8_t[?]", bytes)
    block[bytes - 1] = 1
    long_lived[8 + random(4)] = block
  end
  long_lived[12 + random(4)] = small_things()
  if round % 8 == 0 then
    collectgarbage()
  end
end
common.done(string.format("sum=%.0f", sum))
