-- Notes in the journal which worker types have cooled down since; each is noted once. No ARGV. Reply: the worker types
local now, over = clock(), {}
local all = call('HGETALL', k_cooldowns())
for i = 1, #all, 2 do
  local e = cjson.decode(all[i + 1])
  if e.ends <= now and not e.noted then
    if #over == 0 then even_when_full() end
    e.noted = true -- the entry stays: the next one is longer when it comes soon
    call('HSET', k_cooldowns(), all[i], cjson.encode(e))
    local kind, node = string.match(all[i], '^([^\n]*)\n?(.*)$')
    event('cool_down_ended', e.id or '', e.pool, 'worker_type', kind, 'ends', stamp(e.ends), 'reason', 'its time is over',
      unpack(node ~= '' and { 'node', node } or {}))
    over[#over + 1] = kind
  elseif e.noted and now >= e.ends + e.length then
    call('HDEL', k_cooldowns(), all[i]) -- the next one is not longer; nodes come and go
  end
end
return over
