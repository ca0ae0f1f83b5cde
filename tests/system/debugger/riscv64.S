# A system of few instructions to walk through with a debugger: a call of the SBI, a system call and a page fault of
# a user program, which then counts for ever. Names are what the test stops at.
        .option norvc
        .section .text.start, "ax"
        .globl  _start
_start:                                 # on one hart, whichever; the SBI keeps the others
        lla     sp, stack_end
        lla     t0, trap
        csrw    stvec, t0
        li      a0, 'K'
        li      a7, 1                   # console_putchar
        .globl  sbi_call, sbi_done
sbi_call:
        ecall
sbi_done:
        lla     t0, root
        li      t1, 0x200000cf          # RAM's gigabyte where it is, for the supervisor,
        sd      t1, 2 * 8(t0)
        li      t1, 0x200000df          # and a gigabyte below, for users
        sd      t1, 1 * 8(t0)
        srli    t0, t0, 12
        li      t1, 8 << 60
        or      t0, t0, t1
        csrw    satp, t0
        sfence.vma
        li      t0, 1 << 8              # sstatus.SPP
        csrc    sstatus, t0
        lla     t0, entry_of_user
        ld      t0, 0(t0)
        csrw    sepc, t0
        sret

        .balign 4
        .globl  trap, trap_done
trap:
        csrrw   t6, sscratch, t6
        csrr    t6, scause
        addi    t6, t6, -8              # a system call of a user
        beqz    t6, call
        lla     t6, root                # else map the page that is missing
        ld      a1, 1 * 8(t6)
        sd      a1, 3 * 8(t6)
        sfence.vma
        j       trap_done
call:
        csrr    t6, sepc
        addi    t6, t6, 4
        csrw    sepc, t6
        li      a0, 42
trap_done:
        csrrw   t6, sscratch, t6
        sret

        .balign 8
entry_of_user:
        .dword  user

        .section .user, "awx"
        .globl  user, user_call, user_called, user_load, user_loaded, user_loop, user_store, user_stored, counter
user:
        li      a0, 7
user_call:
        ecall
user_called:
        li      t0, 0xc0300000
user_load:
        ld      t1, 0(t0)
user_loaded:
        lla     t2, counter
user_loop:
        ld      t3, 0(t2)
        addi    t3, t3, 1
user_store:
        sd      t3, 0(t2)
user_stored:
        j       user_loop
        .balign 8
counter:
        .dword  0

        .bss
        .balign 4096
root:
        .skip   4096
        .skip   1024
stack_end:
