-- wrk asks with a token and, each time, the next of the proofs in a file: one opens one read.
local proofs, at = {}, 0

function init(args)
  for line in io.lines(args[1]) do proofs[#proofs + 1] = line end
  wrk.headers["Authorization"] = table.remove(proofs, 1)
end

function request()
  at = at % #proofs + 1
  wrk.headers["DPoP"] = proofs[at]
  return wrk.format("GET")
end
