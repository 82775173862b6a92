/* SPDX-License-Identifier: MIT
 * As much of D-Bus as it takes to ask systemd for a unit: a connection, calls, replies, one signal.  Own code: the
 * library that Debian offers is not there for static programs, and needs the user database.
 *
 * The peer is the host's service manager, trusted as such; still every length is checked.  Owner: the caller.  No lock.
 * Source: D-Bus specification 0.42, "Message Protocol", "Authentication Protocol". */
#ifndef PENUMBRA_CONTAINER_DBUS_H
#define PENUMBRA_CONTAINER_DBUS_H

#include "base/util.h"

#define DBUS_MESSAGE_MAX (1u << 20)
#define DBUS_TIMEOUT_MS 30000

struct dbus {
	int fd;
	u32 serial;
	bool bus;  /* else the other end is the service itself */
};

/* Body of a message; alignment counts from its start. */
struct dbus_body {
	struct text bytes;
	char signature[64];
};
void dbus_put_string(struct dbus_body *b, const char *s);
void dbus_put_u32(struct dbus_body *b, u32 v);
void dbus_put_u64(struct dbus_body *b, u64 v);
/* An array whose elements are aligned to `align`: begin returns what end needs. */
size_t dbus_begin_array(struct dbus_body *b, unsigned align);
void dbus_end_array(struct dbus_body *b, size_t at, unsigned align);
/* A struct (sv) up to its value: the name and the variant's signature. */
void dbus_put_property(struct dbus_body *b, const char *name, const char *signature);
void dbus_body_free(struct dbus_body *b);

enum dbus_kind { DBUS_CALL = 1, DBUS_RETURN = 2, DBUS_ERROR = 3, DBUS_SIGNAL = 4 };
struct dbus_message {
	enum dbus_kind kind;
	u32 reply_to;
	char member[64], error[128];
	u8 *body; /* of `length` bytes */
	size_t length;
};
/* The string at *at of a body, which is advanced; NULL when there is none. */
const char *dbus_get_string(const struct dbus_message *m, size_t *at);
void dbus_message_free(struct dbus_message *m);

/* Connects to the socket and authenticates; `bus`: a message bus, to which one says Hello. */
int dbus_connect(struct dbus *d, const char *path, bool bus, struct err *e);
void dbus_close(struct dbus *d);
/* Sends a call, whose reply is a message for dbus_receive() that answers d->serial. */
int dbus_send(struct dbus *d, const char *destination, const char *object, const char *interface,
	      const char *member, const struct dbus_body *body, struct err *e);
/* The next message, within DBUS_TIMEOUT_MS. */
int dbus_receive(struct dbus *d, struct dbus_message *m, struct err *e);

#endif
