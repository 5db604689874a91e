# `make ci` is what CI runs; `make soak` is what takes longer than a change should wait for: docs/soak.md.
.PHONY: ci soak benchmarks

ci:
	bash .ci/run

soak:
	.venv/bin/pytest -m soak -s

benchmarks:
	.venv/bin/python -m benchmarks
