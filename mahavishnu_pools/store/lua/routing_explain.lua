-- Tells how a pool would be chosen now, and chooses none. ARGV: 2 options (JSON), as in submit
-- Reply: 'ok' and the explanation (JSON); else why the call is refused
local o, refused = options(ARGV[2])
if refused then return refused end

-- Whose turn was longest ago, of the best class.
local function next_by_turn(key)
  local first, least
  for _, id in ipairs(best_class(o.set)) do
    local turn = tonumber(call('ZSCORE', key, id) or 0)
    if not least or turn < least or (turn == least and id < first) then first, least = id, turn end
  end
  return first
end

local s, chosen = o.strategy, nil
if s == 'pool' then
  chosen = o.pool
elseif s == 'least_loaded' then
  chosen = pick(o)
elseif s == 'round_robin' then
  chosen = next_by_turn(k_turns())
elseif s == 'affinity' then
  chosen = bound_pool(o) or next_by_turn(k_affinity_turns())
end
return { 'ok', explained(o, chosen, clock()) }
