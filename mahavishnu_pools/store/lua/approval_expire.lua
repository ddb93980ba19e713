-- Ends tasks that nobody approved of in time. ARGV: 2 most, 3 result lifetime in ms. Reply: how many
local now = clock()
local ids = call('ZRANGEBYSCORE', k_awaiting(), '-inf', stamp(now), 'LIMIT', 0, ARGV[2])
if #ids == 0 then return 0 end
even_when_full()
for _, id in ipairs(ids) do
  if call('HGET', k_task(id), 'approval') == 'awaiting' then expire_approval(id, ARGV[3], now) else call('ZREM', k_awaiting(), id) end
end
return #ids
