-- Notes what is known of a session. ARGV: 2 its name, 3 what is known (JSON), 4 lifetime in ms. Reply: 1
call('SET', k_agent_session(ARGV[2]), ARGV[3], 'PX', ARGV[4])
return 1
