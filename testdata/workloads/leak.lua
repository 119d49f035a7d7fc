-- A service with a leak, for the demo: requests come and go with plenty of garbage, sessions live for a while and are
-- dropped, and a log of "recent" requests is never cut. The heap grows by about 2 MB a second, beside a turnover many
-- times as large. Runs for about as many seconds as the argument says (default 10), with pauses as a service has them.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local random = common.random(777)
local _, ffi = pcall(require, "ffi")

local PAUSE_MS = 10
local TICKS = math.floor(common.argument(10) * 1000 / PAUSE_MS)
local REQUESTS = 40 -- in a tick
local SESSIONS = 5000

-- A static program exports no symbols, so its FFI finds no poll(): it pauses as builds without FFI do, spinning.
local has_poll, poll = pcall(function()
  ffi.cdef("int poll(void *fds, unsigned long count, int timeout_ms);")
  return ffi.C.poll
end)

local function pause()
  if has_poll then
    poll(nil, 0, PAUSE_MS)
  else
    local stop = os.clock() + PAUSE_MS / 1000
    repeat
    until os.clock() >= stop
  end
end

local sessions, recent, served = {}, {}, 0

local function parse(line)
  local request = { headers = {} }
  request.method, request.path = line:match("^(%S+) (%S+)")
  for i = 1, 6 do
    request.headers["x-header-" .. i] = "value " .. served .. "." .. i
  end
  return request
end

local function render(request)
  local out = {}
  for i = 1, 20 do
    out[i] = string.format("<li>%s item %d of %d</li>", request.path, i, served)
  end
  return table.concat(out, "\n")
end

local function handle()
  served = served + 1
  local request = parse("GET /item/" .. random(100000) .. "?r=" .. served .. " HTTP/1.1")
  local body = render(request)
  sessions[random(SESSIONS)] = { path = request.path, seen = served, token = string.rep("t", random(200)) .. served }
  if served % 3 == 0 then
    recent[#recent + 1] = { request = request, length = #body } -- the leak: the request lives as long as the log
  end
end

common.ready()
for _ = 1, TICKS do
  for _ = 1, REQUESTS do
    handle()
  end
  pause()
end
common.done(string.format("served=%d leaked=%d", served, #recent))
