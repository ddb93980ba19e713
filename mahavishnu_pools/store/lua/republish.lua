-- A Celery task asks to run again (retry, replace). While the attempt that asks still holds its claim, the new message takes the
-- old one's place there and goes to its queue when the claim is released: nobody can run it before, and a death between
-- the two neither loses nor doubles it. Otherwise it goes to the delayed set of its pool at once.
-- Who asks too late changes nothing: the task has its outcome, or another attempt has it.
-- ARGV: 2 task, 3 pool, 4 bucket, 5 message, 6 due (epoch seconds, or '' now), 7 lease of the asking worker group ('' unknown)
local id, pool = ARGV[2], ARGV[3]
if call('EXISTS', k_pool(pool)) == 0 then return 0 end
local due = stamp(tonumber(ARGV[6]) or clock())
local key, value = k_task(id), id .. '\n' .. ARGV[4] .. '\n' .. ARGV[5]
local h = call('HMGET', key, 'status', 'claim')
local lease, number = string.match(h[2] or '', '^(.*):(%d+)$')
if STAT[h[1] or ''] or (ARGV[7] ~= '' and lease ~= ARGV[7]) then return 1 end
if lease and call('HEXISTS', k_claims(lease), number) == 1 then
  call('HSET', k_claims(lease), number, value)
  call('HSET', key, 'again', due .. ' ' .. pool)
  return 1
end
call('ZADD', k_delayed(pool), due, value)
call('HSET', key, 'status', 'retrying', 'retry_at', due, 'pool', pool)
reindex(pool, false)
ring(pool)
return 1
