-- Says that a batch has all its tasks, and what follows it. The follower's record is made here, its message waits in the
-- batch until the last outcome. ARGV: 2 batch, 3 follower (JSON: id, spec, bucket, prefix, suffix, candidates, fallback) or '',
-- 4 client or '', 5 result lifetime in ms
local batch, now = ARGV[2], clock()
local key = k_batch(batch)
if call('EXISTS', key) == 0 then return 0 end
if call('HGET', key, 'sealed') then return 1 end
call('HSET', key, 'sealed', '1')
if ARGV[3] ~= '' then
  local f = cjson.decode(ARGV[3])
  local record = { 'status', 'queued', 'pool', f.fallback, 'type', 'reduce', 'created', stamp(now), 'bucket', f.bucket, 'attempts', '0', 'spec', f.spec }
  if ARGV[4] ~= '' then record[#record + 1] = 'client'; record[#record + 1] = ARGV[4] end
  call('HSET', k_task(f.id), unpack(record))
  call('HSET', key, 'then', ARGV[3], 'follower', f.id)
end
-- The last outcome may have come before the seal: let the bookkeeping look once more without counting anything.
local h = call('HMGET', key, 'total', 'successful', 'failed')
if ARGV[3] ~= '' and tonumber(h[2]) + tonumber(h[3]) >= tonumber(h[1]) then
  local f = cjson.decode(ARGV[3])
  call('HDEL', key, 'then')
  local pool = pick({ strategy = 'least_loaded', set = set_of(f.candidates) }) or f.fallback
  push(pool, f.bucket, f.prefix, f.suffix)
  call('HSET', k_task(f.id), 'pool', pool)
  reindex(pool, true)
  ring(pool)
end
return 1
