-- Looks at dead letters, newest first, without what may be long. ARGV: 2 pool ('' any), 3 rank to begin at, 4 most, or 5… ids (then 2 to
-- 4 say nothing)
-- Reply: rank to go on at (-1: that was all), then for each: id, pool, cause, time, task type, attempts, losses, '1' when it can be
-- run again, beginning of its specification, '1' when that is all of it
local pool, first, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local LOOKED_AT, HEAD = 500, 300
local ids, reply = {}, { -1 }
if #ARGV > 4 then
  for i = 5, #ARGV do ids[#ids + 1] = ARGV[i] end
  pool, most = '', #ids
else
  ids = call('ZREVRANGE', k_dead(), first, first + LOOKED_AT - 1)
end
for n, id in ipairs(ids) do
  if #reply > most then
    reply[1] = first + n - 1
    return reply
  end
  local letter = call('HMGET', k_dead_letter(id), 'pool', 'cause', 'at')
  if letter[1] and (pool == '' or letter[1] == pool) then
    local h = call('HMGET', k_task(id), 'status', 'type', 'attempts', 'losses', 'spec')
    local spec = h[5] or ''
    reply[#reply + 1] = { id, letter[1], letter[2], letter[3], h[2] or '', h[3] or '0', h[4] or '0', h[1] and '1' or '0',
      string.sub(spec, 1, HEAD), #spec <= HEAD and '1' or '0' }
  end
end
if #ARGV <= 4 and #ids == LOOKED_AT then reply[1] = first + LOOKED_AT end
return reply
