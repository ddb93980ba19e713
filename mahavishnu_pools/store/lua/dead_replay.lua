-- Puts dead tasks into a queue again, as if they had never run. ARGV: 2 pool ('' the one each came from), 3 request id, then ids
-- Reply: for each id its new pool and 'ok', or '' and 'unknown', 'unreadable', 'gone' (its pool is)
local wanted, request, reply = ARGV[2], ARGV[3], {}
for i = 4, #ARGV do
  local id = ARGV[i]
  local key, letter = k_task(id), call('HMGET', k_dead_letter(id), 'pool', 'message')
  local pool = wanted ~= '' and wanted or letter[1]
  if not letter[1] then
    local h = call('HMGET', key, 'replayed', 'pool')
    reply[#reply + 1] = h[1] == request and { h[2], 'ok' } or { '', 'unknown' }
  elseif call('EXISTS', key) == 0 then
    reply[#reply + 1] = { '', 'unreadable' }
  elseif not takes(pool) then
    reply[#reply + 1] = { pool, 'gone' }
  else
    local h = call('HMGET', key, 'batch', 'idem', 'bucket')
    call('DEL', k_dead_letter(id), k_meta(id))
    call('ZREM', k_dead(), id)
    call('HDEL', key, 'outcome', 'finished', 'finished_by', 'started', 'worker', 'claim', 'losses', 'kills', 'retries', 'again', 'cancel')
    call('HSET', key, 'status', 'queued', 'pool', pool, 'attempts', '0', 'replayed', request)
    call('PERSIST', key)
    if h[2] and call('GET', k_idem(h[2])) == id then call('PERSIST', k_idem(h[2])) end
    if h[1] and call('EXISTS', k_batch(h[1])) == 1 then call('HINCRBY', k_batch(h[1]), 'failed', -1) end
    call('LPUSH', bucket_key(pool, h[3] or '0'), letter[2])
    reindex(pool, false)
    ring(pool)
    reply[#reply + 1] = { pool, 'ok' }
  end
end
return reply
