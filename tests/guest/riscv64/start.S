# Entry of every hart, traps into M-mode, and running a function in a lower mode. Harts 0 to 7 get a
# stack and a trap stack each, others sleep. tp is the hart's struct hart (rt.h) in M-mode; mscratch
# is its trap frame, or 0 while a trap is handled.
    .option norvc
    .equ FRAME, 36*8
    .equ HART_SIZE, 1024            # struct hart begins with the trap frame, then the saved registers
    .equ SAVED, FRAME

    .section .text.start, "ax"
    .globl _start
_start:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    csrr a0, mhartid
    li t0, 8
    bgeu a0, t0, sleep
    csrw mie, zero
    la t0, trap_entry
    csrw mtvec, t0
    li t0, 0x6000                   # FS dirty
    csrs mstatus, t0
    li t0, -1
    csrw pmpaddr0, t0
    li t0, 0x1f                     # all memory for all modes
    csrw pmpcfg0, t0
    la sp, stacks
    addi t0, a0, 1
    slli t0, t0, 16
    add sp, sp, t0
    li t0, HART_SIZE
    mul t0, t0, a0
    la tp, harts
    add tp, tp, t0
    csrw mscratch, tp
    bnez a0, secondary
    call test_main
    j finish
secondary:
    la t0, hart_entry               # written when hart 0 wants the others
1:  ld t1, (t0)
    beqz t1, 1b
    fence
    jalr t1
sleep:
    csrw mie, zero
1:  wfi
    j 1b

    .balign 64
    .globl trap_entry
trap_entry:
    csrrw tp, mscratch, tp
    beqz tp, fatal
    .irp n, 1,2,3,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    sd x\n, \n*8(tp)
    .endr
    csrrw t0, mscratch, zero
    sd t0, 4*8(tp)
    csrr t0, mepc
    sd t0, 0(tp)
    csrr t0, mcause
    sd t0, 32*8(tp)
    csrr t0, mtval
    sd t0, 33*8(tp)
    csrr t0, mstatus
    sd t0, 34*8(tp)
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, trap_stacks
    csrr t0, mhartid
    addi t0, t0, 1
    slli t0, t0, 13
    add sp, sp, t0
    mv a0, tp
    call trap
    ld t0, 0(tp)
    csrw mepc, t0
    ld t0, 34*8(tp)
    csrw mstatus, t0
    csrw mscratch, tp
    .irp n, 1,2,3,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld x\n, \n*8(tp)
    .endr
    ld tp, 4*8(tp)
    mret
fatal:
    li t0, 0x100000
    li t1, 0x633333
    sw t1, (t0)
    j fatal

# void run_asm(mode << 11, pc, sp, a0, a1): continues behind the call by run_resume.
    .text
    .globl run_asm, run_resume, run_return, s_trap
run_asm:
    .irp n, 1,2,3,8,9,18,19,20,21,22,23,24,25,26,27
    sd x\n, SAVED+\n*8(tp)
    .endr
    li t0, 0x1800
    csrc mstatus, t0
    csrs mstatus, a0
    csrw mepc, a1
    mv sp, a2
    mv a0, a3
    mv a1, a4
    mv ra, a5
    li a7, 0
    mret
run_resume:                         # a0: the hart
    mv tp, a0
    csrw mscratch, tp
    .irp n, 1,2,3,8,9,18,19,20,21,22,23,24,25,26,27
    ld x\n, SAVED+\n*8(tp)
    .endr
    ret

# Where functions in lower modes return to.
    .balign 4096
    .globl low_code
low_code:
run_return:
    li a7, 0x5eed
    ecall
# stvec of tests: tell M-mode what came here.
    .balign 64
s_trap:
    csrr a0, scause
    csrr a1, stval
    csrr a2, sepc
    csrr a3, sstatus
    li a7, 0x5eee
    ecall
