/* Network cards by name, for both monitors. Main loop's thread. */
#pragma once

struct device;
struct vm;

/* By the device's id, or that of the back end it is on; NULL: there is none. */
struct device *card_find(struct vm *vm, const char *name);
