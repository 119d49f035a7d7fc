-- What all workloads share: the protocol that lets a recorder attach between the initial data and the work, and look at
-- the heap once more before the program is gone.
--
--   program prints   ready             its VM and its initial data are up
--   it waits for     a line on stdin
--   program prints   done <figures>    the work is over, its heap still lives
--   it waits for     the end of stdin
--
-- With an empty stdin (</dev/null) it waits for nothing and just runs through.

local common = {}

-- neovim 0.7 knows no `arg`: there the argument comes by the environment.
function common.argument(default)
  return tonumber((arg and arg[1]) or os.getenv("WORKLOAD_ARGUMENT")) or default
end

local function say(line)
  -- Not print(): under neovim that goes to the editor's messages.
  io.stdout:write(line, "\n")
  io.stdout:flush()
end

function common.ready()
  say("ready")
  io.stdin:read("*l")
end

-- `figures` must not depend on the build: the tests compare them across builds. The heap's size does depend on it, so it
-- comes last.
function common.done(figures)
  say(string.format("done %s heap_kib=%d", figures, collectgarbage("count")))
  io.stdin:read("*a")
end

-- Numbers 1..n, the same ones everywhere and each time (Park and Miller 1988; every product stays under 2^53, so doubles
-- hold it exactly). math.random is left out: its sequence differs between Lua implementations.
function common.random(seed)
  local state = seed
  return function(n)
    state = state * 16807 % 2147483647
    return state % n + 1
  end
end

return common
