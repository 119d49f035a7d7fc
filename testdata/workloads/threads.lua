-- Coroutines in plenty: thousands alive at once, each with a stack of its own that grows in steps as calls nest, and is
-- shrunk by collections while the coroutine sleeps. About 300,000 calls; the argument multiplies the generations.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local random = common.random(42)

local GENERATIONS = math.floor(12 * common.argument(1))
local ALIVE = 2000

local function nest(depth, ...)
  if depth == 0 then
    coroutine.yield(select("#", ...))
    return 0
  end
  -- Not a tail call, and with a few values more each time: the stack must grow.
  return 1 + nest(depth - 1, depth, ...)
end

local function worker(depth)
  local notes = {}
  for turn = 1, 3 do
    notes[turn] = "turn " .. turn .. " of " .. depth
    nest(turn == 2 and depth or 2)
  end
  return #notes
end

local threads = {}
local finished = 0

local function start(slot)
  threads[slot] = coroutine.create(worker)
  assert(coroutine.resume(threads[slot], random(60)))
end

for slot = 1, ALIVE do
  start(slot)
end

common.ready()
for _ = 1, GENERATIONS do
  for _ = 1, ALIVE * 3 do
    local slot = random(ALIVE)
    assert(coroutine.resume(threads[slot]))
    if coroutine.status(threads[slot]) == "dead" then
      finished = finished + 1
      start(slot)
    end
  end
  collectgarbage()
end
common.done("finished=" .. finished)
