# The distribution's U-Boot for S-mode is linked at 0x80200000 and cannot run elsewhere. This one page
# lies before it in flash, copies it there and goes on to it. a0 (hart) and a1 (device tree) are kept.
    .equ    where, 0x80200000
    .equ    size, 2 << 20
    .globl  _start
_start:
    lla     t0, payload
    li      t1, where
    li      t2, where + size
1:  ld      t3, 0(t0)
    sd      t3, 0(t1)
    addi    t0, t0, 8
    addi    t1, t1, 8
    bltu    t1, t2, 1b
    fence.i
    li      t1, where
    jr      t1
    .balign 4096
payload:
