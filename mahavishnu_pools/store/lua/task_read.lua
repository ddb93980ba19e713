-- Reply per task: {record as field, value, …} and Celery's result or ''. ARGV: task ids from 2
local reply = {}
for i = 2, #ARGV do
  local record = call('HGETALL', k_task(ARGV[i]))
  local meta = ''
  if #record > 0 and call('HGET', k_task(ARGV[i]), 'status') == 'completed' then meta = call('GET', k_meta(ARGV[i])) or '' end
  reply[#reply + 1] = { ARGV[i], record, meta }
end
return reply
