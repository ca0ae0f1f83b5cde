/* Option ROMs of graphics cards that are no PCI function: SeaBIOS finds them in fw_cfg. */
#pragma once

struct device;
struct error;
struct vm;

/* The machine's fw_cfg, or NULL. */
struct device *vga_rom_fw_cfg(struct vm *vm);
/* Give it the file of this name, if there is such a file and the machine has a BIOS to run it. */
struct error *vga_rom_give(struct vm *vm, const char *name);
