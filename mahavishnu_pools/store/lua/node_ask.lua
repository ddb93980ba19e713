-- Asks every agent for a report. ARGV: 2 request, 3 lifetime in seconds
even_when_full()
call('SET', k_examine(), ARGV[2], 'EX', ARGV[3])
return 1
