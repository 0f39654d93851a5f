# make          build/lamp, build/liblamp.a, build/liblamp.so
# make test     every test; the last line is "N passed, N failed"
# make test-neon  the NEON kernels, built by a cross compiler and run by an emulator (build/neon)
# make demo     text to a trained, speaking mixture of experts; TEXT="FOLDER..." uses your own text, each folder a domain
# make yardstick  build/yardstick, our products beside oneDNN's; the one thing that needs libdnnl-dev
# make clean    removes build/ (but not downloaded packages: build/packages)
# make help     this list
#
# Three trees of objects from one source: build/f32 (the program), build/f64 (the same in double, for gradient checks), and with
# SANITIZE=1 everything again under build/sanitize. New files need no edit here.

ifeq ($(origin CC),default)
  CC := gcc
endif
BUILD   ?= build
ifdef SANITIZE
  BUILD := build/sanitize
  EXTRA := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1
endif

WARNINGS = -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla $(if $(findstring clang,$(CC)),-Wno-unknown-warning-option,-Wno-format-truncation) -Wno-unknown-pragmas $(if $(CI),-Werror)
CFLAGS   = -std=gnu17 -O3 -g -ffp-contract=fast -fno-math-errno -fPIC -fvisibility=hidden -fopenmp $(WARNINGS) -Iinclude -Isrc $(EXTRA)
LIBS     = -ljansson -lpcre2-8 -lxxhash -lzstd -lz -lm

# One kernel source (src/kernels/cpu/table.c includes its neighbours) compiled once per instruction set.
MACHINE := $(shell uname -m)
ISAS     = scalar $(if $(filter x86_64,$(MACHINE)),avx2 avx512 avx512bf16) $(if $(filter aarch64,$(MACHINE)),neon)
scalar_FLAGS = -DISA=scalar -DVECTOR_BYTES=sizeof\(real\)
avx2_FLAGS   = -DISA=avx2 -DVECTOR_BYTES=32 -mavx2 -mfma
avx512_FLAGS = -DISA=avx512 -DVECTOR_BYTES=64 -mavx512f -mavx512dq -mavx2 -mfma -mprefer-vector-width=512
avx512bf16_FLAGS = $(subst -DISA=avx512,-DISA=avx512bf16,$(avx512_FLAGS)) -mavx512bw -mavx512vl -mavx512bf16 -mavx512vnni
neon_FLAGS   = -DISA=neon -DVECTOR_BYTES=16

LIBRARY := $(shell find src -name '*.c' -not -path 'src/cli/*' -not -path 'src/kernels/cpu/*')
CLI     := $(wildcard src/cli/*.c)
TESTS   := $(wildcard tests/*/*_test.c)
GRAD    := $(filter tests/grad/%,$(TESTS))
objects  = $(patsubst %.c,$(BUILD)/$(1)/%.o,$(2)) $(foreach isa,$(ISAS),$(BUILD)/$(1)/src/kernels/cpu/table_$(isa).o)

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.PHONY: all test test-neon demo yardstick clean help checks
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
$(BUILD)/liblamp.so: $(call objects,f32,$(LIBRARY))
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) -shared -Wl,-soname,liblamp.so.0 $^ $(LIBS) -o $@ && ln -sf liblamp.so $@.0

# Internal names stay internal: one relocatable object whose hidden symbols are made local.
$(BUILD)/liblamp.a: $(call objects,f32,$(LIBRARY))
	@echo '  AR  $@'
	@$(LD) -r $^ -o $(BUILD)/liblamp.o && objcopy --localize-hidden $(BUILD)/liblamp.o
	@rm -f $@ && $(AR) rcs $@ $(BUILD)/liblamp.o && rm -f $(BUILD)/liblamp.o

# Gradient checks run in double, all other tests in float. Allocation calls are counted by wrapping them.
WRAPS = $(foreach f,malloc calloc realloc reallocarray aligned_alloc,-Wl,--wrap=$(f))
$(patsubst %.c,$(BUILD)/%,$(GRAD)): $(BUILD)/tests/grad/%: $(BUILD)/f64/tests/grad/%.o $(BUILD)/f64/tests/test.o $(BUILD)/f64/tests/grad/gradient_check.o $(BUILD)/f64/internal.a
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $(WRAPS) $^ $(LIBS) -o $@
$(patsubst %.c,$(BUILD)/%,$(filter-out $(GRAD),$(TESTS))): $(BUILD)/tests/%: $(BUILD)/f32/tests/%.o $(BUILD)/f32/tests/test.o $(BUILD)/f32/internal.a
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $(WRAPS) $^ $(LIBS) -o $@

checks: all $(patsubst %.c,$(BUILD)/%,$(TESTS))

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

demo:
	./setup --quiet
	$(MAKE) --no-print-directory -j$(shell nproc) all
	BUILD=$(BUILD) tools/demo.sh $(TEXT)

yardstick:
	@echo '#include <dnnl.h>' | $(CC) -E -x c - >/dev/null 2>&1 || { echo "no dnnl.h; install libdnnl-dev" >&2; exit 1; }
	@$(MAKE) --no-print-directory $(BUILD)/yardstick
$(BUILD)/yardstick: $(BUILD)/f32/bench/onednn.o $(BUILD)/f32/internal.a
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $^ $(LIBS) -ldnnl -o $@

clean:
	find build -mindepth 1 -maxdepth 1 -not -name packages -exec rm -rf {} +

help:
	@sed -n 's/^# make/make/p' Makefile

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
