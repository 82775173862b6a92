# SPDX-License-Identifier: MIT
# The guest: an unmodified Debian kernel and an initial file system made from Debian's packages.

GUEST := $(BUILD)/guest
GUEST_FILES := guest/build.sh guest/init guest/inittab guest/profile guest/demo.sh

guest: $(GUEST)/vmlinuz $(GUEST)/initrd
guest-full: guest $(GUEST)/vmlinuz-full $(GUEST)/initrd-test

$(GUEST)/cloud/vmlinuz:
	@guest/build.sh kernel linux-image-cloud-amd64 $(GUEST)/cloud
$(GUEST)/full/vmlinuz:
	@guest/build.sh kernel linux-image-amd64 $(GUEST)/full
$(GUEST)/vmlinuz: $(GUEST)/cloud/vmlinuz
	@ln -f $< $@
$(GUEST)/vmlinuz-full: $(GUEST)/full/vmlinuz
	@ln -f $< $@
$(GUEST)/initrd: $(GUEST)/cloud/vmlinuz $(GUEST_FILES)
	@echo "  GUEST   $@"
	@guest/build.sh initrd $(GUEST)/cloud $@
$(GUEST)/initrd-test: $(GUEST)/cloud/vmlinuz $(GUEST)/full/vmlinuz $(GUEST_FILES)
	@echo "  GUEST   $@"
	@guest/build.sh initrd-test $(GUEST)/cloud,$(GUEST)/full $@

# On a terminal a shell in the guest, without one the demonstration.
run:
	@+$(MAKE) --no-print-directory deps-run
	@+$(MAKE) --no-print-directory all guest
	@if [ -t 0 ] && [ -t 1 ]; then exec $(abspath $(PENUMBRA)) run; \
	else exec $(abspath $(PENUMBRA)) run --append "console=ttyS0 quiet penumbra.demo"; fi
