-- What a task comes after. ARGV: 2 task. Reply: 1 when it has a record that says so, then {parent, how it ended or '', its name or ''}…
local after = call('HGET', k_task(ARGV[2]), 'after')
local reply = { after and 1 or 0 }
for parent in string.gmatch(after or '', '%S+') do
  reply[#reply + 1] = { parent, call('HGET', k_task(ARGV[2]), 'p:' .. parent) or '', call('HGET', k_task(parent), 'name') or '' }
end
return reply
