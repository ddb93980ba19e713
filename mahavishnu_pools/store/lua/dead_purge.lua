-- Forgets dead letters. ARGV: 2 lifetime of their tasks' records from now in ms, 3 only those from before this time ('' any), then
-- ids; without ids the oldest, at most 500. Reply: how many
even_when_full()
local ttl, before, ids, done = ARGV[2], ARGV[3], {}, 0
if #ARGV > 3 then
  for i = 4, #ARGV do ids[#ids + 1] = ARGV[i] end
else
  ids = call('ZRANGEBYSCORE', k_dead(), '-inf', before == '' and '+inf' or before, 'LIMIT', 0, 500)
end
for _, id in ipairs(ids) do
  local at = call('ZSCORE', k_dead(), id)
  if at and (before == '' or tonumber(at) <= tonumber(before)) then
    call('DEL', k_dead_letter(id))
    call('ZREM', k_dead(), id)
    call('PEXPIRE', k_task(id), ttl)
    call('PEXPIRE', k_log(id), ttl)
    done = done + 1
  end
end
return done
