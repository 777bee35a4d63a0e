--[[
  Raises or lowers a lane's allotment, once by its cause. A reduction takes available units only.

    KEYS[1] lane, KEYS[2] causes, KEYS[3] journal
    ARGV[1] generation, ARGV[2] cause, ARGV[3] units, negative for a reduction

  Returns {answer, "generation-seq" or "", available, allotment}:
    DONE
    ALREADY            this cause was applied before
    NOT_ENOUGH         a reduction below what is available; nothing changed
    NOT_LOADED, STALE_GENERATION
]]
local lane = redis.call('HMGET', KEYS[1], 'generation', 'seq', 'digest', 'available', 'allotment')
if not lane[1] then return {'NOT_LOADED', '', '', ''} end
if lane[1] ~= ARGV[1] then return {'STALE_GENERATION', '', '', ''} end
local before = redis.call('HGET', KEYS[2], ARGV[2])
if before then return {'ALREADY', before, lane[4], lane[5]} end

local units = tonumber(ARGV[3])
local available, allotment = tonumber(lane[4]) + units, tonumber(lane[5]) + units
if available < 0 then return {'NOT_ENOUGH', '', lane[4], lane[5]} end

local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local seq = string.format('%.0f', tonumber(lane[2]) + 1)
local id = lane[1] .. '-' .. seq
local quantity, left = string.format('%.0f', units), string.format('%.0f', available)
local digest = redis.sha1hex(table.concat({lane[3], id, 'adjust', ARGV[2], '', quantity, now, left}, '|'))

redis.call('XADD', KEYS[3], id, 'kind', 'adjust', 'cause', ARGV[2], 'shopper', '', 'quantity', quantity,
  'at', now, 'left', left, 'digest', digest)
redis.call('HSET', KEYS[2], ARGV[2], id)
redis.call('HSET', KEYS[1], 'seq', seq, 'digest', digest, 'available', left,
  'allotment', string.format('%.0f', allotment))
return {'DONE', id, left, string.format('%.0f', allotment)}
