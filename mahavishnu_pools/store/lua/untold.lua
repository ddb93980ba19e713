-- One message at a time of tasks that ended without Celery, for the one worker that tells it. Who dies on the way leaves the message to
-- the next, after the turn's time. ARGV: 2 app, 3 who asks, 4 time of a turn in ms, 5 message that Celery was told of, or ''
-- Reply: the next message, '' when there is none or another worker tells
local list, turn = k_untold(ARGV[2]), k_telling(ARGV[2])
local holder = call('GET', turn)
if holder and holder ~= ARGV[3] then return '' end
even_when_full()
if ARGV[5] ~= '' then call('LREM', list, -1, ARGV[5]) end
local message = call('LINDEX', list, -1)
if not message then
  call('DEL', turn)
  return ''
end
call('SET', turn, ARGV[3], 'PX', ARGV[4])
return message
