-- Sends messages: to who listens to their types, and into the mailboxes of their targets. One request is carried out once.
-- ARGV: 2 who asks, 3 number of the request, higher each time, 4 most messages in a mailbox, then for each message: type, target or '',
-- pool that is closed or '', JSON text. Reply: messages that left a mailbox unread
local sent = k_bus_sent(ARGV[2])
local number, unread = string.match(call('GET', sent) or '', '^(%d+) (%d+)$')
if tonumber(number) == tonumber(ARGV[3]) then return tonumber(unread) end
local most, texts = tonumber(ARGV[4]), {}
unread = 0
for i = 5, #ARGV, 4 do
  local kind, target, closed, text = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if target ~= '' then unread = unread + into_mailbox(redis.call, target, text, most) end
  if closed ~= '' then
    unread = unread + call('LLEN', k_mailbox(closed))
    call('DEL', k_mailbox(closed))
  end
  texts[#texts + 1] = text
  if ARGV[i + 4] ~= kind then
    broadcast(redis.call, kind, texts)
    texts = {}
  end
end
call('SET', sent, ARGV[3] .. ' ' .. unread, 'EX', 60)
return unread
