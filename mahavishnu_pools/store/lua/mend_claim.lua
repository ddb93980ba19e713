-- Releases a claim whose task has its outcome, or records the task of a claim that has no record. ARGV: 2 lease, 3 claim, 4 task
-- Reply: 1 when something was done
local lease, number, id = ARGV[2], ARGV[3], ARGV[4]
local value = call('HGET', k_claims(lease), number)
local about = call('HGET', k_leases(), lease)
if not value or not about or string.sub(value, 1, #id + 1) ~= id .. '\n' then return 0 end
local pool, key = cjson.decode(about).pool, k_task(id)
local status = call('HGET', key, 'status')
if status and not STAT[status] then return 0 end
even_when_full()
if status then
  call('HDEL', k_claims(lease), number)
  call('SREM', k_cancels(lease), id)
  reindex(pool, false)
else
  call('HSET', key, 'status', 'running', 'pool', pool, 'type', 'unknown', 'created', stamp(clock()), 'bucket',
    string.match(value, '^[^\n]*\n(%d+)\n'), 'attempts', '1', 'claim', lease .. ':' .. number)
end
return 1
