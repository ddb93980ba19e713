-- Lets a task run that awaits approval: it goes to the pool that is chosen now.
-- ARGV: 2 options (JSON, as of submit), 3 task, 4 who approves, 5 reason, 6 number of this request, 7 result lifetime in ms
-- Reply: 'ok' and the pool; 'decided', decision, by, at, reason, pool; 'none' and the status (it needs no approval); 'unknown'; or why
-- it cannot be routed, as of submit
local id, by, reason, request = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local h = call('HMGET', k_task(id), 'status', 'approval', 'approval_by', 'approval_at', 'approval_reason', 'approval_request', 'pool', 'approval_ends',
  'created')
if not h[1] then return { 'unknown' } end
if not h[2] then return { 'none', h[1] } end
if h[2] == 'approved' and h[6] == request then return { 'ok', h[7] } end
if h[2] ~= 'awaiting' then return { 'decided', h[2], h[3] or '', h[4] or '', h[5] or '', h[7] } end
local now = clock()
if tonumber(h[8]) <= now then
  expire_approval(id, ARGV[7], now)
  return { 'decided', 'expired', '', stamp(now), '', h[7] }
end
local o, refused = options(ARGV[2])
if refused then return refused end
local pool = pick(o)
local m = call('HMGET', k_held(id), 'prefix', 'suffix', 'bucket', 'more')
-- Its wait in the queue begins now. One that came after others knows when it was submitted.
call('HSETNX', k_task(id), 'submitted', h[9])
call('HSET', k_task(id), 'status', 'queued', 'pool', pool, 'created', stamp(now))
local expires = cjson.decode(m[4]).expires
if expires then call('HSET', k_task(id), 'expires_at', stamp(now + expires)) end
decided(id, { decision = 'approved', by = by, reason = reason, request = request }, now)
push(pool, m[3], m[1], m[2])
reindex(pool, true)
ring(pool)
return { 'ok', pool }
