-- Work at a pace of its own, as a service has it: a burst of allocations every few milliseconds, of a size that changes,
-- then sleep. However slow a recorder makes it, it does the same work, and it has time to spare. About a million calls.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local random = common.random(42)
local ffi = require("ffi")
ffi.cdef("int usleep(unsigned int);")

local ROUNDS = math.floor(2500 * common.argument(1))
local kept = {}

-- The compiler would leave allocations out.
jit.off()

local function work(size)
  for i = 1, size do
    local slot = random(5000)
    if i % 4 == 0 then
      kept[slot] = string.rep("s", random(2000)) .. slot
    else
      kept[slot] = { slot, i, size }
    end
  end
end

work(20000)
common.ready()
local made = 0
for round = 1, ROUNDS do
  -- Busy and quiet seconds.
  local size = 20 + random(60) + (math.floor(round / 400) % 2) * 120
  work(size)
  made = made + size
  ffi.C.usleep(4000)
end
common.done("made=" .. made)
