-- Gives task records that have their outcome (or no status at all) and no lifetime one. ARGV: 2 lifetime in ms, then task ids
-- Reply: how many
local done = 0
for i = 3, #ARGV do
  local key = k_task(ARGV[i])
  local status = call('HGET', key, 'status')
  if (not status or STAT[status]) and call('TTL', key) == -1 then done = done + call('PEXPIRE', key, ARGV[2]) end
end
return done
