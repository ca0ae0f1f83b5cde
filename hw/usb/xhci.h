/* xHCI host controllers, as others see them. */
#pragma once

struct device;
struct usb_bus;
struct usb_device;

/* NULL: the device is none. */
struct usb_bus *xhci_bus(struct device *dev);
/* The root port of a device that is plugged into the controller itself, from 1. */
unsigned xhci_root_port(const struct usb_device *u);
