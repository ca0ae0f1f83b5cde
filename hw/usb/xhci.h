/* xHCI host controllers, as others see them. */
#pragma once

struct device;
struct usb_bus;

/* NULL: the device is none. */
struct usb_bus *xhci_bus(struct device *dev);
