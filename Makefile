# Everything a checkout offers. Each target prepares the checkout first; what is prepared already costs nothing.

export PATH := $(CURDIR)/.tools/node/bin:$(CURDIR)/node_modules/.bin:$(PATH)
RESULTS := .tools/test-results.json

.PHONY: help setup demo test types lint unit arm gpu store shots bench bench-data vllm-check sglang-check cuda-dry-run oracle parity reliability sbom docs pack pack-check format clean

help:
	@echo 'make setup            Node.js 24, npm packages, libtorch, the addon'
	@echo 'make demo [QUICK=1]   train a small model with ViSurf and see what it learned'
	@echo 'make test             types, lint, unit and end-to-end tests'
	@echo 'make lint             eslint, prettier, knip, clang-format'
	@echo 'make arm              compile the kernels for ARM and test them under emulation (where a cross compiler and qemu are)'
	@echo 'make gpu              on a machine with a CUDA card: every comparison with the reference and every kind of step, on it'
	@echo 'make store            trainings into an object store, tried against moto (in a private environment)'
	@echo 'make shots            the pictures of the studio in docs/images, of trainings that it makes (minutes)'
	@echo 'make bench [ONLY=a] [LEVEL=avx2]   side-by-side measurements against peers (installs them in private environments),'
	@echo '                      memory of loading, plans; over an hour in all; minutes: a 3, b 7 (AVX512: 12), c 12 (21), vllm 5,'
	@echo '                      scaling 22, rival 10, kernels 1, processes 3; COMPARE=step,sft: parts; LEVEL: the instruction set all are held to'
	@echo 'make vllm-check       vLLM itself samples for the miniature and is compared with ours, into docs/servers.md (installs it: 3 GB)'
	@echo 'make sglang-check     the same with SGLang, one kernel of which is replaced (bench/sglang.sh); likewise 3 GB'
	@echo 'make cuda-dry-run [ONLY=word]  what steps and commands ask of a GPU, counted without one (download: 0.8 GB; 15 minutes)'
	@echo 'make bench-data [DIR=...]  small sets in the format of every benchmark, to see how folders are laid out'
	@echo 'make oracle           make the reference numbers of the tests again (likewise)'
	@echo 'make parity           measure every comparison with the reference, into docs/parity.md'
	@echo 'make reliability [ONLY=PART SHARE=0.1]  kill, cut off, damage, fuzz and soak for hours, counted into docs/reliability.md'
	@echo 'make sbom             what an installation consists of, with versions, hashes and licences, as dist/sbom.json'
	@echo 'make docs             what of docs/ follows from code (keys, presets, examples), and its lines'
	@echo 'make pack             the npm packages, as tarballs in dist/'
	@echo 'make pack-check [ONLY=PART]  installs what `make pack` made: without a compiler, with every libtorch (downloads: 3 GB),'
	@echo '                      TypeScript 5, 6 and 7, older Node.js, from source'
	@echo 'make format           format every file'
	@echo 'make clean            remove what was built, keep what was downloaded'

setup:
	@scripts/setup.sh

demo: setup
	@./visurf demo $(if $(QUICK),--quick)

test: types lint
	@vitest run --reporter=default --reporter=json --outputFile.json=$(RESULTS)

types: setup
	@tsc
	@tsc -p packages/studio/page

lint: setup
	@eslint .
	@git ls-files -z | xargs -0 prettier --check --log-level warn --ignore-unknown
	@knip
	@scripts/clang-format.sh --dry-run --Werror

# One project or one file: make unit FILES=packages/core/src/errors.test.ts
unit: setup
	@vitest run --project unit $(FILES)

arm:
	@scripts/arm.sh

gpu: setup
	@node packages/core/scripts/gpu.ts

STORE = packages/core/src/store packages/core/src/mirror packages/visurf/tests/store.test.ts

store: setup
	@oracle/s3.sh vitest run $(STORE)

shots: setup
	@node scripts/shots.ts

# ONLY=load, ONLY=plan, ONLY=rival, ONLY=kernels, ONLY=studio, ONLY=processes, or workloads of bench.ts (a, b, c, scaling, vllm); everything unless said.
# COMPARE=step,sft: some comparisons of a workload. LEVEL=avx2|avx512: the widest of this machine unless said.
MEASURED = $(if $(filter load plan rival kernels studio processes,$(ONLY)),$(ONLY),$(if $(ONLY),bench,bench rival load plan kernels))

bench: setup
	@for each in $(MEASURED); do node bench/$$each.ts || exit 1; done
	@node bench/fallen.ts
	@node scripts/docs.ts

bench-data: setup
	@node packages/core/scripts/bench-data.ts $(DIR)

vllm-check: setup
	@node bench/server-check.ts vllm
	@node scripts/docs.ts

sglang-check: setup
	@node bench/server-check.ts sglang
	@node scripts/docs.ts

# Counts may only fall: bench/cuda/counts.json has them, docs/gpu.md shows them.
cuda-dry-run: setup
	@node bench/cuda/dry-run.ts --only '$(ONLY)'

oracle: setup
	@oracle/run.sh

parity: setup
	@OMP_NUM_THREADS=1 node packages/core/scripts/parity.ts
	@node scripts/docs.ts

# ONLY: parts by name (node scripts/reliability.ts --list). SHARE=0.1: a tenth of every budget.
reliability: setup
	@VISURF_RELIABILITY_SHARE=$(or $(SHARE),1) node scripts/reliability.ts $(ONLY)

sbom: setup
	@node scripts/sbom.ts

docs: setup
	@node scripts/docs.ts

pack: setup
	@node scripts/pack.ts

pack-check: setup
	@node scripts/pack-check.ts $(ONLY)

format: setup
	@eslint --fix .
	@git ls-files -z | xargs -0 prettier --write --log-level warn --ignore-unknown
	@scripts/clang-format.sh -i

clean:
	rm -rf packages/torch/build dist coverage $(RESULTS)
