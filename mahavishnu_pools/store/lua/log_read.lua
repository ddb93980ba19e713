-- Reply: pieces of a task's log after an entry: {id, stream, text}… and where a cut begins ('' when none was made).
-- ARGV: 2 task, 3 the entry seen last ('0-0' none), 4 most
local reply = { call('HGET', k_task(ARGV[2]), 'log_cut') or '' }
for _, entry in ipairs(call('XRANGE', k_log(ARGV[2]), '(' .. ARGV[3], '+', 'COUNT', ARGV[4])) do
  reply[#reply + 1] = { entry[1], entry[2][2] or '', entry[2][4] or '' }
end
return reply
