--[[
  Writes a part of a lane's state that the ledger knows, while a rebuild is under way. Any part may come again, also
  from another runner: what is there stays as it is, and live units are counted once.

    KEYS[1] lane, KEYS[2] rebuild, KEYS[3] claims, KEYS[4] shoppers, KEYS[5] causes
    ARGV[1] generation, ARGV[2] nonce, ARGV[3] how many claims, ARGV[4] how many shoppers
    ARGV[5...] claim, row, ... ; shopper, row, ... ; cause, entry, ... as `admit` and `release` keep them

  Returns DONE
    ALREADY            this rebuild is finished; nothing changed
    STALE_GENERATION   it was not begun, or another one took its place
]]
local lane = redis.call('HMGET', KEYS[1], 'generation', 'nonce')
if lane[1] == ARGV[1] and lane[2] == ARGV[2] then return 'ALREADY' end
local begun = redis.call('HMGET', KEYS[2], 'generation', 'nonce', 'held')
if begun[1] ~= ARGV[1] or begun[2] ~= ARGV[2] then return 'STALE_GENERATION' end

local claims_end = 4 + 2 * tonumber(ARGV[3])
local shoppers_end = claims_end + 2 * tonumber(ARGV[4])
local held = tonumber(begun[3])
for i = 5, #ARGV, 2 do
  if i <= claims_end then
    if redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 1]) == 1 then
      local units, state = string.match(ARGV[i + 1], '^%d+ %d+ (%d+) %d+ %x+ (%a+)$')
      if state == 'live' then held = held + tonumber(units) end
    end
  elseif i <= shoppers_end then
    redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1])
  else
    redis.call('HSET', KEYS[5], ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[2], 'held', string.format('%.0f', held))
return 'DONE'
