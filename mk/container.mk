# SPDX-License-Identifier: MIT
# penumbra-oci, the container runtime: one static program, because a third of a container's start would
# else be the dynamic linker's.

CONTAINER_SRCS := $(wildcard src/container/*.c) $(addprefix src/image/,archive.c blob.c manifest.c merge.c runtime_config.c \
	store.c store_list.c tar.c unpack.c unpacker.c) src/base/err.c src/base/util.c \
	$(addprefix src/x86/,decode.c decode_table.c decode_vector.c)
CONTAINER_OBJS := $(CONTAINER_SRCS:src/%.c=$(BUILD)/container/%.o)
CONTAINER_CFLAGS = $(COMMON_CFLAGS) -D_GNU_SOURCE -D_FORTIFY_SOURCE=2 -fPIE -fstack-protector-strong \
	-fstack-clash-protection -fcf-protection -ffunction-sections -fdata-sections
CONTAINER_LDFLAGS := -static-pie -s -Wl,-z,relro,-z,now,-z,noexecstack,--gc-sections
CONTAINER_LIBS := -lseccomp -ljson-c -lzstd -lz -lnettle
DEPS_BUILD += nettle-dev
PENUMBRA_OCI := $(BIN)penumbra-oci
# The same code for the front-end: container_main() and all that it needs, without main(); link it with
# $(CONTAINER_LIBS).
CONTAINER_ARCHIVE := $(BUILD)/container.a

PROGRAMS += $(PENUMBRA_OCI)
FRONTEND_LIBS += $(CONTAINER_ARCHIVE) $(CONTAINER_LIBS)
$(PENUMBRA): $(CONTAINER_ARCHIVE)

$(PENUMBRA_OCI): $(CONTAINER_OBJS) $(BUILD)/container.link.flags
	@echo "  LINK    $@"
	@$(CC) $(CONTAINER_CFLAGS) $(CONTAINER_LDFLAGS) -o $@.new $(CONTAINER_OBJS) $(CONTAINER_LIBS)
	@mv $@.new $@

$(CONTAINER_ARCHIVE): $(filter-out %/program.o,$(CONTAINER_OBJS))
	@echo "  AR      $@"
	@rm -f $@
	@$(AR) rcs $@ $^

$(BUILD)/container/%.o: src/%.c $(BUILD)/container.flags
	@echo "  CC [C]  $<"
	@mkdir -p $(@D)
	@$(CC) $(CONTAINER_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/container.flags: FORCE
	$(call flags-file,$(CC) $(CONTAINER_CFLAGS))
$(BUILD)/container.link.flags: FORCE
	$(call flags-file,$(CONTAINER_LDFLAGS) $(CONTAINER_LIBS) $(CONTAINER_OBJS))

-include $(CONTAINER_OBJS:.o=.d)
