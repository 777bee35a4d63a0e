--[[
  Asks again for reservations that were just answered, and writes, so that a WAIT right behind it on this connection
  vouches for everything written before. After a failover the new primary may not have them: then nobody is told.

    KEYS[1] lane, KEYS[2] claims
    ARGV[1], ARGV[2] and so on: two for each reservation: reservation, "generation-seq" of its journal entry

  Returns one answer for each reservation:
    DONE
    NOT_HELD           the claim is not there, or of another entry
    NOT_LOADED
]]
local answers, reservations = {}, {}
local count = #ARGV / 2
if redis.call('EXISTS', KEYS[1]) == 0 then
  for i = 1, count do answers[i] = 'NOT_LOADED' end
  return answers
end

for i = 1, count do reservations[i] = ARGV[2 * i - 1] end
local claims = redis.call('HMGET', KEYS[2], unpack(reservations))
for i = 1, count do
  local g, s = string.match(claims[i] or '', '^(%d+) (%d+) ')
  answers[i] = g and g .. '-' .. s == ARGV[2 * i] and 'DONE' or 'NOT_HELD'
end

local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'acknowledged', time[1])
return answers
