-- Puts dead tasks into a queue again, as if they had never run. ARGV: 2 pool ('' the one each came from), 3 request id, then ids
-- Reply: for each id a pool and 'ok' (it is queued there), 'unknown' (no dead letter), 'unreadable' (there is no task to run), 'gone' (the
-- pool is) or 'closing' (the pool takes no tasks)
local wanted, request, reply = ARGV[2], ARGV[3], {}

local function forget_letter(id)
  call('DEL', k_dead_letter(id))
  call('ZREM', k_dead(), id)
end

-- What the last life left in the record. It may wait again as long as it takes: the limit (expires) was for the first time.
local function renew(id, pool)
  local key = k_task(id)
  local h = call('HMGET', key, 'batch', 'idem', 'bucket', 'also')
  call('HDEL', key, 'outcome', 'finished', 'finished_by', 'started', 'worker', 'claim', 'losses', 'kills', 'retries', 'again', 'cancel',
    'suspect', 'expires_at', 'got', 'parked_at')
  call('HSET', key, 'status', 'queued', 'pool', pool, 'attempts', '0', 'replayed', request)
  call('PERSIST', key)
  call('DEL', k_meta(id))
  if h[2] then
    call('SET', k_idem(h[2]), id, 'NX')
    if call('GET', k_idem(h[2])) == id then call('PERSIST', k_idem(h[2])) end
  end
  for batch in string.gmatch((h[1] or '') .. ' ' .. (h[4] or ''), '%S+') do
    if call('EXISTS', k_batch(batch)) == 1 then
      call('HINCRBY', k_batch(batch), 'failed', -1)
      call('PERSIST', k_batch(batch))
      call('PERSIST', k_batch_tasks(batch))
    end
  end
  return h[3] or '0'
end

local function replay(id)
  local letter, status = call('HMGET', k_dead_letter(id), 'pool', 'message'), call('HGET', k_task(id), 'status')
  if letter[1] and status and status ~= 'dead' then
    forget_letter(id) -- it came to life in another way
    letter[1] = nil
  end
  if not letter[1] then
    local h = call('HMGET', k_task(id), 'replayed', 'pool')
    return h[1] == request and { h[2], 'ok' } or { '', 'unknown' }
  end
  local pool = wanted ~= '' and wanted or letter[1]
  if not status then return { letter[1], 'unreadable' } end
  if call('EXISTS', k_pool(pool)) == 0 then return { pool, 'gone' } end
  if not takes(pool) then return { pool, 'closing' } end
  forget_letter(id)
  local bucket = renew(id, pool)
  call('SREM', k_ended(pool), id)
  call('LPUSH', bucket_key(pool, bucket), readdressed(letter[2], letter[1], pool))
  reindex(pool, false)
  ring(pool)
  return { pool, 'ok' }
end

for i = 4, #ARGV do reply[#reply + 1] = replay(ARGV[i]) end
return reply
