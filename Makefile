# make          build/lamp, build/liblamp.a, build/liblamp.so
# make test     every test; the last line is "N passed, N failed"
# make test-neon  the NEON kernels, built by a cross compiler and run by an emulator (build/neon)
# make test-threads  kernels, layers, units and training under clang's thread sanitizer, where a race fails (build/threads)
# make demo     text to a trained, speaking mixture of experts; TEXT="FOLDER..." uses your own text, each folder a domain
# make coverage  the tests once more, and which share of the lines that read foreign bytes they reach (build/coverage)
# make fuzz     every harness of fuzz/ under libFuzzer (clang), FUZZ_SECONDS each (60); says how many inputs each was given
# make diseases  build/diseases, which makes runs ill for the doctor (tools/doctor.sh)
# make worth-it  dense models and mixtures side by side, an hour on one core (tools/contest.sh, docs/worth-it.md)
# make balance  how routers collapse, and what each balancing method costs (docs/balance.md)
# make 2017     the tables of the paper of 2017 at a small size, two and a half hours of one core (docs/2017.md)
# make capacity  4 to 4096 experts at the same work for a token (docs/capacity.md)
# make yardstick  build/yardstick, our products beside oneDNN's; the one thing that needs libdnnl-dev
# make install  the program, libraries, header, manual page and completions, into PREFIX=/usr/local below DESTDIR=
# make uninstall  removes what make install wrote there
# make clean    removes build/ (but not downloaded packages: build/packages)
# make help     this list
#
# Three trees of objects from one source: build/f32 (the program), build/f64 (the same in double, for gradient checks), and with
# SANITIZE=1 everything again under build/sanitize. New files need no edit here.

ifeq ($(origin CC),default)
  CC := gcc
endif
BUILD   ?= build
SANITIZERS = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1
ifdef SANITIZE
  BUILD := build/sanitize
  EXTRA := $(SANITIZERS)
endif

# Stacks of threads are small where others decide: a frame of more than a quarter of a megabyte is a mistake (kernels/thread_room.h).
FRAMES   = $(if $(EXTRA),,-Wframe-larger-than=262144)
WARNINGS = -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla $(FRAMES) $(if $(findstring clang,$(CC)),-Wno-unknown-warning-option,-Wno-format-truncation) -Wno-unknown-pragmas $(if $(CI),-Werror)
CFLAGS   = -std=gnu17 -O3 -g -ffp-contract=fast -fno-math-errno -fPIC -fvisibility=hidden -fopenmp $(WARNINGS) -Iinclude -Isrc $(EXTRA)
LIBS     = -ljansson -lpcre2-8 -lutf8proc -lxxhash -lzstd -lz -lm

# One kernel source (src/kernels/cpu/table.c includes its neighbours) compiled once per instruction set.
MACHINE := $(shell uname -m)
ISAS     = scalar $(if $(filter x86_64,$(MACHINE)),avx2 avx512 avx512bf16 amx) $(if $(filter aarch64,$(MACHINE)),neon)
scalar_FLAGS = -DISA=scalar -DVECTOR_BYTES=sizeof\(real\)
avx2_FLAGS   = -DISA=avx2 -DVECTOR_BYTES=32 -mavx2 -mfma -mf16c
avx512_FLAGS = -DISA=avx512 -DVECTOR_BYTES=64 -mavx512f -mavx512dq -mavx2 -mfma -mf16c -mprefer-vector-width=512
avx512bf16_FLAGS = $(subst -DISA=avx512,-DISA=avx512bf16,$(avx512_FLAGS)) -mavx512bw -mavx512vl -mavx512bf16 -mavx512vnni
amx_FLAGS    = $(subst -DISA=avx512bf16,-DISA=amx,$(avx512bf16_FLAGS)) -mamx-tile -mamx-bf16
neon_FLAGS   = -DISA=neon -DVECTOR_BYTES=16

LIBRARY := $(shell find src -name '*.c' -not -path 'src/cli/*' -not -path 'src/kernels/cpu/*')
CLI     := $(wildcard src/cli/*.c)
TESTS   := $(wildcard tests/*/*_test.c)
GRAD    := $(filter tests/grad/%,$(TESTS))
FUZZ    := $(patsubst fuzz/%_fuzz.c,%,$(wildcard fuzz/*_fuzz.c))
objects  = $(patsubst %.c,$(BUILD)/$(1)/%.o,$(2)) $(foreach isa,$(ISAS),$(BUILD)/$(1)/src/kernels/cpu/table_$(isa).o)

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.PHONY: all install uninstall test test-neon test-threads coverage fuzz demo diseases worth-it capacity balance 2017 yardstick clean help checks
all: $(BUILD)/lamp $(BUILD)/liblamp.a $(BUILD)/liblamp.so

$(BUILD)/f32/%: CFLAGS += -DREAL=float -DREAL_BYTES=4
$(BUILD)/f64/%: CFLAGS += -DREAL=double -DREAL_BYTES=8
# gcc 12 for aarch64 ends in an internal error when it vectorises one loop of this test.
$(BUILD)/f32/tests/kernels/kernels_test.o: CFLAGS += $(if $(filter aarch64,$(MACHINE)),-fno-tree-loop-vectorize)

define tree
$(BUILD)/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	@echo '  CC  $$@'
	@$$(CC) $$(CFLAGS) -MMD -MP -c $$< -o $$@
$(BUILD)/$(1)/src/kernels/cpu/table_%.o: src/kernels/cpu/table.c
	@mkdir -p $$(@D)
	@echo '  CC  $$@'
	@$$(CC) $$(CFLAGS) $$($$*_FLAGS) -MMD -MP -c $$< -o $$@
$(BUILD)/$(1)/internal.a: $(call objects,$(1),$(LIBRARY))
	@echo '  AR  $$@'
	@rm -f $$@ && $$(AR) rcs $$@ $$^
endef
$(eval $(call tree,f32))
$(eval $(call tree,f64))

$(BUILD)/lamp: $(patsubst %.c,$(BUILD)/f32/%.o,$(CLI)) $(BUILD)/f32/internal.a
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $^ $(LIBS) -o $@

VERSION := $(shell sed -n 's/^const char \*lamp_version(void) { return "\(.*\)"; }$$/\1/p' src/base/error.c)
SONAME   = liblamp.so.$(firstword $(subst ., ,$(VERSION)))
$(BUILD)/liblamp.so: $(call objects,f32,$(LIBRARY))
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) -shared -Wl,-soname,$(SONAME) $^ $(LIBS) -o $@ && ln -sf liblamp.so $(@D)/$(SONAME)

# Internal names stay internal: one relocatable object whose hidden symbols are made local.
$(BUILD)/liblamp.a: $(call objects,f32,$(LIBRARY))
	@echo '  AR  $@'
	@$(LD) -r $^ -o $(BUILD)/liblamp.o && objcopy --localize-hidden $(BUILD)/liblamp.o
	@rm -f $@ && $(AR) rcs $@ $(BUILD)/liblamp.o && rm -f $(BUILD)/liblamp.o

# Everything that is installed, below PREFIX; the program itself writes its manual page and completions. The page is not compressed.
PREFIX  ?= /usr/local
PLACE    = $(DESTDIR)$(PREFIX)
PROGRAM  = bin/lamp
ARCHIVE  = lib/liblamp.a
SHARED   = lib/liblamp.so.$(VERSION)
LINKS    = lib/$(SONAME) lib/liblamp.so
HEADER   = include/lamp.h
PKGCONF  = lib/pkgconfig/lamplighter.pc
MANUAL   = share/man/man1/lamp.1
BASH     = share/bash-completion/completions/lamp
ZSH      = share/zsh/site-functions/_lamp
FISH     = share/fish/vendor_completions.d/lamp.fish
define pkgconf
prefix=$(PREFIX)
libdir=$${prefix}/lib
includedir=$${prefix}/include

Name: lamplighter
Description: sparse mixture-of-experts models: training, inspection, generation
Version: $(VERSION)
Libs: -L$${libdir} -llamp
Libs.private: -fopenmp $(LIBS)
Cflags: -I$${includedir}
endef
export pkgconf

install: all
	@install -d $(addprefix $(PLACE)/,$(sort $(dir $(PROGRAM) $(ARCHIVE) $(HEADER) $(PKGCONF) $(MANUAL) $(BASH) $(ZSH) $(FISH))))
	@install -m 755 $(BUILD)/lamp $(PLACE)/$(PROGRAM)
	@install -m 644 $(BUILD)/liblamp.a $(PLACE)/$(ARCHIVE)
	@install -m 755 $(BUILD)/liblamp.so $(PLACE)/$(SHARED)
	@for link in $(LINKS); do ln -sf $(notdir $(SHARED)) $(PLACE)/$$link || exit 1; done
	@install -m 644 include/lamp.h $(PLACE)/$(HEADER)
	@printf '%s\n' "$$pkgconf" >$(PLACE)/$(PKGCONF)
	@$(BUILD)/lamp --man >$(PLACE)/$(MANUAL)
	@$(BUILD)/lamp --completion bash >$(PLACE)/$(BASH)
	@$(BUILD)/lamp --completion zsh >$(PLACE)/$(ZSH)
	@$(BUILD)/lamp --completion fish >$(PLACE)/$(FISH)
	@echo '  installed below $(PLACE)$(if $(DESTDIR),,; ldconfig lets programs find the library)'

uninstall:
	rm -f $(addprefix $(PLACE)/,$(PROGRAM) $(ARCHIVE) $(SHARED) $(LINKS) $(HEADER) $(PKGCONF) $(MANUAL) $(BASH) $(ZSH) $(FISH))

# Gradient checks run in double, all other tests in float. Allocation calls are counted by wrapping them.
WRAPS = $(foreach f,malloc calloc realloc reallocarray aligned_alloc,-Wl,--wrap=$(f))
$(patsubst %.c,$(BUILD)/%,$(GRAD)): $(BUILD)/tests/grad/%: $(BUILD)/f64/tests/grad/%.o $(BUILD)/f64/tests/test.o $(BUILD)/f64/tests/grad/gradient_check.o $(BUILD)/f64/internal.a
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $(WRAPS) $^ $(LIBS) -o $@
$(patsubst %.c,$(BUILD)/%,$(filter tests/train/% tests/health/% %/trainer_state_test.c,$(TESTS))): $(BUILD)/f32/tests/world.o
$(patsubst %.c,$(BUILD)/%,$(filter-out $(GRAD),$(TESTS))): $(BUILD)/tests/%: $(BUILD)/f32/tests/%.o $(BUILD)/f32/tests/test.o $(BUILD)/f32/internal.a
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $(WRAPS) $(filter %.o,$^) $(filter %.a,$^) $(LIBS) -o $@

# lamp with every allocation and every call on files in the hands of tests/faults/faults.c.
FAULTS = $(foreach f,open read fopen fwrite fflush fclose write fsync rename remove mkdir symlink stat lstat fstat flock opendir readdir mmap,-Wl,--wrap=$(f))
$(BUILD)/faults/lamp: $(patsubst %.c,$(BUILD)/f32/%.o,$(CLI)) $(BUILD)/f32/tests/faults/faults.o $(BUILD)/f32/internal.a
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $(WRAPS) $(FAULTS) $^ $(LIBS) -o $@

$(BUILD)/faults/replay: $(BUILD)/f32/tests/faults/replay.o $(BUILD)/f32/internal.a
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $^ $(LIBS) -o $@

# A harness and the driver that gives it its corpus.
$(FUZZ:%=$(BUILD)/tests/fuzz/%_test): $(BUILD)/tests/fuzz/%_test: $(BUILD)/f32/fuzz/%_fuzz.o $(BUILD)/f32/fuzz/folder.o $(BUILD)/f32/fuzz/replay.o $(BUILD)/f32/tests/test.o $(BUILD)/f32/internal.a
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $(WRAPS) $^ $(LIBS) -o $@

checks: all $(patsubst %.c,$(BUILD)/%,$(TESTS)) $(FUZZ:%=$(BUILD)/tests/fuzz/%_test) $(BUILD)/faults/lamp $(BUILD)/faults/replay

# Only what runs the program itself: the library that an example links has no counters.
coverage:
	@$(MAKE) --no-print-directory -j$(shell nproc) BUILD=build/coverage EXTRA="--coverage -O1" checks
	@find build/coverage -name '*.gcda' -delete
	@for program in build/coverage/tests/*/*_test; do $$program; done
	BUILD=build/coverage tests/cli/run.sh
	@tools/coverage.sh build/coverage

test:
	./setup --quiet
	$(MAKE) --no-print-directory -j$(shell nproc) checks
	BUILD=$(BUILD) tests/run.sh

# The storeys from base/ to moe/ and their tests, which need no library of the other machine, linked statically. The emulator spends memory
# on every page that is ever reserved, hence the limit.
NEON_TESTS   = $(patsubst %.c,build/neon/%,$(filter tests/kernels/% tests/grad/% tests/moe/%,$(TESTS)))
NEON_LIBRARY = $(filter $(foreach f,base comm kernels tensor ops moe,src/$(f)/%),$(LIBRARY))
test-neon:
	@for tool in aarch64-linux-gnu-gcc qemu-aarch64; do command -v $$tool >/dev/null || \
	    { echo "no $$tool; install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" >&2; exit 1; }; done
	@$(MAKE) --no-print-directory -j$(shell nproc) MACHINE=aarch64 CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar BUILD=build/neon \
	    EXTRA=-static LIBS=-lm LIBRARY='$(NEON_LIBRARY)' $(NEON_TESTS)
	@ulimit -v 8000000; for program in $(NEON_TESTS); do OMP_WAIT_POLICY=passive qemu-aarch64 $$program 2>&1 || echo "$$program ended with exit code $$?"; done | awk '{ print } \
	    / passed, [0-9]+ failed$$/ { passed += $$(NF - 3); failed += failures = $$(NF - 1) } \
	    / ended with exit code / { failed += !failures; failures = 0 } \
	    END { print passed + 0 " passed, " failed + 0 " failed"; exit failed > 0 }'

THREAD_TESTS = $(patsubst %.c,build/threads/%,$(filter tests/kernels/% tests/moe/% tests/train/% tests/health/% tests/unit/%,$(TESTS)))
test-threads:
	@echo 'int main(void) { return 0; }' | clang -fsanitize=thread -fopenmp -x c - -o /dev/null && [ -f $$(clang -print-resource-dir)/../../libarcher.so ] || \
	    { echo "no thread sanitizer for OpenMP; install clang, libclang-rt-dev and libomp-dev" >&2; exit 1; }
	@$(MAKE) --no-print-directory -j$(shell nproc) CC=clang BUILD=build/threads EXTRA='-fsanitize=thread -O1 -Wno-pass-failed' build/threads/lamp $(THREAD_TESTS)
	@BUILD=build/threads tests/threads.sh $(THREAD_TESTS)

# What libFuzzer finds new is kept in build/fuzz/found/HARNESS, what breaks a harness in build/fuzz/broken-HARNESS-*. Its words are those of
# the corpus; the files that harnesses write stay in memory, for a disk would be waited for.
FUZZ_SECONDS ?= 60
# Kernels are not what is fuzzed, and instrumented they take minutes to compile.
build/fuzz/f32/src/kernels/cpu/table_%.o: override EXTRA = -O1 -Wno-pass-failed
# "Did you mean" compares letters by the million, and traced it takes all of a harness's time; libFuzzer still sees what strcmp is given.
build/fuzz/f32/src/base/options.o: override EXTRA += -fno-sanitize-coverage=trace-cmp
$(FUZZ:%=$(BUILD)/%_fuzz): $(BUILD)/%_fuzz: $(BUILD)/f32/fuzz/%_fuzz.o $(BUILD)/f32/fuzz/folder.o $(BUILD)/f32/internal.a
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) -fsanitize=fuzzer $^ $(LIBS) -o $@
fuzz:
	@echo 'int LLVMFuzzerTestOneInput(const char *b, unsigned long n); int LLVMFuzzerTestOneInput(const char *b, unsigned long n) { return !b && n; }' | \
	    clang -fsanitize=fuzzer -x c - -o /dev/null || { echo "no libFuzzer; install clang and libclang-rt-dev" >&2; exit 1; }
	@$(MAKE) --no-print-directory -j$(shell nproc) CC=clang BUILD=build/fuzz EXTRA='$(SANITIZERS) -fsanitize=fuzzer-no-link -Wno-pass-failed' $(FUZZ:%=build/fuzz/%_fuzz)
	@for harness in $(FUZZ); do mkdir -p build/fuzz/found/$$harness; \
	    { cat fuzz/json.dict; LC_ALL=C grep -aohE '[[:alnum:]_]{2,40}' fuzz/corpus/$$harness/* | sort -u | sed 's/.*/"&"/'; } >build/fuzz/$$harness.dict; \
	    TMPDIR=$(firstword $(wildcard /dev/shm) /tmp) OMP_NUM_THREADS=1 build/fuzz/$${harness}_fuzz -dict=build/fuzz/$$harness.dict \
	        -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=3000 -max_len=65536 -print_final_stats=1 \
	        -artifact_prefix=build/fuzz/broken-$$harness- build/fuzz/found/$$harness fuzz/corpus/$$harness >build/fuzz/$$harness.log 2>&1 || \
	        { tail -n 40 build/fuzz/$$harness.log; echo "FAILED fuzz: $$harness"; failed=1; }; \
	    awk -v harness=$$harness '/number_of_executed_units/ { print "fuzz: " harness ": " $$2 " executions" }' build/fuzz/$$harness.log; \
	done; [ -z "$$failed" ]

demo:
	./setup --quiet
	$(MAKE) --no-print-directory -j$(shell nproc) all
	BUILD=$(BUILD) tools/demo.sh $(TEXT)

worth-it capacity: all
	BUILD=$(BUILD) tools/contest.sh $@

balance 2017: all
	BUILD=$(BUILD) tools/experiment.sh $@

yardstick:
	@echo '#include <dnnl.h>' | $(CC) -E -x c - >/dev/null 2>&1 || { echo "no dnnl.h; install libdnnl-dev" >&2; exit 1; }
	@$(MAKE) --no-print-directory $(BUILD)/yardstick
$(BUILD)/yardstick: $(BUILD)/f32/bench/onednn.o $(BUILD)/f32/internal.a
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $^ $(LIBS) -ldnnl -o $@

diseases: $(BUILD)/diseases
$(BUILD)/diseases: $(BUILD)/f32/tests/health/diseases.o $(BUILD)/f32/internal.a
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $^ $(LIBS) -o $@

clean:
	find build -mindepth 1 -maxdepth 1 -not -name packages -exec rm -rf {} +

help:
	@sed -n 's/^# make/make/p' Makefile

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
