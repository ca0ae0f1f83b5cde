/* All device classes, one line each. */
#include "core/device.h"

/* A board's own devices. */
extern const struct device_class plic_class, aclint_swi_class, aclint_mtimer_class;
extern const struct device_class goldfish_rtc_class, sifive_test_class, ns16550_class;
extern const struct device_class fw_cfg_class, cfi_flash_class, aplic_class, imsic_class;
extern const struct device_class virtio_mmio_slot_class;
/* A PC's. */
extern const struct device_class i8259_class, ioapic_class, apic_class;
extern const struct device_class isa_serial_class, isa_parallel_class;
extern const struct device_class ich9_pm_class, piix4_pm_class, reset_control_class;
extern const struct device_class acpi_ged_class, acpi_pcihp_class;
extern const struct device_class ich9_smbus_class;
extern const struct device_class ich9_lpc_class, piix3_class, piix4_pm_function_class;
extern const struct device_class piix_ide_class;
extern const struct device_class i8254_class, hpet_class, mc146818_class, i8042_class,
    fw_cfg_io_class, vmport_class;
/* What a user can plug in. */
extern const struct device_class root_port_class;
extern const struct device_class pci_bridge_class, pcie_pci_bridge_class, i82801b11_bridge_class;
extern const struct device_class isa_ferr_class;
extern const struct device_class isa_debugcon_class, isa_debug_exit_class, pvpanic_class;
extern const struct device_class ich9_ahci_class, ide_hd_class, ide_cd_class;
extern const struct device_class hyperv_testdev_class;
extern const struct device_class edu_class, pc_testdev_class, pci_testdev_class;
extern const struct device_class vga_class, secondary_vga_class, bochs_display_class, isa_vga_class;
extern const struct device_class ramfb_class, virtio_vga_class;
extern const struct device_class virtio_gpu_pci_class, virtio_gpu_device_class;
extern const struct device_class virtio_blk_pci_class, virtio_blk_device_class;
extern const struct device_class virtio_net_pci_class, virtio_net_device_class;
extern const struct device_class virtio_serial_pci_class, virtio_serial_device_class;
extern const struct device_class virtconsole_class, virtserialport_class;
extern const struct device_class virtio_rng_pci_class, virtio_rng_device_class;
extern const struct device_class intel_hda_class, ich9_intel_hda_class;
extern const struct device_class hda_output_class, hda_duplex_class, hda_micro_class;
extern const struct device_class virtio_snd_pci_class, virtio_snd_device_class;
extern const struct device_class virtio_balloon_pci_class, virtio_balloon_device_class;
extern const struct device_class virtio_keyboard_pci_class, virtio_keyboard_device_class;
extern const struct device_class virtio_mouse_pci_class, virtio_mouse_device_class;
extern const struct device_class virtio_tablet_pci_class, virtio_tablet_device_class;
extern const struct device_class virtio_net_pci_transitional_class, virtio_net_pci_modern_class;
extern const struct device_class virtio_rng_pci_transitional_class, virtio_rng_pci_modern_class;
extern const struct device_class virtio_balloon_pci_transitional_class,
    virtio_balloon_pci_modern_class;
extern const struct device_class virtio_blk_pci_transitional_class, virtio_blk_pci_modern_class;
extern const struct device_class virtio_serial_pci_transitional_class,
    virtio_serial_pci_modern_class;
extern const struct device_class qemu_xhci_class, nec_usb_xhci_class;
extern const struct device_class usb_kbd_class, usb_mouse_class, usb_tablet_class;
extern const struct device_class usb_storage_class, usb_hub_class;

const struct device_class *const device_classes[] = {
    &plic_class,
    &aclint_swi_class,
    &aclint_mtimer_class,
    &goldfish_rtc_class,
    &sifive_test_class,
    &ns16550_class,
    &fw_cfg_class,
    &cfi_flash_class,
    &aplic_class,
    &imsic_class,
    &virtio_mmio_slot_class,
    &i8259_class,
    &ioapic_class,
    &apic_class,
    &i8254_class,
    &hpet_class,
    &mc146818_class,
    &i8042_class,
    &fw_cfg_io_class,
    &vmport_class,
    &isa_serial_class,
    &isa_parallel_class,
    &ich9_pm_class,
    &piix4_pm_class,
    &reset_control_class,
    &ich9_lpc_class,
    &ich9_smbus_class,
    &piix3_class,
    &piix4_pm_function_class,
    &piix_ide_class,
    &acpi_ged_class,
    &acpi_pcihp_class,
    &root_port_class,
    &pci_bridge_class,
    &pcie_pci_bridge_class,
    &i82801b11_bridge_class,
    &isa_debugcon_class,
    &isa_debug_exit_class,
    &isa_ferr_class,
    &pvpanic_class,
    &ich9_ahci_class,
    &ide_hd_class,
    &ide_cd_class,
    &edu_class,
    &pci_testdev_class,
    &pc_testdev_class,
    &vga_class,
    &secondary_vga_class,
    &bochs_display_class,
    &isa_vga_class,
    &hyperv_testdev_class,
    &ramfb_class,
    &virtio_vga_class,
    &virtio_gpu_pci_class,
    &virtio_gpu_device_class,
    &virtio_blk_pci_class,
    &virtio_blk_pci_transitional_class,
    &virtio_blk_pci_modern_class,
    &virtio_blk_device_class,
    &virtio_net_pci_class,
    &virtio_net_pci_transitional_class,
    &virtio_net_pci_modern_class,
    &virtio_net_device_class,
    &virtio_serial_pci_class,
    &virtio_serial_pci_transitional_class,
    &virtio_serial_pci_modern_class,
    &virtio_serial_device_class,
    &virtconsole_class,
    &virtserialport_class,
    &virtio_rng_pci_class,
    &virtio_rng_pci_transitional_class,
    &virtio_rng_pci_modern_class,
    &virtio_rng_device_class,
    &intel_hda_class,
    &ich9_intel_hda_class,
    &hda_output_class,
    &hda_duplex_class,
    &hda_micro_class,
    &virtio_snd_pci_class,
    &virtio_snd_device_class,
    &virtio_balloon_pci_class,
    &virtio_balloon_pci_transitional_class,
    &virtio_balloon_pci_modern_class,
    &virtio_balloon_device_class,
    &virtio_keyboard_pci_class,
    &virtio_keyboard_device_class,
    &virtio_mouse_pci_class,
    &virtio_mouse_device_class,
    &virtio_tablet_pci_class,
    &virtio_tablet_device_class,
    &qemu_xhci_class,
    &nec_usb_xhci_class,
    &usb_kbd_class,
    &usb_mouse_class,
    &usb_tablet_class,
    &usb_storage_class,
    &usb_hub_class,
};
const size_t n_device_classes = ARRAY_LEN(device_classes);

#define UHCI_OHCI_EHCI "qemu-xhci is the USB controller for devices of every speed"
#define NO_UAS         "usb-storage,drive=ID is a USB disk"
#define OTHER_SOUND    "sound cards are intel-hda with hda-duplex, and virtio-sound-pci"
#define NO_HOST_USB    "devices of the host cannot be passed through"
#define OTHER_NIC      "network cards are virtio-net-pci"
#define OTHER_DISK     "disks are virtio-blk-pci, ide-hd on ich9-ahci, and usb-storage"
#define OTHER_SCREEN   "graphics cards are VGA, virtio-vga and virtio-gpu-pci"
#define NO_FOLDER      "there is no shared folder yet"
#define NO_HOTPLUG     "memory cannot be plugged in; -m says how much there is"
#define NO_IOMMU       "there is no IOMMU; devices reach all of the guest's memory"
const struct device_absent device_absents[] = {
    { "piix3-usb-uhci", UHCI_OHCI_EHCI },
    { "piix4-usb-uhci", UHCI_OHCI_EHCI },
    { "ich9-usb-uhci1", UHCI_OHCI_EHCI },
    { "ich9-usb-uhci2", UHCI_OHCI_EHCI },
    { "ich9-usb-uhci3", UHCI_OHCI_EHCI },
    { "ich9-usb-uhci4", UHCI_OHCI_EHCI },
    { "ich9-usb-uhci5", UHCI_OHCI_EHCI },
    { "ich9-usb-uhci6", UHCI_OHCI_EHCI },
    { "ich9-usb-ehci1", UHCI_OHCI_EHCI },
    { "ich9-usb-ehci2", UHCI_OHCI_EHCI },
    { "usb-ehci", UHCI_OHCI_EHCI },
    { "pci-ohci", UHCI_OHCI_EHCI },
    { "usb-uas", NO_UAS },
    { "usb-bot", NO_UAS },
    { "usb-host", NO_HOST_USB },
    { "usb-redir", NO_HOST_USB },
    { "AC97", OTHER_SOUND },
    { "ES1370", OTHER_SOUND },
    { "sb16", OTHER_SOUND },
    { "adlib", OTHER_SOUND },
    { "cs4231a", OTHER_SOUND },
    { "gus", OTHER_SOUND },
    { "usb-audio", OTHER_SOUND },
    { "e1000", OTHER_NIC },
    { "e1000e", OTHER_NIC },
    { "rtl8139", OTHER_NIC },
    { "ne2k_pci", OTHER_NIC },
    { "ne2k_isa", OTHER_NIC },
    { "pcnet", OTHER_NIC },
    { "vmxnet3", OTHER_NIC },
    { "i82551", OTHER_NIC },
    { "igb", OTHER_NIC },
    { "usb-net", OTHER_NIC },
    { "virtio-scsi-pci", OTHER_DISK },
    { "virtio-scsi", OTHER_DISK },
    { "scsi-hd", OTHER_DISK },
    { "scsi-cd", OTHER_DISK },
    { "scsi-generic", OTHER_DISK },
    { "lsi53c895a", OTHER_DISK },
    { "megasas", OTHER_DISK },
    { "pvscsi", OTHER_DISK },
    { "mptsas1068", OTHER_DISK },
    { "nvme", OTHER_DISK },
    { "floppy", OTHER_DISK },
    { "isa-fdc", OTHER_DISK },
    { "vhost-user-blk-pci", OTHER_DISK },
    { "cirrus-vga", OTHER_SCREEN },
    { "vmware-svga", OTHER_SCREEN },
    { "qxl", OTHER_SCREEN },
    { "qxl-vga", OTHER_SCREEN },
    { "ati-vga", OTHER_SCREEN },
    { "virtio-gpu-gl", OTHER_SCREEN },
    { "virtio-gpu-gl-pci", OTHER_SCREEN },
    { "virtio-vga-gl", OTHER_SCREEN },
    { "virtio-9p-pci", NO_FOLDER },
    { "vhost-user-fs-pci", NO_FOLDER },
    { "vhost-user-fs", NO_FOLDER },
    { "pc-dimm", NO_HOTPLUG },
    { "nvdimm", NO_HOTPLUG },
    { "virtio-mem-pci", NO_HOTPLUG },
    { "virtio-pmem-pci", NO_HOTPLUG },
    { "intel-iommu", NO_IOMMU },
    { "amd-iommu", NO_IOMMU },
    { "virtio-iommu-pci", NO_IOMMU },
    { "virtio-iommu", NO_IOMMU },
    { "vfio-pci", NO_HOST_USB },
    { "tpm-tis", "there is no TPM" },
    { "tpm-crb", "there is no TPM" },
    { "tpm-tis-device", "there is no TPM" },
    { "i6300esb", "there is no watchdog" },
    { "ib700", "there is no watchdog" },
    { "isa-pcspk", "-machine pcspk-audiodev=ID makes the loudspeaker heard" },
};
const size_t n_device_absents = ARRAY_LEN(device_absents);
