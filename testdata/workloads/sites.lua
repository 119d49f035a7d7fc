-- Allocates at known places, in C and in Lua, compiled and interpreted, for some seconds. The module comes by the
-- environment: testdata/programs/sites.c.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local ffi = require("ffi")
local module = os.getenv("SITES")
local work = assert(package.loadlib(module, "luaopen_sites"))()
ffi.cdef("void callback_site(void (*function)(void), int times);")
local library = ffi.load(module)

local SECONDS = common.argument(4)
local count = 0

-- Two strings of 4,000 bytes and more for one of 7,000. They end in a number, so that each is a new one, and are kept for a
-- while, or compiled code would not make them.
local kept = {}
for slot = 0, 49 do kept[slot] = "" end
local four, seven = ("a"):rep(4000), ("b"):rep(7000)
local function shorter()
  count = count + 1
  kept[count % 50] = four .. count
end
local function longer()
  count = count + 1
  kept[count % 50] = seven .. count
end

-- Called by C: a string of 9,000 bytes and more.
local nine = ("c"):rep(9000)
local called = ffi.cast("void (*)(void)", function()
  count = count + 1
  kept[count % 50] = nine .. count
end)

if os.getenv("INTERPRETED") then
  jit.off()
end

common.ready()
local stop = os.clock() + SECONDS
while os.clock() < stop do
  work(5)
  for _ = 1, 5 do
    shorter()
    shorter()
    longer()
  end
  library.callback_site(called, 2)
end
common.done("count=" .. (count > 0 and 1 or 0))
