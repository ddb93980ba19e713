-- Says that a batch has all its tasks, and what follows it. The follower's record is made here, its message waits in the
-- batch until the last outcome; until then the record names the batch it `follows`. ARGV: 2 batch, 3 follower (JSON: id, spec, bucket, prefix, suffix, candidates, fallback) or '',
-- 4 client or '', 5 result lifetime in ms
local batch, now = ARGV[2], clock()
local key = k_batch(batch)
if call('EXISTS', key) == 0 then return 0 end
if call('HGET', key, 'sealed') then return 1 end
call('HSET', key, 'sealed', '1')
if ARGV[3] ~= '' then
  local f = cjson.decode(ARGV[3])
  local record = { 'status', 'queued', 'pool', f.fallback, 'type', 'reduce', 'created', stamp(now), 'bucket', f.bucket, 'attempts', '0', 'spec', f.spec,
    'follows', batch }
  if ARGV[4] ~= '' then record[#record + 1] = 'client'; record[#record + 1] = ARGV[4] end
  call('HSET', k_task(f.id), unpack(record))
  call('HSET', key, 'then', ARGV[3], 'follower', f.id)
end
-- The last outcome may have come before the seal.
batch_end(batch, now, math.max(1, tonumber(ARGV[5])))
return 1
