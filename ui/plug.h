/* Devices that a user plugs and pulls, for both monitors. Main loop's thread. */
#pragma once

struct error;
struct vm;

/* As -device has it: "virtio-blk-pci,drive=d0,id=disk0" or a JSON object. */
struct error *plug_device(struct vm *vm, const char *text);
