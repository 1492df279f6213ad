-- One request for wrk, from the environment: a token does not go into arguments.
wrk.method = os.getenv("BENCH_METHOD")
local body = os.getenv("BENCH_BODY")
if body ~= "" then wrk.body = body end
for name, value in os.getenv("BENCH_HEADERS"):gmatch("([^\n:]+): ([^\n]+)") do
  wrk.headers[name] = value
end

-- Requests of one MCP session must not share an id while they are under way, and those that the end of a
-- load cut off may be under way for long: each load begins elsewhere.
if body:find("\"@ID@\"", 1, true) then
  local id = os.time() % 100000 * 1000000
  function request()
    id = id + 1
    return wrk.format(nil, nil, nil, (body:gsub("\"@ID@\"", string.format("%d", id))))
  end
end

-- What a good answer contains, where the status does not tell.
local good = os.getenv("BENCH_GOOD")
if good ~= "" then
  bad = 0
  function response(status, headers, body)
    if not body:find(good, 1, true) then bad = bad + 1 end
  end
end

local threads = {}
function setup(thread) table.insert(threads, thread) end

function done(summary, latency, requests)
  local bad = 0
  for _, thread in ipairs(threads) do bad = bad + (thread:get("bad") or 0) end
  local e = summary.errors
  io.write(string.format(
    '{"answered":%d,"micros":%d,"p50":%d,"p99":%d,"status":%d,"connection":%d,"timeout":%d,"bad":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write, e.timeout, bad))
end
