-- Segments that come and go: the heap grows to some 30 MB of small blocks, drops nearly all, collects, and grows again.
-- Segments wholly free are given back, the top is trimmed; a few runs of blocks stay pinned, so that other segments must
-- stay although they are nearly empty. About 900,000 calls; the argument multiplies the tides.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local random = common.random(128)

local TIDES = math.floor(3 * common.argument(1))
local BLOCKS = 150000
-- The kernel puts one mapping right beside the last, and LuaJIT merges neighbouring segments into one. A direct block
-- after each stretch keeps them apart; every third stretch leaves a run of pinned blocks behind.
local STRETCH = 6000
local PINNED_RUN = 40

local pinned = {}
local made = 0

local function tide()
  local sea, islands = {}, {}
  for i = 1, BLOCKS do
    made = made + 1
    sea[i] = made .. string.rep("w", random(360))
    if i % STRETCH == 0 then
      islands[#islands + 1] = made .. string.rep("i", 140 * 1024)
    end
    if i % (3 * STRETCH) < PINNED_RUN then
      pinned[#pinned + 1] = sea[i]
    end
  end
  return #sea + #islands
end

-- LuaJIT looks for wholly free segments once in some 255 frees of larger chunks, and a sweep frees a segment's last
-- block late: without these frees behind it, the segments would stay until the next tide.
local function ripple()
  for i = 1, 2000 do
    made = made + 1
    local _ = made .. string.rep("r", 300 + i % 700)
  end
  collectgarbage()
end

common.ready()
for _ = 1, TIDES do
  tide()
  collectgarbage()
  ripple()
  -- Some pins go, so that the next tide finds other holes.
  for i = #pinned, 1, -3 do
    table.remove(pinned, i)
  end
end
common.done(string.format("made=%d pinned=%d", made, #pinned))
