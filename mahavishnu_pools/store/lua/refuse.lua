-- Ends a task that awaits approval: it was refused.
-- ARGV: 2 task, 3 who refuses, 4 reason, 5 number of this request, 6 result lifetime in ms
-- Reply: 'ok' and the pool it was meant for; else as of approve
local id, by, reason, request, ttl = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local h = call('HMGET', k_task(id), 'status', 'approval', 'approval_by', 'approval_at', 'approval_reason', 'approval_request', 'pool', 'approval_ends')
if not h[1] then return { 'unknown' } end
if not h[2] then return { 'none', h[1] } end
if h[2] == 'refused' and h[6] == request then return { 'ok', h[7] } end
if h[2] ~= 'awaiting' then return { 'decided', h[2], h[3] or '', h[4] or '', h[5] or '', h[7] } end
even_when_full()
local now = clock()
if tonumber(h[8]) <= now then
  expire_approval(id, ttl, now)
  return { 'decided', 'expired', '', stamp(now), '', h[7] }
end
decided(id, { decision = 'refused', by = by, reason = reason, request = request }, now)
end_unrun(id, 'refused', 'It was refused by ' .. by .. (reason ~= '' and ': ' .. reason or '.'), ttl, now)
return { 'ok', h[7] }
