-- The bench's workload: about 33 MB alive in tables, strings and closures of mixed sizes, replaced at random. Now and
-- then a burst of another 30 MB comes on top and goes at once, as a large request does, with the segments mapped for it.
-- About 2.1 million calls of the allocator behind `ready`; the argument multiplies them.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local random = common.random(20240419)

local SLOTS = 125000
local ROUNDS = math.floor(8 * common.argument(1))
local REPLACED = 50000 -- slots in a round
local BURST = 16000 -- strings, every other round
local ISLAND = 1000 -- strings between two direct blocks of a burst

-- Collect early: with the default pause half the heap is garbage, and a burst would fit into the holes it leaves.
collectgarbage("setpause", 110)

local slots = {}
local made = 0

local function make_string()
  -- The number in front keeps LuaJIT from finding an equal string that lives already.
  local length = random(10) == 1 and random(3600) or random(280)
  return made .. string.rep("s", length)
end

local function make_array()
  local array = {}
  for i = 1, random(40) do
    array[i] = i
  end
  return array
end

local function make_record()
  return { id = made, name = "n" .. made, size = random(1000), active = random(2) == 1 }
end

local function make_closure()
  local count, step = made, random(9)
  return function()
    count = count + step
    return count
  end
end

local makers = { make_string, make_string, make_array, make_record, make_record, make_closure }

local function make()
  made = made + 1
  return makers[random(#makers)]()
end

-- The kernel puts one mapping right beside the last, and LuaJIT merges neighbouring segments into one, which is never
-- wholly free. A direct block now and then keeps them apart.
local function burst()
  local objects, islands = {}, {}
  for i = 1, BURST do
    made = made + 1
    objects[i] = made .. string.rep("b", random(4000))
    if i % ISLAND == 0 then
      islands[#islands + 1] = made .. string.rep("i", 150 * 1024)
    end
  end
  return #objects + #islands
end

for slot = 1, SLOTS do
  slots[slot] = make()
end
collectgarbage()

common.ready()
for round = 1, ROUNDS do
  for _ = 1, REPLACED do
    slots[random(SLOTS)] = make()
  end
  if round % 2 == 0 then
    collectgarbage()
    burst()
    collectgarbage()
  end
end
common.done("made=" .. made)
