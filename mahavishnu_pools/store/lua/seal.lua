-- Says that a batch has all its tasks, and what follows it. The follower's record is made here, its message waits in the
-- batch until the last outcome; until then the record names the batch it `follows`. ARGV: 2 batch, 3 follower (JSON: id, type, spec, bucket, prefix, suffix, candidates, fallback) or '',
-- 4 client or '', 5 result lifetime in ms. Reply: 0 when there is no such batch, else the id of what follows it ('' nothing): that of an
-- earlier batch with the same parts, where the follower's idempotency key is known.
local batch, now = ARGV[2], clock()
local key = k_batch(batch)
if call('EXISTS', key) == 0 then return 0 end
if call('HGET', key, 'sealed') then return call('HGET', key, 'follower') or '' end
call('HSET', key, 'sealed', '1')
if ARGV[3] ~= '' then
  local f = cjson.decode(ARGV[3])
  local twin = f.idem and call('GET', k_idem(f.idem))
  if twin and call('EXISTS', k_task(twin)) == 1 then
    call('HSET', key, 'follower', twin)
    batch_end(batch, now, math.max(1, tonumber(ARGV[5])))
    return twin
  end
  follow_batch(batch, ARGV[3], f, ARGV[4] ~= '' and ARGV[4] or nil, now)
end
-- The last outcome may have come before the seal.
batch_end(batch, now, math.max(1, tonumber(ARGV[5])))
return call('HGET', key, 'follower') or ''
