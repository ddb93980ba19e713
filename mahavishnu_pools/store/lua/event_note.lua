-- Notes an event that a program tells. ARGV: 2 number of the request, 3 type, 4 pool, 5 task, 6 details (JSON), 7 most events kept
-- Reply: its id
local noted = call('GET', k_event_noted(ARGV[2]))
if noted then return noted end
local name = ARGV[4] ~= '' and call('HGET', k_pool(ARGV[4]), 'name') or ''
local id = call('XADD', k_events('programs'), 'MAXLEN', '~', ARGV[7], '*', 'type', ARGV[3], 'pool', ARGV[4], 'name', name, 'task', ARGV[5],
  'data', ARGV[6])
call('SET', k_event_noted(ARGV[2]), id, 'EX', 60)
return id
