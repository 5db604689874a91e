# `make ci` is what CI runs; `make soak` is what takes longer than a change should wait for: docs/soak.md.
# `make collector` makes dist/hearthline-edge.pyz, a collector as a single file.
.PHONY: ci soak benchmarks collector

ci:
	bash .ci/run

soak:
	.venv/bin/pytest -n 0 -m soak -s

benchmarks:
	.venv/bin/python -m benchmarks

collector:
	.venv/bin/python -m tools.collector_zipapp
