-- What wrk sends, and what it tells at the end. Settings come from the environment; see load.py.

local method = os.getenv("BENCH_METHOD")
local size = tonumber(os.getenv("BENCH_BODY"))
local close = os.getenv("BENCH_CLOSE") == "1"
local prefix = os.getenv("BENCH_PREFIX")
local body = size > 0 and string.rep("postroad", math.ceil(size / 8)):sub(1, size) or nil

-- Every path as often as its weight says, shuffled the same way in every run.
local schedule = {}
for path, weight in os.getenv("BENCH_PATHS"):gmatch("(%S+) (%d+)") do
  for _ = 1, tonumber(weight) do schedule[#schedule + 1] = path end
end
math.randomseed(7)
for i = #schedule, 2, -1 do
  local j = math.random(i)
  schedule[i], schedule[j] = schedule[j], schedule[i]
end

local count = 0
local headers = { ["X-Road-Client"] = os.getenv("BENCH_CLIENT") }
if body then headers["Content-Type"] = "application/octet-stream" end
if close then headers["Connection"] = "close" end

request = function()
  count = count + 1
  headers["X-Road-Id"] = prefix .. count
  return wrk.format(method, schedule[count % #schedule + 1], headers, body)
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "BENCH {\"requests\": %d, \"microseconds\": %d, \"bytes\": %d, " ..
    "\"p50\": %d, \"p95\": %d, \"p99\": %d, \"max\": %d, " ..
    "\"errors\": {\"connect\": %d, \"read\": %d, \"write\": %d, \"status\": %d, \"timeout\": %d}}\n",
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
