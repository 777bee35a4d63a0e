--[[
  Notes that a process is alive, by the gate's own clock: hosts need not agree on the time.

    KEYS[1] heartbeats
    ARGV[1] the process, ARGV[2] what it says of itself, ARGV[3] ms after which one that is silent is forgotten

  Returns DONE
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if now - tonumber(string.match(all[i + 1], '^%d+')) > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], all[i]) end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s', now, ARGV[2]))
return 'DONE'
