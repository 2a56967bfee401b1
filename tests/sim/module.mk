# SPDX-License-Identifier: MIT
comma := ,
# tests/sim: hosts, processes, network and disks that fail, simulated (sim.h).
# `make sim` runs seeds:
#   make sim SEED=1 RUNS=2000 [PLANT=NAME]      a seed that fails is shown with its trace
# The tools' sources are built once more with their fault points, where failures are injected.
SIM_OWN  := main.c sched.c file.c sock.c calls.c vmrun.c world.c plant.c
SIM_SRCS := $(addprefix vmmigrate/,$(filter-out main.c options.c note.c,$(vmmigrate_SRCS))) \
	    $(addprefix libcommon/,$(filter-out fault.c,$(libcommon_SRCS))) \
	    $(addprefix vmrun/control/,$(control_SRCS)) \
	    $(addprefix vmrun/,vm.c vm_boot.c vm_state.c vm_sections.c vm_disks.c vm_events.c \
	    vm_reset.c vm_memory.c apart.c vm_runstate.c memory.c memory_file.c \
	    pagemap_scan.c sigbus.c dirty.c clock.c \
	    host/loop.c host/accept.c host/chardev_spec.c)
SIM_OBJS := $(SIM_OWN:%.c=$(BUILD)/sim/own/%.o) $(SIM_SRCS:%.c=$(BUILD)/sim/%.o)
SIM_WRAP := $(patsubst %,-Wl$(comma)--wrap=%,$(shell cat tests/sim/wraps.list))

$(BUILD)/sim/own/%.o: tests/sim/%.c GNUmakefile | ready
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(test_flags) -Wno-missing-declarations -fno-strict-aliasing \
		-MMD -MP -c -o $@ $<

# Where plant.c tells two callers of one function apart.
$(BUILD)/sim/vmmigrate/target_check.o $(BUILD)/sim/vmrun/control/lease_handover.o: \
	CPPFLAGS += -Dmoves_find=plant_target_find
$(BUILD)/sim/vmmigrate/resolve.o: CPPFLAGS += -Doutcome_ask_peer=plant_resolve_ask \
	-Dsource_handover_retaking=plant_resolve_retaking \
	-Dsource_handover_done=plant_resolve_done
sim_faults := -DVMFERRY_FAULTS=1
$(BUILD)/sim/vmrun/vm_state.o: sim_faults :=
$(BUILD)/sim/%.o: %.c GNUmakefile | ready
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. \
		$(CPPFLAGS) $(sim_faults) $(WARN) $(CFLAGS) -pthread -MMD -MP -c -o $@ $<

$(BUILD)/tests/sim: $(SIM_OBJS) $(BUILD)/format.a tests/sim/wraps.list
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(SIM_OBJS) $(BUILD)/format.a \
		$(SIM_WRAP) $(TEST_LDLIBS)

-include $(SIM_OBJS:.o=.d)

# Coroutines on stacks of their own are more than a sanitizer follows.
ifeq ($(SAN),)
TESTPROGS += $(BUILD)/tests/sim
endif

SEED ?= 1
RUNS ?= 2000
.PHONY: sim
sim: $(BUILD)/tests/sim
	@$(BUILD)/tests/sim --seed $(SEED) --runs $(RUNS) --jobs $(JOBS) \
		$(if $(PLANT),--plant $(PLANT))
