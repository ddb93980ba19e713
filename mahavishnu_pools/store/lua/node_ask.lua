-- Asks every agent for a report. ARGV: 2 lifetime in seconds
-- Reply: the question: the time it was asked at, so that the answer to a later one is an answer to it, too
even_when_full()
local question = stamp(clock())
call('SET', k_examine(), question, 'EX', ARGV[2])
return question
