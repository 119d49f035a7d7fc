-- Work whose result depends on every byte it has kept: about 5 MB alive in strings, tables and closures, replaced at
-- random, and a checksum over what is replaced and, at the end, over all that is left. Three seconds by itself; the
-- argument multiplies the rounds.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local common = dofile(here .. "/lib/ready.lua")
local random = common.random(20261122)

local SLOTS = 10000
local ROUNDS = math.floor(120 * common.argument(1))
local REPLACED = 10000 -- slots in a round

local slots, checksum = {}, 1

local function add(value)
  checksum = (checksum * 31 + value) % 2147483647
end

local function add_text(text)
  add(#text)
  for at = 1, #text, 61 do
    add(text:byte(at))
  end
end

local function make(number)
  local kind = random(4)
  if kind == 1 then
    return { text = number .. ":" .. string.rep(string.char(65 + random(26) % 26), random(400)) }
  elseif kind == 2 then
    local list = {}
    for i = 1, random(40) do
      list[i] = number + i
    end
    return { list = list }
  elseif kind == 3 then
    return { call = function() return number end }
  end
  -- Now and then one that is mapped directly.
  return { text = number .. string.rep("d", random(300) == 1 and 150000 or random(90)) }
end

local function take(slot)
  if slot.text then
    add_text(slot.text)
  elseif slot.list then
    for i = 1, #slot.list do
      add(slot.list[i])
    end
  else
    add(slot.call())
  end
end

for at = 1, SLOTS do
  slots[at] = make(at)
end
common.ready()
for round = 1, ROUNDS do
  for i = 1, REPLACED do
    local at = random(SLOTS)
    take(slots[at])
    slots[at] = make(round * REPLACED + i)
  end
end
for at = 1, SLOTS do
  take(slots[at])
end
common.done(string.format("checksum=%.0f", checksum))
