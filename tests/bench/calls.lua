-- wrk makes the calls of a file, one after the other: first the Authorization header (or "-" for none), then a proof and perhaps a body a line.
-- A proof opens one call, so a file holds more of them than are made.
local calls, at = {}, 0

function init(args)
  for line in io.lines(args[1]) do calls[#calls + 1] = { line:match("^(%S+) ?(.*)$") } end
  local first = table.remove(calls, 1)
  if first[1] ~= "-" then wrk.headers["Authorization"] = first[1] .. " " .. first[2] end
end

function request()
  at = at % #calls + 1
  wrk.headers["DPoP"] = calls[at][1]
  if calls[at][2] ~= "" then return wrk.format("POST", nil, nil, calls[at][2]) end
  return wrk.format("GET")
end
