-- Writes the load index of every pool anew from the truth, and drops periodic tasks that nobody had a worker for. Reply: how many entries were wrong before
local wrong, seen = 0, {}
for _, pool in ipairs(call('ZRANGE', k_pools(), 0, -1)) do
  local member = call('HGET', k_pool(pool), 'member')
  local before = member and call('ZSCORE', k_load(), member)
  reindex(pool, false)
  member = call('HGET', k_pool(pool), 'member')
  local after = member and call('ZSCORE', k_load(), member)
  if member then seen[member] = true end
  if before ~= after then wrong = wrong + 1 end
end
for _, member in ipairs(call('ZRANGE', k_load(), 0, -1)) do
  if not seen[member] then
    call('ZREM', k_load(), member)
    wrong = wrong + 1
  end
end
call('LTRIM', k_periodic(), 0, 19)
return wrong
