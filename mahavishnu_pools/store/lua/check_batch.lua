-- Reads the counts of a batch, and how its members from one index to another ended.
-- ARGV: 2 batch, 3 first, 4 last. Reply: {total, successful, failed, members, '1' when its follower waits still, TTL}, then completed,
-- ended otherwise, without a record, follower's task id or ''
local key = k_batch(ARGV[2])
local h = call('HMGET', key, 'total', 'successful', 'failed', 'then', 'sealed', 'follower')
local ids = call('LRANGE', k_batch_tasks(ARGV[2]), ARGV[3], ARGV[4])
local completed, other, unknown = 0, 0, 0
for _, id in ipairs(ids) do
  local status = call('HGET', k_task(id), 'status')
  if status == 'completed' then completed = completed + 1
  elseif not status then unknown = unknown + 1
  elseif STAT[status] then other = other + 1 end
end
local counts = { tonumber(h[1] or -1), tonumber(h[2] or 0), tonumber(h[3] or 0), call('LLEN', k_batch_tasks(ARGV[2])),
  h[4] and h[5] and 1 or 0, call('TTL', key) }
return { counts, completed, other, unknown, h[4] and h[6] or '' }
