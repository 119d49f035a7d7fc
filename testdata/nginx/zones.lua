-- What the nginx of zones.conf.in does with its dictionaries: filled with what is known, and asked for what it says itself.

local zones = {}

-- The dictionary `dict` gets so many values of so many bytes, each under a key of eight. None drives out another.
function zones.fill()
  local args = ngx.req.get_uri_args()
  local dict, value = ngx.shared[args.dict], string.rep("v", tonumber(args.size))
  for i = 1, tonumber(args.count) do
    local ok, problem = dict:safe_set(string.format("%s%07d", args.mark, i), value)
    if not ok then
      ngx.say(problem)
      return
    end
  end
  ngx.say("filled")
end

-- Its size, and the bytes of its free pages.
function zones.space()
  local dict = ngx.shared[ngx.req.get_uri_args().dict]
  ngx.say(dict:capacity(), " ", dict:free_space())
end

return zones
