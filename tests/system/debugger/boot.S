# A boot sector that counts.
        .code16
        .globl  _start
_start:
        xorw    %ax, %ax
        movw    %ax, %ds
1:      incw    0x600
        movw    0x600, %ax
        jmp     1b
        .org    510
        .word   0xaa55
