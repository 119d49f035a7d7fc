-- What the test nginx serves. Each handler uses the heap in its own way; lua-cjson may be absent and its work would be C
-- anyway, so the JSON encoder is plain Lua.

local handlers = {}

-- A sequence of its own for the worker: the same requests in the same order give the same heap.
local state = 20101
local function random(n)
  state = state * 16807 % 2147483647
  return state % n + 1
end

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t" }

local function encode(value, out)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = '"' .. value:gsub('[%c"\\]', escapes) .. '"'
  elseif kind ~= "table" then
    out[#out + 1] = tostring(value)
  elseif value[1] ~= nil then
    out[#out + 1] = "["
    for i, item in ipairs(value) do
      out[#out + 1] = i > 1 and "," or ""
      encode(item, out)
    end
    out[#out + 1] = "]"
  else
    local keys = {}
    for key in pairs(value) do
      keys[#keys + 1] = key
    end
    table.sort(keys)
    out[#out + 1] = "{"
    for i, key in ipairs(keys) do
      out[#out + 1] = (i > 1 and ',"' or '"') .. key .. '":'
      encode(value[key], out)
    end
    out[#out + 1] = "}"
  end
  return out
end

-- A short answer: the smallest work a request can be.
function handlers.hello()
  ngx.say("hello")
end

-- Several hundred calls of the allocator a request: a document built, encoded, sent and dropped.
local function serve(serial, pick)
  local document = { serial = serial, path = ngx.var.uri, items = {} }
  for i = 1, 20 do
    document.items[i] = {
      id = serial * 100 + i,
      name = "item " .. serial .. "." .. i,
      tags = { "tag" .. pick(50), "a \"quoted\" tag" },
      price = pick(10000) / 100,
    }
  end
  ngx.header.content_type = "application/json"
  ngx.print(table.concat(encode(document, {})))
end

-- Each document differs from the one before.
function handlers.json()
  serve(ngx.shared.counters:incr("json", 1, 0), random)
end

-- The same document for every request, as a page that is asked for often.
function handlers.same()
  serve(7, function(n) return n end)
end

-- A heap that lives: least recently used pages go when the cache is full, in an order of their own.
local CAPACITY = 4000
local pages, newest, oldest, count = {}, nil, nil, 0

local function unlink(page)
  if page.newer then page.newer.older = page.older else newest = page.older end
  if page.older then page.older.newer = page.newer else oldest = page.newer end
  page.newer, page.older = nil, nil
end

local function push(page)
  page.older = newest
  if newest then newest.newer = page else oldest = page end
  newest = page
end

function handlers.cache()
  local hits = 0
  for _ = 1, 20 do
    local key = "page:" .. random(3 * CAPACITY)
    local page = pages[key]
    if page then
      hits = hits + 1
      unlink(page)
    else
      page = { key = key, body = key .. string.rep("p", random(2000)), links = { key .. ":next", key .. ":up" } }
      pages[key] = page
      count = count + 1
      if count > CAPACITY then
        pages[oldest.key] = nil
        unlink(oldest)
        count = count - 1
      end
      ngx.shared.pages:set(key, page.body)
    end
    push(page)
  end
  ngx.say("hits ", hits, " of 20, pages ", count)
end

-- Blocks of 100 KiB to 500 KiB: direct ones, mapped and unmapped for one request.
function handlers.big()
  local parts = {}
  for i = 1, 20 do
    parts[i] = string.rep(string.char(64 + i), (5 + random(20)) * 1024)
  end
  ngx.print(table.concat(parts))
end

function handlers.gc()
  local before = collectgarbage("count")
  collectgarbage()
  ngx.say(string.format("%d KiB before, %d KiB after", before, collectgarbage("count")))
end

return handlers
