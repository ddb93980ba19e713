-- Which of these tasks have no record. ARGV: tasks from 2. Reply: their ids
local reply = {}
for i = 2, #ARGV do
  if call('EXISTS', k_task(ARGV[i])) == 0 then reply[#reply + 1] = ARGV[i] end
end
return reply
