/* SPDX-License-Identifier: MIT
 * How the virtio console's worker and the machine's console talk: messages over a socket (SOCK_SEQPACKET).  No state. */
#ifndef PENUMBRA_DEVICE_VIRTIO_CONSOLE_H
#define PENUMBRA_DEVICE_VIRTIO_CONSOLE_H

/* First byte of a message from the worker.  OUTPUT is followed by the guest's bytes; UP and DOWN say whether a
 * driver serves the terminal.  Messages to the worker are keys and nothing else. */
enum console_message { CONSOLE_OUTPUT, CONSOLE_UP, CONSOLE_DOWN };

#define CONSOLE_MESSAGE_MAX 4096 /* bytes after the first */
#define CONSOLE_KEYS_MAX 512     /* of one message to the worker */

#endif
