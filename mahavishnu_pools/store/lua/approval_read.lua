-- ARGV: 2 task. Reply: its status, what was decided, its specification, its pool and what it was submitted with ('' each where there is none)
local h = call('HMGET', k_task(ARGV[2]), 'status', 'approval', 'spec', 'pool')
return { h[1] or '', h[2] or '', h[3] or '', h[4] or '', call('HGET', k_held(ARGV[2]), 'more') or '' }
