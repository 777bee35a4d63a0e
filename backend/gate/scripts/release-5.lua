--[[
  Gives units back: each release at most once by its cause, and only if a live claim holds its entry.

    KEYS[1] lane, KEYS[2] claims, KEYS[3] shoppers, KEYS[4] causes, KEYS[5] journal
    ARGV[1] generation, then four for each release: cause, reservation, "generation-seq" of the claim,
            "1" to forfeit (the shopper's count falls, no unit returns)

  Returns three for each release: answer, "generation-seq" of its journal entry or "", available
    DONE
    ALREADY            this cause was applied before
    NOT_HELD           no live claim holds that entry
    NOT_ENOUGH         it would pass the allotment; never done
    NOT_LOADED, STALE_GENERATION
]]
local lane = redis.call('HMGET', KEYS[1], 'generation', 'seq', 'digest', 'available', 'held', 'allotment')
local answers = {}
local function answer(word, id)
  answers[#answers + 1] = word
  answers[#answers + 1] = id or ''
  answers[#answers + 1] = lane[4] or ''
end

local count = (#ARGV - 1) / 4
local refused = not lane[1] and 'NOT_LOADED' or (lane[1] ~= ARGV[1] and 'STALE_GENERATION')
if refused then
  for _ = 1, count do answer(refused) end
  return answers
end

local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local seq, digest = tonumber(lane[2]), lane[3]
local available, held, allotment = tonumber(lane[4]), tonumber(lane[5]), tonumber(lane[6])

-- Reads, then decisions in locals: a cause or a claim may stand twice in one batch.
local causes, claims, reservations, cause_ids = {}, {}, {}, {}
for i = 1, count do
  cause_ids[i], reservations[i] = ARGV[4 * i - 2], ARGV[4 * i - 1]
end
local cause_rows = redis.call('HMGET', KEYS[4], unpack(cause_ids))
local claim_rows = redis.call('HMGET', KEYS[2], unpack(reservations))
local owners, shopper_rows = {}, {}
for i = 1, count do
  if cause_rows[i] then causes[cause_ids[i]] = cause_rows[i] end
  if claim_rows[i] then
    claims[reservations[i]] = claim_rows[i]
    owners[#owners + 1] = string.match(claim_rows[i], '^%d+ %d+ %d+ %d+ (%S+)')
  end
end
if #owners > 0 then
  local found = redis.call('HMGET', KEYS[3], unpack(owners))
  for i, owner in ipairs(owners) do shopper_rows[owner] = found[i] or '0 0 ' end
end
redis.call('XLEN', KEYS[5])

local entries, new_causes, new_claims, touched = {}, {}, {}, {}
local function without(list, reservation)
  local kept = {}
  for one in string.gmatch(list, '[^,]+') do
    if one ~= reservation then kept[#kept + 1] = one end
  end
  return table.concat(kept, ',')
end

for i = 1, count do
  local cause, reservation, entry, forfeit = cause_ids[i], reservations[i], ARGV[4 * i], ARGV[4 * i + 1] == '1'
  local claim = claims[reservation]
  local g, s, q, at, shopper, state = string.match(claim or '', '^(%d+) (%d+) (%d+) (%d+) (%S+) (%a+)$')
  local back = forfeit and 0 or tonumber(q or 0)
  if causes[cause] then
    answer('ALREADY', causes[cause])
  elseif not claim or state ~= 'live' or g .. '-' .. s ~= entry then
    answer('NOT_HELD')
  elseif available + back > allotment then
    answer('NOT_ENOUGH')
  else
    seq, available, held = seq + 1, available + back, held - tonumber(q)
    if forfeit then allotment = allotment - tonumber(q) end -- the ledger never had this unit
    local id = string.format('%s-%.0f', lane[1], seq)
    local quantity, left = string.format('%.0f', back), string.format('%.0f', available)
    digest = redis.sha1hex(table.concat({digest, id, 'release', cause, shopper, quantity, now, left}, '|'))
    entries[#entries + 1] = {id, 'kind', 'release', 'cause', cause, 'shopper', shopper,
      'quantity', quantity, 'at', now, 'left', left, 'digest', digest}
    causes[cause], new_causes[cause] = id, id
    claims[reservation] = string.format('%s %s %s %s %s closed', g, s, q, at, shopper)
    new_claims[reservation] = claims[reservation]
    -- The row stays at 0 units: it holds the last try, and the repeat window outlives what was given back.
    local units, tried, list = string.match(shopper_rows[shopper], '^(%d+) (%d+) (.*)$')
    units = string.format('%.0f', math.max(0, tonumber(units) - tonumber(q)))
    shopper_rows[shopper] = units .. ' ' .. tried .. ' ' .. without(list, reservation)
    touched[shopper] = shopper_rows[shopper]
    lane[4] = left
    answer('DONE', id)
  end
end

for _, entry in ipairs(entries) do redis.call('XADD', KEYS[5], unpack(entry)) end
if #entries > 0 then
  for cause, id in pairs(new_causes) do redis.call('HSET', KEYS[4], cause, id) end
  for reservation, claim in pairs(new_claims) do redis.call('HSET', KEYS[2], reservation, claim) end
  for shopper, row in pairs(touched) do redis.call('HSET', KEYS[3], shopper, row) end
  redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', seq), 'digest', digest,
    'available', string.format('%.0f', available), 'held', string.format('%.0f', held),
    'allotment', string.format('%.0f', allotment))
end
return answers
