--[[
  Says whether the journal has this very entry, and writes, so that a WAIT right behind it on this connection vouches
  for everything written before. Digests chain: who has read the same entry has read the very history that is safe.

    KEYS[1] lane, KEYS[2] journal
    ARGV[1] "generation-seq", ARGV[2] the digest that was read there

  Returns DONE
    CONFLICT           the journal has another entry there, or none
    NOT_LOADED
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return 'NOT_LOADED' end
local answer = 'CONFLICT'
local found = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
for i = 1, found and #found[2] or 0, 2 do
  if found[2][i] == 'digest' and found[2][i + 1] == ARGV[2] then answer = 'DONE' end
end

local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'acknowledged', time[1])
return answer
