-- Moves a sink's cursor behind what it has confirmed; only who holds the sink may. What it refused is kept for another try.
-- ARGV: 2 sink, 3 owner, 4 lifetime of the hold in ms, 5 cursor before, 6 cursor, 7 number of its outcome, 8 delivered, 9 dropped,
-- 10 last entry it took or '', 11 most records that are set aside, 12 their lifetime in ms, 13.. id, reason and record of each
-- Reply: 1, or 0 when another one holds the sink
even_when_full()
local key, lock, aside = k_sink(ARGV[2]), k_sink_lock(ARGV[2]), k_set_aside(ARGV[2])
if call('GET', lock) ~= ARGV[3] then return 0 end
call('PEXPIRE', lock, ARGV[4])
local at = call('HGET', key, 'cursor') or '0-0'
if at == ARGV[6] then return 1 end
if at ~= ARGV[5] then return 0 end
call('HSET', key, 'cursor', ARGV[6], 'number', ARGV[7], 'last_success', stamp(clock()))
call('HINCRBY', key, 'delivered', ARGV[8])
call('HINCRBY', key, 'dropped', ARGV[9])
if ARGV[10] ~= '' then call('HSET', key, 'taken', ARGV[10]) end
for i = 13, #ARGV, 3 do
  call('XADD', aside, 'MAXLEN', ARGV[11], '*', 'memory_id', ARGV[i], 'reason', ARGV[i + 1], 'record', ARGV[i + 2])
  call('PEXPIRE', aside, ARGV[12])
  call('HINCRBY', key, 'aside', 1)
end
call('HDEL', key, 'failures', 'error', 'not_before')
return 1
