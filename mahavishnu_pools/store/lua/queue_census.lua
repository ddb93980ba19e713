-- Counts what waits in one place of a pool, from the newest on, a bounded number a call.
-- ARGV: 2 pool, 3 place (a priority bucket, 'delayed' or 'suspects'), 4 from (0 is the newest), 5 most
-- Reply: how many wait there, how many were looked at, {lots}, {for each message the number of its lot, 0 for one that stays}
local pool, place, from, most = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local BYTES = 4 * 1024 * 1024
local function after_head(value) return string.sub(value, (string.find(value, '\n', (string.find(value, '\n', 1, true)) + 1, true)) + 1) end

local total, at
if place == 'delayed' then
  total = call('ZCARD', k_delayed(pool))
  at = function(i) return after_head(call('ZREVRANGE', k_delayed(pool), i, i)[1]) end
elseif place == 'suspects' then
  total = call('LLEN', k_suspects(pool))
  at = function(i) return after_head(call('LINDEX', k_suspects(pool), i)) end
else
  local list = bucket_key(pool, place)
  total = call('LLEN', list)
  at = function(i) return call('LINDEX', list, i) end
end

local lots, numbers, found, bytes = {}, {}, {}, 0
for i = from, math.min(total, from + most) - 1 do
  local message = at(i)
  bytes = bytes + #message
  local _, lot = lot_of(message)
  if lot and not numbers[lot] then
    lots[#lots + 1] = lot
    numbers[lot] = #lots
  end
  found[#found + 1] = lot and numbers[lot] or 0
  if bytes > BYTES then break end
end
return { total, #found, lots, found }
