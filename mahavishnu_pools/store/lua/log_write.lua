-- Appends pieces to a task's log. ARGV: 2 task, 3 lifetime in ms, 4 name of this write, then stream, text pairs. Reply: the entries' ids
-- The last entry of a write bears its name: a log has one writer, so a repeated write finds it at the end.
local key, name, count = k_log(ARGV[2]), ARGV[4], (#ARGV - 4) / 2
local last = call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
local ids = {}
if last and last[2][6] == name then
  for i, entry in ipairs(call('XREVRANGE', key, '+', '-', 'COUNT', count)) do ids[count + 1 - i] = entry[1] end
  return ids
end
for i = 1, count do
  local at = 3 + 2 * i
  if i < count then
    ids[i] = call('XADD', key, '*', 's', ARGV[at], 't', ARGV[at + 1])
  else
    ids[i] = call('XADD', key, '*', 's', ARGV[at], 't', ARGV[at + 1], 'w', name)
  end
end
call('PEXPIRE', key, ARGV[3])
return ids
