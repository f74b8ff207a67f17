"""What aider does where a SEARCH block stands nowhere: the edit distance of every window of about its length.
Reads JSON {"file": …, "blocks": […]}; prints the seconds that each block took."""

import json
import math
import sys
import time
from difflib import SequenceMatcher

given = json.load(sys.stdin)
lines = given["file"].splitlines(keepends=True)
for block in given["blocks"]:
    started = time.perf_counter()
    count = len(block.splitlines())
    best = 0
    for length in range(math.floor(count * 0.9), math.ceil(count * 1.1)):
        for start in range(len(lines) - length + 1):
            ratio = SequenceMatcher(None, "".join(lines[start : start + length]), block).ratio()
            best = max(best, ratio)
    print(time.perf_counter() - started)
