/* SPDX-License-Identifier: MIT
 * ACPI tables for the guest, and the small AML emitter that writes the DSDT.
 * Front-end only, before the guest starts; no lock.
 *
 * Source: ACPI specification 6.4, sections 5.2 (tables), 6.4 (resource descriptors), 20.2 (AML).
 *
 * The area holds, in this order: RSDP, FACS, DSDT, FADT, MADT (with APICs), MCFG (with PCI), XSDT; its last page is
 * the wake-up mailbox.
 *
 * Invariants
 *  A1  The cursor never leaves the area: area_put() is the only writer that moves it, and the
 *      first overrun is remembered and reported at the end.
 *  A2  A checksum is the last thing written into its table. */
#include "machine/acpi.h"

#include <errno.h>
#include <string.h>

#include "machine/legacy.h"

#define FACS_SIZE 64
#define RSDP_SIZE 36
#define HEADER_LENGTH 4    /* offsets within a table header */
#define HEADER_CHECKSUM 9
#define RSDP_V1_SIZE 20
#define RSDP_CHECKSUM 8
#define RSDP_EXTENDED_CHECKSUM 32
#define AML_DEPTH_MAX 8

struct area {
	u8 *base;      /* host address of guest physical ACPI_AREA */
	size_t used;
	bool overrun;
};

/* ---- bytes ---- */

static void area_put(struct area *a, const void *bytes, size_t n)
{
	if (n > ACPI_MAILBOX - ACPI_AREA - a->used) {
		a->overrun = true;
		return;
	}
	memcpy(a->base + a->used, bytes, n);
	a->used += n;
}

static void put_le(struct area *a, u64 value, size_t width)
{
	u8 bytes[8];

	for (size_t i = 0; i < width; i++)
		bytes[i] = (u8)(value >> 8 * i);
	area_put(a, bytes, width);
}

static void put8(struct area *a, u64 v) { put_le(a, v, 1); }
static void put16(struct area *a, u64 v) { put_le(a, v, 2); }
static void put32(struct area *a, u64 v) { put_le(a, v, 4); }
static void put64(struct area *a, u64 v) { put_le(a, v, 8); }

static void put_zeros(struct area *a, size_t n)
{
	while (n--)
		put8(a, 0);
}

static void put_text(struct area *a, const char *text)
{
	area_put(a, text, strlen(text));
}

static void area_align(struct area *a, size_t alignment)
{
	while (a->used % alignment && !a->overrun)
		put8(a, 0);
}

static u64 area_address(size_t offset)
{
	return ACPI_AREA + offset;
}

static void set_checksum(struct area *a, size_t start, size_t length, size_t at)
{
	u8 sum = 0;

	if (a->overrun)
		return;
	a->base[start + at] = 0;
	for (size_t i = 0; i < length; i++)
		sum += a->base[start + i];
	a->base[start + at] = (u8)-sum;
}

/* Section 5.2.6; returns the offset of the table. */
static size_t table_begin(struct area *a, const char *signature, u8 revision)
{
	size_t start;

	area_align(a, 16);
	start = a->used;
	put_text(a, signature);
	put32(a, 0); /* length and checksum: table_end() */
	put8(a, revision);
	put8(a, 0);
	put_text(a, "PENUMB");
	put_text(a, "PENUMBRA");
	put32(a, 1);
	put_text(a, "PENU");
	put32(a, 1);
	return start;
}

static void table_end(struct area *a, size_t start)
{
	size_t length = a->used - start;

	if (a->overrun)
		return;
	for (size_t i = 0; i < 4; i++)
		a->base[start + HEADER_LENGTH + i] = (u8)(length >> 8 * i);
	set_checksum(a, start, length, HEADER_CHECKSUM);
}

/* ---- AML ---- */

enum {
	AML_NAME = 0x08, AML_BYTE = 0x0a, AML_WORD = 0x0b, AML_DWORD = 0x0c, AML_STRING = 0x0d,
	AML_SCOPE = 0x10, AML_BUFFER = 0x11, AML_PACKAGE = 0x12, AML_EXTENDED = 0x5b,
	AML_DEVICE = 0x82, /* after AML_EXTENDED */
};

struct aml {
	struct area *area;
	size_t open[AML_DEPTH_MAX]; /* offsets of the package lengths that are not known yet */
	int depth;
};

/* A package length counts itself.  Always the three-byte form, so that it can be filled in when the
 * package ends (section 20.2.4). */
static void aml_open(struct aml *m)
{
	m->open[m->depth++] = m->area->used;
	put_zeros(m->area, 3);
}

static void aml_close(struct aml *m)
{
	size_t at = m->open[--m->depth], length = m->area->used - at;

	if (m->area->overrun)
		return;
	m->area->base[at] = (u8)(0x80 | (length & 0x0f));
	m->area->base[at + 1] = (u8)(length >> 4);
	m->area->base[at + 2] = (u8)(length >> 12);
}

/* An integer in its shortest form; 0 and 1 are opcodes of their own. */
static void aml_integer(struct aml *m, u32 v)
{
	if (v <= 1) {
		put8(m->area, v);
	} else if (v <= 0xff) {
		put8(m->area, AML_BYTE);
		put8(m->area, v);
	} else if (v <= 0xffff) {
		put8(m->area, AML_WORD);
		put16(m->area, v);
	} else {
		put8(m->area, AML_DWORD);
		put32(m->area, v);
	}
}

static void aml_name(struct aml *m, const char *name)
{
	put8(m->area, AML_NAME);
	put_text(m->area, name); /* four characters, or \ and four */
}

static void aml_name_integer(struct aml *m, const char *name, u32 v)
{
	aml_name(m, name);
	aml_integer(m, v);
}

static void aml_scope(struct aml *m, const char *name)
{
	put8(m->area, AML_SCOPE);
	aml_open(m);
	put_text(m->area, name);
}

static void aml_device(struct aml *m, const char *name)
{
	put8(m->area, AML_EXTENDED);
	put8(m->area, AML_DEVICE);
	aml_open(m);
	put_text(m->area, name);
}

static unsigned hex_digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Compressed EISA identifier, e.g. "PNP0501": three letters of five bits and four hexadecimal
 * digits, stored with the high byte first. */
static u32 eisa_id(const char *id)
{
	u32 v = 0;

	for (int i = 0; i < 3; i++)
		v = v << 5 | ((u32)(id[i] - '@') & 31);
	for (int i = 3; i < 7; i++)
		v = v << 4 | hex_digit(id[i]);
	return __builtin_bswap32(v);
}

/* A buffer whose size is not known before its end: the three-byte form of an integer. */
static size_t aml_buffer_open(struct aml *m)
{
	put8(m->area, AML_BUFFER);
	aml_open(m);
	put8(m->area, AML_WORD);
	put16(m->area, 0);
	return m->area->used;
}

static void aml_buffer_close(struct aml *m, size_t start)
{
	size_t size = m->area->used - start;

	if (!m->area->overrun) {
		m->area->base[start - 2] = (u8)size;
		m->area->base[start - 1] = (u8)(size >> 8);
	}
	aml_close(m);
}

/* One device's resources: port ranges (alignment 1, 16-bit decode) and one interrupt. */
#define PORTS_MAX 5
#define NO_IRQ (-1)

struct acpi_device {
	char name[5];
	char id[8];
	int irq;
	struct { u16 first; u8 count; } ports[PORTS_MAX];
};

static const struct acpi_device board[] = {
	{ "PIC_", "PNP0000", LEGACY_IRQ_CASCADE, { { 0x20, 2 }, { 0xa0, 2 }, { 0x4d0, 2 } } },
	{ "TIMR", "PNP0100", LEGACY_IRQ_PIT, { { 0x40, 4 } } },
	{ "RTC_", "PNP0B00", LEGACY_IRQ_RTC, { { 0x70, 2 } } },
	{ "COM1", "PNP0501", LEGACY_IRQ_COM1, { { LEGACY_PORT_COM1, 8 } } },
	/* Ports that no driver may claim. */
	{ "SYSR", "PNP0C02", NO_IRQ, { { 0x61, 1 }, { 0x80, 1 }, { 0x92, 1 },
				       { LEGACY_PORT_PM, LEGACY_PM_SIZE },
				       { LEGACY_PORT_RESET, 1 } } },
};

static const struct acpi_device keyboard = {
	"KBD_", "PNP0303", LEGACY_IRQ_KEYBOARD, { { 0x60, 1 }, { 0x64, 1 } }
};

/* Sections 6.4.2.5 (I/O port), 6.4.2.1 (IRQ without flags), 6.4.2.9 (end tag). */
static void aml_resources(struct aml *m, const struct acpi_device *d)
{
	unsigned ports = 0;
	u32 size;

	while (ports < PORTS_MAX && d->ports[ports].count)
		ports++;
	size = ports * 8 + (d->irq != NO_IRQ ? 3 : 0) + 2;
	aml_name(m, "_CRS");
	put8(m->area, AML_BUFFER);
	aml_open(m);
	aml_integer(m, size);
	for (unsigned i = 0; i < ports; i++) {
		put8(m->area, 0x47);
		put8(m->area, 1); /* decodes 16 bits */
		put16(m->area, d->ports[i].first);
		put16(m->area, d->ports[i].first);
		put8(m->area, 1);
		put8(m->area, d->ports[i].count);
	}
	if (d->irq != NO_IRQ) {
		put8(m->area, 0x22);
		put16(m->area, BIT(d->irq));
	}
	put16(m->area, 0x0079);
	aml_close(m);
}

static void aml_board_device(struct aml *m, const struct acpi_device *d)
{
	aml_device(m, d->name);
	aml_name_integer(m, "_HID", eisa_id(d->id));
	aml_name_integer(m, "_UID", 1);
	aml_name_integer(m, "_STA", 0x0f); /* present, decoding, shown, working */
	aml_resources(m, d);
	aml_close(m);
}

/* ---- PCI ---- */

/* Address space descriptors: sections 6.4.3.5.1 (64 bits), .2 (32) and .3 (16); the type of the resource
 * and its own flags are of tables 6.46 to 6.50.  Produced, positively decoded, both ends fixed. */
enum { SPACE_MEMORY, SPACE_IO, SPACE_BUS };
#define SPACE_FIXED 0x0c
#define SPACE_IO_WHOLE 3     /* ISA and other ranges */
#define SPACE_READ_WRITE 1   /* not cacheable */

static void put_space(struct area *a, u8 type, u8 flags, size_t width, u64 start, u64 size)
{
	put8(a, width == 8 ? 0x8a : width == 4 ? 0x87 : 0x88);
	put16(a, 3 + 5 * width);
	put8(a, type);
	put8(a, SPACE_FIXED);
	put8(a, flags);
	put_le(a, 0, width);                  /* granularity */
	put_le(a, start, width);
	put_le(a, start + size - 1, width);
	put_le(a, 0, width);                  /* translation */
	put_le(a, size, width);
}

static void aml_pci_resources(struct aml *m, const struct acpi_config *c)
{
	size_t start;

	aml_name(m, "_CRS");
	start = aml_buffer_open(m);
	put_space(m->area, SPACE_BUS, 0, 2, 0, 256);
	put8(m->area, 0x47); /* the configuration ports, consumed by the bridge itself */
	put8(m->area, 1);
	put16(m->area, 0xcf8);
	put16(m->area, 0xcf8);
	put8(m->area, 1);
	put8(m->area, 8);
	put_space(m->area, SPACE_IO, SPACE_IO_WHOLE, 2, 0, 0xcf8);
	put_space(m->area, SPACE_IO, SPACE_IO_WHOLE, 2, 0xd00, 0xf300);
	put_space(m->area, SPACE_MEMORY, SPACE_READ_WRITE, 4, PCI_WINDOW, PCI_WINDOW_SIZE);
	if (c->pci_window_64)
		put_space(m->area, SPACE_MEMORY, SPACE_READ_WRITE, 8, c->pci_window_64, PCI_WINDOW_64_SIZE);
	put16(m->area, 0x0079);
	aml_buffer_close(m, start);
}

/* Section 6.2.13.  The pins of one slot are shifted against those of the next, so that devices that use
 * INTA only spread over all lines. */
static void aml_pci_routing(struct aml *m)
{
	aml_name(m, "_PRT");
	put8(m->area, AML_PACKAGE);
	aml_open(m);
	put8(m->area, PCI_SLOTS * 4);
	for (u32 slot = 0; slot < PCI_SLOTS; slot++) {
		for (u32 pin = 0; pin < 4; pin++) {
			put8(m->area, AML_PACKAGE);
			aml_open(m);
			put8(m->area, 4);
			aml_integer(m, slot << 16 | 0xffff);
			aml_integer(m, pin);
			aml_integer(m, 0);
			aml_integer(m, (u32)LEGACY_PCI_INTX(slot + pin));
			aml_close(m);
		}
	}
	aml_close(m);
}

/* The window of the configuration space belongs to no device that a driver could claim. */
static void aml_pci_reserved(struct aml *m)
{
	size_t start;

	aml_device(m, "ECAM");
	aml_name_integer(m, "_HID", eisa_id("PNP0C02"));
	aml_name_integer(m, "_UID", 2);
	aml_name(m, "_CRS");
	start = aml_buffer_open(m);
	put8(m->area, 0x86); /* section 6.4.3.4 */
	put16(m->area, 9);
	put8(m->area, 1);
	put32(m->area, PCI_ECAM);
	put32(m->area, PCI_ECAM_SIZE);
	put16(m->area, 0x0079);
	aml_buffer_close(m, start);
	aml_close(m);
}

static void aml_pci(struct aml *m, const struct acpi_config *c)
{
	aml_device(m, "PCI0");
	aml_name_integer(m, "_HID", eisa_id("PNP0A08"));
	aml_name_integer(m, "_CID", eisa_id("PNP0A03"));
	aml_name_integer(m, "_UID", 0);
	aml_name_integer(m, "_SEG", 0);
	aml_name_integer(m, "_BBN", 0);
	aml_pci_resources(m, c);
	aml_pci_routing(m);
	aml_close(m);
	aml_pci_reserved(m);
}

static void aml_processor(struct aml *m, u32 n)
{
	static const char digits[] = "0123456789ABCDEF";
	char name[5] = { 'C', '0', digits[n >> 4 & 15], digits[n & 15], 0 };

	aml_device(m, name);
	aml_name(m, "_HID");
	put8(m->area, AML_STRING);
	put_text(m->area, "ACPI0007");
	put8(m->area, 0);
	aml_name_integer(m, "_UID", n);
	aml_close(m);
}

/* \_S5: sleep types for PM1a and PM1b, two reserved values (section 7.4.2.6). */
static void aml_soft_off(struct aml *m)
{
	aml_name(m, "\\_S5_");
	put8(m->area, AML_PACKAGE);
	aml_open(m);
	put8(m->area, 4);
	aml_integer(m, LEGACY_SLP_TYP_S5);
	aml_integer(m, LEGACY_SLP_TYP_S5);
	aml_integer(m, 0);
	aml_integer(m, 0);
	aml_close(m);
}

/* ---- the tables ---- */

static size_t put_dsdt(struct area *a, const struct acpi_config *c)
{
	struct aml m = { .area = a };
	size_t start = table_begin(a, "DSDT", 2);

	aml_soft_off(&m);
	aml_scope(&m, "\\_SB_");
	for (size_t i = 0; i < ARRAY_SIZE(board); i++)
		aml_board_device(&m, &board[i]);
	if (c->i8042)
		aml_board_device(&m, &keyboard);
	if (c->pci)
		aml_pci(&m, c);
	if (c->apic)
		for (u32 i = 0; i < c->cpus; i++)
			aml_processor(&m, i);
	aml_close(&m);
	table_end(a, start);
	return start;
}

/* Section 5.2.10: no waking vector, no global lock owner. */
static size_t put_facs(struct area *a)
{
	size_t start;

	area_align(a, 64);
	start = a->used;
	put_text(a, "FACS");
	put32(a, FACS_SIZE);
	put_zeros(a, 24);
	put8(a, 2); /* version */
	put_zeros(a, FACS_SIZE - 33);
	return start;
}

/* Generic address structure, section 5.2.3.2: a port of `bits`, accessed in units of `access`
 * (1 byte, 2 word, 3 dword). */
static void put_port(struct area *a, u16 port, u8 bits, u8 access)
{
	put8(a, port ? 1 : 0);
	put8(a, bits);
	put8(a, 0);
	put8(a, access);
	put64(a, port);
}

#define FADT_WBINVD BIT(0)
#define FADT_PROC_C1 BIT(2)
#define FADT_NO_FIXED_SLEEP_BUTTON BIT(5)
#define FADT_NO_FIXED_RTC BIT(6)
#define FADT_RESET_REGISTER BIT(10)
#define FADT_HEADLESS BIT(12)
#define BOOT_LEGACY_DEVICES BIT(0)
#define BOOT_8042 BIT(1)
#define BOOT_NO_VGA BIT(2)

#define PM_EVENT LEGACY_PORT_PM
#define PM_CONTROL (LEGACY_PORT_PM + 4)
#define PM_TIMER (LEGACY_PORT_PM + 8)

/* Section 5.2.9, table 5.9.  Two C-state latencies above the limits say: no C2, no C3. */
static size_t put_fadt(struct area *a, const struct acpi_config *c, size_t facs, size_t dsdt)
{
	size_t start = table_begin(a, "FACP", 6);

	put32(a, area_address(facs));
	put32(a, area_address(dsdt));
	put8(a, 0);                      /* was INT_MODEL */
	put8(a, 0);                      /* preferred profile: unspecified */
	put16(a, LEGACY_IRQ_SCI);
	put32(a, 0);                     /* SMI_CMD: none, ACPI mode is on */
	put32(a, 0);                     /* ACPI_ENABLE, ACPI_DISABLE, S4BIOS_REQ, PSTATE_CNT */
	put32(a, PM_EVENT);
	put32(a, 0);                     /* PM1b event */
	put32(a, PM_CONTROL);
	put32(a, 0);                     /* PM1b control */
	put32(a, 0);                     /* PM2 control */
	put32(a, PM_TIMER);
	put64(a, 0);                     /* GPE0, GPE1 */
	put8(a, 4);                      /* lengths: PM1 event, PM1 control, PM2 control, timer */
	put8(a, 2);
	put8(a, 0);
	put8(a, 4);
	put32(a, 0);                     /* GPE0, GPE1 lengths, GPE1 base, CST_CNT */
	put16(a, 0x0fff);                /* C2 latency */
	put16(a, 0x0fff);                /* C3 latency */
	put32(a, 0);                     /* flush size and stride */
	put16(a, 0);                     /* duty offset and width */
	put8(a, 0);                      /* alarm day, alarm month: not kept */
	put8(a, 0);
	put8(a, LEGACY_CMOS_CENTURY);
	put16(a, BOOT_LEGACY_DEVICES | BOOT_NO_VGA | (c->i8042 ? BOOT_8042 : 0));
	put8(a, 0);
	put32(a, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_FIXED_SLEEP_BUTTON | FADT_NO_FIXED_RTC |
		 FADT_RESET_REGISTER | (c->i8042 ? 0 : FADT_HEADLESS));
	put_port(a, LEGACY_PORT_RESET, 8, 1);
	put8(a, LEGACY_RESET_VALUE);
	put16(a, 0);                     /* ARM boot flags */
	put8(a, 4);                      /* minor version: 6.4 */
	put64(a, 0);                     /* X_FIRMWARE_CTRL: the 32-bit one counts */
	put64(a, area_address(dsdt));
	put_port(a, PM_EVENT, 32, 2);
	put_port(a, 0, 0, 0);
	put_port(a, PM_CONTROL, 16, 2);
	put_port(a, 0, 0, 0);
	put_port(a, 0, 0, 0);
	put_port(a, PM_TIMER, 32, 3);
	put_port(a, 0, 0, 0);
	put_port(a, 0, 0, 0);
	put_port(a, 0, 0, 0);            /* sleep control and status: hardware-reduced only */
	put_port(a, 0, 0, 0);
	put_text(a, "PENUMBRA");         /* hypervisor vendor */
	table_end(a, start);
	return start;
}

/* Section 5.2.12.5: ISA interrupt `irq` is input `gsi`; polarity and trigger in `flags`. */
static void put_override(struct area *a, u8 irq, u32 gsi, u16 flags)
{
	put8(a, 2);
	put8(a, 10);
	put8(a, 0);
	put8(a, irq);
	put32(a, gsi);
	put16(a, flags);
}

#define MADT_PCAT_COMPAT 1
#define MADT_CONFORMS 0
#define MADT_HIGH_LEVEL 0x0d

static size_t put_madt(struct area *a, const struct acpi_config *c)
{
	size_t start = table_begin(a, "APIC", 5);

	put32(a, c->local_apic.v);
	put32(a, MADT_PCAT_COMPAT);
	for (u32 i = 0; i < c->cpus; i++) { /* 5.2.12.2 */
		put8(a, 0);
		put8(a, 8);
		put8(a, i);
		put8(a, i);
		put32(a, 1); /* enabled */
	}
	put8(a, 1); /* IO-APIC, 5.2.12.3 */
	put8(a, 12);
	put8(a, c->io_apic_id);
	put8(a, 0);
	put32(a, c->io_apic.v);
	put32(a, 0);
	put_override(a, LEGACY_IRQ_PIT, 2, MADT_CONFORMS);
	put_override(a, LEGACY_IRQ_SCI, LEGACY_IRQ_SCI, MADT_HIGH_LEVEL);
	for (u32 i = 0; i < 16; i++)
		if (c->pci && (LEGACY_PCI_IRQS >> i & 1))
			put_override(a, (u8)i, i, MADT_HIGH_LEVEL);
	if (c->mailbox) { /* 5.2.12.19 */
		put8(a, 16);
		put8(a, 16);
		put16(a, 0);
		put32(a, 0);
		put64(a, ACPI_MAILBOX);
	}
	put8(a, 4); /* local APIC NMI, 5.2.12.7: LINT1 of every processor */
	put8(a, 6);
	put8(a, 0xff);
	put16(a, 0);
	put8(a, 1);
	table_end(a, start);
	return start;
}

/* PCI Firmware Specification 3.3, section 4.1.2. */
static size_t put_mcfg(struct area *a)
{
	size_t start = table_begin(a, "MCFG", 1);

	put64(a, 0);
	put64(a, PCI_ECAM);
	put16(a, 0);    /* segment */
	put8(a, 0);     /* buses 0 to 255 */
	put8(a, 255);
	put32(a, 0);
	table_end(a, start);
	return start;
}

/* Section 5.2.5.3; the area begins with room for it. */
static void set_rsdp(struct area *a, size_t xsdt)
{
	struct area rsdp = { .base = a->base };

	put_text(&rsdp, "RSD PTR ");
	put8(&rsdp, 0);
	put_text(&rsdp, "PENUMB");
	put8(&rsdp, 2);
	put32(&rsdp, 0); /* no RSDT */
	put32(&rsdp, RSDP_SIZE);
	put64(&rsdp, area_address(xsdt));
	put32(&rsdp, 0);
	set_checksum(&rsdp, 0, RSDP_V1_SIZE, RSDP_CHECKSUM);
	set_checksum(&rsdp, 0, RSDP_SIZE, RSDP_EXTENDED_CHECKSUM);
}

static int config_check(const struct acpi_config *c, struct err *e)
{
	if (c->cpus < 1 || c->cpus > ACPI_CPUS_MAX)
		return err_set(e, -EINVAL, "ACPI tables: %u processors, possible are 1 to %u",
			       c->cpus, ACPI_CPUS_MAX);
	if (c->cpus > 1 && !c->apic)
		return err_set(e, -EINVAL, "ACPI tables: %u processors need local APICs", c->cpus);
	if (c->apic && (c->local_apic.v >= BIT(32) || c->io_apic.v >= BIT(32)))
		return err_set(e, -EINVAL, "ACPI tables: an APIC address is not below 4 GiB");
	return 0;
}

int acpi_build(const struct acpi_config *config, u8 *low_memory, gpa_t *rsdp, struct err *e)
{
	struct area a = { .base = low_memory + ACPI_AREA };
	size_t facs, dsdt, fadt, madt = 0, mcfg = 0, xsdt;
	int r = config_check(config, e);

	if (r < 0)
		return r;
	put_zeros(&a, RSDP_SIZE);
	facs = put_facs(&a);
	dsdt = put_dsdt(&a, config);
	fadt = put_fadt(&a, config, facs, dsdt);
	if (config->apic)
		madt = put_madt(&a, config);
	if (config->pci)
		mcfg = put_mcfg(&a);
	xsdt = table_begin(&a, "XSDT", 1);
	put64(&a, area_address(fadt));
	if (config->apic)
		put64(&a, area_address(madt));
	if (config->pci)
		put64(&a, area_address(mcfg));
	table_end(&a, xsdt);
	if (a.overrun)
		return err_set(e, -ENOSPC, "ACPI tables: more than %llu bytes", ACPI_AREA_SIZE);
	set_rsdp(&a, xsdt);
	if (config->mailbox)
		memset(low_memory + ACPI_MAILBOX, 0, ACPI_AREA + ACPI_AREA_SIZE - ACPI_MAILBOX);
	*rsdp = GPA(area_address(0));
	return 0;
}
