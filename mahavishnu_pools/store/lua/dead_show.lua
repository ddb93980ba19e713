-- Reads one dead letter. ARGV: 2 id. Reply: {letter} (empty: there is none), {record}, last pieces of its log
local id, pieces = ARGV[2], {}
for _, entry in ipairs(call('XREVRANGE', k_log(id), '+', '-', 'COUNT', 20)) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 't' then table.insert(pieces, 1, entry[2][i + 1]) end
  end
end
return { call('HGETALL', k_dead_letter(id)), call('HGETALL', k_task(id)), table.concat(pieces) }
