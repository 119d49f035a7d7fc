-- Functions whose every instruction's line the program itself knows, and compiled traces whose machine code it knows: the
-- figures say where they are and what they were made from, for a test to compare.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local util = require("jit.util")

local kept = {}

-- Where a trace that is begun starts, by its number.
local begun = {}
jit.attach(function(what, trace, func, pc)
  if what == "start" then
    local info = util.funcinfo(func, pc)
    begun[trace] = string.format("%d:%s", info.currentline, info.source)
  end
end, "trace")

common.ready()

local function short(a, b) return a + b end

local function hot(n)
  local sum = 0
  for i = 1, n do
    sum = short(sum, i)
    if i % 3 == 0 then
      sum = sum - 1
    end
  end
  return sum
end

-- More numbers than there are registers: its trace needs room on the stack.
local function wide(n)
  local a, b, c, d, e, f, g, h, i, j = 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5
  local k, l, m, o, p, q, r, s, t, u = 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5
  for x = 1, n do
    a, b, c, d, e, f, g, h, i, j = b + x, c + a, d + b, e + c, f + d, g + e, h + f, i + g, j + h, k + i
    k, l, m, o, p, q, r, s, t, u = l + j, m + k, o + l, p + m, q + o, r + p, s + q, t + r, u + s, a + t
  end
  return a + b + c + d + e + f + g + h + i + j + k + l + m + o + p + q + r + s + t + u
end

kept[#kept + 1] = short
kept[#kept + 1] = hot
kept[#kept + 1] = assert(loadstring("return function(x)\n\nx = x + 1\nreturn x end", "=named"))()
kept[#kept + 1] = assert(loadstring("return function(x) return x .. 'secret' end"))()
kept[#kept + 1] = assert(loadstring(string.dump(hot, true), "@stripped.lua"))
-- So many lines that their numbers take two bytes, and four.
for _, lines in ipairs({ 300, 70000 }) do
  local text = "return function(x)" .. string.rep("\nx = x * 2", 20) .. string.rep("\n", lines) .. "return x end"
  kept[#kept + 1] = assert(loadstring(text, "=" .. lines))()
end

for _ = 1, 20 do
  hot(500)
  wide(500)
end
jit.off()
collectgarbage()
collectgarbage("stop")

local figures = {}
for _, func in ipairs(kept) do
  local info = util.funcinfo(func)
  local lines = {}
  for pc = 0, info.bytecodes - 1 do
    lines[#lines + 1] = util.funcinfo(func, pc).currentline or -1
  end
  local source = info.source:find("^[@=]") and info.source or "(text)"
  local addr = tostring(func):match("0x%x+")
  figures[#figures + 1] =
    string.format("function=%s:%d:%s:%s", addr, info.linedefined, table.concat(lines, ","), source)
end
for trace, start in pairs(begun) do
  if util.traceinfo(trace) then
    local code, addr = util.tracemc(trace)
    figures[#figures + 1] = string.format("trace=%d:%.0f:%d:%s", trace, addr, #code, start)
  end
end
common.done(table.concat(figures, " "))
