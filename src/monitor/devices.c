/* SPDX-License-Identifier: MIT
 * Accesses of the guest to devices that the front-end has, from a carrier. */
#include "monitor/devices.h"

#include "base/sys.h"
#include "monitor/private.h"
#include "shadow/shadow.h"

#define PORT_CONFIG_ADDRESS 0xcf8
#define PORT_CONFIG_DATA 0xcfc

_Static_assert(OFF_DEVICES + sizeof(struct device_area) <= OFF_SHADOW, "device area place");
_Static_assert(sizeof(struct shared) <= OFF_DEVICES, "shared state size");

static void clean_frames(u32 asked)
{
	u32 n = MIN(DEVICES->clean_n, (u32)CLEAN_MAX);
	u64 frames = SHADOW->ram_size >> PAGE_SHIFT;

	for (u32 i = 0; i < n; i++) {
		u64 f = DEVICES->clean[i];

		if (f < frames && (frame_flags(f) & FRAME_CODE))
			frame_clear_code(f);
		if (f < frames && (frame_flags(f) & FRAME_TABLE))
			table_release(f);
	}
	atomic_store(&DEVICES->clean_done, asked);
	futex_wake(&DEVICES->clean_done);
}

bool device_waits(void) { return atomic_load(&DEVICES->clean_asked) != atomic_load(&DEVICES->clean_done); }

void device_events(void)
{
	if (device_waits())
		clean_frames(atomic_load(&DEVICES->clean_asked));
}

static u64 device_ask(u8 kind, u64 address, int size, bool write, u64 data)
{
	struct mailbox *m = &DEVICES->mail[VCPU->number % DEVICE_VCPUS];

	if (!atomic_load(&DEVICES->present))
		return ~0ull;
	m->kind = kind;
	m->size = (u8)size;
	m->write = write;
	m->address = address;
	m->data = data;
	atomic_store(&m->state, MAIL_ASKED);
	futex_wake(&m->state);
	/* The device may write memory before it answers, and wait for this vCPU to take notice. */
	while (atomic_load(&m->state) == MAIL_ASKED) {
		if (!VCPU->number)
			device_events();
		futex_wait(&m->state, MAIL_ASKED, NULL);
	}
	atomic_store(&m->state, MAIL_EMPTY);
	return m->data;
}

/* The vCPU goes on at once; the worker finds out itself which queue it is. */
static bool ring_bell(u64 pa)
{
	static const u64 one = 1;

	for (u32 i = 0; i < BELLS; i++) {
		u64 page = atomic_load_explicit(&DEVICES->bell[i], memory_order_relaxed);

		if (!page || (pa ^ page) & PAGE_MASK)
			continue;
		sys3(__NR_write, FD_BELLS + i, &one, sizeof one);
		return true;
	}
	return false;
}

/* The largest piece of an access that a device takes at once. */
static size_t piece(u64 pa, size_t n)
{
	size_t step = 8;

	while (step > n || pa % step)
		step /= 2;
	return step;
}

void front_read(u64 pa, void *buffer, size_t n)
{
	u8 *to = buffer;

	while (n) {
		size_t step = piece(pa, n);
		u64 v = device_ask(MAIL_MEMORY, pa, (int)step, false, 0);

		__builtin_memcpy(to, &v, step);
		pa += step;
		to += step;
		n -= step;
	}
}

void front_write(u64 pa, const void *buffer, size_t n)
{
	const u8 *from = buffer;

	if (ring_bell(pa))
		return;
	while (n) {
		size_t step = piece(pa, n);
		u64 v = 0;

		__builtin_memcpy(&v, from, step);
		device_ask(MAIL_MEMORY, pa, (int)step, true, v);
		pa += step;
		from += step;
		n -= step;
	}
}

bool device_port(u16 port, int size, bool write, u32 *value)
{
	u32 address = DEVICES->config_address;

	if (!atomic_load(&DEVICES->present))
		return false;
	if (port == PORT_CONFIG_ADDRESS && size == 4) {
		if (write)
			DEVICES->config_address = *value & 0x80ffffff;
		else
			*value = address;
		return true;
	}
	if (port < PORT_CONFIG_DATA || port + size > PORT_CONFIG_DATA + 4)
		return false;
	*value = (u32)device_ask(MAIL_CONFIG, (address & ~3u) | (port & 3u), size, write, *value);
	return true;
}
