/* SPDX-License-Identifier: MIT
 * The ACPI tables: found and walked as a kernel does it, and taken apart by iasl where that is
 * installed. */
/* WITH: machine/acpi.c base/err.c */
/* WITH: machine/i8259.c machine/i8254.c machine/mc146818.c machine/uart16550.c */
/* WITH: machine/pm.c machine/i8042.c machine/ports.c machine/ioapic.c machine/apic.c machine/lapic.c */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/acpi.h"
#include "machine/legacy.h"

static u8 low[1 << 20];
static gpa_t rsdp;
static char reason[300];

#define CHECK(condition, ...) do { \
	if (!(condition)) { \
		int at_ = snprintf(reason, sizeof reason, "line %d: %s:", __LINE__, #condition); \
		snprintf(reason + at_, sizeof reason - (size_t)at_, " " __VA_ARGS__); \
		return; \
	} } while (0)

static const struct acpi_config one = { .cpus = 1 };
static const struct acpi_config many = {
	.cpus = ACPI_CPUS_MAX, .apic = true, .io_apic_id = 255,
	.local_apic = { 0xfee00000 }, .io_apic = { 0xfec00000 }, .i8042 = true,
	.pci = true, .pci_window_64 = 0x800000000, .mailbox = true,
};

static u64 get(const u8 *p, int width)
{
	u64 v = 0;

	for (int i = 0; i < width; i++)
		v |= (u64)p[i] << 8 * i;
	return v;
}

static u8 sum(const u8 *p, size_t n)
{
	u8 s = 0;

	while (n--)
		s += *p++;
	return s;
}

static int build(const struct acpi_config *config)
{
	struct err e = { 0 };

	memset(low, 0xee, sizeof low);
	rsdp = GPA(0);
	return acpi_build(config, low, &rsdp, &e);
}

/* As a kernel scans: paragraphs of 0xe0000-0xfffff. */
static const u8 *find_rsdp(void)
{
	for (size_t at = 0xe0000; at < 0x100000; at += 16)
		if (!memcmp(low + at, "RSD PTR ", 8) && !sum(low + at, 20))
			return low + at;
	return NULL;
}

/* A table that lies in the area, has the signature and a good checksum; else NULL. */
static const u8 *table_at(u64 address, const char *signature)
{
	const u8 *t = low + address;

	if (address < ACPI_AREA || address > ACPI_AREA + ACPI_AREA_SIZE - 36)
		return NULL;
	if (memcmp(t, signature, 4) || address + get(t + 4, 4) > ACPI_AREA + ACPI_AREA_SIZE)
		return NULL;
	return sum(t, get(t + 4, 4)) ? NULL : t;
}

static const u8 *table_find(const char *signature)
{
	const u8 *r = find_rsdp(), *xsdt = r ? table_at(get(r + 24, 8), "XSDT") : NULL, *t = NULL;

	for (u64 i = 36; xsdt && !t && i < get(xsdt + 4, 4); i += 8)
		t = table_at(get(xsdt + i, 8), signature);
	return t;
}

static void test_roots(void)
{
	const struct acpi_config *configs[] = { &one, &many };

	for (int i = 0; i < 2; i++) {
		const u8 *r, *fadt, *facs;

		CHECK(build(configs[i]) == 0);
		r = find_rsdp();
		CHECK(r && rsdp.v == (u64)(r - low));
		CHECK(r[15] == 2 && get(r + 20, 4) == 36 && !sum(r, 36));
		fadt = table_find("FACP");
		CHECK(fadt && get(fadt + 4, 4) == 276 && fadt[8] == 6);
		CHECK(table_at(get(fadt + 40, 4), "DSDT"));
		CHECK(get(fadt + 140, 8) == get(fadt + 40, 4));
		facs = low + get(fadt + 36, 4);
		CHECK((facs - low) % 64 == 0 && !memcmp(facs, "FACS", 4) && get(facs + 4, 4) == 64);
		CHECK(!!table_find("APIC") == configs[i]->apic);
		CHECK(!!table_find("MCFG") == configs[i]->pci);
		for (size_t at = 0; at < sizeof low; at++)
			if (at < ACPI_AREA || at >= ACPI_AREA + ACPI_AREA_SIZE)
				CHECK(low[at] == 0xee, "0x%zx was written", at);
	}
}

/* What the FADT says is what the devices do. */
static void test_fixed_hardware(void)
{
	static struct legacy l;
	const u8 *f;

	CHECK(build(&one) == 0);
	f = table_find("FACP");
	legacy_init(&l, 0, 0, 1 << 28);
	CHECK(get(f + 48, 4) == 0, "an SMI port");
	CHECK(get(f + 112, 4) >> 20 == 0 && !(get(f + 112, 4) & BIT(8)), "the timer has 24 bits");
	CHECK(!(get(f + 109, 2) & 2) && (get(f + 109, 2) & 4));
	for (int wide = 0; wide < 2; wide++) { /* both forms of each address agree */
		u16 event = (u16)(wide ? get(f + 148 + 4, 8) : get(f + 56, 4));
		u16 control = (u16)(wide ? get(f + 172 + 4, 8) : get(f + 64, 4));
		u16 timer = (u16)(wide ? get(f + 208 + 4, 8) : get(f + 76, 4));

		legacy_init(&l, 0, 0, 1 << 28);
		CHECK(legacy_io_read(&l, control, 2, 0) & 1, "not in ACPI mode");
		CHECK(legacy_io_read(&l, timer, 4, NSEC) == 3579545);
		legacy_io_write(&l, (u16)(event + f[88] / 2), 2, 0x100, 0);
		legacy_power_button(&l);
		CHECK(l.pic[get(f + 46, 2) / 8].irr & 1 << get(f + 46, 2) % 8, "no SCI");
	}
	legacy_events(&l);
	CHECK((get(f + 112, 4) & BIT(10)) && f[116] == 1);
	legacy_io_write(&l, (u16)get(f + 120, 8), 1, f[128], 0);
	CHECK(legacy_events(&l) == LEGACY_RESET);
	legacy_io_write(&l, 0x70, 1, f[108], 0);
	CHECK(legacy_io_read(&l, 0x71, 1, 0) == 0x19, "1970 is no year of the 20th century");
}

static void test_madt(void)
{
	const u8 *t;
	unsigned apics = 0, io = 0, overrides = 0, mailboxes = 0;

	CHECK(build(&many) == 0);
	t = table_find("APIC");
	CHECK(get(t + 36, 4) == 0xfee00000 && get(t + 40, 4) == 1);
	for (u64 i = 44; i < get(t + 4, 4); i += t[i + 1]) {
		CHECK(t[i + 1] >= 6);
		apics += t[i] == 0 && t[i + 3] == apics && t[i + 4] == 1;
		io += t[i] == 1 && t[i + 2] == 255 && get(t + i + 4, 4) == 0xfec00000;
		overrides += t[i] == 2;
		mailboxes += t[i] == 16 && t[i + 1] == 16 && get(t + i + 8, 8) == 0xef000;
	}
	CHECK(apics == ACPI_CPUS_MAX && io == 1 && overrides == 6 && mailboxes == 1);
	CHECK(get(low + 0xef000, 8) == 0, "the mailbox holds a command");
}

static void test_mcfg(void)
{
	const u8 *t;

	CHECK(build(&many) == 0);
	t = table_find("MCFG");
	CHECK(get(t + 4, 4) == 60 && get(t + 44, 8) == 0xe0000000 && get(t + 52, 2) == 0 && t[54] == 0 && t[55] == 255);
}

/* Each _CRS is a buffer that is exactly as long as it says and ends in an end tag. */
static void test_resources(void)
{
	const u8 *dsdt, *p;
	unsigned found = 0;
	size_t length;

	CHECK(build(&many) == 0);
	dsdt = low + get(table_find("FACP") + 40, 4);
	length = get(dsdt + 4, 4);
	for (p = dsdt; p + 12 < dsdt + length; p++) {
		if (memcmp(p, "_CRS", 4))
			continue;
		found++;
		CHECK(p[4] == 0x11 && (p[8] == 0x0a || p[8] == 0x0b));
		size_t wide = p[8] == 0x0b, size = get(p + 9, 1 + (int)wide);

		CHECK((p[5] & 15u) + p[6] * 16u == 5u + wide + size);
		CHECK(p[10 + wide + size - 2] == 0x79 && p[10 + wide + size - 1] == 0);
	}
	CHECK(found == 8, "%u", found);
}

static void test_refusals(void)
{
	struct acpi_config c = one;

	c.cpus = 0;
	CHECK(build(&c) == -EINVAL);
	c.cpus = 2;
	CHECK(build(&c) == -EINVAL);
	c = many;
	c.cpus++;
	CHECK(build(&c) == -EINVAL);
	c = many;
	c.io_apic = GPA(1ull << 32);
	CHECK(build(&c) == -EINVAL);
}

/* Runs iasl on one table; true if it has nothing to complain of. */
static bool iasl_accepts(const char *directory, const char *signature, const u8 *t)
{
	char command[1000];
	FILE *f;

	snprintf(command, sizeof command, "%s/%s.aml", directory, signature);
	f = fopen(command, "w");
	if (!f || fwrite(t, 1, get(t + 4, 4), f) != get(t + 4, 4) || fclose(f))
		return false;
	snprintf(command, sizeof command, "cd %s && iasl -d %s.aml >log 2>&1 && "
		 "! grep -qiE 'error|warning|invalid|truncat' log && "
		 "iasl -p again %s.dsl >log 2>&1 && ! grep -qE '[1-9][0-9]* (Errors|Warnings)' log",
		 directory, signature, signature);
	return system(command) == 0;
}

static void test_iasl(void)
{
	static const char *const signatures[] = { "DSDT", "FACP", "APIC", "XSDT", "MCFG" };
	char directory[] = "/tmp/penumbra-acpi-XXXXXX", command[100];
	struct acpi_config known = many;
	const u8 *fadt, *t;

	CHECK(system("command -v iasl >/dev/null") == 0, "install acpica-tools");
	known.mailbox = false; /* younger than iasl 20200925 */
	CHECK(build(&known) == 0);
	CHECK(mkdtemp(directory));
	fadt = table_find("FACP");
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
		t = i == 0 ? low + get(fadt + 40, 4) : i == 3 ? low + get(low + rsdp.v + 24, 8) :
		    table_find(signatures[i]);
		CHECK(iasl_accepts(directory, signatures[i], t), "%s in %s", signatures[i], directory);
	}
	snprintf(command, sizeof command, "rm -r %s", directory);
	CHECK(system(command) == 0);
}

#define TESTS(T) T(roots) T(fixed_hardware) T(madt) T(mcfg) T(resources) T(refusals) T(iasl)

int main(void)
{
	int failed = 0;

#define RUN(name) \
	reason[0] = 0; \
	test_##name(); \
	if (reason[0]) \
		failed = 1; \
	printf(reason[0] ? "not ok - acpi " #name ": %s\n" : "ok - acpi " #name "%s\n", reason); \
	fflush(stdout);
	TESTS(RUN)
	return failed;
}
