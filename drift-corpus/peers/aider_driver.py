"""aider's search/replace on cases from stdin, one JSON object a line; answers in the same way."""

import json
import sys

from aider.coders.editblock_coder import do_replace

FENCE = ("```", "```")

for line in sys.stdin:
    case = json.loads(line)
    # aider reads and writes files with the platform's line terminators.
    content = case["current"].replace("\r\n", "\n")
    is_whole = True
    for old, new in case["blocks"]:
        try:
            replaced = do_replace("present", content, old, new, FENCE)
        except ValueError:
            replaced = None
        if replaced:
            content = replaced
        else:
            is_whole = False
    if "\r\n" in case["current"]:
        content = content.replace("\n", "\r\n")
    print(json.dumps({"content": content, "is_whole": is_whole}), flush=True)
