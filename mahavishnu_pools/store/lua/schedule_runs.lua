-- ARGV: 2 name. Reply: {number, run (JSON), status of its task or ''} of its last runs, in no order
local reply, all = {}, call('HGETALL', k_schedule_runs(ARGV[2]))
for i = 1, #all, 2 do
  local run = cjson.decode(all[i + 1])
  reply[#reply + 1] = { all[i], all[i + 1], run.outcome == 'sent' and call('HGET', k_task(run.task_id), 'status') or '' }
end
return reply
