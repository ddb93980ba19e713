-- Asks every agent for a report. ARGV: 2 request, 3 lifetime in seconds
call('SET', k_examine(), ARGV[2], 'EX', ARGV[3])
return 1
