-- Sends messages: to who listens to their types, and into the mailboxes of their targets. One request is carried out once.
-- ARGV: 2 who asks, 3 number of the request, higher each time, 4 most messages in a mailbox, then for messages that have these in
-- common: type, target or '', pool that is closed or '', how many, a line of JSON for each. Reply: messages that left a mailbox unread
local sent = k_bus_sent(ARGV[2])
local number, unread = string.match(call('GET', sent) or '', '^(%d+) (%d+)$')
if tonumber(number) == tonumber(ARGV[3]) then return tonumber(unread) end
local most = tonumber(ARGV[4])
unread = 0
for i = 5, #ARGV, 5 do
  local kind, target, closed, count, lines = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if target ~= '' then
    for text in string.gmatch(lines, '[^\n]+') do unread = unread + into_mailbox(redis.call, target, text, most) end
  end
  if closed ~= '' then
    unread = unread + call('LLEN', k_mailbox(closed))
    call('DEL', k_mailbox(closed))
  end
  broadcast(redis.call, kind, lines, count)
end
call('SET', sent, ARGV[3] .. ' ' .. unread, 'EX', 60)
return unread
