/* xHCI host controllers, as others see them. */
#pragma once

struct device;
struct usb_bus;

/* NULL: the device is none. */
struct usb_bus *xhci_bus(struct device *dev);
/* The controller of a USB device, and its root port there, from 1. NULL: it is no USB device. */
struct device *xhci_of_device(struct device *dev, unsigned *port);
