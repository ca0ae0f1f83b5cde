/* The server's side of TELNET (RFC 854, 856-858): a character at a time, bytes of 8 bits. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { TELNET_IAC = 255 };

struct chardev_host;
struct telnet;

struct telnet *telnet_new(void);
void telnet_free(struct telnet *t);
/* Somebody came: forget what was before, and say how we want to talk. */
void telnet_start(struct telnet *t, struct chardev_host *h);
/* Bytes as they came, which are overwritten: data and breaks go to the host's front end, answers back. Commands may
 * be cut anywhere. */
void telnet_receive(struct telnet *t, struct chardev_host *h, uint8_t *bytes, size_t n);
