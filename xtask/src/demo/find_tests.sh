# Runs what tests there are, if they run without a network and with what the sandbox holds; says so if not.
say "no network: $(if (exec 3<>/dev/tcp/1.1.1.1/53) 2>/dev/null; then echo 'THERE IS ONE'; else echo confirmed; fi)"
if [ -f xtask/src/client/sse_parser.rs ] && command -v rustc >/dev/null && command -v cc >/dev/null; then
  say "run the tests of xtask/src/client/sse_parser.rs, which needs no other crate"
  folder=$(mktemp -d)
  rustc --edition 2024 --test -A dead_code -o "$folder/tests" xtask/src/client/sse_parser.rs
  "$folder/tests"
elif [ -f Makefile ] && command -v make >/dev/null && make -n test >/dev/null 2>&1; then
  say "run make test"
  make test
elif ls tests/test_*.py >/dev/null 2>&1 && command -v python3 >/dev/null; then
  say "run the Python tests"
  python3 -m unittest discover -s tests
else
  checked=0
  while IFS= read -r -d '' file; do
    bash -n "$file"
    checked=$((checked + 1))
  done < <(find . -type f -name '*.sh' -print0)
  if command -v python3 >/dev/null; then
    while IFS= read -r -d '' file; do
      python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$file"
      checked=$((checked + 1))
    done < <(find . -type f -name '*.json' -size -200k -print0)
  fi
  say "no test here runs without a network or a toolchain; instead $checked shell and JSON files were parsed"
fi
say "done"
