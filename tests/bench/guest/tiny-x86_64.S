# Firmware-less, a 64 KiB ROM: from the reset vector, in real mode, one byte on COM1, then a triple fault (-no-reboot
# makes that the end).
    .code16
    .globl _start
_start:
    .org 0xff00
    movw $0x3f8, %dx
    movb $'B', %al
    outb %al, %dx
    movb $'\n', %al
    outb %al, %dx
    lidtl %cs:no_table
    int3
no_table:
    .long 0, 0
    .org 0xfff0
    ljmp $0xf000, $0xff00
    .org 0x10000
