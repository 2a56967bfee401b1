# SPDX-License-Identifier: MIT
# tests: what `make check` runs. The programs are listed in unit/list.mk, tools/list.mk and
# fuzz/list.mk: a row names a program and its sources.
UNITS :=
TOOLS :=
FUZZ  :=
# $(1) name, $(2) sources beside its own file: those may be none
unit   = $(eval UNITS += $(1)_test)$(eval $(1)_test_SRCS := $(2))
tool   = $(eval TOOLS += $(1))$(eval $(1)_SRCS := $(2))
target = $(eval FUZZ += $(1))$(eval $(1)_fuzz_SRCS := $(2))
include tests/unit/list.mk tests/tools/list.mk tests/fuzz/list.mk

TEST_LDLIBS := -larchive -lfdt -ljansson -lzstd -lxxhash -lcrypto -lm -pthread
test_flags   = -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. $(faultflags) $(WARN) \
	       -Wno-missing-prototypes $(CFLAGS) $(flags_$(SAN)) -pthread

# $(1) program, $(2) its source, $(3) further sources
define testprog
$(BUILD)/tests/$(1): $(BUILD)/$(2:.c=.o) $(patsubst %.c,$(BUILD)/%.o,$(3)) \
		$(BUILD)/format.a $(BUILD)/libcommon.a
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)$$(CC) $$(CFLAGS) $$(flags_$$(SAN)) $$(LDFLAGS) -o $$@ $$^ \
		$$(TEST_LDLIBS)
TESTPROGS += $(BUILD)/tests/$(1)
-include $(BUILD)/$(2:.c=.d) $(patsubst %.c,$(BUILD)/%.d,$(3))
endef
TESTPROGS :=
unit_srcs = tests/unit/tap.c $($(1)_SRCS)
$(foreach u,$(UNITS),$(eval $(call testprog,$(u),tests/unit/$(u).c,$(call unit_srcs,$(u)))))
$(foreach t,$(TOOLS),$(eval $(call testprog,$(t),tests/tools/$(t).c,$($(t)_SRCS))))

# Test sources: a helper needs no prototype of its own, a fuzz target's entry point has none.
$(BUILD)/tests/%.o: tests/%.c GNUmakefile | ready
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(test_flags) -MMD -MP -c -o $@ $<

# Fuzz targets: replayed over their corpus by check with any compiler; `make fuzz` builds them with
# libFuzzer. Both accept any hash (VMFERRY_FUZZ), because no fuzzer finds the right one.
fuzz_srcs = $(addprefix format/,$(format_SRCS)) $(addprefix libcommon/,$(libcommon_SRCS))
fuzz_flags = -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DVMFERRY_FUZZ -I. -g -O1 -pthread
fuzz_san   = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
# $(1) compiler's folder, $(2) target, $(3) further sources: its objects
fuzz_objs  = $(patsubst %.c,$(BUILD)/fuzz/$(1)/%.o,tests/fuzz/$(2).c $(3) $(fuzz_srcs) \
	     $($(2)_fuzz_SRCS))
define fuzzprog
$(BUILD)/fuzz/$(1)-replay: $(call fuzz_objs,replay,$(1),tests/fuzz/replay.c)
	$$(call say,LD,$$@)$$(CC) $$(fuzz_flags) $$(flags_$$(SAN)) -o $$@ $$^ $$(TEST_LDLIBS)
$(BUILD)/fuzz/$(1): $(call fuzz_objs,fuzzer,$(1),)
	$$(call say,LD,$$@)clang $$(fuzz_flags) $$(subst fuzzer-no-link,fuzzer,$$(fuzz_san)) \
		-o $$@ $$^ $$(TEST_LDLIBS)
FUZZPROGS   += $(BUILD)/fuzz/$(1)
REPLAYPROGS += $(BUILD)/fuzz/$(1)-replay
FUZZOBJS    += $(call fuzz_objs,replay,$(1),tests/fuzz/replay.c)
FUZZOBJS    += $(call fuzz_objs,fuzzer,$(1),)
endef
FUZZPROGS   :=
REPLAYPROGS :=
FUZZOBJS    :=
$(foreach f,$(FUZZ),$(eval $(call fuzzprog,$(f))))

$(BUILD)/fuzz/replay/%.o: %.c GNUmakefile | ready
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(fuzz_flags) $(flags_$(SAN)) -MMD -MP -c -o $@ $<
$(BUILD)/fuzz/fuzzer/%.o: %.c GNUmakefile | ready
	@mkdir -p $(@D)
	$(call say,CC,$@)clang $(fuzz_flags) $(fuzz_san) -MMD -MP -c -o $@ $<
-include $(patsubst %.o,%.d,$(sort $(FUZZOBJS)))

include tests/sim/module.mk

.PHONY: test-programs check quick fuzz model kills lint bench demo
test-programs: tools $(TESTPROGS) $(REPLAYPROGS)

# FUZZ_SECONDS: for each target. FUZZ=wire: that one alone.
fuzz:
	@tests/tools/need-packages build fuzz
	@$(MAKE) -j$(JOBS) $(FUZZPROGS)
	@FUZZ_SECONDS='$(FUZZ_SECONDS)' tests/tools/run-fuzz '$(BUILD)' $(FUZZ)

# MODEL: some of the instances of docs/handover.pml, such as 'small fault-3'; all by default.
model:
	@tests/tools/need-packages build model
	@JOBS='$(JOBS)' CC='$(CC)' tests/tools/run-model $(MODEL)

# KILLS: how many; SEED: which processes, and when.
KILLS ?= 2000
kills:
	@tests/tools/need-packages build check
	@$(MAKE) -j$(JOBS) tools
	@KILLS='$(KILLS)' SEED='$(SEED)' SAN='$(SAN)' tests/tools/run-kills '$(abspath $(BUILD))'

# TESTS: all (default), quick, or a list of bats files.
TESTS ?= all
JOBS  ?= $(shell nproc)
check:
	@tests/tools/need-packages build check
	@$(MAKE) -j$(JOBS) test-programs
	@if [ -z '$(FAULTS)' ]; then $(MAKE) -j$(JOBS) FAULTS=1 tools; fi
	@BUILD='$(abspath $(BUILD))' FAULTS_BUILD='$(abspath $(BUILD)$(if $(FAULTS),,-faults))' \
		SAN='$(SAN)' CC='$(CC)' JOBS='$(JOBS)' UNITS='$(UNITS)' FUZZ='$(FUZZ)' \
		tests/tools/run-check $(TESTS)

lint:
	@tests/tools/need-packages build check
	@CC='$(CC)' tests/tools/run-lint

# MIB, REPEAT, ROWS, QEMU, BENCH_DIR: docs/performance.md; JSON: a file; MARKDOWN=1
bench:
	@tests/tools/need-packages build check bench
	@$(MAKE) -j$(JOBS) tools $(BUILD)/tests/rawcopy
	@BUILD='$(abspath $(BUILD))' MIB='$(MIB)' REPEAT='$(REPEAT)' ROWS='$(ROWS)' \
		QEMU='$(QEMU)' BENCH_DIR='$(BENCH_DIR)' tests/tools/run-bench \
		$(if $(JSON),--json '$(JSON)') $(if $(MARKDOWN),--markdown)

demo:
	@tests/tools/need-packages build demo
	@$(MAKE) -j$(JOBS) tools
	@BUILD='$(abspath $(BUILD))' tests/tools/demo
