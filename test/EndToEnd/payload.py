"""Bytes that a program sends: predicted by moe-opt for a routing, and counted by moe-run in a run with it."""
import json

from chain import Failure


def predict(chain, source, words, function, routing):
    sharded = chain.path("sharded.mlir")
    chain.call("moe-opt", source, f"--place={words}", "--compile-to=sharded", "-o", sharded)
    return json.loads(chain.call("moe-opt", sharded, f"--moe-dump-payload=routing={routing}", "-o", chain.path("unchanged.mlir")))[function]


def counted(stats):
    with open(stats) as file:
        return json.load(file)


def check(chain, source, words, function, routing, stats):
    """Call by call and rank by rank, and in sum what the communicator itself counted."""
    predicted, run = predict(chain, source, words, function, routing), counted(stats)
    if len(predicted) != len(run["calls"]):
        raise Failure(chain.story(f"{len(run['calls'])} collectives ran, but {len(predicted)} are predicted"))
    for number, (one, other) in enumerate(zip(predicted, run["calls"])):
        if one != other:
            raise Failure(chain.story(f"collective {number} is {other}, but {one} is predicted"))
    sent, counters = sum(sum(call["bytes_sent"]) for call in predicted), sum(counter["bytes_sent"] for counter in run["counters"])
    if sent != counters:
        raise Failure(chain.story(f"the communicator counted {counters} bytes, but {sent} are predicted"))


def by_payload(calls, key="bytes_sent"):
    sums = {}
    for call in calls:
        sums[call["payload"]] = sums.get(call["payload"], 0) + sum(call[key])
    return sums
