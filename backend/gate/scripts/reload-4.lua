--[[
  Ends a rebuild: writes the genesis entry of its generation, as `load` does, and gives the lane its state back.

    KEYS[1] lane, KEYS[2] rebuild, KEYS[3] config, KEYS[4] journal
    ARGV[1] generation, ARGV[2] nonce, ARGV[3] units available, ARGV[4] units that live claims hold,
    ARGV[5] the fault to latch, ARGV[6...] field, value, ... of the configuration

  Returns {answer, "generation-seq" or "", available or "", allotment or ""}:
    DONE
    ALREADY            finished before; nothing changed
    CONFLICT           the claims that were written do not hold ARGV[4] units: the rebuild is not whole
    STALE_GENERATION   it was not begun, or another one took its place
]]
local lane = redis.call('HMGET', KEYS[1], 'generation', 'nonce', 'seq', 'available', 'allotment')
if lane[1] == ARGV[1] and lane[2] == ARGV[2] then
  return {'ALREADY', lane[1] .. '-' .. lane[3], lane[4], lane[5]}
end
local begun = redis.call('HMGET', KEYS[2], 'generation', 'nonce', 'held')
if begun[1] ~= ARGV[1] or begun[2] ~= ARGV[2] then return {'STALE_GENERATION', '', '', ''} end
if tonumber(begun[3]) ~= tonumber(ARGV[4]) then return {'CONFLICT', '', '', ''} end

local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local id = string.format('%.0f-0', tonumber(ARGV[1]))
local units, held = string.format('%.0f', tonumber(ARGV[3])), string.format('%.0f', tonumber(ARGV[4]))
local allotment = string.format('%.0f', tonumber(ARGV[3]) + tonumber(ARGV[4]))
local digest = redis.sha1hex(table.concat({'', id, 'load', ARGV[2], '', units, now, units}, '|'))

redis.call('XADD', KEYS[4], id, 'kind', 'load', 'cause', ARGV[2], 'shopper', '', 'quantity', units,
  'at', now, 'left', units, 'digest', digest)
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'nonce', ARGV[2], 'seq', '0', 'digest', digest,
  'available', units, 'held', held, 'allotment', allotment, 'tat', '0', 'clock', '0', 'fault', ARGV[5])
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], unpack(ARGV, 6))
redis.call('DEL', KEYS[2])
return {'DONE', id, units, allotment}
