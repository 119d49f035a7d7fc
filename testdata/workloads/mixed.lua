-- Every kind of thing that asks the allocator for memory, in turn and small: strings and the buffers they are built in,
-- tables that grow in their array and in their hash part, closures and upvalues, cdata, coroutines, string functions;
-- with full collections in between. About 670,000 calls; the argument multiplies the rounds.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local random = common.random(1971)
local has_ffi, ffi = pcall(require, "ffi")
local has_buffer, buffer = pcall(require, "string.buffer") -- only in builds since 2021

local ROUNDS = math.floor(60 * common.argument(1))
local steps = {}

function steps.strings(round)
  local parts = {}
  for i = 1, 300 do
    parts[i] = "part " .. round .. "/" .. i .. string.rep("x", random(60))
  end
  local text = table.concat(parts, ", ")
  text = text:gsub("part (%d+)/(%d+)", "%2 of %1"):upper():reverse()
  return #text
end

function steps.growing_concat(round)
  local text = ""
  for i = 1, 120 do
    text = text .. i .. ":" .. round .. ";"
  end
  return #text
end

function steps.arrays()
  local sum = 0
  for _ = 1, 60 do
    local array = {}
    for i = 1, random(400) do
      array[i] = i
    end
    while #array > 20 do
      table.remove(array)
    end
    array.name = "a new key makes the table count its slots, and shrink"
    sum = sum + #array
  end
  return sum
end

function steps.hashes(round)
  local hash = {}
  for i = 1, 500 do
    hash["key" .. i] = { round, i }
  end
  for i = 1, 450 do
    hash["key" .. i] = nil
  end
  for i = 1, 600 do
    hash[i * 0.5 + 0.25] = i -- the dead keys make room, or the table is laid out anew
  end
  return hash["key500"][2]
end

function steps.closures(round)
  local counters = {}
  for i = 1, 400 do
    local shared = i
    local function up()
      shared = shared + round
      return shared
    end
    counters[i] = function()
      return up() + shared
    end
  end
  local sum = 0
  for i = 1, #counters do
    sum = sum + counters[i]()
  end
  return sum
end

function steps.coroutines()
  local sum = 0
  for i = 1, 60 do
    local thread = coroutine.wrap(function(...)
      local function deep(n)
        if n == 0 then
          return coroutine.yield(select("#", "a", "b"))
        end
        return 1 + deep(n - 1)
      end
      return deep(random(90))
    end)
    thread(i)
    sum = sum + thread(0)
  end
  return sum
end

function steps.cdata()
  local bytes = 0
  for _ = 1, 300 do
    local n = random(3000)
    bytes = bytes + n
    -- Builds without the FFI walk the same random numbers: the figures stay the same.
    if has_ffi then
      local array = ffi.new("uint8_t[?]", n)
      array[n - 1] = 7
      local pair = ffi.gc(ffi.new("struct { double x, y; }"), function() end)
      pair.x = array[n - 1]
    end
  end
  return bytes
end

function steps.buffers()
  local bytes = 0
  local out = has_buffer and buffer.new(64)
  for _ = 1, 100 do
    local n = random(2000)
    bytes = bytes + n
    if out then
      out:put(string.rep("b", n))
      if n > 1500 then
        out:reset()
      end
    end
  end
  return bytes
end

-- A fixed order: pairs() would follow the hash of each build.
local order = { "strings", "growing_concat", "arrays", "hashes", "closures", "coroutines", "cdata", "buffers" }
local kept = {}

common.ready()
local sum = 0
for round = 1, ROUNDS do
  for _, name in ipairs(order) do
    sum = sum + steps[name](round)
  end
  kept[round % 16] = { round, tostring(sum), steps.strings }
  if round % 10 == 0 then
    collectgarbage()
  end
end
common.done(string.format("sum=%.0f", sum))
