/* SPDX-License-Identifier: MIT
 * Which frames of the guest's libslirp gets to see: those whose lengths agree with each other, and no fragments.
 *
 * Debian 12's libslirp (4.7.0) writes outside of its memory for some sequences of IPv4 fragments.  A guest needs none:
 * TCP fits its segments to the MTU, and a datagram that does not fit the MTU is not delivered by many networks
 * either.  Headers with options, which no ordinary program sends, are dropped for the same reason.
 *
 * Sources: RFC 791, 9293 (3.1), 768, 792, 8200, 826.  No state. */
#include "device/net_backend.h"

#define ETHERNET 14u

static u32 get16(const u8 *p) { return (u32)p[0] << 8 | p[1]; }

/* The payload of an IP packet by its protocol number. */
static bool sound_payload(const u8 *p, size_t size, u8 protocol)
{
	switch (protocol) {
	case 6: /* TCP */
		return size >= 20 && (p[12] >> 4) >= 5 && (size_t)(p[12] >> 4) * 4 <= size;
	case 17: /* UDP */
		return size >= 8 && get16(p + 4) >= 8 && get16(p + 4) <= size;
	case 1: /* ICMP */
	case 58: /* ICMPv6 */
		return size >= 8;
	default:
		return false;
	}
}

static bool sound_ipv4(const u8 *p, size_t size)
{
	u32 total;

	if (size < 20 || p[0] != 0x45)
		return false;
	total = get16(p + 2);
	/* Neither "more fragments" nor an offset. */
	return total >= 20 && total <= size && !(get16(p + 6) & 0x3fff) && p[9] != 58 && sound_payload(p + 20, total - 20, p[9]);
}

static bool sound_ipv6(const u8 *p, size_t size)
{
	u32 payload;

	if (size < 40 || p[0] >> 4 != 6)
		return false;
	payload = get16(p + 4);
	return payload <= size - 40 && p[6] != 1 && sound_payload(p + 40, payload, p[6]);
}

bool net_frame_is_sound(const u8 *frame, size_t size)
{
	if (size < ETHERNET)
		return false;
	switch (get16(frame + 12)) {
	case 0x0800:
		return sound_ipv4(frame + ETHERNET, size - ETHERNET);
	case 0x86dd:
		return sound_ipv6(frame + ETHERNET, size - ETHERNET);
	case 0x0806: /* ARP for IPv4 over Ethernet */
		return size >= ETHERNET + 28 && get16(frame + 14) == 1 && get16(frame + 16) == 0x0800 && frame[18] == 6 && frame[19] == 4;
	default:
		return false;
	}
}
