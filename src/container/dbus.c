/* SPDX-License-Identifier: MIT */
#include "container/dbus.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define LITTLE_ENDIAN_MARK 'l'
#define VERSION 1
enum field { FIELD_PATH = 1, FIELD_INTERFACE, FIELD_MEMBER, FIELD_ERROR, FIELD_REPLY, FIELD_DESTINATION, FIELD_SENDER,
	     FIELD_SIGNATURE };

static void pad(struct text *t, unsigned align)
{
	while (t->length % align && !t->failed)
		text_add_bytes(t, "", 1);
}

static void put_u32(struct text *t, u32 v)
{
	pad(t, 4);
	text_add_bytes(t, (const char *)&v, 4); /* x86 is little-endian, as the message says of itself */
}

static void put_string(struct text *t, const char *s)
{
	put_u32(t, (u32)strlen(s));
	text_add_bytes(t, s, strlen(s) + 1);
}

static void put_signature(struct text *t, const char *s)
{
	char n = (char)strlen(s);

	text_add_bytes(t, &n, 1);
	text_add_bytes(t, s, strlen(s) + 1);
}

void dbus_put_string(struct dbus_body *b, const char *s)
{
	put_string(&b->bytes, s);
}

void dbus_put_u32(struct dbus_body *b, u32 v)
{
	put_u32(&b->bytes, v);
}

void dbus_put_u64(struct dbus_body *b, u64 v)
{
	pad(&b->bytes, 8);
	text_add_bytes(&b->bytes, (const char *)&v, 8);
}

size_t dbus_begin_array(struct dbus_body *b, unsigned align)
{
	size_t at;

	put_u32(&b->bytes, 0);
	at = b->bytes.length;
	pad(&b->bytes, align);
	return at;
}

void dbus_end_array(struct dbus_body *b, size_t at, unsigned align)
{
	u32 n = (u32)(b->bytes.length - ALIGN_UP(at, align)); /* the filling before the first element does not count */

	if (!b->bytes.failed)
		memcpy(b->bytes.text + at - 4, &n, 4);
}

void dbus_put_property(struct dbus_body *b, const char *name, const char *signature)
{
	pad(&b->bytes, 8);
	put_string(&b->bytes, name);
	put_signature(&b->bytes, signature);
}

void dbus_body_free(struct dbus_body *b)
{
	text_free(&b->bytes);
}

static void put_field(struct text *t, enum field field, const char *type, const char *value)
{
	char code = (char)field;

	if (!value || !*value)
		return;
	pad(t, 8);
	text_add_bytes(t, &code, 1);
	put_signature(t, type);
	if (*type == 'g')
		put_signature(t, value);
	else
		put_string(t, value);
}

static int write_all(struct dbus *d, const char *data, size_t n)
{
	while (n) {
		ssize_t k = send(d->fd, data, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		data += k;
		n -= (size_t)k;
	}
	return 0;
}

int dbus_send(struct dbus *d, const char *destination, const char *object, const char *interface,
	      const char *member, const struct dbus_body *body, struct err *e)
{
	const char start[4] = { LITTLE_ENDIAN_MARK, DBUS_CALL, 0, VERSION };
	_cleanup_text_ struct text t = { 0 };
	u32 fields;
	int r;

	text_add_bytes(&t, start, sizeof start);
	put_u32(&t, body ? (u32)body->bytes.length : 0);
	put_u32(&t, ++d->serial);
	put_u32(&t, 0); /* length of the fields, below */
	put_field(&t, FIELD_PATH, "o", object);
	put_field(&t, FIELD_INTERFACE, "s", interface);
	put_field(&t, FIELD_MEMBER, "s", member);
	put_field(&t, FIELD_DESTINATION, "s", destination);
	put_field(&t, FIELD_SIGNATURE, "g", body ? body->signature : NULL);
	fields = (u32)t.length - 16;
	pad(&t, 8);
	if (body)
		text_add_bytes(&t, body->bytes.text, body->bytes.length);
	if (t.failed || (body && body->bytes.failed))
		return err_set(e, -ENOMEM, "systemd: out of memory");
	memcpy(t.text + 12, &fields, 4);
	r = write_all(d, t.text, t.length);
	return r ? err_sys(e, -r, "systemd: call %s", member) : 0;
}

static int read_all(struct dbus *d, void *out, size_t n)
{
	u8 *p = out;

	while (n) {
		struct pollfd wait = { d->fd, POLLIN, 0 };
		ssize_t k = poll(&wait, 1, DBUS_TIMEOUT_MS);

		if (!k)
			return -ETIMEDOUT;
		if (k > 0)
			k = recv(d->fd, p, n, 0);
		if (!k)
			return -ECONNRESET;
		if (k < 0 && errno != EINTR)
			return -errno;
		p += MAX(k, 0);
		n -= (size_t)MAX(k, 0);
	}
	return 0;
}

static u32 get_u32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, 4);
	return v;
}

/* A string of `n` bytes of text at `at`, with its NUL, inside `size`. */
static const char *string_at(const u8 *p, size_t size, size_t at, size_t n)
{
	return at <= size && n < size - at && !p[at + n] && strlen((const char *)p + at) == n ? (const char *)p + at : NULL;
}

/* The fields that matter; the others have forms that a message bus has checked, or end the reading. */
static void read_fields(struct dbus_message *m, const u8 *p, size_t size)
{
	size_t at = 0;

	while (ALIGN_UP(at, 8) + 8 <= size) {
		const char *text;
		u8 code, type, n;

		at = ALIGN_UP(at, 8);
		code = p[at];
		n = p[at + 1];
		type = p[at + 2];
		if (n != 1)
			return;
		at += 4;
		if (type == 'g') {
			at += 2u + p[at];
			continue;
		}
		if (at + 4 > size)
			return;
		if (type == 'u') {
			if (code == FIELD_REPLY)
				m->reply_to = get_u32(p + at);
			at += 4;
			continue;
		}
		if (type != 's' && type != 'o')
			return;
		text = string_at(p, size, at + 4, get_u32(p + at));
		if (!text)
			return;
		if (code == FIELD_MEMBER)
			snprintf(m->member, sizeof m->member, "%.63s", text);
		else if (code == FIELD_ERROR)
			snprintf(m->error, sizeof m->error, "%.127s", text);
		at += 4 + strlen(text) + 1;
	}
}

int dbus_receive(struct dbus *d, struct dbus_message *m, struct err *e)
{
	u8 head[16], *fields = NULL;
	u32 body, n;
	int r = read_all(d, head, sizeof head);

	*m = (struct dbus_message){ 0 };
	if (r)
		return err_sys(e, -r, "systemd: read");
	body = get_u32(head + 4);
	n = get_u32(head + 12);
	if (head[0] != LITTLE_ENDIAN_MARK || head[3] != VERSION || body > DBUS_MESSAGE_MAX || n > DBUS_MESSAGE_MAX)
		return err_set(e, -EPROTO, "systemd: sent a message that is not understood");
	m->kind = (enum dbus_kind)head[1];
	m->length = body;
	fields = malloc(ALIGN_UP(n, 8) + 1);
	m->body = malloc(body + 1);
	if (!fields || !m->body)
		r = -ENOMEM;
	if (!r)
		r = read_all(d, fields, ALIGN_UP(n, 8));
	if (!r)
		r = read_all(d, m->body, body);
	if (!r)
		read_fields(m, fields, n);
	free(fields);
	if (r)
		dbus_message_free(m);
	return r ? err_sys(e, -r, "systemd: read") : 0;
}

const char *dbus_get_string(const struct dbus_message *m, size_t *at)
{
	const char *s;

	*at = ALIGN_UP(*at, 4);
	if (*at + 4 > m->length)
		return NULL;
	s = string_at(m->body, m->length, *at + 4, get_u32(m->body + *at));
	if (s)
		*at += 4 + strlen(s) + 1;
	return s;
}

void dbus_message_free(struct dbus_message *m)
{
	free(m->body);
	m->body = NULL;
}

/* "EXTERNAL": the kernel tells the peer who we are; the id is in hexadecimal digits of its decimal ones.  BEGIN goes
 * with it, before the answer: a message that comes in one piece with BEGIN is left lying by systemd until the next. */
static int authenticate(struct dbus *d)
{
	char id[16], line[256] = "\0AUTH EXTERNAL ";
	size_t n = 15, i;
	int r;

	snprintf(id, sizeof id, "%u", (unsigned)geteuid());
	for (i = 0; id[i]; i++)
		n += (size_t)sprintf(line + n, "%02x", (unsigned)id[i]);
	n += (size_t)sprintf(line + n, "\r\nBEGIN\r\n");
	r = write_all(d, line, n);
	for (n = 0; !r && n < sizeof line - 1;) {
		r = read_all(d, line + n, 1);
		if (!r && line[n++] == '\n')
			break;
	}
	line[n] = 0;
	if (!r && strncmp(line, "OK ", 3))
		r = -EACCES;
	return r;
}

int dbus_connect(struct dbus *d, const char *path, bool bus, struct err *e)
{
	int r;

	d->serial = 0;
	d->bus = bus;
	d->fd = socket_connect_at(AT_FDCWD, path, SOCK_STREAM);
	if (d->fd < 0)
		return d->fd;
	r = authenticate(d);
	if (r)
		err_sys(e, -r, "systemd: authenticate at %s", path);
	if (!r && bus)
		r = dbus_send(d, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", NULL, e);
	if (r)
		dbus_close(d);
	return r;
}

void dbus_close(struct dbus *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}
