-- The bench's tight loop: nothing but small allocations and their frees, so that the cost of a probed call stands out.
-- Half a million calls of the allocator behind `ready`; the argument multiplies them. A second argument is how many
-- tables live: the heap is then larger, but the same however long the loop runs. The figures are the loop's own time:
-- of the processor, and by the clock on the wall.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local ffi = require("ffi")

ffi.cdef([[
struct bench_time { long seconds, nanoseconds; };
int clock_gettime(int clock, struct bench_time *time);
]])

local time = ffi.new("struct bench_time")
local function wall()
  ffi.C.clock_gettime(1, time) -- CLOCK_MONOTONIC
  return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

local ROUNDS = math.floor(250000 * common.argument(1)) -- a table made in each, and one freed
local SLOTS = arg and tonumber(arg[2]) or 1024 -- kept alive, or the compiler would leave the allocation out

local slots = {}
local function run(rounds)
  for i = 1, rounds do
    slots[i % SLOTS + 1] = { i, i + 1 }
  end
end

run(20000 + SLOTS) -- compiled, and all alive
collectgarbage()
common.ready()
local cpu_start, wall_start = os.clock(), wall()
run(ROUNDS)
local cpu, elapsed = os.clock() - cpu_start, wall() - wall_start
collectgarbage() -- so that the last look at the heap finds the same one after every length
common.done(string.format("cpu_s=%.6f wall_s=%.6f", cpu, elapsed))
