-- Reads dead letters, newest first. ARGV: 2 pool ('' any), 3 most, or 4… ids (then 2 and 3 say nothing)
-- Reply: for each: id, {letter}, {record}, last pieces of its log
local ids, pool, most = {}, ARGV[2], tonumber(ARGV[3])
if #ARGV > 3 then
  for i = 4, #ARGV do ids[#ids + 1] = ARGV[i] end
else
  ids = call('ZREVRANGE', k_dead(), 0, DEAD_MOST)
end
local reply = {}
for _, id in ipairs(ids) do
  if #reply >= most then break end
  local letter = call('HGETALL', k_dead_letter(id))
  local of = call('HGET', k_dead_letter(id), 'pool')
  if of and (pool == '' or of == pool) then
    local pieces = {}
    for _, entry in ipairs(call('XREVRANGE', k_log(id), '+', '-', 'COUNT', 20)) do
      for i = 1, #entry[2], 2 do
        if entry[2][i] == 't' then table.insert(pieces, 1, entry[2][i + 1]) end
      end
    end
    reply[#reply + 1] = { id, letter, call('HGETALL', k_task(id)), table.concat(pieces) }
  end
end
return reply
